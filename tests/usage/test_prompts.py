"""Prompts estimated from the text that the models are shown."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from typing import Any

import pytest

from ldai_integrations.usage import count_tokens, estimate_prompt, warm_up

Json = dict[str, Any]

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city.\n\nIn metric units.",
        "parameters": {
            "type": "object",
            "title": "Weather",
            "properties": {
                "city": {"type": "string", "description": "The city."},
                "days": {"type": "integer", "default": 3},
                "unit": {"enum": ["C", "F"]},
                "kind": {"const": "short"},
                "tags": {"type": "array", "items": {"type": "string"}},
                "places": {"type": "array", "items": {"type": "object", "properties": {"lat": {"type": "number"}}}},
                "when": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
                "either": {"type": ["string", "integer"]},
                "place": {"$ref": "#/$defs/place"},
                "lost": {"$ref": "#/$defs/nowhere"},
                "free": {"type": "object"},
            },
            "required": ["city"],
            "$defs": {"place": {"type": "object", "title": "Place", "properties": {"next": {"$ref": "#/$defs/place"}}}},
        },
    },
}
SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "answer",
        "description": "An answer.",
        "schema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
    },
}
CALL = {"id": "c", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Graz"}'}}


@pytest.fixture(autouse=True, scope="module")
def _exact() -> None:
    """Count with OpenAI's encodings."""
    warm_up(models=["gpt-4o", "gpt-4"], timeout=60)


def estimated(request: Json, *, model: str = "gpt-4o", api: Any = "chat") -> int:
    """Return the estimated input, which is marked as one."""
    usage = estimate_prompt(request, model=model, api=api)
    assert usage is not None
    assert "input_tokens" in usage.estimated
    assert usage.input_tokens is not None
    return usage.input_tokens


@pytest.mark.parametrize(
    ("messages", "tokens"),
    [
        ([{"role": "user", "content": "Hello"}], 3 + 3 + 1 + 1),
        ([{"role": "user", "content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]}], 8),
        ([{"role": "system", "content": "Hello"}, {"role": "user", "content": "Hello"}], 13),
    ],
)
def test_plain_chat_is_exact(messages: list[Json], tokens: int) -> None:
    """A prompt has three tokens, and each message has three more, its role and its text: OpenAI's published rule."""
    assert estimated({"messages": messages}) == tokens


def test_reasoning_models_are_primed_with_one_less() -> None:
    """Reasoning models begin their answer with two tokens."""
    request = {"messages": [{"role": "user", "content": "Hello"}]}

    assert estimated(request, model="o3-mini") == estimated(request) - 1


@pytest.mark.parametrize("part", ["name", "tools", "response_format", "tool_choice"])
def test_everything_in_a_chat_request_counts(part: str) -> None:
    """Names, tools, schemas and a forced tool make the prompt longer."""
    plain: Json = {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]}
    more: dict[str, Json] = {
        "name": {"messages": [plain["messages"][0], {**plain["messages"][1], "name": "ada"}]},
        "tools": {**plain, "tools": [WEATHER]},
        "response_format": {**plain, "response_format": SCHEMA},
        "tool_choice": {**plain, "tool_choice": {"type": "function", "function": {"name": "get_weather"}}},
    }

    assert estimated(more[part]) > estimated(plain)


def test_tools_and_schema_together() -> None:
    """Tools and a schema are in the system message. Without one, they are a message of their own."""
    user = [{"role": "user", "content": "Hello"}]
    both = {"tools": [WEATHER], "response_format": SCHEMA}
    with_system = {"messages": [{"role": "system", "content": "Be brief."}, *user], **both}

    for model in ("gpt-4o", "gpt-5"):
        assert estimated({"messages": user, **both}, model=model) > estimated({"messages": user, "tools": [WEATHER]})
        assert estimated(with_system, model=model) > estimated({"messages": user, "response_format": SCHEMA})


@pytest.mark.parametrize("calls", [[CALL], [CALL, {**CALL, "id": "d"}]])
@pytest.mark.parametrize("model", ["gpt-4o", "gpt-5"])
def test_a_history_with_tools(calls: list[Json], model: str) -> None:
    """Calls and their results in the history are counted with their names and arguments."""
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "sunny"} for call in calls]
    asked = [{"role": "user", "content": "Weather?"}]
    history = [*asked, {"role": "assistant", "content": None, "tool_calls": calls}, *results]
    answered = [*history, {"role": "assistant", "content": "It is sunny."}]

    lengths = [estimated({"messages": messages}, model=model) for messages in (asked, history, answered)]

    assert lengths == sorted(set(lengths))
    assert lengths[1] - lengths[0] >= sum(count_tokens(call["function"]["arguments"]) for call in calls)


def test_the_responses_api() -> None:
    """Instructions, items, tools and a text format of a Responses API request are counted."""
    tool = {"type": "function", **WEATHER["function"]}  # type: ignore[dict-item]
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "Hello"}]},
        {"type": "function_call", "call_id": "c", "name": "get_weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "sunny"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "It is sunny."}]},
    ]
    plain = estimated({"input": "Hello"}, api="responses")

    assert plain == 8
    assert estimated({"input": "Hello", "instructions": "Be brief."}, api="responses") > plain
    lengths = [estimated({"input": items[: n + 1]}, api="responses") for n in range(len(items))]
    assert lengths == sorted(set(lengths))
    shaped = {"input": "Hello", "text": {"format": {"type": "json_schema", **SCHEMA["json_schema"]}}}  # type: ignore[dict-item]
    assert estimated(shaped, api="responses") > plain
    assert estimated({"input": "Hello", "tools": [tool, {"type": "web_search"}]}, api="responses") > plain


OTHERS: dict[str, tuple[str, Json, Json]] = {
    "messages": (
        "claude-sonnet-4",
        {"system": "Be brief.", "messages": [{"role": "user", "content": "Hello"}]},
        {
            "system": [{"type": "text", "text": "Be brief."}],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Hello"}]},
                {"role": "assistant", "content": [{"type": "tool_use", "name": "weather", "input": {"city": "Graz"}}]},
                {"role": "user", "content": [{"type": "tool_result", "content": "sunny"}]},
            ],
            "tools": [{"name": "weather", "description": "Get it.", "input_schema": {"type": "object"}}],
        },
    ),
    "converse": (
        "us.amazon.nova-pro-v1:0",
        {"system": [{"text": "Be brief."}], "messages": [{"role": "user", "content": [{"text": "Hello"}]}]},
        {
            "system": [{"text": "Be brief."}],
            "messages": [
                {"role": "user", "content": [{"text": "Hello"}]},
                {"role": "assistant", "content": [{"toolUse": {"name": "weather", "input": {"city": "Graz"}}}]},
                {"role": "user", "content": [{"toolResult": {"content": [{"text": "sunny"}, {"json": {"c": 1}}]}}]},
            ],
            "toolConfig": {"tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object"}}}}]},
        },
    ),
    "generate": (
        "gemini-2.0-flash",
        {"contents": "Hello"},
        {
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "contents": [
                {"role": "user", "parts": [{"text": "Hello"}]},
                {"role": "model", "parts": [{"functionCall": {"name": "weather", "args": {"city": "Graz"}}}]},
                {"role": "user", "parts": [{"functionResponse": {"name": "weather", "response": {"sky": "sunny"}}}]},
            ],
            "tools": [{"functionDeclarations": [{"name": "weather", "description": "Get it."}]}],
        },
    ),
}


@pytest.mark.parametrize("api", OTHERS)
def test_other_vendors_requests(api: str) -> None:
    """The system text, the history and the tools of each vendor's request are counted, and marked as estimates."""
    model, short, long = OTHERS[api]

    assert 0 < estimated(short, model=model, api=api) < estimated(long, model=model, api=api)


@pytest.mark.parametrize("given", ["Hello there", ["Hello there"], ["Hello", " there"], [9906, 1070]])
def test_embeddings_are_exact(given: Any) -> None:
    """The prompt of an embedding is its input, which may be text or tokens."""
    usage = estimate_prompt({"input": given}, model="text-embedding-3-small", api="embeddings")

    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (2, None, 2)


def png(width: int, height: int) -> bytes:
    """Return the beginning of a PNG."""
    return b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", width, height)


def gif(width: int, height: int) -> bytes:
    """Return the beginning of a GIF."""
    return b"GIF89a" + struct.pack("<HH", width, height)


def jpeg(width: int, height: int) -> bytes:
    """Return the beginning of a JPEG, with a segment before its size."""
    return b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0\x00\x11\x08" + struct.pack(">HH", height, width) + b"\x00"


def webp(width: int, height: int, kind: bytes = b"VP8X") -> bytes:
    """Return the beginning of a WebP of one of its three kinds."""
    head = b"RIFF\x00\x00\x00\x00WEBP" + kind + b"\x00\x00\x00\x00"
    if kind == b"VP8X":
        return head + b"\x00" * 4 + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    if kind == b"VP8L":
        return head + b"\x2f" + ((width - 1) | (height - 1) << 14).to_bytes(4, "little")
    return head + b"\x00" * 6 + struct.pack("<HH", width, height)


IMAGES: dict[str, Callable[[int, int], bytes]] = {
    "png": png,
    "gif": gif,
    "jpeg": jpeg,
    "webp": webp,
    "lossless webp": lambda width, height: webp(width, height, b"VP8L"),
    "lossy webp": lambda width, height: webp(width, height, b"VP8 "),
}


def with_image(data: bytes, **more: Any) -> Json:
    """Return a chat request with an image in it."""
    url = "data:image/png;base64," + base64.b64encode(data).decode()
    return {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url, **more}}]}]}


@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize(("size", "tiles"), [((512, 512), 1), ((1024, 1024), 4), ((2048, 4096), 6)])
def test_an_image_costs_its_tiles(kind: str, size: tuple[int, int], tiles: int) -> None:
    """Tiles of 512 pixels after two scalings, 85 tokens and 170 a tile: OpenAI's published examples."""
    empty = {"messages": [{"role": "user", "content": []}]}

    assert estimated(with_image(IMAGES[kind](*size))) - estimated(empty) == 85 + 170 * tiles


def test_an_image_in_low_detail() -> None:
    """In low detail every image costs the same."""
    request = with_image(png(4096, 4096), detail="low")

    assert estimated(request) == estimated(with_image(png(64, 64), detail="low"))


@pytest.mark.parametrize("data", [b"", b"\x89PNG", b"\xff\xd8\xff", b"RIFF....WEBPVP8 ", b"nothing known"])
def test_an_image_of_unknown_size(data: bytes) -> None:
    """An image whose size cannot be read counts as the smallest, and the estimate is a lower bound."""
    remote = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}

    request: Json = {"messages": [{"role": "user", "content": [remote]}]}
    usage = estimate_prompt(request, model="gpt-4o", api="chat")
    assert usage is not None
    assert usage.lower_bound
    assert usage == estimate_prompt(with_image(data), model="gpt-4o", api="chat")
    assert usage.input_tokens == estimated(with_image(png(64, 64)))


def test_images_of_other_vendors() -> None:
    """Anthropic counts pixels, and a large image costs no more than the most."""

    def message(size: int) -> Json:
        source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(png(size, size)).decode()}
        return {"messages": [{"role": "user", "content": [{"type": "image", "source": source}]}]}

    small, large, huge = (estimated(message(n), model="claude-sonnet-4", api="messages") for n in (200, 1000, 9000))
    assert small < large <= huge
    blob = {"image": {"format": "png", "source": {"bytes": png(300, 300)}}}
    assert estimated({"messages": [{"role": "user", "content": [blob]}]}, model="amazon.nova-pro", api="converse") > 20
    part = {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(png(300, 300)).decode()}}
    assert estimated({"contents": [{"parts": [part]}]}, model="gemini-2.0-flash", api="generate") > 20


@pytest.mark.parametrize("api", ["chat", "responses", "messages", "converse", "generate", "embeddings", "other"])
@pytest.mark.parametrize(
    "request_", [None, 7, "text", [], {}, {"messages": 7}, {"messages": [None, 7, {"content": 7}]}, {"input": {}}]
)
def test_what_is_no_request_has_no_estimate(api: Any, request_: Any) -> None:
    """Requests without a meaning do not raise, and have a count or none."""
    usage = estimate_prompt(request_, model=None, api=api)

    assert usage is None or (usage.input_tokens or 0) > 0


def test_a_schema_that_refers_to_itself_ends() -> None:
    """A cyclic dict, or a schema without end, is cut."""
    cyclic: Json = {"type": "object", "properties": {}}
    cyclic["properties"]["self"] = cyclic
    tool = {"type": "function", "function": {"name": "f", "parameters": cyclic}}

    usage = estimate_prompt(
        {"messages": [{"role": "user", "content": "Hi"}], "tools": [tool]}, model="gpt-4o", api="chat"
    )
    assert usage is None or usage.input_tokens


def one_page_more(part: Json, *, model: str, api: str) -> int:
    """Return what a part adds to a message."""
    key, parts = ("contents", "parts") if api == "generate" else ("messages", "content")
    text: Json = {"text": "Hi"} if api != "messages" else {"type": "text", "text": "Hi"}
    without, with_part = ({key: [{"role": "user", parts: more}]} for more in ([text], [text, part]))
    return estimated(with_part, model=model, api=api) - estimated(without, model=model, api=api)


def encoded(data: bytes) -> str:
    """Return data in base64."""
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    ("part", "model", "api"),
    [
        ({"type": "document", "source": {"type": "text", "data": "word " * 500}}, "claude-sonnet-4", "messages"),
        ({"type": "document", "source": {"content": [{"text": "word " * 500}]}}, "claude-sonnet-4", "messages"),
        ({"document": {"format": "txt", "source": {"bytes": b"word " * 500}}}, "amazon.nova-pro", "converse"),
        ({"inlineData": {"mimeType": "text/plain", "data": encoded(b"word " * 500)}}, "gemini-2.5-pro", "generate"),
        ({"guardContent": {"text": {"text": "word " * 500}}}, "amazon.nova-pro", "converse"),
    ],
)
def test_a_plain_document_costs_its_text(part: Json, model: str, api: str) -> None:
    """Text is counted wherever a request puts it."""
    assert 480 <= one_page_more(part, model=model, api=api) <= 580


def test_gemini_2_crops_large_images() -> None:
    """An image of at most 384 pixels square costs one tile; a larger one also the tiles it is cut into."""

    def cost(size: tuple[int, int]) -> int:
        part = {"inlineData": {"mimeType": "image/png", "data": encoded(png(*size))}}
        return one_page_more(part, model="gemini-2.0-flash", api="generate")

    assert (cost((384, 384)), cost((640, 480))) == (258, 1_290)


def test_claude_is_shown_an_answers_schema() -> None:
    """A schema counts in both places that the API has for it; a system message costs its text."""
    question: Json = {"messages": [{"role": "user", "content": "Hi"}]}
    answer = {"type": "json_schema", "schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
    plain, early, late, instructed = (
        estimated({**question, **more}, model="claude-sonnet-4-5", api="messages")
        for more in ({}, {"output_format": answer}, {"output_config": {"format": answer}}, {"system": "Hi"})
    )

    assert early == late > plain
    assert instructed == plain + 1


def of_chat(*parts: Json, **more: Any) -> Json:
    """Return a chat request with these parts."""
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}, *parts]}], **more}


def of_responses(*listed: Json, **more: Any) -> Json:
    """Return a Responses API request with these items."""
    return {"input": [{"role": "user", "content": "Hi"}, *listed], **more}


def of_generate(*parts: Json, **more: Any) -> Json:
    """Return a Gemini request with these parts."""
    return {"contents": [{"role": "user", "parts": [{"text": "Hi"}, *parts]}], **more}


def of_converse(*parts: Json, **more: Any) -> Json:
    """Return a Converse request with these parts."""
    return {"messages": [{"role": "user", "content": [{"text": "Hi"}, *parts]}], **more}


SEARCH: Json = {"type": "web_search"}
URL: Json = {"url": "https://example.com/cat.png"}


@pytest.mark.parametrize(
    ("api", "request_"),
    [
        ("chat", of_chat({"type": "input_audio", "input_audio": {"data": "x", "format": "wav"}})),
        ("chat", of_chat({"type": "file", "file": {"file_id": "f"}})),
        ("chat", of_chat({"type": "image_url", "image_url": URL})),
        ("chat", of_chat(web_search_options={})),
        ("chat", of_chat(extra_body={"data_sources": [{"type": "azure_search"}]})),
        ("chat", of_chat(tools=[SEARCH])),
        ("responses", of_responses({"role": "user", "content": [{"type": "input_file", "file_id": "f"}]})),
        ("responses", of_responses({"role": "user", "content": [{"type": "input_image", "file_id": "f"}]})),
        ("responses", of_responses({"type": "reasoning", "encrypted_content": "x"})),
        ("responses", of_responses({"type": "item_reference", "id": "i"})),
        ("responses", of_responses({"type": "compaction", "encrypted_content": "x"})),
        *(
            ("responses", of_responses(tools=[{"type": kind}]))
            for kind in ("web_search", "file_search", "computer_use_preview", "code_interpreter", "mcp")
        ),
        ("responses", of_responses(previous_response_id="r")),
        ("responses", of_responses(conversation={"id": "c"})),
        ("responses", of_responses(prompt={"id": "p"})),
        ("messages", of_chat({"type": "document", "source": {"type": "base64", "data": "x"}})),
        ("messages", of_chat({"type": "image", "source": {"type": "url", **URL}})),
        ("messages", of_chat({"type": "redacted_thinking", "data": "x"})),
        ("messages", of_chat({"type": "web_search_tool_result", "content": []})),
        ("messages", of_chat(tools=[{"type": "computer_20250124", "name": "computer"}])),
        ("messages", of_chat(mcp_servers=[{"url": "https://example.com"}])),
        ("converse", of_converse({"document": {"format": "pdf", "source": {"bytes": b"x"}}})),
        ("converse", of_converse({"video": {"format": "mp4", "source": {}}})),
        ("converse", of_converse({"image": {"format": "png", "source": {"s3Location": {}}}})),
        ("converse", of_converse({"reasoningContent": {"redactedContent": b"x"}})),
        ("generate", of_generate({"inlineData": {"mimeType": "audio/wav", "data": "x"}})),
        ("generate", of_generate({"inlineData": {"mimeType": "application/pdf", "data": "x"}})),
        ("generate", of_generate({"fileData": {"mimeType": "video/mp4", "fileUri": "x"}})),
        ("generate", of_generate({"functionCall": {"name": "f"}, "thoughtSignature": "x"})),
        ("generate", of_generate(tools=[{"googleSearch": {}}])),
        ("generate", of_generate(cachedContent="cachedContents/1")),
    ],
)
def test_what_cannot_be_counted_makes_a_lower_bound(api: Any, request_: Json) -> None:
    """The rest of the request is counted, and the estimate is marked as a lower bound."""
    usage = estimate_prompt(request_, model=None, api=api)

    assert usage is not None
    assert usage.input_tokens
    assert usage.lower_bound


@pytest.mark.parametrize(
    ("api", "request_"),
    [
        ("chat", of_chat({"type": "text", "text": ""}, tools=[WEATHER], response_format=SCHEMA)),
        ("chat", with_image(png(512, 512))),
        ("chat", {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "tool_calls": [CALL]}]}),
        ("responses", of_responses({"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"})),
        ("messages", of_chat({"type": "tool_result", "content": [{"type": "text", "text": "sunny"}]})),
        ("converse", of_converse({"cachePoint": {"type": "default"}})),
        ("generate", of_generate({"functionResponse": {"name": "f", "response": {"a": 1}}})),
    ],
)
def test_what_can_be_counted_makes_none(api: Any, request_: Json) -> None:
    """Text, tools, schemas, tool results and images of known size are counted completely."""
    usage = estimate_prompt(request_, model=None, api=api)

    assert usage is not None
    assert not usage.lower_bound
