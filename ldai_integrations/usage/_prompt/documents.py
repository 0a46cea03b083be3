"""Documents in a request: the text of plain ones, the pages of the others; sound and film are told only."""

from __future__ import annotations

import base64
import re
from typing import Any

from .._values import dig, get, is_a, items, text

# Most of a document that is decoded, in characters of base64; pages past it are not counted.
_MOST = 4_194_304
_PAGE = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")
_PLAIN = ("txt", "md", "csv", "html")


def document_in(part: Any) -> tuple[str, int]:
    """Return a document's text where it is plain, else its number of pages; ``("", 0)`` where there is none.

    A document that would have to be fetched, or whose pages are packed away, is taken for one page.
    """
    kind = text(get(part, "type"))
    if kind in ("input_file", "file"):  # OpenAI
        return _document("application/pdf", get(part, "file_data") or dig(part, "file.file_data"))
    if kind == "document":  # Anthropic
        source = get(part, "source")
        content = get(source, "content")
        if content is not None:
            return text(content) + "".join(text(get(block, "text")) for block in items(content)), 0
        if text(get(source, "type")) == "text":
            return text(get(source, "data")), 0
        return _document("application/pdf", get(source, "data"))
    document = get(part, "document")  # Bedrock
    if document is not None:
        plain = text(get(document, "format")) in _PLAIN
        return _document("text/plain" if plain else "application/pdf", dig(document, "source.bytes"))
    blob = get(part, "inlineData", "inline_data", "fileData", "file_data")  # Gemini
    return _document(text(get(blob, "mimeType", "mime_type")), get(blob, "data"))


def has_recording(content: Any) -> bool:
    """Tell whether a message's parts hold sound or film, whose length is not known here."""
    return any(_is_recording(part) for part in items(content))


def _is_recording(part: Any) -> bool:
    blob = get(part, "inlineData", "inline_data", "fileData", "file_data")
    return text(get(part, "type")) == "input_audio" or text(get(blob, "mimeType", "mime_type")).startswith(
        ("audio/", "video/")
    )


def _document(mime_type: str, data: Any) -> tuple[str, int]:
    if mime_type.startswith("text/"):
        return _decoded(data).decode("utf-8", "replace"), 0
    if mime_type != "application/pdf":
        return "", 0
    return "", max(1, len(_PAGE.findall(_decoded(data))))


def _decoded(data: Any) -> bytes:
    if is_a(data, bytes, bytearray):
        return bytes(data)
    characters = text(data)[:_MOST]
    if characters.startswith("data:"):
        characters = characters.partition(",")[2]
    try:
        return base64.b64decode(characters[: len(characters) // 4 * 4])
    except ValueError:
        return b""
