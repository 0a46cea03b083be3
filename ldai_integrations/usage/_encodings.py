"""Byte-pair encodings, found on this machine and loaded aside: no request waits for a file or the network.

tiktoken's own ``get_encoding`` downloads without a timeout while it holds a lock for the whole process. Here a rank
file is used where it already lies on disk, with the right SHA-256, and an encoding is built from it without tiktoken's
registry. Downloading is for :func:`prefetch`, which somebody has to ask for.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ._vocabularies import kinds_of

if TYPE_CHECKING:
    import tiktoken

    from ..typing import TokenCounter

logger = logging.getLogger("ldai_integrations")

# A child that is forked while a thread imports a module can never import that module: the thread that holds its import
# lock is not there. So a fork waits for the imports that are made aside. Reentrant: an import may fork as well.
_importing = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_importing.acquire, after_in_parent=_importing.release, after_in_child=_importing.release
    )


@dataclass(frozen=True, slots=True)
class EncodingSpec:
    """Say what makes up an encoding. Source: ``tiktoken_ext/openai_public.py`` of tiktoken 0.14 (MIT).

    Attributes:
        name: tiktoken's name of the encoding.
        sha256: Of the rank file.
        url: Where the rank file is published.
        pattern: The regular expression that splits a text before merging.
    """

    name: str
    sha256: str
    url: str
    pattern: str


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


class _Shelf:
    """Hold the encodings of this process; every method returns at once."""

    def __init__(self) -> None:
        self._loaded: dict[str, tiktoken.Encoding] = {}
        self._claimed: dict[str, int] = {}
        self._background = False
        self._directory: Path | None = None
        #: The kind of every token of o200k_base, by rank; empty until it is loaded.
        self.kinds = b""
        #: Counts in place of every encoding; for tests.
        self.stand_in: TokenCounter | None = None

    def get(self, spec: EncodingSpec) -> tiktoken.Encoding | None:
        """Return the encoding if it is loaded.

        Where nobody called :func:`warm_up` and no event loop runs here, as in a script, the first call loads it (0.1 to
        0.5 s); otherwise a thread does, and this returns ``None`` until it is done.
        """
        encoding = self._loaded.get(spec.name)
        if encoding is None and self._claimed.get(spec.name) != os.getpid():
            if self._background or _in_event_loop():
                self.load_aside((spec,))
            else:
                self._load(spec)
            encoding = self._loaded.get(spec.name)
        return encoding

    def load_aside(self, specs: Iterable[EncodingSpec], directory: Path | None = None) -> threading.Thread | None:
        """Load in a daemon thread what this process has not loaded or begun to load; return the thread, if any."""
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
            encoding = _already_in_tiktoken(spec) or _build(spec, self._directory)
            if encoding is not None:
                self._loaded[spec.name] = encoding
                self.kinds = kinds_of(encoding) if spec.name == O200K.name else self.kinds
        except Exception:
            logger.warning("Loading encoding %s failed; tokens are estimated without it.", spec.name, exc_info=True)
            return
        if encoding is None:
            logger.warning(
                "No rank file of encoding %s on this machine; tokens are estimated without it. "
                "Install ldai-integrations[offline-tokens], or run `ldai encodings prefetch` once.",
                spec.name,
            )

    def forget(self) -> None:
        """Drop every encoding and every failure, so that the next use looks again."""
        self._loaded.clear()
        self.kinds = b""
        self._claimed.clear()
        self._background = False
        self._directory = None


shelf = _Shelf()


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _already_in_tiktoken(spec: EncodingSpec) -> tiktoken.Encoding | None:
    """Return the encoding that the application itself has loaded, if it has; tiktoken serves those without its lock."""
    registry = sys.modules.get("tiktoken.registry")
    found: tiktoken.Encoding | None = getattr(registry, "ENCODINGS", {}).get(spec.name)
    return found


def _build(spec: EncodingSpec, directory: Path | None) -> tiktoken.Encoding | None:
    with _importing:
        from ._rank_files import find, parse

    data = find(spec, directory)
    if data is None:
        return None
    with _importing:
        import tiktoken

    encoding = tiktoken.Encoding(
        spec.name, pat_str=spec.pattern, mergeable_ranks=parse(data), special_tokens={"<|endoftext|>": 1_000_000}
    )
    encoding.encode("warm")  # compiles the pattern here rather than in the first request
    return encoding
