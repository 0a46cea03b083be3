"""Incremental decoders for the content encodings of HTTP bodies."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, Protocol

# Most bytes that a decoder returns in all, a protection against decompression bombs.
_MOST = 67_108_864
# ``wbits`` of zlib for gzip, for deflate with zlib's header, and for deflate without it.
_GZIP, _ZLIB, _RAW = 31, 15, -15


class _Step(Protocol):
    def decode(self, data: bytes, most: int) -> bytes: ...


class Decoder:
    """An incremental decoder of one body.

    It never raises. After corrupt data, or after 64 MiB of output, it returns nothing more and is ``exhausted``.
    """

    def __init__(self, steps: list[_Step]) -> None:
        self._steps = steps
        self._left = _MOST
        #: Whether the rest of the body cannot be decoded, or is not decoded because it is too large.
        self.exhausted: bool = False

    def decode(self, data: bytes) -> bytes:
        """Return what the next bytes of the body decode to, which may be nothing.

        Args:
            data: The next bytes as they were sent.
        """
        if not self._steps:
            return data
        if self.exhausted:
            return b""
        try:
            for step in self._steps:
                data = step.decode(data, self._left + 1)
                self.exhausted |= len(data) > self._left
        except Exception:  # corrupt data; zlib, lzma and zstd raise different classes
            self.exhausted = True
            return b""
        data = data[: self._left]
        self._left -= len(data)
        return data


class _Zlib:
    """A step that decodes gzip, also of several members, or deflate."""

    def __init__(self, wbits: int) -> None:
        self._wbits = wbits
        self._inflate = zlib.decompressobj(wbits)
        self._started = b""

    def decode(self, data: bytes, most: int) -> bytes:
        if self._wbits == _ZLIB:
            # Some servers send deflate without zlib's header. The first two bytes show which it is.
            self._started += data
            if len(self._started) < 2:
                return b""
            data, self._started = self._started, b""
            has_header = data[0] & 15 == 8 and int.from_bytes(data[:2], "big") % 31 == 0
            self._wbits = _ZLIB + 32 if has_header else _RAW
            self._inflate = zlib.decompressobj(_ZLIB if has_header else _RAW)
        parts, size = [], 0
        while data and size < most:
            if self._inflate.eof:
                if self._wbits != _GZIP:
                    break
                self._inflate = zlib.decompressobj(_GZIP)
            parts.append(self._inflate.decompress(data, most - size))
            size += len(parts[-1])
            data = self._inflate.unused_data
        return b"".join(parts)


class _Zstandard:
    """A step that decodes zstd."""

    def __init__(self, decompressor: Any) -> None:
        self._decompressor = decompressor

    def decode(self, data: bytes, most: int) -> bytes:
        decoded: bytes = self._decompressor.decompress(data, most) if not self._decompressor.eof else b""
        return decoded


def _zstandard() -> _Zstandard | None:
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]  # since Python 3.14
    except ImportError:
        return None
    return _Zstandard(zstd.ZstdDecompressor())


_STEPS: dict[str, Callable[[], _Step | None]] = {
    "gzip": lambda: _Zlib(_GZIP),
    "x-gzip": lambda: _Zlib(_GZIP),
    "deflate": lambda: _Zlib(_ZLIB),
    "zstd": _zstandard,
}


def decoder(content_encoding: str) -> Decoder | None:
    """Return a decoder for a ``Content-Encoding``, or ``None`` if the standard library cannot decode it.

    Supported are gzip, x-gzip, deflate, identity, zstd (since Python 3.14), and combinations such as
    ``"gzip, deflate"``. Not supported is br.

    Args:
        content_encoding: The value of the header; empty for a body that is not encoded.
    """
    steps: list[_Step] = []
    names = [name.strip().lower() for name in content_encoding.split(",")]
    for name in reversed(names):  # the last encoding was applied last
        if name in ("", "identity"):
            continue
        step = _STEPS[name]() if name in _STEPS else None
        if step is None:
            return None
        steps.append(step)
    return Decoder(steps)
