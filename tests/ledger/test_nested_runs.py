"""Runs in runs: the calls of a nested run are its own, whatever the outer run returns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from openai import OpenAIError
from starlette.testclient import TestClient

from ldai_integrations import Run, track_ai, wrap_client
from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.records import RunRecord, Usage
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink

from .provider import IN, OUT, Provider

pytestmark = pytest.mark.usefixtures("launchdarkly", "provider")
ASK: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]}


def records_of(runs: RecordingSink) -> tuple[RunRecord, RunRecord]:
    """Return the records of the nested run and of the run around it."""
    runs.wait(2)
    records = {record.config_key: record for record in runs.records}
    return records["other"], records["chat"]


@pytest.fixture
def nested(openai: Any) -> Callable[[], Any]:
    """Return a decorated function that calls a model and returns its response."""
    client = wrap_client(openai)

    @track_ai(config_key="other")
    def nested() -> Any:
        return client.chat.completions.create(**ASK)

    return nested


@pytest.mark.parametrize(
    "result", [lambda response: response, lambda response: response.model_dump(), lambda _response: "Hello there"]
)
def test_a_run_does_not_report_the_tokens_of_the_nested_run_whose_answer_it_returns(
    nested: Callable[[], Any], result: Callable[[Any], object], runs: RecordingSink
) -> None:
    """The provider billed the call once, so that one run reports its tokens."""

    @track_ai(config_key="chat")
    def outer() -> object:
        return result(nested())

    outer()

    theirs, record = records_of(runs)
    assert (theirs.calls, theirs.usage) == (1, Usage(IN, OUT, IN + OUT))
    assert (record.outcome, record.calls, record.usage) == ("success", 0, None)


def test_a_run_whose_calls_are_all_in_a_nested_run_is_not_discarded(
    nested: Callable[[], Any], openai: Any, runs: RecordingSink, caplog: pytest.LogCaptureFixture
) -> None:
    """Its answer does not come from a cache, whatever earlier runs of the same AI Config have done."""
    client = wrap_client(openai)

    @track_ai(config_key="chat")
    def outer(*, calls: bool) -> object:
        return client.chat.completions.create(**ASK) if calls else nested().choices[0].message.content

    for calls in (False, True, False):
        outer(calls=calls)
    runs.wait(5)
    found = [(one.outcome, one.calls, one.usage is None) for one in runs.records if one.config_key == "chat"]
    assert found == [("success", 0, True), ("success", 1, False), ("success", 0, True)]
    assert caplog.messages == []


def test_a_run_does_not_report_the_tokens_of_the_stream_of_a_nested_run(openai: Any, runs: RecordingSink) -> None:
    """A stream that passes through two runs is a call of the one that made it."""
    client = wrap_client(openai)

    @track_ai(config_key="other")
    def nested() -> Iterator[Any]:
        yield from client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True})

    @track_ai(config_key="chat")
    def outer() -> Iterator[Any]:
        return nested()

    list(outer())

    theirs, record = records_of(runs)
    assert (theirs.calls, theirs.usage) == (1, Usage(IN, OUT, IN + OUT))
    assert (record.outcome, record.calls, record.usage) == ("success", 0, None)
    assert record.time_to_first_token_ms is not None


def test_a_run_that_observes_the_response_of_a_nested_run_does_not_report_it(
    nested: Callable[[], Any], runs: RecordingSink
) -> None:
    """An object that a nested run has read is a call of that run."""

    @track_ai(config_key="chat")
    def outer(run: Run) -> str:
        return str(run.observe(nested()).choices[0].message.content)

    outer()

    _theirs, record = records_of(runs)
    assert (record.calls, record.usage) == (0, None)


def test_a_nested_run_that_observes_the_response_of_the_outer_run_does_not_report_it(
    openai: Any, runs: RecordingSink
) -> None:
    """An object that the run around has read is a call of that run."""
    client = wrap_client(openai)

    @track_ai(config_key="other")
    def nested(run: Run, response: object) -> str:
        return str(run.observe(response))

    @track_ai(config_key="chat")
    def outer() -> str:
        return nested(client.chat.completions.create(**ASK))

    outer()

    theirs, record = records_of(runs)
    assert (record.calls, theirs.calls) == (1, 0)


@pytest.mark.parametrize("streams", [False, True])
def test_the_run_of_a_middleware_leaves_the_response_to_the_run_of_the_handler(
    openai: Any, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink, *, streams: bool
) -> None:
    """A handler with a key of its own makes the only generation of its request."""
    client, app = wrap_client(openai), FastAPI()

    @app.get("/")
    @track_ai(config_key="other")
    def handle() -> Any:
        if not streams:
            return client.chat.completions.create(**ASK).model_dump()
        chunks = client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True})
        events = (f"data: {chunk.model_dump_json()}\n\n" for chunk in chunks)
        return StreamingResponse(events, media_type="text/event-stream")

    TestClient(ASGITrackingMiddleware(app, launchdarkly.tracking, config_key="chat")).get("/")

    theirs, record = records_of(runs)
    assert (theirs.calls, theirs.usage) == (1, Usage(IN, OUT, IN + OUT))
    assert (record.calls, record.usage) == (0, None)


@pytest.mark.parametrize("answers", [True, False])
@pytest.mark.parametrize("kind", ["function", "block"])
def test_an_exception_that_the_code_around_a_joined_function_catches(
    kind: str, answers: bool, provider: Provider, openai: Any, runs: RecordingSink
) -> None:
    """The provider calls decide about the outcome, as they do for a function that is not decorated."""
    provider.serve("broken", status=500)
    create = wrap_client(openai).chat.completions.create

    @track_ai(config_key="chat")
    def joined() -> object:
        return create(**{**ASK, "model": "broken"})

    def outer() -> object:
        try:
            return joined()
        except OpenAIError:
            return create(**ASK) if answers else "We are sorry."

    if kind == "function":
        track_ai(config_key="chat")(outer)()
    else:
        with track_ai(config_key="chat"):
            outer()
    record = runs.wait()[0]
    assert (record.outcome, record.error) == ("success" if answers else "error", None)
    assert (record.calls, record.failed_calls) == (1 + answers, 1)


def test_an_exception_that_leaves_the_code_around_a_joined_block(runs: RecordingSink) -> None:
    """It is the error of the run."""
    with pytest.raises(KeyError), track_ai(config_key="chat"), track_ai(config_key="chat"):
        raise KeyError
    record = runs.wait()[0]
    assert (record.outcome, type(record.error)) == ("error", KeyError)


def test_a_joined_function_that_takes_too_long(provider: Provider, async_openai: Any, runs: RecordingSink) -> None:
    """The run goes on, and is not cancelled; it does not know the tokens of the call that was stopped."""
    provider.serve("slow", delay=1.0)
    create = wrap_client(async_openai).chat.completions.create

    @track_ai(config_key="chat")
    async def joined() -> object:
        return await create(**{**ASK, "model": "slow"})

    @track_ai(config_key="chat")
    async def outer() -> object:
        async with async_openai:
            try:
                return await asyncio.wait_for(joined(), 0.1)
            except asyncio.TimeoutError:
                return await create(**ASK)

    asyncio.run(outer())
    record = runs.wait()[0]
    assert (record.outcome, record.calls, record.failed_calls) == ("success", 2, 0)
    assert record.usage is not None
    assert (record.usage.output_tokens, record.usage.lower_bound) == (OUT, True)
