"""Images in a request: their size, read off the first bytes, and what a size costs."""

from __future__ import annotations

import base64
import math
import struct
from typing import Any

from .._families import Family, ImagePrice
from .._values import dig, get, is_a, text
from .conversation import Image

# Enough of a data address, in characters, for every format's size but a JPEG with a long preamble.
_HEAD = 65_536
# Size taken for an image that would have to be fetched, pixels: two tiles, the middle of what recordings show.
_TYPICAL = (768, 512)


def image_in(part: Any) -> Image | None:
    """Return the image that a content part holds, in OpenAI's, Anthropic's, Bedrock's or Gemini's spelling."""
    kind = text(get(part, "type"))
    address = get(part, "image_url")
    if address is not None or kind == "input_image":
        detail = text(get(address, "detail")) or text(get(part, "detail"))
        width, height = _size(_head(text(address) or text(get(address, "url"))))
        return Image(width, height, low=detail == "low")
    inline = get(part, "inlineData", "inline_data")
    if text(get(inline, "mimeType", "mime_type")).startswith("image/"):
        return Image(*_size(_decoded(get(inline, "data"))))
    if kind == "image":
        return Image(*_size(_decoded(dig(part, "source.data"))))
    blob = dig(part, "image.source.bytes")
    return Image(*_size(_decoded(blob))) if blob is not None else None


def image_tokens(image: Image, family: Family) -> int:
    """Return what an image costs a family's models, in tokens."""
    price = family.image
    width, height = (image.width, image.height) if image.width and image.height else _TYPICAL
    if price.per_patch:
        return _patches(width, height, price)
    if price.pixels_per_token:
        return min(price.most, math.ceil(width * height / price.pixels_per_token))
    if image.low:
        return price.base
    return price.base + price.per_tile * (_crops(width, height) if price.crops else _tiles(width, height))


def _tiles(width: int, height: int) -> int:
    """Count 512-pixel tiles after OpenAI's two scalings: into 2,048 square, then the short side to 768."""
    scale = min(1.0, 2048 / max(width, height))
    scale *= min(1.0, 768 / (min(width, height) * scale))
    return math.ceil(round(width * scale) / 512) * math.ceil(round(height * scale) / 512)


def _crops(width: int, height: int) -> int:
    """Count Gemini's tiles, which come on top of the whole image."""
    if max(width, height) <= 384:
        return 0
    side = min(768, max(256, int(min(width, height) / 1.5)))
    return math.ceil(width / side) * math.ceil(height / side)


def _patches(width: int, height: int, price: ImagePrice) -> int:
    """Count 32-pixel patches, at most ``price.most``, times the model's multiplier."""
    patches = math.ceil(width / 32) * math.ceil(height / 32)
    return math.ceil(min(patches, price.most) * price.per_patch)


def _head(address: str) -> bytes:
    if not address.startswith("data:"):
        return b""
    return _decoded(address[:_HEAD].partition(",")[2])


def _decoded(data: Any) -> bytes:
    """Return the first bytes of an image given as bytes or base64."""
    if is_a(data, bytes, bytearray):
        return bytes(data[:_HEAD])
    head = text(data)[: _HEAD // 4 * 4]
    try:
        return base64.b64decode(head[: len(head) // 4 * 4])
    except ValueError:
        return b""


def _size(data: bytes) -> tuple[int, int]:
    """Return width and height from an image's first bytes; zeros where they do not tell."""
    try:
        if data.startswith(b"\x89PNG"):
            return struct.unpack(">II", data[16:24])
        if data.startswith(b"GIF8"):
            return struct.unpack("<HH", data[6:10])
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp_size(data)
        if data.startswith(b"\xff\xd8"):
            return _jpeg_size(data)
    except (struct.error, IndexError):
        pass
    return 0, 0


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack("<HH", data[26:30])
    return width & 0x3FFF, height & 0x3FFF


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Walk the segments to the frame header, which has the size."""
    at = 2
    while data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    return 0, 0
