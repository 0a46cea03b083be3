"""The size of an image, read from its first bytes, and what an image costs."""

from __future__ import annotations

import base64
import math
import struct
from dataclasses import dataclass
from typing import Any

from ._families import Family, ImagePrice
from ._fields import dig, get, is_a, text

# Enough characters of a data URL to find the size in every format, except in a JPEG with a long preamble.
_HEAD = 65_536
# The size that is assumed for an image of unknown size, in pixels: the smallest unit that any model counts.
_SMALLEST = 32


@dataclass(frozen=True, slots=True)
class Image:
    """An image in a request.

    Attributes:
        width, height: In pixels; zero if the size is unknown.
        low: Whether the request asks for low detail.
    """

    width: int = 0
    height: int = 0
    low: bool = False

    @property
    def is_known(self) -> bool:
        """Whether the price of this image is known, because its size is known or does not matter."""
        return self.low or (self.width > 0 and self.height > 0)

    def tokens(self, family: Family) -> int:
        """Return what this image costs a model of a family, in tokens."""
        price = family.image
        width, height = self.width or _SMALLEST, self.height or _SMALLEST
        if price.per_patch:
            patches = math.ceil(width / 32) * math.ceil(height / 32)
            return math.ceil(min(patches, price.most) * price.per_patch)
        if price.pixels_per_token:
            return min(price.most, math.ceil(width * height / price.pixels_per_token))
        return price.base if self.low else price.base + price.per_tile * _tiles(width, height, price)


def image_in(part: object) -> Image | None:
    """Return the image in a content part of OpenAI, Anthropic, Bedrock or Gemini; ``None`` if there is none."""
    kind = text(get(part, "type"))
    address = get(part, "image_url")
    inline = get(part, "inlineData", "inline_data", "fileData", "file_data")
    if address is not None or kind in ("input_image", "computer_screenshot"):
        detail = text(get(address, "detail")) or text(get(part, "detail"))
        url = text(address) or text(get(address, "url"))
        data = url[:_HEAD].partition(",")[2] if url.startswith("data:") else ""
        return Image(*_size_of(data), low=detail == "low")
    if text(get(inline, "mimeType", "mime_type")).startswith("image/"):
        return Image(*_size_of(get(inline, "data")))
    if kind == "image":
        return Image(*_size_of(dig(part, "source.data")))
    if get(part, "image") is not None:
        return Image(*_size_of(dig(part, "image.source.bytes")))
    return None


def _tiles(width: int, height: int, price: ImagePrice) -> int:
    """Count the tiles of Gemini, or those of OpenAI after its two scalings: to 2,048 square, then to 768."""
    if price.crops:
        if max(width, height) <= 384:
            return 0
        side = min(768, max(256, int(min(width, height) / 1.5)))
        return math.ceil(width / side) * math.ceil(height / side)
    scale = min(1.0, 2048 / max(width, height))
    scale *= min(1.0, 768 / (min(width, height) * scale))
    return math.ceil(round(width * scale) / 512) * math.ceil(round(height * scale) / 512)


def _size_of(image: Any) -> tuple[int, int]:
    """Return width and height of an image that is given as bytes or base64; zeros if they are not known."""
    try:
        if is_a(image, bytes, bytearray):
            data = bytes(image[:_HEAD])
        else:
            head = text(image)[:_HEAD]
            data = base64.b64decode(head[: len(head) // 4 * 4])
        if data.startswith(b"\x89PNG"):
            return struct.unpack(">II", data[16:24])
        if data.startswith(b"GIF8"):
            return struct.unpack("<HH", data[6:10])
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp_size(data)
        if data.startswith(b"\xff\xd8"):
            at = 2
            while data[at] == 0xFF:  # skip the segments before the frame header
                marker = data[at + 1]
                if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
                    height, width = struct.unpack(">HH", data[at + 5 : at + 9])
                    return width, height
                at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    except (ValueError, struct.error, IndexError):  # not base64, or cut off
        pass
    return 0, 0


def _webp_size(data: bytes) -> tuple[int, int]:
    if data[12:16] == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack("<HH", data[26:30])
    return width & 0x3FFF, height & 0x3FFF
