"""The model server, as the real openai package sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest

from example_apps.demo.readback import read_bill
from example_apps.model_server import tokens

from ..waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = "gpt-4o-mini"
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "look-up", "parameters": {"type": "object", "required": ["order_id"]}}}
]


def asking(question: str) -> list[Any]:
    """Return a prompt whose tokens are known: four for each message, two and three words, a full stop, the question."""
    return [{"role": "system", "content": "Be good."}, {"role": "user", "content": question}]


def last_call(address: str) -> dict[str, Any]:
    """Return the last line of the bill."""
    return read_bill(address)[-1]


@pytest.fixture(scope="module")
def client(model_server: str) -> Iterator[openai.OpenAI]:
    """Give the real client, with its own retries."""
    with openai.OpenAI(base_url=f"http://{model_server}/v1", api_key="not-needed") as client:
        yield client


def test_answer_carries_true_usage(client: openai.OpenAI, model_server: str) -> None:
    """The usage of an answer counts the prompt that was read and the text that was written."""
    response = client.chat.completions.create(model=MODEL, messages=asking("Why?"))
    usage, text = response.usage, response.choices[0].message.content
    assert usage is not None
    assert text is not None
    assert "Why?" in text
    assert usage.prompt_tokens == 4 + 4 + len(["Be", " good", "."]) + len(["Why", "?"])
    assert usage.completion_tokens == len(tokens(text))
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert last_call(model_server)["state"] == "complete"


def test_tokens_make_up_the_text() -> None:
    """Nothing of a text is lost or counted twice."""
    for text in ("", " ", "Déjà vu, twice!\n\n  Yes: 12345. ", "a_b  c"):
        assert "".join(tokens(text)) == text


def test_stream_has_openai_s_frames(client: openai.OpenAI) -> None:
    """A stream begins with the role, ends with a reason, sends one token a delta, and usage in a frame of its own."""
    whole = client.chat.completions.create(model=MODEL, messages=asking("Why?"))
    stream = client.chat.completions.create(
        model=MODEL, messages=asking("Why?"), stream=True, stream_options={"include_usage": True}
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


def test_stream_tells_usage_only_when_asked(client: openai.OpenAI) -> None:
    """Without stream_options there is no usage frame, as with OpenAI."""
    chunks = list(client.chat.completions.create(model=MODEL, messages=asking("Why?"), stream=True))
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


def test_larger_model_says_more(client: openai.OpenAI) -> None:
    """Two variations with different models have different figures."""
    small, large = (
        client.chat.completions.create(model=model, messages=asking("Why?")).usage for model in (MODEL, "gpt-4.1")
    )
    assert small is not None
    assert large is not None
    assert large.completion_tokens > small.completion_tokens


def test_calls_the_tool_on_offer_once(client: openai.OpenAI) -> None:
    """With tools on offer the first is called with the number in the prompt; once it has answered, text comes."""
    messages = asking("Where is A-1042?")
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
    """The pieces of a streamed tool call add up to the call that comes without a stream."""
    messages = asking("Where is A-1042?")
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
    """One failure is one call, though the client would retry a status 500 twice."""
    before = len(read_bill(model_server))
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model=MODEL, messages=asking("#fail"))
    assert len(read_bill(model_server)) == before + 1
    assert last_call(model_server)["state"] == "failed"


def test_failure_in_mid_stream(client: openai.OpenAI, model_server: str) -> None:
    """An error frame ends a stream after ten tokens, and the client raises."""
    stream = client.chat.completions.create(model=MODEL, messages=asking("#break"), stream=True)
    with pytest.raises(openai.APIError, match="stopped working"):
        list(stream)
    assert (last_call(model_server)["state"], last_call(model_server)["completion_tokens"]) == ("broken", 10)


def test_hang_up_stops_the_bill(client: openai.OpenAI, model_server: str) -> None:
    """What is generated after the client has gone is not billed: there is nothing of it."""
    stream = client.chat.completions.create(model=MODEL, messages=asking("#slow"), stream=True)
    for _ in range(4):
        next(stream)
    stream.close()
    assert eventually(lambda: last_call(model_server)["state"] == "abandoned")
    assert 3 <= last_call(model_server)["completion_tokens"] < 100


def test_refuses_a_request_without_messages(client: openai.OpenAI) -> None:
    """A malformed request is a 400 in OpenAI's form."""
    with pytest.raises(openai.BadRequestError, match="required"):
        client.chat.completions.create(model=MODEL, messages=[])
