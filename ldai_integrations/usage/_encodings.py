"""The encodings of this process: built without tiktoken's registry, and loaded in the background."""

from __future__ import annotations

import asyncio
import atexit
import base64
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from .._diagnostics import logger
from ._encoding_files import O200K, SPECS, EncodingSpec, find_file
from ._families import family_of

if TYPE_CHECKING:
    import tiktoken

    from ..typing import TokenCounter

# Longest time that the end of the process waits for threads that count, in seconds. One count takes about 20 ms.
_LONGEST_WAIT = 1.0

# If a process forks while a thread imports a module, the child can never import that module, because the thread that
# holds its import lock does not exist there. So a fork waits for these imports. The lock is reentrant because an import
# may fork as well.
_importing = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_importing.acquire, after_in_parent=_importing.release, after_in_child=_importing.release
    )


class _Encodings:
    """The encodings of this process. Every method returns at once."""

    def __init__(self) -> None:
        self._loaded: dict[str, tiktoken.Encoding] = {}
        self._claimed: dict[str, int] = {}
        self._thread: threading.Thread | None = None
        self._background = False
        self._directory: Path | None = None
        #: Counts instead of every encoding, in tests.
        self.stand_in: TokenCounter | None = None

    def get(self, spec: EncodingSpec) -> tiktoken.Encoding | None:
        """Return the encoding if it is loaded.

        In a script, which has neither called :func:`warm_up` nor runs an event loop here, the first call loads it (0.1
        to 0.4 s). Otherwise a thread loads it, and this returns ``None`` until the thread has finished.
        """
        encoding = self._loaded.get(spec.name)
        if encoding is None and self._claimed.get(spec.name) != os.getpid():
            if self._background or _runs_in_event_loop():
                self.load_in_background((spec,))
            else:
                self._load(spec)
            encoding = self._loaded.get(spec.name)
        return encoding

    def load_in_background(
        self, specs: Iterable[EncodingSpec], directory: Path | None = None
    ) -> threading.Thread | None:
        """Start a daemon thread that loads what this process has not begun to load; return the last thread, if any."""
        self._background = True
        self._directory = directory or self._directory
        wanted = [s for s in specs if s.name not in self._loaded and self._claimed.get(s.name) != os.getpid()]
        if wanted:
            for spec in wanted:
                self._claimed[spec.name] = os.getpid()
            self._thread = threading.Thread(target=self._load, args=wanted, name="ldai-encodings", daemon=True)
            self._thread.start()
        return self._thread

    def _load(self, *specs: EncodingSpec) -> None:
        for spec in specs:
            self._claimed[spec.name] = os.getpid()
            try:
                encoding = _encoding_in_tiktoken(spec) or _build(spec, self._directory)
            except Exception:
                logger.warning(
                    "Loading encoding %s failed. If tokens have to be estimated, they are less exact.",
                    spec.name,
                    exc_info=True,
                )
                continue
            if encoding is not None:
                self._loaded[spec.name] = encoding
                continue
            logger.warning(
                "The file for encoding %s is not on this machine. If tokens have to be estimated, they are less exact. "
                "Install ldai-integrations[offline-tokens], or run `ldai encodings prefetch` once.",
                spec.name,
            )

    def forget(self) -> None:
        """Drop every encoding and every failure, so that the next use searches again."""
        self._loaded.clear()
        self._claimed.clear()
        self._background = False
        self._directory = None


encodings = _Encodings()


def _runs_in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _encoding_in_tiktoken(spec: EncodingSpec) -> tiktoken.Encoding | None:
    """Return the encoding that the application has loaded itself, if any. tiktoken returns it without its lock."""
    registry = sys.modules.get("tiktoken.registry")
    found: tiktoken.Encoding | None = getattr(registry, "ENCODINGS", {}).get(spec.name)
    return found


def _build(spec: EncodingSpec, directory: Path | None) -> tiktoken.Encoding | None:
    found = find_file(spec, directory)
    if found is None:
        return None
    lines = (line.split() for line in found[1].splitlines() if line)
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    with _importing:
        import tiktoken

    encoding = tiktoken.Encoding(
        spec.name, pat_str=spec.pattern, mergeable_ranks=ranks, special_tokens={"<|endoftext|>": 1_000_000}
    )
    count_with_tiktoken(encoding, "warm")  # compiles the pattern here instead of in the first request
    return encoding


# Counting

# Threads that are in tiktoken's native code, while the process may end.
_counting: set[int] = set()
_ending = threading.Event()


@lru_cache(maxsize=1)
def has_old_tiktoken() -> bool:
    """Return whether the installed tiktoken is older than 0.14.

    Such a version aborts a process that ends while a daemon thread is in its native code. So the end of the process
    waits for these threads, and later ones do not enter it. It also takes quadratic time for a text without spaces.
    """
    numbers = version("tiktoken").split(".")[:2]
    is_old = tuple(int(one) for one in numbers if one.isdigit()) < (0, 14)
    if is_old:
        atexit.register(_wait_for_counting_threads)
    return is_old


def _wait_for_counting_threads() -> None:
    _ending.set()
    end = time.monotonic() + _LONGEST_WAIT
    while _counting - {threading.get_ident()} and time.monotonic() < end:
        time.sleep(0.001)


def count_with_tiktoken(encoding: tiktoken.Encoding, text: str) -> int | None:
    """Return the number of tokens of a text; ``None`` in a thread that must not count while the process ends."""
    # Not ``encode_ordinary``: a million spaces make it raise an exception that ``except Exception`` does not catch.
    if not has_old_tiktoken():
        return len(encoding.encode(text, disallowed_special=()))
    thread = threading.get_ident()
    _counting.add(thread)
    try:
        if _ending.is_set() and threading.current_thread() is not threading.main_thread():
            return None
        return len(encoding.encode(text, disallowed_special=()))
    finally:
        _counting.discard(thread)


# What other packages use


def warm_up(*, models: Iterable[str] = (), timeout: float | None = None, directory: Path | None = None) -> None:
    """Load the encodings that are on this machine in a background thread; nothing is downloaded.

    A :class:`~ldai_integrations.Tracking` calls it without waiting. tiktoken holds Python's global lock for about 0.2 s
    of the time, in which no other thread runs. To have this over before requests are served or times are measured, call
    it again with a timeout; an ASGI middleware does so when the application starts.

    Call it once in each process, also in a forked child. Afterwards no count loads anything in the caller's thread.

    Args:
        models: Models whose tokens will be counted; o200k_base is always loaded.
        timeout: Longest time to wait until everything is loaded, in seconds; ``None`` does not wait.
        directory: A further directory to search for encoding files.
    """
    names = dict.fromkeys((O200K.name, *(family_of(model).encoding for model in models)))
    thread = encodings.load_in_background([SPECS[name] for name in names], directory)
    if timeout is not None and thread is not None:
        thread.join(timeout)


@contextmanager
def count_with(counter: TokenCounter) -> Iterator[None]:
    """Count every text in the process with this counter while the block runs; for tests."""
    former, encodings.stand_in = encodings.stand_in, counter
    try:
        yield
    finally:
        encodings.stand_in = former


def encoding_at_hand(model: str) -> tuple[str, bool]:
    """Return the name of the encoding that counts a model's tokens, and whether its file is on this machine.

    Args:
        model: Name of the model; an unknown one has the encoding that is used for it.
    """
    spec = SPECS[family_of(model).encoding]
    return spec.name, find_file(spec) is not None


def encoding_files(directory: Path | None = None) -> dict[str, Path | None]:
    """Return the path of each encoding's file by the encoding's name; ``None`` if it is not on this machine.

    Args:
        directory: A further directory to search.
    """
    found = {name: find_file(spec, directory) for name, spec in SPECS.items()}
    return {name: None if file is None else file[0] for name, file in found.items()}
