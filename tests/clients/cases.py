"""One list of calls, all that users make of a client; every test that holds for any call goes through it."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ldai_integrations.records import Usage

from . import makers

Tick = Callable[[], None]

ASK: list[Any] = [{"role": "user", "content": "Hi"}]
CONVERSE: dict[str, Any] = {
    "modelId": "amazon.nova-lite-v1:0",
    "messages": [{"role": "user", "content": [{"text": "Hi"}]}],
}
CHAT: dict[str, Any] = {"model": "gpt-4o-mini", "messages": ASK}
USAGE: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
RESPONSES: dict[str, Any] = {"model": "gpt-4o-mini", "input": "Hi"}
MESSAGES: dict[str, Any] = {"model": "claude-for-tests", "max_tokens": 64, "messages": ASK}
GENERATE: dict[str, Any] = {"model": "gemini-2.5-flash", "contents": "Hi"}
MISTRAL: dict[str, Any] = {"model": "mistral-small-latest", "messages": ASK}
CONVERSATION: dict[str, Any] = {"model": "mistral-small-latest", "inputs": "Hi"}
INTERACTION: dict[str, Any] = {"model": "gemini-2.5-flash", "input": "Hi"}
COHERE: dict[str, Any] = {"model": "command-r", "messages": ASK}
CLAUDE: dict[str, Any] = {"modelId": "anthropic.claude-for-tests", "body": json.dumps({"messages": ASK})}


def totals(usage: Usage | None) -> Usage | None:
    """Return a usage without the counts that some of the providers do not report."""
    return usage and replace(usage, cached_input_tokens=None, reasoning_tokens=None)


@dataclass(frozen=True)
class Case:
    """A way to call a provider.

    Attributes:
        name: For the reader.
        make: Makes the client.
        call: Calls it, and returns the text of the answer; a coroutine function for an async client. It calls
            ``tick`` for every item of a stream.
        first_token: At which item of the stream there is text; 0 where the answer comes whole.
    """

    name: str
    make: makers.Make
    call: Callable[[Any, Tick], Any]
    first_token: int = 0

    def run(self, client: Any, tick: Tick) -> Any:
        """Call, and return the text."""
        if not inspect.iscoroutinefunction(self.call):
            return self.call(client, tick)

        async def finished() -> Any:
            try:
                return await self.call(client, tick)
            finally:
                close = getattr(client, "close", None)
                if inspect.iscoroutinefunction(close):
                    await close()

        return asyncio.run(finished())


def _joined(stream: Any, tick: Tick, text: Callable[[Any], Any]) -> str:
    parts = []
    for item in stream:
        tick()
        parts.append(text(item) or "")
    return "".join(parts)


async def _ajoined(stream: Any, tick: Tick, text: Callable[[Any], Any]) -> str:
    parts = []
    async for item in stream:
        tick()
        parts.append(text(item) or "")
    return "".join(parts)


def _content(response: Any) -> Any:
    return response.choices[0].message.content


def _delta(chunk: Any) -> Any:
    return chunk.choices[0].delta.content if chunk.choices else ""


def _event(event: Any) -> Any:
    return event.delta if event.type == "response.output_text.delta" else ""


def _block(event: Any) -> Any:
    return event.delta.text if event.type == "content_block_delta" else ""


def _data(event: Any) -> Any:
    return _delta(event.data)


def _cohere(event: Any) -> Any:
    return event.delta.message.content.text if event.type == "content-delta" else ""


def _sse(line: str) -> Any:
    if not line.startswith("data: {"):
        return ""
    choices = json.loads(line.removeprefix("data: "))["choices"]
    return choices[0]["delta"].get("content") if choices else ""


def _chat_lines(client: Any, tick: Tick) -> str:
    with client.chat.completions.with_streaming_response.create(**CHAT, **USAGE) as response:
        return _joined(response.iter_lines(), tick, _sse)


def _chat_unparsed(client: Any, tick: Tick) -> Any:
    with client.chat.completions.with_streaming_response.create(**CHAT) as response:
        return response.json()["choices"][0]["message"]["content"]


def _chat_manager(client: Any, tick: Tick) -> str:
    with client.chat.completions.stream(**CHAT, stream_options={"include_usage": True}) as stream:
        return _joined(stream, tick, lambda event: event.delta if event.type == "content.delta" else "")


def _chat_final(client: Any, tick: Tick) -> Any:
    with client.chat.completions.stream(**CHAT, stream_options={"include_usage": True}) as stream:
        return _content(stream.get_final_completion())


def _responses_final(client: Any, tick: Tick) -> Any:
    with client.responses.stream(**RESPONSES) as stream:
        return stream.get_final_response().output_text


def _messages_text(client: Any, tick: Tick) -> str:
    with client.messages.stream(**MESSAGES) as stream:
        return _joined(stream.text_stream, tick, str)


def _messages_final(client: Any, tick: Tick) -> Any:
    with client.beta.messages.stream(**MESSAGES) as stream:
        return stream.get_final_message().content[0].text


def _invoke_stream(client: Any, tick: Tick) -> str:
    def text(event: Any) -> Any:
        return json.loads(event["chunk"]["bytes"]).get("delta", {}).get("text")

    return _joined(client.invoke_model_with_response_stream(**CLAUDE)["body"], tick, text)


async def _async_chat(client: Any, tick: Tick) -> Any:
    return _content(await client.chat.completions.create(**CHAT))


async def _async_chat_stream(client: Any, tick: Tick) -> str:
    return await _ajoined(await client.chat.completions.create(**CHAT, **USAGE), tick, _delta)


async def _async_chat_parse(client: Any, tick: Tick) -> Any:
    return _content(await client.chat.completions.parse(**CHAT))


async def _async_chat_raw(client: Any, tick: Tick) -> Any:
    raw = await client.chat.completions.with_raw_response.create(**CHAT)
    return _content(raw.parse())


async def _async_chat_lines(client: Any, tick: Tick) -> str:
    async with client.chat.completions.with_streaming_response.create(**CHAT, **USAGE) as response:
        return await _ajoined(response.iter_lines(), tick, _sse)


async def _async_chat_parsed(client: Any, tick: Tick) -> Any:
    async with client.chat.completions.with_streaming_response.create(**CHAT) as response:
        return _content(await response.parse())


async def _async_responses_manager(client: Any, tick: Tick) -> str:
    async with client.responses.stream(**RESPONSES) as stream:
        return await _ajoined(stream, tick, _event)


async def _async_messages(client: Any, tick: Tick) -> Any:
    return (await client.messages.create(**MESSAGES)).content[0].text


async def _async_messages_parsed(client: Any, tick: Tick) -> Any:
    return (await client.beta.messages.parse(**MESSAGES)).content[0].text


async def _async_messages_stream(client: Any, tick: Tick) -> str:
    return await _ajoined(await client.messages.create(**MESSAGES, stream=True), tick, _block)


async def _async_messages_text(client: Any, tick: Tick) -> str:
    async with client.messages.stream(**MESSAGES) as stream:
        return await _ajoined(stream.text_stream, tick, str)


async def _async_generate(client: Any, tick: Tick) -> Any:
    async with client.aio as aio:
        return (await aio.models.generate_content(**GENERATE)).text


async def _async_generate_stream(client: Any, tick: Tick) -> str:
    stream = await client.aio.models.generate_content_stream(**GENERATE)
    return await _ajoined(stream, tick, lambda chunk: chunk.text)


async def _async_gemini_chat(client: Any, tick: Tick) -> Any:
    return (await client.aio.chats.create(model="gemini-2.5-flash").send_message("Hi")).text


async def _async_mistral(client: Any, tick: Tick) -> Any:
    return _content(await client.chat.complete_async(**MISTRAL))


async def _async_mistral_stream(client: Any, tick: Tick) -> str:
    async with await client.chat.stream_async(**MISTRAL) as stream:
        return await _ajoined(stream, tick, _data)


async def _async_cohere(client: Any, tick: Tick) -> Any:
    return (await client.chat(**COHERE)).message.content[0].text


async def _async_cohere_stream(client: Any, tick: Tick) -> str:
    return await _ajoined(client.chat_stream(**COHERE), tick, _cohere)


def _mistral_stream(client: Any, tick: Tick) -> str:
    with client.chat.stream(**MISTRAL) as stream:
        return _joined(stream, tick, _data)


def _entry(event: Any) -> Any:
    return event.data.content if event.event == "message.output.delta" else ""


def _conversation_stream(client: Any, tick: Tick) -> str:
    with client.beta.conversations.append_stream(conversation_id="conv-1", inputs="Hi") as stream:
        return _joined(stream, tick, _entry)


async def _async_conversation(client: Any, tick: Tick) -> Any:
    return (await client.beta.conversations.start_async(**CONVERSATION)).outputs[0].content


async def _async_conversation_stream(client: Any, tick: Tick) -> str:
    async with await client.beta.conversations.start_stream_async(**CONVERSATION) as stream:
        return await _ajoined(stream, tick, _entry)


def _step(event: Any) -> Any:
    return event.delta.text if event.event_type == "step.delta" else ""


async def _async_interaction(client: Any, tick: Tick) -> Any:
    return (await client.aio.interactions.create(**INTERACTION)).steps[0].content[0].text


async def _async_interaction_stream(client: Any, tick: Tick) -> str:
    return await _ajoined(await client.aio.interactions.create(**INTERACTION, stream=True), tick, _step)


def _cohere_raw_stream(client: Any, tick: Tick) -> str:
    with client.with_raw_response.chat_stream(**COHERE) as response:
        return _joined(response.data, tick, _cohere)


CASES = [
    Case("chat", makers.openai, lambda client, _: _content(client.chat.completions.create(**CHAT))),
    Case("chat parse", makers.openai, lambda client, _: _content(client.chat.completions.parse(**CHAT))),
    Case("chat beta", makers.openai, lambda client, _: _content(client.beta.chat.completions.parse(**CHAT))),
    Case(
        "chat stream",
        makers.openai,
        lambda client, tick: _joined(client.chat.completions.create(**CHAT, **USAGE), tick, _delta),
        first_token=1,
    ),
    Case("chat manager", makers.openai, _chat_manager, first_token=-1),
    Case("chat manager, final", makers.openai, _chat_final, first_token=-1),
    Case(
        "chat raw",
        makers.openai,
        lambda client, _: _content(client.with_raw_response.chat.completions.create(**CHAT).parse()),
    ),
    Case(
        "chat raw, unparsed",
        makers.openai,
        lambda client, _: json.loads(client.chat.with_raw_response.completions.create(**CHAT).content)["choices"][0][
            "message"
        ]["content"],
    ),
    Case(
        "chat raw stream",
        makers.openai,
        lambda client, tick: _joined(
            client.chat.completions.with_raw_response.create(**CHAT, **USAGE).parse(), tick, _delta
        ),
        first_token=-1,
    ),
    Case("chat streaming response", makers.openai, _chat_unparsed),
    Case("chat streaming response, lines", makers.openai, _chat_lines, first_token=-1),
    Case(
        "completions",
        makers.openai,
        lambda client, _: client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Hi").choices[0].text,
    ),
    Case("responses", makers.openai, lambda client, _: client.responses.create(**RESPONSES).output_text),
    Case(
        "responses stream",
        makers.openai,
        lambda client, tick: _joined(client.responses.create(**RESPONSES, stream=True), tick, _event),
        first_token=3,
    ),
    Case("responses manager, final", makers.openai, _responses_final, first_token=-1),
    Case(
        "with_options",
        makers.openai,
        lambda client, _: _content(client.with_options(timeout=9).copy(max_retries=2).chat.completions.create(**CHAT)),
    ),
    Case("async chat", makers.async_openai, _async_chat),
    Case("async chat stream", makers.async_openai, _async_chat_stream, first_token=1),
    Case("async chat parse", makers.async_openai, _async_chat_parse),
    Case("async chat raw", makers.async_openai, _async_chat_raw),
    Case("async chat streaming response", makers.async_openai, _async_chat_parsed),
    Case("async chat streaming response, lines", makers.async_openai, _async_chat_lines, first_token=-1),
    Case("async responses manager", makers.async_openai, _async_responses_manager, first_token=3),
    Case("messages", makers.anthropic, lambda client, _: client.messages.create(**MESSAGES).content[0].text),
    Case(
        "messages stream",
        makers.anthropic,
        lambda client, tick: _joined(client.messages.create(**MESSAGES, stream=True), tick, _block),
        first_token=-1,
    ),
    Case("messages manager, text", makers.anthropic, _messages_text, first_token=-1),
    Case("messages manager, final", makers.anthropic, _messages_final, first_token=-1),
    Case(
        "messages raw",
        makers.anthropic,
        lambda client, _: client.messages.with_raw_response.create(**MESSAGES).parse().content[0].text,
    ),
    Case("async messages", makers.async_anthropic, _async_messages),
    Case("async messages parse", makers.async_anthropic, _async_messages_parsed),
    Case("messages parse", makers.anthropic, lambda client, _: client.beta.messages.parse(**MESSAGES).content[0].text),
    Case("async messages stream", makers.async_anthropic, _async_messages_stream, first_token=-1),
    Case("async messages manager, text", makers.async_anthropic, _async_messages_text, first_token=-1),
    Case("generate_content", makers.genai, lambda client, _: client.models.generate_content(**GENERATE).text),
    Case(
        "generate_content_stream",
        makers.genai,
        lambda client, tick: _joined(client.models.generate_content_stream(**GENERATE), tick, lambda chunk: chunk.text),
        first_token=-1,
    ),
    Case(
        "gemini chat",
        makers.genai,
        lambda client, _: client.chats.create(model="gemini-2.5-flash").send_message("Hi").text,
    ),
    Case(
        "gemini chat stream",
        makers.genai,
        lambda client, tick: _joined(
            client.chats.create(model="gemini-2.5-flash").send_message_stream("Hi"), tick, lambda chunk: chunk.text
        ),
        first_token=-1,
    ),
    Case("async generate_content", makers.genai, _async_generate),
    Case("async generate_content_stream", makers.genai, _async_generate_stream, first_token=-1),
    Case("async gemini chat", makers.genai, _async_gemini_chat),
    Case(
        "interaction",
        makers.genai_interactions,
        lambda client, _: client.interactions.create(**INTERACTION).steps[0].content[0].text,
    ),
    Case(
        "interaction stream",
        makers.genai_interactions,
        lambda client, tick: _joined(client.interactions.create(**INTERACTION, stream=True), tick, _step),
        first_token=-1,
    ),
    Case("async interaction", makers.genai_interactions, _async_interaction),
    Case("async interaction stream", makers.genai_interactions, _async_interaction_stream, first_token=-1),
    Case(
        "conversation",
        makers.mistral,
        lambda client, _: client.beta.conversations.start(**CONVERSATION).outputs[0].content,
    ),
    Case("conversation stream", makers.mistral, _conversation_stream, first_token=1),
    Case("async conversation", makers.mistral, _async_conversation),
    Case("async conversation stream", makers.mistral, _async_conversation_stream, first_token=1),
    Case("mistral", makers.mistral, lambda client, _: _content(client.chat.complete(**MISTRAL))),
    Case("mistral stream", makers.mistral, _mistral_stream, first_token=1),
    Case("async mistral", makers.mistral, _async_mistral),
    Case("async mistral stream", makers.mistral, _async_mistral_stream, first_token=1),
    Case("cohere v1", makers.cohere, lambda client, _: client.chat(message="Hi").text),
    Case(
        "cohere v1 stream",
        makers.cohere,
        lambda client, tick: _joined(
            client.chat_stream(message="Hi"), tick, lambda one: one.text if one.event_type == "text-generation" else ""
        ),
        first_token=1,
    ),
    Case("cohere v1's v2", makers.cohere, lambda client, _: client.v2.chat(**COHERE).message.content[0].text),
    Case("cohere", makers.cohere_v2, lambda client, _: client.chat(**COHERE).message.content[0].text),
    Case(
        "cohere stream",
        makers.cohere_v2,
        lambda client, tick: _joined(client.chat_stream(**COHERE), tick, _cohere),
        first_token=2,
    ),
    Case(
        "cohere raw",
        makers.cohere_v2,
        lambda client, _: client.with_raw_response.chat(**COHERE).data.message.content[0].text,
    ),
    Case("cohere raw stream", makers.cohere_v2, _cohere_raw_stream, first_token=-1),
    Case("async cohere", makers.async_cohere_v2, _async_cohere),
    Case("async cohere stream", makers.async_cohere_v2, _async_cohere_stream, first_token=2),
    Case(
        "converse",
        makers.bedrock,
        lambda client, _: client.converse(**CONVERSE)["output"]["message"]["content"][0]["text"],
    ),
    Case(
        "converse_stream",
        makers.bedrock,
        lambda client, tick: _joined(
            client.converse_stream(**CONVERSE)["stream"],
            tick,
            lambda event: event.get("contentBlockDelta", {}).get("delta", {}).get("text"),
        ),
        first_token=1,
    ),
    Case(
        "invoke_model",
        makers.bedrock,
        lambda client, _: json.load(client.invoke_model(**CLAUDE)["body"])["content"][0]["text"],
    ),
    Case(
        "invoke_model, by chunks",
        makers.bedrock,
        lambda client, _: json.loads(b"".join(client.invoke_model(**CLAUDE)["body"].iter_chunks(7)))["content"][0][
            "text"
        ],
    ),
    Case(
        "invoke_model, counted in headers",
        makers.bedrock,
        lambda client, _: json.loads(
            client.invoke_model(modelId="mistral.mistral-7b", body='{"prompt": "Hi"}')["body"].read()
        )["outputs"][0]["text"],
    ),
    Case("invoke_model_with_response_stream", makers.bedrock, _invoke_stream, first_token=3),
]

#: Calls that answer with vectors: a provider, a call, and the input tokens it tells; ``None``: it tells nothing.
EMBEDDINGS: list[tuple[str, makers.Make, Callable[[Any], Any], bool]] = [
    (
        "openai",
        makers.openai,
        lambda client: client.embeddings.create(model="text-embedding-3-small", input="Hi there"),
        True,
    ),
    (
        "mistral",
        makers.mistral,
        lambda client: client.embeddings.create(model="mistral-embed", inputs=["Hi there"]),
        True,
    ),
    (
        "cohere",
        makers.cohere_v2,
        lambda client: client.embed(
            model="embed-v4.0", texts=["Hi there"], input_type="search_query", embedding_types=["float"]
        ),
        True,
    ),
    (
        "genai",
        makers.genai,
        lambda client: client.models.embed_content(model="gemini-embedding-001", contents="Hi there"),
        False,
    ),
]
