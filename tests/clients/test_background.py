"""Responses that are complete after the call that started them: OpenAI's background responses, and assistants' runs."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from ldai_integrations import RunRecord, Tracking, track_ai, wrap_client
from ldai_integrations.records import Usage

from .answers import Answer, sse, whole
from .cases import RESPONSES
from .makers import async_openai, genai_interactions, openai
from .provider import Provider

TOLD = Usage(input_tokens=7317, output_tokens=3863, total_tokens=11180)
ASSISTANTS = pytest.mark.filterwarnings("ignore:The Assistants API is deprecated:DeprecationWarning")
_numbers = itertools.count()


def totals(record: RunRecord) -> tuple[Usage | None, int]:
    """Return the usage without details, and the number of calls."""
    usage = record.usage
    return usage and Usage(usage.input_tokens, usage.output_tokens, usage.total_tokens), record.calls


@pytest.fixture
def response() -> Callable[..., Callable[[Any], Answer]]:
    """Return what makes an answer with the state of one response, whose id no other test has."""
    response_id = f"resp_background{next(_numbers)}"

    def state(status: str, **more: Any) -> Callable[[Any], Answer]:
        text = {"type": "output_text", "text": "Hello there", "annotations": []}
        message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [text]}
        body = {
            "id": response_id,
            "object": "response",
            "created_at": 1,
            "status": status,
            "model": "gpt-4o-mini",
            "output": [message] if status == "completed" else [],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": None,
            "background": True,
        }
        if status == "completed":
            body["usage"] = {"input_tokens": 7317, "output_tokens": 3863, "total_tokens": 11180}
        return lambda _request: whole({**body, **more})

    return state


def test_polled_in_one_run(response: Any, provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """A response that is started and polled until it is complete is one call, however often it is looked up."""
    client: Any = wrap_client(openai(provider.url))
    states = ("queued", "in_progress", "in_progress", "completed", "completed")
    provider.queued += [response(status) for status in states]
    with track_ai(config_key="chat", tracking=tracking):
        answer = client.responses.create(**RESPONSES, background=True)
        for _ in states[1:]:
            answer = client.responses.retrieve(answer.id)
        assert answer.output_text == "Hello there"

    assert totals(records[0]) == (TOLD, 1)
    assert (records[0].outcome, records[0].finish_reasons) == ("success", ("completed",))


def test_polled_in_other_runs(response: Any, provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """If each poll is a run, as in a web application, the first one that sees the complete response has its usage."""
    client: Any = wrap_client(openai(provider.url))
    provider.queued += [response(status) for status in ("queued", "in_progress", "completed", "completed")]
    with track_ai(config_key="chat", tracking=tracking):
        response_id = client.responses.create(**RESPONSES, background=True).id
    for _ in range(3):
        with track_ai(config_key="chat", tracking=tracking):
            client.responses.retrieve(response_id)

    assert [totals(record) for record in records if record.outcome == "success"] == [(None, 1), (TOLD, 1)]


def test_started_elsewhere(response: Any, provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """A response that another process started counts if it is seen incomplete first."""
    client: Any = wrap_client(openai(provider.url))
    provider.queued += [response(status) for status in ("in_progress", "completed", "completed")]
    with track_ai(config_key="chat", tracking=tracking):
        for _ in range(3):
            client.responses.retrieve("resp_any")

    assert totals(records[0]) == (TOLD, 1)


def test_an_old_response(response: Any, provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """A complete response that is merely looked up is no call, and neither is one that does not exist."""
    client: Any = wrap_client(openai(provider.url))
    provider.queued += [response("completed"), response("completed"), response("completed", id="resp_old")]
    with track_ai(config_key="chat", tracking=tracking):
        client.responses.retrieve(client.responses.create(**RESPONSES).id)
        client.responses.retrieve("resp_old")
        provider.fail(status=404)
        with pytest.raises(pytest.importorskip("openai").NotFoundError):
            client.responses.retrieve("resp_none")

    assert totals(records[0]) == (TOLD, 1)
    assert (records[0].outcome, records[0].failed_calls) == ("success", 0)


def test_a_response_that_fails(response: Any, provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """A response that turns out to have failed is a failed call."""
    client: Any = wrap_client(openai(provider.url))
    provider.queued += [response("queued"), response("failed", error={"code": "server_error", "message": "no"})]
    with track_ai(config_key="chat", tracking=tracking):
        client.responses.retrieve(client.responses.create(**RESPONSES, background=True).id)

    assert (records[0].outcome, records[0].calls, records[0].failed_calls) == ("error", 1, 1)


@pytest.mark.parametrize("how", ["poll", "stream"])
def test_a_stream_that_breaks_off(
    how: str, response: Any, provider: Provider, tracking: Tracking, records: list[RunRecord]
) -> None:
    """A response whose stream breaks off, and that is looked up until it is complete, is one call that succeeded."""
    client: Any = wrap_client(openai(provider.url).with_options(max_retries=0))
    states = {name: json.loads(response(name)(None).parts[0]) for name in ("queued", "completed")}
    delta = {"type": "response.output_text.delta", "delta": "Hello", "output_index": 0, "logprobs": []}
    broken = sse({"type": "response.created", "response": states["queued"]}, delta)
    broken.headers["content-length"] = "9999"
    rest = sse({**delta, "delta": " there"}, {"type": "response.completed", "response": states["completed"]})
    provider.queued += [lambda _: broken, response("completed") if how == "poll" else lambda _: rest]
    with track_ai(config_key="chat", tracking=tracking):
        # Older clients raise the exception of httpx.
        with pytest.raises((pytest.importorskip("openai").APIConnectionError, httpx.RemoteProtocolError)):
            list(client.responses.create(**RESPONSES, background=True, stream=True))
        if how == "poll":
            client.responses.retrieve(states["queued"]["id"])
        else:
            list(client.responses.retrieve(states["queued"]["id"], stream=True, starting_after=1))

    assert totals(records[0]) == (TOLD, 1)
    assert (records[0].outcome, records[0].failed_calls) == ("success", 0)


def test_lookups_of_other_kinds(
    response: Any, provider: Provider, tracking: Tracking, records: list[RunRecord]
) -> None:
    """Raw and asynchronous lookups count in the same way."""

    async def call() -> None:
        async with wrap_client(async_openai(provider.url)) as client, track_ai(config_key="chat", tracking=tracking):
            started = await client.responses.with_raw_response.create(**RESPONSES, background=True)
            response_id = started.parse().id
            await client.responses.retrieve(response_id)
            raw = await client.responses.with_raw_response.retrieve(response_id)
            assert raw.parse().output_text == "Hello there"

    provider.queued += [response(status) for status in ("queued", "in_progress", "completed")]
    asyncio.run(call())

    assert totals(records[0]) == (TOLD, 1)


def test_a_lookup_outside_of_a_run(response: Any, provider: Provider, tracking: Tracking) -> None:
    """A lookup is not a call that a run misses."""
    client: Any = wrap_client(openai(provider.url))
    provider.queued.append(response("completed"))
    with track_ai(config_key="chat", tracking=tracking) as run:
        pass
    run.bind(client.responses.retrieve)("resp_any")

    assert tracking.stats().diagnostics == {}


# Assistants


@pytest.fixture
def run_of_assistant() -> Callable[[str], dict[str, Any]]:
    """Return what makes the state of one assistant's run, whose id no other test has."""
    run_id = f"run_{next(_numbers)}"

    def state(status: str) -> dict[str, Any]:
        usage = {"prompt_tokens": 7317, "completion_tokens": 3863, "total_tokens": 11180}
        return {
            "id": run_id,
            "object": "thread.run",
            "created_at": 1,
            "assistant_id": "asst_1",
            "thread_id": "thread_1",
            "status": status,
            "model": "gpt-4o",
            "instructions": "Be kind.",
            "tools": [],
            "metadata": {},
            "usage": usage if status == "completed" else None,
        }

    return state


def _events(state: Callable[[str], dict[str, Any]]) -> Answer:
    delta = {"content": [{"index": 0, "type": "text", "text": {"value": "Hello there"}}]}
    message = {"id": "msg_1", "object": "thread.message", "role": "assistant", "content": [], "created_at": 1}
    step: dict[str, Any] = {"id": "step_1", "object": "thread.run.step", "status": "completed"}
    step["usage"] = {"prompt_tokens": 71, "completion_tokens": 38, "total_tokens": 109}
    events = [
        ("thread.run.created", state("queued")),
        ("thread.run.in_progress", state("in_progress")),
        ("thread.message.created", message),
        ("thread.message.delta", {"id": "msg_1", "object": "thread.message.delta", "delta": delta}),
        ("thread.run.step.completed", step),
        ("thread.run.completed", state("completed")),
    ]
    answer = sse(*(data for _, data in events))
    named = [f"event: {name}\n".encode() + part for (name, _), part in zip(events, answer.parts, strict=True)]
    return Answer([*named, b"event: done\ndata: [DONE]\n\n"], answer.content_type)


@ASSISTANTS
@pytest.mark.parametrize("how", ["create and poll", "poll", "retrieve", "create_and_run_poll"])
def test_a_polled_run(
    how: str, run_of_assistant: Any, provider: Provider, tracking: Tracking, records: list[RunRecord]
) -> None:
    """An assistant's run is one call with the usage of the completed run."""
    client: Any = wrap_client(openai(provider.url))
    threads, asked = client.beta.threads, {"assistant_id": "asst_1"}
    states = [run_of_assistant(status) for status in ("queued", "in_progress", "completed", "completed")]
    provider.queued += [lambda _request, state=state: whole(state) for state in states]  # type: ignore[misc]
    with track_ai(config_key="chat", tracking=tracking):
        if how == "create and poll":
            run = threads.runs.create_and_poll(thread_id="thread_1", poll_interval_ms=1, **asked)
        elif how == "create_and_run_poll":
            run = threads.create_and_run_poll(poll_interval_ms=1, **asked)
        else:
            run = threads.runs.create(thread_id="thread_1", **asked)
        if how == "poll":
            run = threads.runs.poll(run.id, thread_id="thread_1", poll_interval_ms=1)
        while run.status != "completed" or provider.queued:
            run = threads.runs.retrieve(run.id, thread_id="thread_1")

    assert totals(records[0]) == (TOLD, 1)
    assert records[0].finish_reasons == ("completed",)


@ASSISTANTS
@pytest.mark.parametrize("how", ["create", "stream", "text_deltas", "create_and_run_stream", "final"])
def test_a_streamed_run(
    how: str, run_of_assistant: Any, provider: Provider, tracking: Tracking, records: list[RunRecord]
) -> None:
    """A streamed run is one call, with the time to its first text; its steps do not count again."""
    client: Any = wrap_client(openai(provider.url))
    threads, asked = client.beta.threads, {"assistant_id": "asst_1"}
    provider.queued.append(lambda _request: _events(run_of_assistant))
    with track_ai(config_key="chat", tracking=tracking):
        if how == "create":
            assert len(list(threads.runs.create(thread_id="thread_1", stream=True, **asked))) == 6
        elif how == "create_and_run_stream":
            with threads.create_and_run_stream(**asked) as stream:
                stream.until_done()
        else:
            with threads.runs.stream(thread_id="thread_1", **asked) as stream:
                _consume(how, stream)

    assert totals(records[0]) == (TOLD, 1)
    assert records[0].time_to_first_token_ms is not None


def _consume(how: str, stream: Any) -> None:
    if how == "text_deltas":
        assert "".join(stream.text_deltas) == "Hello there"
    elif how == "final":
        assert stream.get_final_run().status == "completed"
    else:
        assert len(list(stream)) == 6


@ASSISTANTS
def test_async_runs(run_of_assistant: Any, provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """The same for an async client."""

    async def call() -> None:
        async with wrap_client(async_openai(provider.url)) as client:
            asked = {"thread_id": "thread_1", "assistant_id": "asst_1"}
            with track_ai(config_key="chat", tracking=tracking):
                await client.beta.threads.runs.create_and_poll(poll_interval_ms=1, **asked)
            with track_ai(config_key="chat", tracking=tracking):
                async with client.beta.threads.runs.stream(**asked) as stream:
                    await stream.until_done()

    states = [run_of_assistant(status) for status in ("queued", "in_progress", "completed")]
    provider.queued += [lambda _request, state=state: whole(state) for state in states]  # type: ignore[misc]
    provider.queued.append(lambda _request: _events(run_of_assistant))
    asyncio.run(call())

    assert [totals(record) for record in records] == [(TOLD, 1), (TOLD, 1)]
    assert records[1].time_to_first_token_ms is not None


@ASSISTANTS
def test_a_run_that_needs_a_tool(
    run_of_assistant: Any, provider: Provider, tracking: Tracking, records: list[RunRecord]
) -> None:
    """A run that waits for the output of a tool goes on as the same call."""
    client: Any = wrap_client(openai(provider.url))
    states = [run_of_assistant(status) for status in ("queued", "requires_action", "in_progress", "completed")]
    provider.queued += [lambda _request, state=state: whole(state) for state in states]  # type: ignore[misc]
    runs = client.beta.threads.runs
    with track_ai(config_key="chat", tracking=tracking):
        run = runs.create_and_poll(thread_id="thread_1", assistant_id="asst_1", poll_interval_ms=1)
        output = [{"tool_call_id": "call_1", "output": "rain"}]
        runs.submit_tool_outputs_and_poll(run_id=run.id, thread_id="thread_1", tool_outputs=output, poll_interval_ms=1)

    assert totals(records[0]) == (TOLD, 1)


@ASSISTANTS
def test_the_tools_of_a_streamed_run(
    run_of_assistant: Any, provider: Provider, tracking: Tracking, records: list[RunRecord]
) -> None:
    """The tools that an assistant calls have names, and the first piece of such a call is the first token."""
    client: Any = wrap_client(openai(provider.url))
    call: dict[str, Any] = {"index": 0, "id": "call_1", "type": "function"}
    functions = [{"name": "weather", "arguments": ""}, {"arguments": "{}"}]
    steps = [{"type": "tool_calls", "tool_calls": [{**call, "function": function}]} for function in functions]
    step = {"id": "step_1", "object": "thread.run.step", "type": "tool_calls", "status": "in_progress"}
    events = [("created", {**step, "step_details": {"type": "tool_calls", "tool_calls": []}})]
    delta = {"id": "step_1", "object": "thread.run.step.delta"}
    events += [("delta", {**delta, "delta": {"step_details": details}}) for details in steps]
    events = [(f"step.{name}", data) for name, data in events]
    events = [
        ("created", run_of_assistant("queued")),
        *events,
        ("requires_action", run_of_assistant("requires_action")),
    ]
    parts = [f"event: thread.run.{name}\ndata: {json.dumps(data)}\n\n".encode() for name, data in events]
    provider.queued.append(lambda _request: Answer(parts, "text/event-stream"))
    provider.queued.append(lambda _request: _events(run_of_assistant))
    with track_ai(config_key="chat", tracking=tracking):
        with client.beta.threads.runs.stream(thread_id="thread_1", assistant_id="asst_1") as stream:
            stream.until_done()
        asked = {"thread_id": "thread_1", "run_id": run_of_assistant("")["id"]}
        outputs = [{"tool_call_id": "call_1", "output": "rain"}]
        with client.beta.threads.runs.submit_tool_outputs_stream(tool_outputs=outputs, **asked) as stream:
            stream.until_done()

    assert totals(records[0]) == (TOLD, 1)
    assert records[0].tool_calls == ("weather",)
    assert records[0].time_to_first_token_ms is not None


def test_a_compaction(response: Any, provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """A compaction of a conversation is a call, with the tokens that OpenAI bills for it."""
    client: Any = wrap_client(openai(provider.url))
    if not hasattr(client.responses, "compact"):
        pytest.skip("an old client, which has no compaction")
    provider.queued.append(response("completed", object="response.compaction", output=[]))
    with track_ai(config_key="chat", tracking=tracking):
        client.responses.compact(model="gpt-5", input="Hi")

    assert totals(records[0]) == (TOLD, 1)


def test_an_interaction(provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """An interaction of Gemini in the background is one call, however often it is looked up."""
    client: Any = wrap_client(genai_interactions(provider.url))
    body = {"id": f"int_background{next(_numbers)}", "object": "interaction", "model": "gemini-2.5-flash"}
    usage = {"total_input_tokens": 7317, "total_output_tokens": 3863, "total_tokens": 11180}
    done = {"status": "completed", "steps": [], "usage": usage}
    states: list[dict[str, Any]] = [{"status": "queued"}, {"status": "in_progress"}, done, done]
    answers = iter([whole({**body, **state}) for state in states])
    provider.queued += [lambda _request: next(answers)] * len(states)
    with track_ai(config_key="chat", tracking=tracking):
        started = client.interactions.create(model="gemini-2.5-flash", input="Hi", background=True)
        for _ in states[1:]:
            client.interactions.get(id=started.id)

    assert totals(records[0]) == (TOLD, 1)
