"""Responses of every framework, followed with the decorator alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import flask
import pytest
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response, StreamingResponse

from ldai_integrations import RunRecord, Tracking, current_run, track_ai

from ..conftest import Clock
from ..waiting import eventually

CHUNK = 'data: {"choices":[{"index":0,"delta":{"content":"Hello"}}],"model":"m"}\n\n'


async def words_of(clock: Clock) -> AsyncIterator[str]:
    """Yield an answer whose words take 10 ms each, in its run."""
    for word in ("Hello ", "there"):
        clock.advance(10)
        assert current_run().config_key == "chat"
        yield word


def sync_words_of(clock: Clock) -> Iterator[str]:
    """Yield the same answer."""
    for word in ("Hello ", "there"):
        clock.advance(10)
        yield word


WHOLE: dict[str, Callable[[], Response]] = {
    "a file": lambda: FileResponse(Path(__file__)),
    "a redirect": lambda: RedirectResponse("/elsewhere"),
    "nothing": lambda: Response(status_code=204),
    "JSON": lambda: JSONResponse({"answer": "Hello"}),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_any_other_response_ends_the_run(tracking: Tracking, records: list[RunRecord], kind: str) -> None:
    """A response without a streamed body is returned unchanged and ends the run."""
    response = WHOLE[kind]()

    assert track_ai(config_key="chat", tracking=tracking)(lambda: response)() is response
    assert [record.outcome for record in records] == ["success"]


@pytest.mark.parametrize(
    ("status", "outcome"), [(200, "success"), (404, "discarded"), (429, "discarded"), (502, "error")]
)
def test_the_status_of_a_response(tracking: Tracking, records: list[RunRecord], status: int, outcome: str) -> None:
    """The status of a response decides the outcome of the run."""
    track_ai(config_key="chat", tracking=tracking)(lambda: Response("no", status))()

    assert [record.outcome for record in records] == [outcome]


def test_a_4xx_after_a_provider_call_is_reported(tracking: Tracking, records: list[RunRecord]) -> None:
    """A 4xx response after a provider call is reported."""

    @track_ai(config_key="chat", tracking=tracking)
    def ask() -> Response:
        current_run().add_usage(input_tokens=3, output_tokens=1)
        return Response("I must not answer that", 403)

    ask()

    assert [(record.outcome, record.usage and record.usage.total_tokens) for record in records] == [("success", 4)]


@pytest.mark.parametrize("streamed", [True, False])
def test_flask_responses(tracking: Tracking, records: list[RunRecord], clock: Clock, streamed: bool) -> None:
    """Werkzeug's responses are followed by their body, streamed or whole."""
    app = flask.Flask(__name__)

    @app.get("/")
    @track_ai(config_key="chat", tracking=tracking)
    def view() -> flask.Response:
        return flask.Response(sync_words_of(clock) if streamed else list(sync_words_of(clock)))

    assert app.test_client().get("/").text == "Hello there"
    assert [(record.outcome, record.duration_ms) for record in records] == [("success", 20)]
    assert (records[0].time_to_first_token_ms is not None) == streamed


@pytest.mark.parametrize("result", [("Hello", 404), ("Hello", 450), ["Hello", 500], {"status": 500}])
def test_a_tuple_is_a_response_in_a_view_only(tracking: Tracking, records: list[RunRecord], result: Any) -> None:
    """Outside of a view, the number in a returned tuple is not a status."""
    assert track_ai(config_key="chat", tracking=tracking)(lambda: result)() is result
    assert [record.outcome for record in records] == ["success"]


def test_a_response_never_sent_ends_when_it_is_dropped(
    tracking: Tracking, records: list[RunRecord], clock: Clock
) -> None:
    """A streaming response that nobody iterates leaves no run open."""
    response = track_ai(config_key="chat", tracking=tracking)(lambda: StreamingResponse(words_of(clock)))()
    assert records == []
    del response

    assert eventually(lambda: [record.outcome for record in records] == ["cancelled"])
