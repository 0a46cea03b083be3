"""Connections of OpenAI's Realtime and Responses APIs: each response on them is a call."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import pytest

from ldai_integrations import RunRecord, Tracking, track_ai, wrap_client
from ldai_integrations.records import Usage

from ..conftest import Clock
from ..docs.conftest import run_block
from .makers import Make, async_openai, openai

# openai calls websockets in a way that its newest versions deprecate.
pytestmark = pytest.mark.filterwarnings(r"ignore:connect\(\) must be used as a context manager:DeprecationWarning")

TOLD = Usage(input_tokens=7317, output_tokens=3863, total_tokens=11180)
_numbers = itertools.count()


def _events(asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Answer ``response.create`` as the Realtime API does; ``metadata`` chooses how."""
    how = (asked.get("response") or {}).get("metadata", {}).get("how", "")
    name = f"resp_{next(_numbers)}"
    head: dict[str, Any] = {"id": name, "object": "realtime.response", "output": [], "usage": None}
    counts = {"input_tokens": 7317, "output_tokens": 3863, "total_tokens": 11180}
    place = {"response_id": name, "item_id": "item_1", "output_index": 0, "content_index": 0}
    done: dict[str, Any] = {**head, "status": "completed", "usage": counts}
    if how == "fails":
        error = {"type": "server_error", "code": "no"}
        done |= {"status": "failed", "usage": None, "status_details": {"type": "failed", "error": error}}
    tool = {
        "id": "item_2",
        "type": "function_call",
        "name": "weather",
        "call_id": "call_1",
        "arguments": '{"city": "Oslo"}',
    }
    if how.startswith("calls a tool"):
        done |= {"output": [{"id": "item_1", "type": "message", "role": "assistant", "content": []}, tool]}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**head, "status": "in_progress"}},
        {"type": "response.output_audio.delta", **place, "delta": "AAAA"},
        {"type": "response.output_audio_transcript.delta", **place, "delta": "Hello"},
        {"type": "response.output_audio_transcript.delta", **place, "delta": " there"},
        {"type": "response.done", "response": done},
    ]
    if how == "calls a tool, with events":
        place |= {"item_id": "item_2", "output_index": 1}
        events[-1:-1] = [
            {"type": "response.output_item.added", **place, "item": {**tool, "arguments": ""}},
            {"type": "response.function_call_arguments.delta", **place, "delta": tool["arguments"]},
        ]
    if how == "transcribes":
        heard = {"item_id": "item_0", "content_index": 0, "transcript": "Hello"}
        usage = {"type": "tokens", "input_tokens": 131, "output_tokens": 17, "total_tokens": 148}
        kind = "conversation.item.input_audio_transcription.completed"
        events.insert(2, {"type": kind, **heard, "usage": usage})
        events.insert(2, {"type": "error", "error": {"type": "invalid_request_error", "message": "no"}})
    return [{"event_id": f"event_{next(_numbers)}", **event} for event in events]


def _events_of_responses(asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Answer ``response.create`` as the Responses API does, which names the response in its first and last event."""
    how = asked.get("instructions", "")
    if how == "refuse":
        error = {"type": "invalid_request_error", "code": "previous_response_not_found", "message": "no"}
        return [{"type": "error", "status": 400, "error": error}]
    head: dict[str, Any] = {"id": f"resp_{next(_numbers)}", "object": "response", "output": [], "usage": None}
    counts = {"input_tokens": 7317, "output_tokens": 3863, "total_tokens": 11180}
    status = how or "completed"
    place = {"item_id": "item_1", "output_index": 0, "content_index": 0, "logprobs": []}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**head, "status": "in_progress"}},
        {"type": "response.output_text.delta", **place, "delta": "Hello"},
        {"type": "response.output_text.delta", **place, "delta": " there"},
        {"type": f"response.{status}", "response": {**head, "status": status, "usage": counts}},
    ]
    if (asked.get("metadata") or {}).get("how") == "odd":
        events[1:1] = [
            {"type": ["odd"], "response_id": "resp_x"},
            {"type": "response.queued", "stream_id": ["odd"]},
            {"type": "response.in_progress", "response": {"id": {"odd": 1}}},
        ]
    lane = {"stream_id": asked["stream_id"]} if "stream_id" in asked else {}
    return [{"sequence_number": number, **lane, **event} for number, event in enumerate(events)]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Serve the Realtime API on this machine."""
    server_module = pytest.importorskip(
        "websockets.sync.server", reason="the Realtime API needs the package websockets"
    )

    def serve(connection: Any) -> None:
        if connection.request.path.startswith("/openai/v1/responses"):
            for message in connection:
                for event in _events_of_responses(json.loads(message)):
                    connection.send(json.dumps(event))
            return
        connection.send(json.dumps({"type": "session.created", "event_id": "event_0", "session": {"id": "sess_1"}}))
        for message in connection:
            asked = json.loads(message)
            if asked["type"] == "response.create":
                for event in _events(asked):
                    connection.send(json.dumps(event))
            elif asked["type"] == "input_audio_buffer.clear":
                return

    with server_module.serve(serve, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join()


def _openai(url: str, make: Make = openai) -> Any:
    """Make a client; its old versions open encrypted connections only, unless they are told the scheme."""
    return make(url).with_options(websocket_base_url=f"{url}/openai/v1".replace("http:", "ws:"))


def _until_done(connection: Any) -> list[str]:
    kinds = []
    for event in connection:
        kinds.append(event.type)
        if event.type == "response.done":
            break
    return kinds


def test_the_page(url: str, tracking: Tracking, records: list[RunRecord]) -> None:
    """The turn on docs/clients.md is a run with the tokens of its response."""
    replace = {
        "wrap_client(OpenAI())": "wrap_client(ours)",
        'config_key="support-bot"': 'config_key="chat", tracking=tracking',
    }
    run_block("clients.md", "client.realtime.connect", replace=replace, ours=_openai(url), tracking=tracking)

    assert [record.usage for record in records] == [TOLD]


def test_each_response_is_a_call(url: str, tracking: Tracking, records: list[RunRecord]) -> None:
    """Two responses on one connection are two calls, with their tokens and the time to the first text."""
    client: Any = wrap_client(_openai(url))
    with track_ai(config_key="chat", tracking=tracking), client.realtime.connect(model="gpt-realtime") as connection:
        for _ in range(2):
            connection.response.create()
            assert _until_done(connection)[-2:] == ["response.output_audio_transcript.delta", "response.done"]

    assert (records[0].usage, records[0].calls, records[0].outcome) == (TOLD + TOLD, 2, "success")
    assert records[0].time_to_first_token_ms is not None
    assert tracking.stats().diagnostics == {}


@pytest.mark.parametrize("how", ["calls a tool", "calls a tool, with events"])
def test_tools(how: str, url: str, tracking: Tracking, records: list[RunRecord]) -> None:
    """A tool that the model calls is named once, if only the last event has it, and if other events have it as well."""
    client: Any = wrap_client(_openai(url))
    with track_ai(config_key="chat", tracking=tracking), client.realtime.connect(model="gpt-realtime") as connection:
        connection.response.create(response={"metadata": {"how": how}})
        _until_done(connection)

    assert (records[0].usage, records[0].calls, records[0].tool_calls) == (TOLD, 1, ("weather",))


@pytest.mark.parametrize("how", ["recv", "recv_bytes", "dispatch_events", "enter"])
def test_all_ways_to_receive(how: str, url: str, tracking: Tracking, clock: Clock, records: list[RunRecord]) -> None:
    """Events count however they are received, once."""
    client: Any = wrap_client(_openai(url))
    manager = client.realtime.connect(model="gpt-realtime")
    with track_ai(config_key="chat", tracking=tracking):
        connection = manager.enter() if how == "enter" else manager.__enter__()
        connection.response.create()
        if how == "dispatch_events" and not hasattr(connection, how):
            pytest.skip("this version of openai has no dispatch_events")
        if how == "dispatch_events":
            connection.on("response.done", lambda _event: connection.close())
            connection.dispatch_events()
        elif how == "enter":
            _until_done(connection)
        else:
            kind = ""
            while kind != "response.done":
                event = connection.recv() if how == "recv" else connection.parse_event(connection.recv_bytes())
                kind = event.type
        connection.close()

    assert (records[0].usage, records[0].calls) == (TOLD, 1)


@pytest.mark.parametrize("how", ["iterate", "recv", "enter", "stack"])
def test_async_connections(how: str, url: str, tracking: Tracking, records: list[RunRecord]) -> None:
    """The same for an async client."""

    async def receive(connection: Any) -> None:
        await connection.response.create()
        if how == "recv":
            while (await connection.recv()).type != "response.done":
                pass
            return
        async for event in connection:
            if event.type == "response.done":
                return

    async def call() -> None:
        client: Any = wrap_client(_openai(url, async_openai))
        with track_ai(config_key="chat", tracking=tracking):
            manager = client.realtime.connect(model="gpt-realtime")
            if how == "enter":
                connection = await manager.enter()
                await receive(connection)
                await connection.close()
            elif how == "stack":
                async with AsyncExitStack() as stack:
                    await receive(await stack.enter_async_context(manager))
            else:
                async with manager as connection:
                    await receive(connection)
        await client.close()

    asyncio.run(call())

    assert (records[0].usage, records[0].calls) == (TOLD, 1)


def test_a_connection_of_an_exit_stack(url: str, tracking: Tracking, records: list[RunRecord]) -> None:
    """A manager is entered and left by ``contextlib.ExitStack``, which asks its class."""
    client: Any = wrap_client(_openai(url))
    with track_ai(config_key="chat", tracking=tracking), ExitStack() as stack:
        connection = stack.enter_context(client.realtime.connect(model="gpt-realtime"))
        connection.response.create()
        _until_done(connection)

    assert (records[0].usage, records[0].calls) == (TOLD, 1)


def test_handlers_of_the_manager(url: str, tracking: Tracking, records: list[RunRecord]) -> None:
    """A manager that got its handlers before the connection opens a connection whose events count."""
    manager = wrap_client(_openai(url)).realtime.connect(model="gpt-realtime")
    if not hasattr(manager, "on"):
        pytest.skip("this version of openai has no handlers")
    seen: list[str] = []
    manager = manager.on("response.done", lambda event: seen.append(event.type))
    with track_ai(config_key="chat", tracking=tracking), manager as connection:
        connection.on("response.done", lambda _event: connection.close()).response.create()
        connection.dispatch_events()

    assert (seen, records[0].usage, records[0].calls) == (["response.done"], TOLD, 1)


def test_a_run_for_each_turn(url: str, tracking: Tracking, records: list[RunRecord]) -> None:
    """A response belongs to the run in which it is created, although the connection is older."""
    client: Any = wrap_client(_openai(url))
    with client.realtime.connect(model="gpt-realtime") as connection:
        for _ in range(2):
            with track_ai(config_key="chat", tracking=tracking):
                connection.response.create()
                _until_done(connection)

    assert [(record.usage, record.calls) for record in records] == [(TOLD, 1), (TOLD, 1)]


def test_a_response_that_fails(url: str, tracking: Tracking, records: list[RunRecord]) -> None:
    """A response that the provider reports as failed is a failed call."""
    client: Any = wrap_client(_openai(url))
    with track_ai(config_key="chat", tracking=tracking), client.realtime.connect(model="gpt-realtime") as connection:
        connection.response.create(response={"metadata": {"how": "fails"}})
        _until_done(connection)

    assert (records[0].outcome, records[0].calls, records[0].failed_calls) == ("error", 1, 1)


def test_a_response_that_is_left(url: str, tracking: Tracking, records: list[RunRecord]) -> None:
    """The tokens of a response whose end was not received are unknown: sound is not counted as text."""
    client: Any = wrap_client(_openai(url))
    with track_ai(config_key="chat", tracking=tracking), client.realtime.connect(model="gpt-realtime") as connection:
        connection.response.create()
        while connection.recv().type != "response.output_audio_transcript.delta":
            pass

    assert (records[0].usage, records[0].calls) == (None, 1)


def test_a_connection_without_a_response(url: str, tracking: Tracking, records: list[RunRecord]) -> None:
    """A connection by itself is no call, and looks like the connection."""
    client: Any = _openai(url)
    plain, wrapped = client.realtime.connect(model="m"), wrap_client(client).realtime.connect(model="m")
    assert isinstance(wrapped, type(plain))
    with track_ai(config_key="chat", tracking=tracking), wrapped as connection, plain as other:
        assert isinstance(connection, type(other))
        assert connection.recv().type == other.recv().type == "session.created"

    assert records[0].calls == 0


def test_what_the_user_said_is_transcribed(url: str, tracking: Tracking, records: list[RunRecord]) -> None:
    """The transcription of a user's speech is billed as well, and an error about a message does not end a response."""
    client: Any = wrap_client(_openai(url))
    with track_ai(config_key="chat", tracking=tracking), client.realtime.connect(model="gpt-realtime") as connection:
        connection.response.create(response={"metadata": {"how": "transcribes"}})
        _until_done(connection)

    usage = records[0].usage
    assert (records[0].calls, records[0].outcome) == (2, "success")
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.lower_bound) == (7317 + 131, 3863 + 17, False)


def _responses(url: str) -> Any:
    client: Any = wrap_client(_openai(url))
    if not hasattr(client.responses, "connect"):
        pytest.skip("this version of openai has no connections of the Responses API")
    return client.responses.connect()


def test_connections_of_the_responses_api(url: str, tracking: Tracking, records: list[RunRecord]) -> None:
    """Each response is a call with its tokens and the time to its first text, and a failed one is a failed call."""
    with track_ai(config_key="chat", tracking=tracking), _responses(url) as connection:
        for status in ("failed", "incomplete", "completed"):
            connection.response.create(model="gpt-5", input="Hi", instructions=status)
            while connection.recv().type != f"response.{status}":
                pass

    record = records[0]
    assert (record.usage, record.calls, record.failed_calls) == (TOLD + TOLD + TOLD, 3, 1)
    assert (record.outcome, record.finish_reasons) == ("success", ("failed", "incomplete", "completed"))
    assert record.time_to_first_token_ms is not None


def test_events_that_no_server_should_send(url: str, tracking: Tracking, records: list[RunRecord]) -> None:
    """The application gets events whose names are no texts as they are, and the response counts."""
    with track_ai(config_key="chat", tracking=tracking), _responses(url) as connection:
        connection.response.create(model="gpt-5", input="Hi", metadata={"how": "odd"})
        kinds: list[Any] = []
        while not kinds or kinds[-1] != "response.completed":
            kinds.append(connection.recv().type)

    assert [kind for kind in kinds if not isinstance(kind, str)] == [["odd"]]
    assert (records[0].usage, records[0].calls, records[0].outcome) == (TOLD, 1, "success")


def test_a_refusal_of_the_responses_api(url: str, tracking: Tracking, records: list[RunRecord]) -> None:
    """An error in place of a response is a failed call."""
    with track_ai(config_key="chat", tracking=tracking), _responses(url) as connection:
        connection.response.create(model="gpt-5", input="Hi", instructions="refuse")
        assert connection.recv().type == "error"

    assert (records[0].usage, records[0].calls, records[0].failed_calls) == (None, 1, 1)


def test_a_thread_that_receives(url: str, tracking: Tracking, records: list[RunRecord]) -> None:
    """What a thread receives that knows no run belongs to the run in which the connection was opened."""
    with track_ai(config_key="chat", tracking=tracking), _responses(url) as connection:
        connection.response.create(model="gpt-5", input="Hi")
        thread = threading.Thread(target=lambda: next(e for e in connection if e.type == "response.completed"))
        thread.start()
        thread.join()

    assert (records[0].usage, records[0].calls) == (TOLD, 1)
    assert tracking.stats().diagnostics == {}


def test_a_session_of_several_lanes(url: str, tracking: Tracking, records: list[RunRecord]) -> None:
    """A session, which receives on a thread of its own, reports the responses on each of its lanes."""
    sessions = pytest.importorskip("openai.lib.responses_websocket", reason="this version of openai has no sessions")
    limits = sessions.ResponsesWebSocketLimits(
        max_lanes=4, max_events_per_lane=64, max_events=64, max_bytes_per_lane=100_000, max_bytes=100_000
    )
    with (
        track_ai(config_key="chat", tracking=tracking),
        _responses(url) as connection,
        sessions.ResponsesWebSocketSession(connection, limits=limits) as session,
    ):
        for name in ("one", "two"):
            lane = session.lane(name)
            lane.send({"type": "response.create", "model": "gpt-5", "input": "Hi"})
            assert lane.get_final_response(timeout=10).status == "completed"

    assert (records[0].usage, records[0].calls) == (TOLD + TOLD, 2)
    assert records[0].time_to_first_token_ms is not None


def test_lanes_at_the_same_time(url: str, tracking: Tracking, clock: Clock, records: list[RunRecord]) -> None:
    """A delta stops the time to the first token of the response on its lane, and of no other one."""

    def events(lane: str) -> list[str]:
        return [json.dumps(event) for event in _events_of_responses({"stream_id": lane})]

    quiet, quick = events("quiet"), events("quick")
    with _responses(url) as connection, track_ai(config_key="chat", tracking=tracking):
        connection.parse_event(quiet[0])
        with track_ai(config_key="summary", tracking=tracking):
            connection.parse_event(quick[0])
            clock.advance(7)
            connection.parse_event(quick[1])
            connection.parse_event(quick[-1])
        connection.parse_event(quiet[-1])

    assert [record.time_to_first_token_ms for record in records] == [7, None]
