"""The time to the first token is that of the provider's stream, not that of the handler's output."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import flask
import pytest

from ldai_integrations import track_ai, wrap_client
from ldai_integrations.flask import AITracking
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink

from .provider import Provider

ASK: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
# The provider waits before each of its chunks: the first one has only a role, the second one text.
PAUSE = 0.06
FRAMES: list[Any] = ['f:{"messageId":"1"}\n', "You asked: Hi\n", "data: \n\n", {"type": "start"}, b" "]


@pytest.mark.parametrize("source", ["wrapped", "observed"])
@pytest.mark.parametrize("frame", FRAMES, ids=str)
def test_a_frame_of_the_application(
    frame: Any, source: str, provider: Provider, openai: Any, runs: RecordingSink
) -> None:
    """Neither a first frame that the application writes itself nor a chunk with a role stops the time."""
    provider.serve(pause=PAUSE)

    @track_ai(config_key="chat")
    def handler(observe: Callable[[Any], Any]) -> Iterator[Any]:
        yield frame
        for chunk in observe(client.chat.completions.create(**ASK)):
            if chunk.choices:
                yield chunk.choices[0].delta.content

    if source == "wrapped":
        client = wrap_client(openai)
        list(handler(lambda stream: stream))
    else:
        from ldai_integrations import current_run

        client = openai
        list(handler(lambda stream: current_run().observe(stream)))
    record = runs.wait()[0]
    assert record.time_to_first_token_ms is not None
    assert record.time_to_first_token_ms >= 2 * PAUSE * 1000
    assert record.time_to_first_answer_ms == record.time_to_first_token_ms
    assert record.time_to_first_token_ms < record.duration_ms


def test_a_tool_call_is_a_token(provider: Provider, openai: Any, runs: RecordingSink) -> None:
    """The delta of a tool call stops the time to the first token, and not that to the first answer."""
    provider.serve("caller", tool="weather", pause=PAUSE)
    provider.serve(pause=PAUSE)
    client = wrap_client(openai)
    with track_ai(config_key="chat"):
        list(client.chat.completions.create(**{**ASK, "model": "caller"}))
        list(client.chat.completions.create(**ASK))
    record = runs.wait()[0]
    token, answer = record.time_to_first_token_ms, record.time_to_first_answer_ms
    assert token is not None
    assert answer is not None
    assert token >= 2 * PAUSE * 1000
    assert answer >= token + 2 * PAUSE * 1000


def test_user_code_says_when_the_first_token_came(provider: Provider, openai: Any, runs: RecordingSink) -> None:
    """``run.first_token()`` replaces the measured time, and the first answer is never earlier."""
    provider.serve(pause=PAUSE)
    client = wrap_client(openai)
    with track_ai(config_key="chat") as run:
        list(client.chat.completions.create(**ASK))
        run.first_token()
    record = runs.wait()[0]
    assert record.time_to_first_token_ms is not None
    assert record.time_to_first_token_ms >= 3 * PAUSE * 1000
    assert record.time_to_first_answer_ms == record.time_to_first_token_ms


def test_a_body_of_the_data_stream_protocol(
    provider: Provider, openai: Any, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """The same for a body that a middleware reads, of Server-Sent Events that the application writes."""
    provider.serve(pause=PAUSE)
    client = wrap_client(openai)
    app = flask.Flask(__name__)
    AITracking(app, launchdarkly.tracking, config_key="chat")

    @app.get("/")
    def chat() -> flask.Response:
        def frames() -> Iterator[str]:
            yield 'data: {"type":"start","messageId":"1"}\n\n'
            for chunk in client.chat.completions.create(**ASK):
                text = chunk.choices[0].delta.content if chunk.choices else ""
                yield f"data: {json.dumps({'type': 'text-delta', 'delta': text})}\n\n"

        return flask.Response(frames(), mimetype="text/event-stream")

    assert "there" in app.test_client().get("/").text
    record = runs.wait()[0]
    assert record.time_to_first_token_ms is not None
    assert record.time_to_first_token_ms >= 2 * PAUSE * 1000


def test_whole_answers_have_no_first_token(provider: Provider, openai: Any, runs: RecordingSink) -> None:
    """A call that is not streamed has no first token, even if the handler streams its text."""
    client = wrap_client(openai)

    @track_ai(config_key="chat")
    def handler() -> Iterator[str]:
        yield "You asked: Hi"
        yield client.chat.completions.create(model="gpt-4o-mini", messages=ASK["messages"]).choices[0].message.content

    assert list(handler())[1] == "Hello there"
    assert runs.wait()[0].time_to_first_token_ms is None


@pytest.mark.parametrize("text", [":) Hi", "id: 5, as you asked", "data: is the plural of datum", "[1] Oslo", "{sigh}"])
def test_plain_text_that_begins_like_an_event(text: str, runs: RecordingSink) -> None:
    """The text of a bare stream is output with a first token, however it begins."""

    @track_ai(config_key="chat")
    def handler() -> Iterator[str]:
        yield text
        yield " there"

    assert list(handler()) == [text, " there"]
    record = runs.wait()[0]
    assert record.time_to_first_token_ms is not None
    assert record.usage is not None
    assert record.usage.output_tokens
    assert record.usage.source == "estimate"
