"""Requests of all providers, read into one common form."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ._fields import dig, get, is_a, is_list, is_record, items, plain_json, text, to_json
from ._images import Image, image_in

# Longest plain text document that is decoded, in characters of base64.
_LONGEST_DOCUMENT = 4_194_304
_PLAIN_FORMATS = ("txt", "md", "csv", "html")
_CALLS = ("function_call", "custom_tool_call")
_RESULTS = ("function_call_output", "custom_tool_call_output")
# What an item of a provider-side tool contains itself. What the tool found is only there if the request asked for it.
_OF_PROVIDER_TOOLS = ("name", "arguments", "code", "queries", "action", "operation", "output", "outputs", "results")
# Parameters of the Responses API with which the provider adds what it stored.
_STORED = ("previous_response_id", "conversation", "prompt")


@dataclass(slots=True)
class Turn:
    """One message.

    Attributes:
        role: As the provider writes it.
        texts: Its text parts.
        name: The author's name, if there is one.
        calls: Names and arguments of the tools that it calls.
        result_of: Name of the tool whose result it is; ``None`` for another message.
        images: Images in it.
        is_partial: Whether it contains parts that cannot be counted.
    """

    role: str
    texts: list[str] = field(default_factory=list)
    name: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)
    result_of: str | None = None
    images: list[Image] = field(default_factory=list)
    is_partial: bool = False

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join(self.texts)

    def add(self, content: object) -> None:
        """Add content: a text, or parts in the format of any provider."""
        if not is_list(content):
            self.texts.append(text(content))
            return
        for part in items(content):
            self._add_part(part)

    def _add_part(self, part: object) -> None:
        words = text(part) or text(get(part, "text", "refusal"))
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
            call = part if call is None else call
            self.calls.append((text(get(call, "name")), to_json(get(call, "input", "args"))))
        elif kind == "tool_result":
            self.add(get(part, "content"))
        elif result is not None:
            self.texts.append(text(get(result, "name")) + to_json(get(result, "response")))
            self.add(get(result, "content"))
        elif get(part, "json") is not None:
            self.texts.append(to_json(get(part, "json")))
        elif get(part, "guardContent") is not None:
            self._add_part(dig(part, "guardContent.text"))
        elif (document := _plain_document(part)) is not None:
            self.texts.append(document)
        elif get(part, "text", "cachePoint") is None:  # an empty text and a mark for the cache cost nothing
            # A PDF, sound, film, reasoning, what a tool of the provider found, or something new.
            self.is_partial |= part is not None


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call; ``parameters`` is a JSON schema."""

    name: str
    description: str = ""
    parameters: Any = None


@dataclass(frozen=True, slots=True)
class AnswerSchema:
    """A JSON schema that the answer must follow."""

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
        forced: Name of the only function that must be called; for other APIs than OpenAI's, not empty if one must.
        searches_web: Whether the model may use OpenAI's web search.
        is_partial: Whether the provider adds what the request does not contain, for example by tools of its own.
    """

    turns: list[Turn] = field(default_factory=list)
    tools: list[Tool] = field(default_factory=list)
    answer: AnswerSchema | None = None
    forced: str = ""
    searches_web: bool = False
    is_partial: bool = False

    def add(self, role: str, content: object) -> Turn:
        """Add a message and return it."""
        turn = Turn(role)
        turn.add(content)
        self.turns.append(turn)
        return turn


def _plain_document(part: object) -> str | None:
    """Return the text of a plain text document of Anthropic, Bedrock or Gemini; ``None`` for anything else."""
    source = get(part, "source")
    if text(get(part, "type")) == "document":
        content = get(source, "content")
        if content is not None:
            return text(content) + "".join(text(get(block, "text")) for block in items(content))
        return text(get(source, "data")) if text(get(source, "type")) == "text" else None
    document = get(part, "document")
    blob = get(part, "inlineData", "inline_data")
    if text(get(document, "format")) in _PLAIN_FORMATS:
        data = dig(document, "source.bytes")
    elif text(get(blob, "mimeType", "mime_type")).startswith("text/"):
        data = get(blob, "data")
    else:
        return None
    if not is_a(data, bytes, bytearray):
        characters = text(data)[:_LONGEST_DOCUMENT]
        try:
            data = base64.b64decode(characters[: len(characters) // 4 * 4])
        except ValueError:
            return None
    return bytes(data).decode("utf-8", "replace") or None


def _tool_of(tool: object) -> Tool:
    parameters = plain_json(get(tool, "parameters", "parametersJsonSchema", "parameters_json_schema", "input_schema"))
    return Tool(text(get(tool, "name")), text(get(tool, "description")), parameters)


def _answer_of(schema: object) -> AnswerSchema:
    return AnswerSchema(text(get(schema, "name")), text(get(schema, "description")), plain_json(get(schema, "schema")))


def from_chat(request: object) -> Conversation:
    """Read a request of OpenAI's chat completions."""
    conversation = Conversation(is_partial=get(request, "web_search_options") is not None)
    called: dict[str, str] = {}
    for message in items(get(request, "messages")):
        turn = conversation.add(text(get(message, "role")), get(message, "content"))
        ids = []
        for call in items(get(message, "tool_calls")):
            function = get(call, "function", "custom")
            turn.calls.append((text(get(function, "name")), to_json(get(function, "arguments", "input"))))
            ids.append(text(get(call, "id")))
        if len(ids) == 1:  # the results of parallel calls do not contain the function's name
            called[ids[0]] = turn.calls[0][0]
        function = get(message, "function_call")
        if function is not None:
            turn.calls.append((text(get(function, "name")), to_json(get(function, "arguments"))))
        if turn.role in ("tool", "function"):
            turn.result_of = called.get(text(get(message, "tool_call_id")))
        else:
            turn.name = text(get(message, "name"))
        turn.is_partial |= get(message, "audio", "reasoning_details") is not None
    for tool in items(get(request, "tools")):
        function = get(tool, "function")
        if function is not None:
            conversation.tools.append(_tool_of(function))
        else:
            conversation.is_partial = True
    conversation.tools.extend(map(_tool_of, items(get(request, "functions"))))
    schema = dig(request, "response_format.json_schema")
    conversation.answer = _answer_of(schema) if schema is not None else None
    choice = get(request, "tool_choice", "function_call")
    conversation.forced = text(get(get(choice, "function"), "name")) or text(get(choice, "name"))
    return conversation


def from_responses(request: object) -> Conversation:
    """Read a request of OpenAI's Responses API, whose input is a list of items of many kinds."""
    conversation = Conversation()
    stored = [get(request, name) for name in _STORED]
    # A library's own mark for "not given" is neither text nor a mapping.
    conversation.is_partial = any(text(one) or is_record(one) for one in stored)
    if text(get(request, "instructions")):
        conversation.add("developer", get(request, "instructions"))
    given = get(request, "input")
    if text(given):
        conversation.add("user", given)
    listed = list(items(given))
    _add_items(listed, conversation)
    _add_tools(items(get(request, "tools")), conversation)
    schema, choice = dig(request, "text.format"), get(request, "tool_choice")
    conversation.answer = _answer_of(schema) if text(get(schema, "type")) == "json_schema" else None
    conversation.forced = text(get(choice, "name")) if text(get(choice, "type")) == "function" else ""
    return conversation


def _add_items(listed: Iterable[object], conversation: Conversation) -> None:
    """Add a turn for each item. Tool calls that follow each other were made at once, and are one turn."""
    called: dict[str, str] = {}
    together: Turn | None = None
    for item in listed:
        kind = text(get(item, "type")) or "message"
        before, together = together, None
        if kind == "message":
            conversation.add(text(get(item, "role")), get(item, "content"))
        elif kind in _CALLS:
            name = text(get(item, "name"))
            called[text(get(item, "call_id"))] = name
            together = before or conversation.add("assistant", None)
            together.calls.append((name, to_json(get(item, "arguments", "input"))))
        elif kind in _RESULTS:
            conversation.add("tool", get(item, "output")).result_of = called.get(text(get(item, "call_id")), "")
        elif kind == "mcp_list_tools":
            _add_tools((item,), conversation)
        else:  # of a provider-side tool, or reasoning, which the request does not show
            conversation.is_partial = True
            screenshot = image_in(get(item, "output"))
            parts = [to_json(get(item, name)) for name in _OF_PROVIDER_TOOLS] if kind != "reasoning" else []
            if screenshot is not None:
                conversation.add("tool", None).images.append(screenshot)
            elif any(parts):
                conversation.add("assistant", "\n".join(filter(None, parts)))


def _add_tools(listed: Iterable[object], conversation: Conversation) -> None:
    """Add functions, those of namespaces and of listed MCP servers, and the provider's own tools."""
    for tool in listed:
        kind, inner = text(get(tool, "type")), get(tool, "tools")
        if kind == "function":
            conversation.tools.append(_tool_of(tool))
        elif kind == "custom":
            words = (text(get(tool, "description")), text(dig(tool, "format.definition")))
            conversation.tools.append(Tool(text(get(tool, "name")), "\n".join(filter(None, words))))
        elif inner is not None:
            conversation.tools.extend(map(_tool_of, items(inner)))
        else:
            conversation.is_partial = True
            conversation.searches_web |= kind.startswith("web_search")


def from_messages(request: object) -> Conversation:
    """Read a request of Anthropic's Messages API."""
    conversation = Conversation(is_partial=get(request, "mcp_servers", "container") is not None)
    if get(request, "system") is not None:
        conversation.add("system", get(request, "system"))
    for message in items(get(request, "messages")):
        conversation.add(text(get(message, "role")), get(message, "content"))
    for tool in items(get(request, "tools")):
        # A deferred tool is only in the prompt if the model searches for it.
        if get(tool, "input_schema") is not None and get(tool, "defer_loading") is not True:
            conversation.tools.append(_tool_of(tool))
        else:
            conversation.is_partial = True
    kind = text(dig(request, "tool_choice.type"))
    conversation.forced = kind if kind in ("any", "tool") else ""
    schema = plain_json(dig(request, "output_config.format.schema", "output_format.schema"))
    conversation.answer = AnswerSchema("", "", schema) if schema is not None else None
    return conversation


def from_converse(request: object) -> Conversation:
    """Read a request of Bedrock's Converse API."""
    conversation = Conversation()
    if next(items(get(request, "system")), None) is not None:
        conversation.add("system", get(request, "system"))
    for message in items(get(request, "messages")):
        conversation.add(text(get(message, "role")), get(message, "content"))
    for tool in items(dig(request, "toolConfig.tools")):
        spec = get(tool, "toolSpec")
        if spec is not None:
            schema = plain_json(dig(spec, "inputSchema.json"))
            conversation.tools.append(Tool(text(get(spec, "name")), text(get(spec, "description")), schema))
        elif get(tool, "cachePoint") is None:
            conversation.is_partial = True
    choice = dig(request, "toolConfig.toolChoice")
    conversation.forced = "any" if get(choice, "any", "tool") is not None else ""
    conversation.is_partial |= dig(request, "additionalModelRequestFields.tools") is not None
    return conversation


def from_generate(request: object) -> Conversation:
    """Read a request of Gemini's generateContent, over HTTP or as arguments of google-genai."""
    conversation = Conversation(
        is_partial=dig(request, "cachedContent", "cached_content", "config.cached_content") is not None
    )
    instruction = dig(request, "systemInstruction", "system_instruction", "config.system_instruction")
    contents = get(request, "contents")
    contents = list(items(contents)) if is_list(contents) else [contents] if contents is not None else []
    for role, content in (("system", instruction), *((text(get(one, "role")), one) for one in contents)):
        parts = get(content, "parts")
        if content is not None:
            conversation.add(role, parts if is_list(parts) else [content if parts is None else parts])
    for group in items(dig(request, "tools", "config.tools")):
        functions = get(group, "functionDeclarations", "function_declarations")
        conversation.tools.extend(map(_tool_of, items(functions)))
        if functions is None:
            conversation.is_partial = True
    return conversation
