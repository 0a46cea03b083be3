"""The events of the newer SDK, in a table of situations: alone, through our client, and inside a run.

Skipped where the SDK is not installed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from ldclient import Context

from ldai_integrations import track_ai
from ldai_integrations.agentcontrol import call, connect, iterate
from ldai_integrations.testing import OfflineLaunchDarkly, ai_config

sdk = pytest.importorskip(
    "launchdarkly_ai_server", reason="comes with the extra [agentcontrol], on Python 3.12 or later"
)
# The SDK warns about OpenTelemetry packages that are not installed, or are set up already.
pytestmark = pytest.mark.filterwarnings("ignore")

USER = {"kind": "user", "key": "anna"}
MODEL = {"modelKey": "OpenAI.gpt-4o-mini", "modelVersion": 3}
TOOL = {"name": "search", "type": "function", "description": "Search.", "parameters": {"type": "object"}}


def _configs() -> dict[str, Any]:
    judge = ai_config("gpt-4o-mini", messages="Judge.", evaluationMetricKey="$ld:ai:judge:relevance")
    judge["_ldMeta"]["mode"] = "judge"
    configs = {
        "chat": ai_config("gpt-4o-mini", messages="Be brief.", tools={"search": TOOL}),
        "judged": ai_config(
            "gpt-4o-mini",
            messages="Be brief.",
            judgeConfiguration={"judges": [{"key": "relevance", "samplingRate": 1.0}]},
        ),
        "relevance": judge,
    }
    for config in configs.values():
        config["_ldMeta"] |= MODEL
    return {**configs, "off": ai_config(enabled=False)}


class _Handler:
    """A provider handler that answers what it is asked for."""

    provides_for = ("OpenAI", "completion")
    capture_content = False
    has_stream = True

    async def __call__(self, config: Any, question: str, tools: Any, *_: Any) -> dict[str, Any]:
        if question == "fail":
            raise ConnectionError
        if question == "tool":
            await tools["search"]()
        is_judge = "evaluationMetricKey" in config
        usage = {} if question == "uncounted" else {"input": 7317, "output": 3863, "total": 11180}
        return {"output": '{"score": 0.75, "reasoning": "Good"}' if is_judge else "Hello", "usage": usage}

    async def stream(self, config: Any, question: str, tools: Any, *more: Any) -> AsyncIterator[dict[str, Any]]:
        async def events() -> AsyncIterator[dict[str, Any]]:
            yield {"type": "chunk", "text": "Hel"}
            answer = await self(config, question, tools, *more)
            yield {"type": "done", **answer}

        return events()


class _TheirClient:
    """A client that keeps what the SDK sends to it."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Any, Any]] = []

    def variation(self, key: str, _context: Any, default: Any) -> Any:
        return _configs().get(key, default)

    def track(self, name: str, _context: Any, data: Any = None, value: Any = None) -> None:
        self.sent.append((name, data, value))

    def flush(self) -> None: ...

    def close(self) -> None: ...


def _invoke(key: str, question: str) -> Callable[[], Any]:
    handlers = {"handler": _Handler(), "tool_handlers": {"search": lambda: "found"}}
    return lambda: call(sdk.config(key=key, **handlers).invoke(question, USER))


def _stream(key: str, question: str) -> Callable[[], Any]:
    return lambda: list(iterate(sdk.config(key=key, handler=_Handler()).stream(question, USER)))


#: What is called, the AI Config, and what a run reports besides.
SITUATIONS: dict[str, tuple[Callable[[], Any], str, set[str]]] = {
    "invoke": (_invoke("chat", "Hi"), "chat", set()),
    "stream": (_stream("chat", "Hi"), "chat", {"$ld:ai:tokens:ttf"}),
    "error": (_invoke("chat", "fail"), "chat", set()),
    "error in a stream": (_stream("chat", "fail"), "chat", {"$ld:ai:tokens:ttf"}),
    "tool call": (_invoke("chat", "tool"), "chat", set()),
    "without usage": (_invoke("chat", "uncounted"), "chat", set()),
    "judge": (_invoke("judged", "Hi"), "judged", set()),
    "disabled": (_invoke("off", "Hi"), "off", set()),
    "missing": (_invoke("nothing", "Hi"), "nothing", set()),
}


def _of_runs(sent: list[tuple[str, Any, Any]]) -> list[Any]:
    """Return the events of runs without times and the ids of runs."""
    found = []
    for name, data, value in sent:
        if isinstance(data, dict) and "runId" in data:
            fields = sorted((key, item) for key, item in data.items() if key not in ("runId", "parentRunId"))
            found.append((name, fields, None if name in ("$ld:ai:duration:total", "$ld:ai:tokens:ttf") else value))
    return sorted(found, key=repr)


def _alone(work: Callable[[], Any]) -> list[Any]:
    client = _TheirClient()
    call(sdk.init_client({"sdkKey": "test"}, client=client))
    with contextlib.suppress(ConnectionError, RuntimeError):
        work()
    call(sdk.shutdown())
    return _of_runs(client.sent)


@pytest.fixture
def launchdarkly() -> Iterator[OfflineLaunchDarkly]:
    """Serve the AI Configs."""
    with OfflineLaunchDarkly(_configs()) as launchdarkly:
        yield launchdarkly
        call(sdk.shutdown())


def _ours(launchdarkly: OfflineLaunchDarkly) -> list[Any]:
    launchdarkly.tracking.flush()
    return _of_runs([(event.key, event.data, event.metric_value) for event in launchdarkly.events.custom])


@pytest.mark.parametrize("situation", SITUATIONS)
def test_outside_of_a_run(situation: str, launchdarkly: OfflineLaunchDarkly) -> None:
    """Through our client, the SDK sends what it sends through a client that knows no runs."""
    work, _, _ = SITUATIONS[situation]
    expected = _alone(work)
    connect(launchdarkly.tracking)
    with contextlib.suppress(ConnectionError, RuntimeError):
        work()

    assert _ours(launchdarkly) == expected


@pytest.mark.parametrize("situation", SITUATIONS)
def test_inside_of_a_run(situation: str, launchdarkly: OfflineLaunchDarkly) -> None:
    """Inside of a run of the same key, the events are those of the SDK, and the time to the first token of a stream."""
    work, key, more = SITUATIONS[situation]
    expected = _alone(work)
    connect(launchdarkly.tracking)

    @track_ai(config_key=key, tracking=launchdarkly.tracking, ld_context=lambda: Context.from_dict(USER))
    def view() -> object:
        result: Any = work()
        return iter([event["text"] for event in result if event["type"] == "chunk"]) if more else result

    with contextlib.suppress(ConnectionError, RuntimeError):
        result = view()
        if isinstance(result, Iterator):
            list(result)

    events = _ours(launchdarkly)
    assert [event for event in events if event[0] not in more] == expected
    if situation == "stream":
        assert {event[0] for event in events} - {event[0] for event in expected} == more
    assert all(dict(data)["modelKey"] == MODEL["modelKey"] for _, data, _ in events)


def test_a_task_that_is_cancelled(launchdarkly: OfflineLaunchDarkly) -> None:
    """A cancelled call of the SDK, for which it sends nothing, is a cancelled run."""
    connect(launchdarkly.tracking)

    class Slow(_Handler):
        async def __call__(self, *_: Any) -> dict[str, Any]:
            await asyncio.sleep(30)
            raise AssertionError

    @track_ai(config_key="chat", tracking=launchdarkly.tracking)
    async def view() -> None:
        await sdk.config(key="chat", handler=Slow()).invoke("Hi", USER)

    async def main() -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(view(), 0.05)

    asyncio.run(main())

    assert launchdarkly.sink.wait(1)[0].outcome == "cancelled"
    assert [name for name, _, _ in _ours(launchdarkly)] == ["$ld:ai:duration:total"]


def test_a_consumer_that_fails(launchdarkly: OfflineLaunchDarkly) -> None:
    """An exception of the code that reads a stream makes the run an error; the SDK sends nothing for it."""
    connect(launchdarkly.tracking)

    @track_ai(config_key="chat", tracking=launchdarkly.tracking)
    async def view() -> None:
        async for _ in sdk.config(key="chat", handler=_Handler()).stream("Hi", USER):
            raise ValueError("of the application")

    with pytest.raises(ValueError, match="of the application"):
        asyncio.run(view())

    assert launchdarkly.sink.wait(1)[0].outcome == "error"
    assert [name for name, _, _ in _ours(launchdarkly)] == ["$ld:ai:duration:total", "$ld:ai:generation:error"]
