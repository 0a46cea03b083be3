"""The model server with the real openai package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest

from ldai_integrations._example_apps.demo.readback import read_bill
from ldai_integrations._example_apps.model_server import tokens

from ..waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = "gpt-4o-mini"
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "look-up", "parameters": {"type": "object", "required": ["order_id"]}}}
]


def prompt(question: str) -> list[Any]:
    """Return a prompt with a known number of tokens besides those of the question."""
    return [{"role": "system", "content": "Be good."}, {"role": "user", "content": question}]


def last_call(address: str) -> dict[str, Any]:
    """Return the last call of the bill."""
    return read_bill(address)[-1]


@pytest.fixture(scope="module")
def client(model_server: str) -> Iterator[openai.OpenAI]:
    """Yield the real client, with its retries."""
    with openai.OpenAI(base_url=f"http://{model_server}/v1", api_key="not-needed") as client:
        yield client


def test_answer_carries_true_usage(client: openai.OpenAI, model_server: str) -> None:
    """The usage of an answer is the number of tokens in the prompt and in the text."""
    response = client.chat.completions.create(model=MODEL, messages=prompt("Why?"))
    usage, text = response.usage, response.choices[0].message.content
    assert usage is not None
    assert text is not None
    assert "Why?" in text
    assert usage.prompt_tokens == 4 + 4 + len(["Be", " good", "."]) + len(["Why", "?"])
    assert usage.completion_tokens == len(tokens(text))
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert last_call(model_server)["state"] == "complete"


def test_tokens_make_up_the_text() -> None:
    """The tokens of a text are exactly the text."""
    for text in ("", " ", "Déjà vu, twice!\n\n  Yes: 12345. ", "a_b  c"):
        assert "".join(tokens(text)) == text


def test_stream_has_the_chunks_of_openai(client: openai.OpenAI) -> None:
    """A stream has the role, one delta per token, the finish reason, and the usage in a chunk of its own."""
    whole = client.chat.completions.create(model=MODEL, messages=prompt("Why?"))
    stream = client.chat.completions.create(
        model=MODEL, messages=prompt("Why?"), stream=True, stream_options={"include_usage": True}
    )
    first, *deltas, end, usage = list(stream)
    assert (first.choices[0].delta.role, first.choices[0].delta.content) == ("assistant", "")
    assert "".join(chunk.choices[0].delta.content or "" for chunk in deltas) == whole.choices[0].message.content
    assert end.choices[0].finish_reason == "stop"
    assert usage.choices == []
    assert usage.usage == whole.usage
    assert usage.usage is not None
    assert usage.usage.completion_tokens == len(deltas)
    assert {chunk.usage for chunk in (first, *deltas, end)} == {None}


def test_stream_has_usage_only_on_request(client: openai.OpenAI) -> None:
    """Without stream_options, a stream has no usage, as with OpenAI."""
    chunks = list(client.chat.completions.create(model=MODEL, messages=prompt("Why?"), stream=True))
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


def test_larger_model_says_more(client: openai.OpenAI) -> None:
    """Two models give different figures."""
    small, large = (
        client.chat.completions.create(model=model, messages=prompt("Why?")).usage for model in (MODEL, "gpt-4.1")
    )
    assert small is not None
    assert large is not None
    assert large.completion_tokens > small.completion_tokens


def test_calls_the_tool_on_offer_once(client: openai.OpenAI) -> None:
    """The first tool is called with the number in the prompt. After the tool result, the answer is a text."""
    messages = prompt("Where is A-1042?")
    message = client.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS).choices[0].message
    assert message.content is None
    assert message.tool_calls is not None
    call = message.tool_calls[0]
    assert call.type == "function"
    assert (call.function.name, call.function.arguments) == ("look-up", '{"order_id": "A-1042"}')
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": "shipped"}]
    after = client.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS).choices[0]
    assert after.finish_reason == "stop"
    assert after.message.tool_calls is None


def test_streamed_tool_call_is_the_same(client: openai.OpenAI) -> None:
    """A streamed tool call is the same as one without a stream."""
    messages = prompt("Where is A-1042?")
    plain = client.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS).choices[0]
    with client.chat.completions.stream(model=MODEL, messages=messages, tools=TOOLS) as stream:
        streamed = stream.get_final_completion().choices[0]
    assert plain.message.tool_calls is not None
    assert streamed.message.tool_calls is not None
    expected, got = plain.message.tool_calls[0], streamed.message.tool_calls[0]
    assert expected.type == "function"
    assert (got.id, got.function.name, got.function.arguments) == (
        expected.id,
        expected.function.name,
        expected.function.arguments,
    )
    assert streamed.finish_reason == plain.finish_reason == "tool_calls"


def test_failure_on_demand_is_not_retried(client: openai.OpenAI, model_server: str) -> None:
    """A failure is one call, although the client usually retries a status 500."""
    before = len(read_bill(model_server))
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model=MODEL, messages=prompt("#fail"))
    assert len(read_bill(model_server)) == before + 1
    assert last_call(model_server)["state"] == "failed"


def test_failure_during_a_stream(client: openai.OpenAI, model_server: str) -> None:
    """An error ends a stream after ten tokens, and the client raises."""
    stream = client.chat.completions.create(model=MODEL, messages=prompt("#break"), stream=True)
    with pytest.raises(openai.APIError, match="stopped working"):
        list(stream)
    assert (last_call(model_server)["state"], last_call(model_server)["completion_tokens"]) == ("broken", 10)


def test_disconnect_stops_the_bill(client: openai.OpenAI, model_server: str) -> None:
    """After a client disconnects, no more tokens are generated or billed."""
    stream = client.chat.completions.create(model=MODEL, messages=prompt("#slow"), stream=True)
    for _ in range(4):
        next(stream)
    stream.close()
    assert eventually(lambda: last_call(model_server)["state"] == "abandoned")
    assert 3 <= last_call(model_server)["completion_tokens"] < 100


def test_refuses_a_request_without_messages(client: openai.OpenAI) -> None:
    """A malformed request gets 400 in OpenAI's format."""
    with pytest.raises(openai.BadRequestError, match="required"):
        client.chat.completions.create(model=MODEL, messages=[])
