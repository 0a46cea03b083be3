"""Requests of all providers, read into one common form; and what the images in them cost."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from ._families import Family, ImagePrice
from ._fields import dig, fields_of, get, is_a, is_list, is_record, items, plain_json, text, to_json

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


# Longest plain text document that is decoded, in characters of base64; they stand for three bytes in fours.
_LONGEST_DOCUMENT = 4_194_304
_PLAIN_FORMATS = ("txt", "md", "csv", "html")
# The fields of an item of a provider-side tool that are counted. Its results are there if the request asked for them.
_OF_PROVIDER_TOOLS = ("name", "arguments", "code", "queries", "action", "operation", "output", "outputs", "results")
# Parameters with which the provider adds something that the request does not contain.
_ADDING = (
    "previous_response_id",
    "conversation",
    "prompt",
    "web_search_options",
    "data_sources",
    "mcp_servers",
    "container",
    "cachedContent",
    "cached_content",
)


@dataclass(slots=True)
class Turn:
    """One message.

    Attributes:
        role: As the provider writes it.
        texts: Its text parts.
        words: The author's name, and the names and the arguments of the tools that it calls.
        images: Images in it.
        is_partial: Whether it contains parts that cannot be counted.
    """

    role: str
    texts: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)
    is_partial: bool = False

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join(self.texts)

    def call(self, function: object) -> None:
        """Add a call of a tool."""
        self.words += (text(get(function, "name")), to_json(get(function, "arguments", "input", "args")))

    def add(self, content: object) -> None:
        """Add content: a text, a part in the format of any provider, or a list of these."""
        for part in items(content) if is_list(content) else (content,):
            if is_a(part, str):
                self.texts.append(text(part))
            elif part is not None:
                self._add_part(part)

    def _add_part(self, part: object) -> None:
        words = text(get(part, "text", "refusal"))
        call = get(part, "toolUse", "functionCall", "function_call")
        result = get(part, "toolResult", "functionResponse", "function_response")
        kind = text(get(part, "type"))
        self.is_partial |= get(part, "thoughtSignature", "thought_signature") is not None  # stands for hidden reasoning
        if words:
            self.texts.append(words)
        elif (image := image_in(part)) is not None:
            self.images.append(image)
            self.is_partial |= not image.is_known
        elif kind == "tool_use" or call is not None:
            self.call(part if call is None else call)
        elif kind == "tool_result":
            self.add(get(part, "content"))
        elif result is not None:
            self.texts.append(text(get(result, "name")) + to_json(get(result, "response")))
            self.add(get(result, "content"))
        elif get(part, "json") is not None:
            self.texts.append(to_json(get(part, "json")))
        elif get(part, "guardContent") is not None:
            self.add(dig(part, "guardContent.text"))
        elif words := _plain_document(part):
            self.texts.append(words)
        elif get(part, "text", "cachePoint") is None:  # an empty text and a mark for the cache cost nothing
            # A PDF, sound, film, reasoning, what a tool of the provider found, or something new.
            self.is_partial = True


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call, or the form of an answer; ``schema`` is a JSON schema."""

    name: str
    description: str
    schema: object


@dataclass(slots=True)
class Conversation:
    """Everything in a request that costs tokens.

    Attributes:
        turns: Messages, including system messages.
        tools: Functions.
        answer: The schema of the answer.
        searches_web: Whether the model may use OpenAI's web search.
        is_partial: Whether the provider adds what the request does not contain, for example by tools of its own.
    """

    turns: list[Turn] = field(default_factory=list)
    tools: list[Tool] = field(default_factory=list)
    answer: Tool | None = None
    searches_web: bool = False
    is_partial: bool = False

    def add(self, role: str, content: object) -> Turn:
        """Add a message and return it."""
        turn = Turn(role)
        turn.add(content)
        self.turns.append(turn)
        return turn

    def add_message(self, message: object) -> None:
        """Add a message, or an item of the Responses API."""
        kind = text(get(message, "type"))
        if kind in ("function_call", "custom_tool_call"):
            self.add("assistant", None).call(message)
        elif kind in ("function_call_output", "custom_tool_call_output"):
            self.add("tool", get(message, "output"))
        elif kind == "mcp_list_tools":
            self.add_tools((message,))
        elif kind in ("", "message"):
            content, role = get(message, "content", "parts"), text(get(message, "role"))
            turn = self.add(role, message if content is None and not role else content)
            turn.words.append(text(get(message, "name")))
            for call in items(get(message, "tool_calls")):
                turn.call(get(call, "function", "custom"))
            turn.call(get(message, "function_call"))
            turn.is_partial |= get(message, "audio", "reasoning_details") is not None
        else:  # of a provider-side tool, or reasoning, which the request does not show
            self.is_partial = True
            screenshot = image_in(get(message, "output"))
            parts = [to_json(get(message, name)) for name in _OF_PROVIDER_TOOLS] if kind != "reasoning" else []
            if screenshot is not None:
                self.add("tool", None).images.append(screenshot)
            elif any(parts):
                self.add("assistant", "\n".join(filter(None, parts)))

    def add_tools(self, listed: Iterable[object]) -> None:
        """Add functions, those of groups and of listed MCP servers, and the provider's own tools."""
        for tool in listed:
            group = get(tool, "functionDeclarations", "function_declarations", "tools")
            own, kind = get(tool, "function", "toolSpec"), text(get(tool, "type"))
            if group is not None:
                self.tools.extend(map(_tool_of, items(group)))
            elif get(tool, "defer_loading") is True:  # in the prompt only if the model searches for it
                self.is_partial = True
            elif own is not None or (kind in ("", "function", "custom") and text(get(tool, "name"))):
                self.tools.append(_tool_of(tool if own is None else own))
            elif get(tool, "cachePoint") is None:
                self.is_partial = True
                self.searches_web |= kind.startswith("web_search")


def read_request(request: object) -> Conversation:
    """Read a request of any API: the names of their fields do not mean different things."""
    fields = fields_of(request)
    extra = fields_of(fields.get("extra_body"))  # what openai's client adds to the request
    added = (one.get(name) for name in _ADDING for one in (fields, extra))
    # A library's own mark for "not given" is none of these.
    is_partial = any(text(one) or is_record(one) or is_list(one) for one in added if one is not None)
    is_partial |= dig(fields, "config.cached_content", "additionalModelRequestFields.tools") is not None
    conversation = Conversation(is_partial=is_partial)
    instructions = dig(
        fields, "system", "instructions", "systemInstruction", "system_instruction", "config.system_instruction"
    )
    if _is_content(instructions):
        parts = get(instructions, "parts")
        conversation.add("system", instructions if parts is None else parts)
    messages = get(fields, "messages", "input", "contents")
    for message in items(messages) if is_list(messages) else filter(_is_content, (messages,)):
        conversation.add_message(message)
    tools = items(dig(fields, "tools", "toolConfig.tools", "config.tools"))
    conversation.add_tools(chain(tools, items(get(fields, "functions"))))
    choice = get(fields, "tool_choice")
    if text(get(choice, "type")) == "function":  # the answer begins with the name of the function
        name = text(get(choice, "name")) or text(dig(choice, "function.name"))
        conversation.add("assistant", f"functions.{name}")
    answer = dig(fields, "response_format.json_schema", "text.format", "output_config.format", "output_format")
    if get(answer, "schema") is not None:
        conversation.answer = _tool_of(answer)
    return conversation


def _is_content(value: object) -> bool:
    return bool(text(value)) or is_list(value) or get(value, "parts", "text") is not None


def _tool_of(tool: object) -> Tool:
    schema = get(tool, "parameters", "parametersJsonSchema", "parameters_json_schema", "input_schema", "schema")
    schema = dig(tool, "inputSchema.json") if schema is None else schema
    words = (text(get(tool, "description")), text(dig(tool, "format.definition")))  # the grammar of a custom tool
    return Tool(text(get(tool, "name")), "\n".join(filter(None, words)), plain_json(schema))


def _plain_document(part: object) -> str:
    """Return the text of a plain text document of Anthropic, Bedrock or Gemini; empty for anything else."""
    source, blob = get(part, "source"), get(part, "inlineData", "inline_data")
    if text(get(part, "type")) == "document":
        content = get(source, "content")
        if content is not None:
            return text(content) + "".join(text(get(block, "text")) for block in items(content))
        return text(get(source, "data")) if text(get(source, "type")) == "text" else ""
    if text(dig(part, "document.format")) in _PLAIN_FORMATS:
        data = dig(part, "document.source.bytes")
    else:
        data = get(blob, "data") if text(get(blob, "mimeType", "mime_type")).startswith("text/") else ""
    try:
        whole = data if is_a(data, bytes, bytearray) else base64.b64decode(text(data)[:_LONGEST_DOCUMENT])
    except ValueError:
        return ""
    return str(whole, "utf-8", "replace")
