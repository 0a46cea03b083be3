"""``track_graph``: what LaunchDarkly gets about the execution of an agent graph."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from ldai import LDAIClient
from ldai.managed_agent_graph import ManagedAgentGraph
from ldai.providers import AgentGraphRunner
from ldai.providers.types import AgentGraphRunnerResult, AIGraphMetrics, LDAIMetrics
from ldai.tracker import TokenUsage
from ldclient import Context

from ldai_integrations import current_run, track_ai, track_graph
from ldai_integrations.devserver import DevServer
from ldai_integrations.exceptions import ConfigurationError
from ldai_integrations.testing import OfflineLaunchDarkly, ai_config

from .conftest import EndProcess
from .flags import flag

EDGES = {"triage": [{"key": "refund"}, {"key": "answer"}], "refund": [{"key": "answer"}]}
GRAPH = {
    "_ldMeta": {"enabled": True, "variationKey": "first", "version": 4},
    "root": "triage",
    "edges": EDGES,
}


@pytest.fixture
def launchdarkly() -> Iterator[OfflineLaunchDarkly]:
    """Serve a graph of three agents."""
    agents: dict[str, Any] = {key: ai_config(instructions="Help.") for key in ("triage", "refund", "answer")}
    with OfflineLaunchDarkly({**agents, "support-flow": GRAPH}) as launchdarkly:
        yield launchdarkly


def node(key: str, tokens: int = 0, error: Exception | None = None) -> Any:
    """Return an agent that uses some tokens."""

    @track_ai(config_key=key, mode="agent")
    def agent() -> str:
        current_run().add_usage(input_tokens=tokens, output_tokens=1)
        if error is not None:
            raise error
        return key

    return agent


def graph_events(launchdarkly: OfflineLaunchDarkly) -> dict[str, Any]:
    """Return the values of the events about the graph, by name; handoffs and redirects as lists."""
    launchdarkly.tracking.flush()
    events: dict[str, Any] = {}
    for event in launchdarkly.events.custom:
        name = event.key.removeprefix("$ld:ai:graph:")
        if name == event.key:
            continue
        assert event.data["graphKey"] == "support-flow"
        assert (event.data["variationKey"], event.data["version"]) == ("first", 4)
        if "sourceKey" in event.data:
            target = event.data.get("targetKey") or event.data.get("redirectedTarget")
            events.setdefault(name, []).append((event.data["sourceKey"], target))
        else:
            events[name] = event.data.get("path", event.metric_value)
    return events


def test_a_path(launchdarkly: OfflineLaunchDarkly) -> None:
    """The path, the handoffs, the total tokens, the duration and the success of a graph are reported."""
    triage, refund, answer = node("triage", 100), node("refund", 20), node("answer", 3)

    @track_graph("support-flow")
    def flow() -> str:
        return str(triage() + refund() + answer())

    assert flow() == "triagerefundanswer"

    events = graph_events(launchdarkly)
    assert events.pop("duration:total") >= 0
    assert events == {
        "invocation_success": 1,
        "total_tokens": 126,
        "path": ["triage", "refund", "answer"],
        "handoff_success": [("triage", "refund"), ("refund", "answer")],
    }
    nodes = [event for event in launchdarkly.events.custom if "runId" in (event.data or {})]
    assert nodes
    assert {event.data.get("graphKey") for event in nodes} == {"support-flow"}
    assert {record.graph_key for record in launchdarkly.sink.records} == {"support-flow"}


@pytest.mark.parametrize("is_async", [False, True])
def test_the_first_call_of_a_process(
    fresh_process: EndProcess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, is_async: bool
) -> None:
    """The first graph of a process waits until LaunchDarkly has sent the graph."""

    @track_graph("support-flow")
    def flow() -> str:
        return "done"

    @track_graph("support-flow")
    async def flow_async() -> str:
        return "done"

    flags = {key: flag(key, ai_config(instructions="Help.")) for key in ("triage", "refund", "answer")}
    with DevServer({"flags": {**flags, "support-flow": flag("support-flow", GRAPH)}}) as server:
        server.inject("/all", delay=0.3)
        monkeypatch.setenv("LDAI_DEV_SERVER", server.url)
        assert (asyncio.run(flow_async()) if is_async else flow()) == "done"
        fresh_process()
    assert caplog.messages == []


def test_agents_that_call_agents(launchdarkly: OfflineLaunchDarkly) -> None:
    """The agent that calls another one hands over to it, and is its parent."""
    answer = node("answer", 3)

    @track_ai(config_key="triage", mode="agent")
    def triage() -> object:
        current_run().add_usage(input_tokens=1, output_tokens=1)
        return answer()

    with track_graph("support-flow"):
        triage()

    assert graph_events(launchdarkly)["handoff_success"] == [("triage", "answer")]
    inner, outer = launchdarkly.sink.wait(2)
    assert (inner.config_key, inner.parent_run_id) == ("answer", outer.run_id)


def test_agents_in_parallel(launchdarkly: OfflineLaunchDarkly) -> None:
    """Agents that run in parallel are both handed over to by the one before them."""

    def slow(key: str) -> Any:
        @track_ai(config_key=key, mode="agent")
        async def agent() -> None:
            current_run().add_usage(input_tokens=1, output_tokens=1)
            await asyncio.sleep(0.02)

        return agent

    @track_graph("support-flow")
    async def flow() -> None:
        await slow("triage")()
        await asyncio.gather(slow("refund")(), slow("answer")())

    asyncio.run(flow())

    events = graph_events(launchdarkly)
    assert events["handoff_success"] == [("triage", "refund"), ("triage", "answer")]
    assert events["total_tokens"] == 6


def test_a_failure(launchdarkly: OfflineLaunchDarkly) -> None:
    """An exception that leaves the graph is its failure, and the handoff to the agent that raised it failed."""
    triage, refund = node("triage"), node("refund", error=RuntimeError("no"))

    @track_graph("support-flow")
    def flow() -> None:
        triage()
        refund()

    with pytest.raises(RuntimeError, match="no"):
        flow()

    events = graph_events(launchdarkly)
    assert "invocation_success" not in events
    assert events["invocation_failure"] == 1
    assert events["handoff_failure"] == [("triage", "refund")]


def test_another_path(launchdarkly: OfflineLaunchDarkly) -> None:
    """A handoff that the graph in LaunchDarkly does not have is a redirect, and logged once."""
    answer, refund = node("answer"), node("refund")
    for _ in range(2):
        with track_graph("support-flow"):
            answer()
            refund()

    assert graph_events(launchdarkly)["redirect"] == [("answer", "refund")] * 2
    assert launchdarkly.tracking.stats().diagnostics["graph_path"] == 4


def test_the_events_are_those_of_the_sdk(launchdarkly: OfflineLaunchDarkly) -> None:
    """The graph's tracker of LaunchDarkly's AI SDK sends the same data for the same graph."""
    graph = LDAIClient(launchdarkly.client).agent_graph("support-flow", Context.create("anna"))
    launchdarkly.events.custom.clear()
    graph.create_tracker().track_path(["triage"])
    theirs = launchdarkly.events.custom[-1]
    with track_graph("support-flow", ld_context=lambda: Context.create("anna")):
        node("triage")()
    launchdarkly.tracking.flush()

    [ours] = [event for event in launchdarkly.events.custom[1:] if event.key == theirs.key]
    assert (ours.data, ours.metric_value, ours.context) == (theirs.data, theirs.metric_value, theirs.context)


def agent_graph(launchdarkly: OfflineLaunchDarkly) -> Any:
    """Return the graph as the AI SDK reads it."""
    return LDAIClient(launchdarkly.client).agent_graph("support-flow", Context.create("anna"))


def sent(launchdarkly: OfflineLaunchDarkly) -> list[tuple[str, Any, Any]]:
    """Return key, data without the run id, and value (unless it is a time) of the events about graphs and nodes."""
    launchdarkly.tracking.flush()
    found = []
    for event in launchdarkly.events.custom:
        if isinstance(event.data, dict) and "graphKey" in event.data:
            data = sorted((name, value) for name, value in event.data.items() if name != "runId")
            found.append((event.key, data, None if "duration" in event.key else event.metric_value))
    launchdarkly.events.custom.clear()
    return found


@pytest.mark.parametrize("gathers", [False, True], ids=["in sequence", "gathered"])
@pytest.mark.parametrize(
    ("path", "fails"), [(["triage", "refund", "answer"], False), (["triage"], False), (["triage", "refund"], True)]
)
def test_the_events_are_those_of_the_managed_graph(
    path: list[str], fails: bool, gathers: bool, launchdarkly: OfflineLaunchDarkly
) -> None:
    """A graph and its nodes send what ``ManagedAgentGraph`` of the AI SDK sends, and the handoffs besides."""
    tokens = {key: TokenUsage(total=100 + 1, input=100, output=1) for key in path}
    if fails:
        del tokens[path[-1]]
    metrics = AIGraphMetrics(
        success=not fails,
        path=path,
        tokens=None if fails else TokenUsage(total=101 * len(path), input=100 * len(path), output=len(path)),
        node_metrics={key: LDAIMetrics(success=key in tokens, tokens=tokens.get(key), duration_ms=1) for key in path},
    )

    class Runner(AgentGraphRunner):
        async def run(self, _input: Any) -> AgentGraphRunnerResult:
            return AgentGraphRunnerResult(content="Hello", metrics=metrics)

    graph = agent_graph(launchdarkly)
    launchdarkly.events.custom.clear()
    asyncio.run(ManagedAgentGraph(graph, Runner()).run("Hi"))
    theirs = sent(launchdarkly)
    anna = Context.create("anna")
    agents = [node(key, 100) if key in tokens else failing(key) for key in path]

    async def in_thread(agent: Any) -> None:
        await asyncio.to_thread(agent)

    @track_graph("support-flow", ld_context=lambda: anna)
    async def flow() -> None:
        first, *others = agents
        first()
        if gathers:
            await asyncio.gather(*map(in_thread, others))
        else:
            for agent in others:
                agent()

    with contextlib.suppress(ConnectionError):
        asyncio.run(flow())
    ours = [event for event in sent(launchdarkly) if "handoff" not in event[0]]

    assert sorted(ours, key=repr) == sorted(theirs, key=repr)


def test_a_managed_graph_in_track_graph(launchdarkly: OfflineLaunchDarkly) -> None:
    """``track_graph`` around ``ManagedAgentGraph`` of the AI SDK adds nothing to what the SDK reports."""
    metrics = AIGraphMetrics(
        success=True,
        path=["triage"],
        duration_ms=5,
        tokens=TokenUsage(total=101, input=100, output=1),
        node_metrics={"triage": LDAIMetrics(success=True, tokens=TokenUsage(total=101, input=100, output=1))},
    )

    class Runner(AgentGraphRunner):
        async def run(self, _input: Any) -> AgentGraphRunnerResult:
            return AgentGraphRunnerResult(content="Hello", metrics=metrics)

    def run() -> None:
        graph = LDAIClient(launchdarkly.tracking.ld_client).agent_graph("support-flow", Context.create("anna"))
        asyncio.run(ManagedAgentGraph(graph, Runner()).run("Hi"))

    run()
    alone = sent(launchdarkly)
    track_graph("support-flow")(run)()

    assert alone
    assert sent(launchdarkly) == alone


def failing(key: str) -> Any:
    """Return an agent whose provider cannot be reached."""

    @track_ai(config_key=key, mode="agent")
    def agent() -> None:
        raise ConnectionError

    return agent


def test_an_agent_that_calls_itself(launchdarkly: OfflineLaunchDarkly) -> None:
    """A nested call of the same agent belongs to its run; an agent that runs again is in the path again."""

    @track_ai(config_key="triage", mode="agent")
    def triage(depth: int = 2) -> None:
        current_run().add_usage(input_tokens=1, output_tokens=1)
        if depth:
            triage(depth - 1)

    with track_graph("support-flow"):
        triage()
        node("refund", 1)()
        triage(0)

    events = graph_events(launchdarkly)
    assert events["path"] == ["triage", "refund", "triage"]
    assert events["total_tokens"] == 10
    assert events["handoff_success"] == [("triage", "refund"), ("refund", "triage")]
    assert events["redirect"] == [("refund", "triage")]


def test_a_failure_that_is_handled(launchdarkly: OfflineLaunchDarkly) -> None:
    """A graph whose agent failed and was replaced by another one is a success, with a handoff that failed."""
    with track_graph("support-flow"):
        node("triage", 1)()
        with contextlib.suppress(ConnectionError):
            failing("refund")()
        node("answer", 1)()

    events = graph_events(launchdarkly)
    assert (events["invocation_success"], events["path"]) == (1, ["triage", "refund", "answer"])
    assert events["handoff_failure"] == [("triage", "refund")]
    assert events["handoff_success"] == [("refund", "answer")]


def test_parallel_agents_of_which_one_fails(launchdarkly: OfflineLaunchDarkly) -> None:
    """An exception of a parallel agent that leaves the graph is its failure, and the other agent is in the path."""

    def parallel(key: str, error: Exception | None) -> Any:
        @track_ai(config_key=key, mode="agent")
        async def agent() -> None:
            current_run().add_usage(input_tokens=1, output_tokens=1)
            await asyncio.sleep(0.01)
            if error is not None:
                raise error

        return agent

    @track_graph("support-flow")
    async def flow() -> None:
        node("triage", 1)()
        found = await asyncio.gather(
            parallel("refund", ConnectionError())(), parallel("answer", None)(), return_exceptions=True
        )
        for one in found:
            if isinstance(one, Exception):
                raise one

    with pytest.raises(ConnectionError):
        asyncio.run(flow())

    events = graph_events(launchdarkly)
    assert (events["invocation_failure"], events["path"]) == (1, ["triage", "refund", "answer"])
    assert events["handoff_failure"] == [("triage", "refund")]
    assert events["handoff_success"] == [("triage", "answer")]


def test_a_graph_that_is_missing(launchdarkly: OfflineLaunchDarkly, caplog: pytest.LogCaptureFixture) -> None:
    """A key without a graph is logged once, and the execution is reported."""
    for _ in range(2):
        with track_graph("missing"):
            node("triage")()
    launchdarkly.tracking.flush()

    assert caplog.text.count("LaunchDarkly has no agent graph 'missing'") == 1
    assert len(launchdarkly.events.named("graph:invocation_success")) == 2


def test_a_graph_without_nodes(launchdarkly: OfflineLaunchDarkly) -> None:
    """A graph that runs no node is reported without a path."""
    with track_graph("support-flow"):
        pass

    assert set(graph_events(launchdarkly)) == {"invocation_success", "duration:total"}


def test_mistakes() -> None:
    """Bad values and generator functions are refused with what to do."""
    with pytest.raises(ConfigurationError, match="graph_key is ''"):
        track_graph("")

    def pieces() -> Iterator[str]:
        yield ""

    with pytest.raises(ConfigurationError, match="put it on a function"):
        track_graph("support-flow")(pieces)


def test_an_event_of_the_application(launchdarkly: OfflineLaunchDarkly) -> None:
    """``run.track`` sends a metric of the application with the LD context and the identity of the run."""
    with track_ai(config_key="triage", mode="agent", ld_context=lambda: Context.create("anna")) as run:
        run.track("purchase", 9.5, {"items": 2})
        run.track("", True)

    [event] = [event for event in launchdarkly.events.custom if event.key == "purchase"]
    assert event.metric_value == 9.5
    assert event.context.key == "anna"
    expected = {"items": 2, "runId": run.id, "configKey": "triage", "variationKey": "test", "version": 1}
    assert event.data == expected
    assert launchdarkly.tracking.stats().diagnostics["track"] == 1


def test_one_object_in_several_threads(launchdarkly: OfflineLaunchDarkly) -> None:
    """Threads may be in blocks of one object at the same time, and leave them in any order."""
    flow, barrier = track_graph("support-flow"), threading.Barrier(2)

    def work(is_first: bool) -> None:
        with flow:
            barrier.wait()
            node("triage")()
            if not is_first:
                barrier.wait()
        if is_first:
            barrier.wait()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, [True, False]))

    launchdarkly.tracking.flush()
    assert len(launchdarkly.events.named("graph:invocation_success")) == 2


def test_a_block_that_ends_in_another_context(launchdarkly: OfflineLaunchDarkly) -> None:
    """A web framework may take each step of a generator in another context; the graph ends all the same."""

    def pieces() -> Iterator[str]:
        with track_graph("support-flow"):
            node("triage")()
            yield "one"

    steps = pieces()
    for _ in range(2):
        contextvars.copy_context().run(next, steps, None)

    assert graph_events(launchdarkly)["invocation_success"] == 1


def test_a_cancelled_graph(launchdarkly: OfflineLaunchDarkly) -> None:
    """A graph whose task is cancelled is neither a success nor a failure."""

    @track_graph("support-flow")
    async def flow() -> None:
        node("triage")()
        await asyncio.sleep(30)

    async def main() -> None:
        task = asyncio.ensure_future(flow())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())

    events = graph_events(launchdarkly)
    assert not {"invocation_success", "invocation_failure"} & set(events)
    assert events["path"] == ["triage"]


def test_tokens_that_are_not_all_known(launchdarkly: OfflineLaunchDarkly) -> None:
    """If the tokens of one node are unknown, the sum of the others is not reported as the total."""

    @track_ai(config_key="answer", mode="agent")
    def silent() -> None:
        """Use no model that can be seen."""

    with track_graph("support-flow"):
        node("triage", 5)()
        silent()

    assert "total_tokens" not in graph_events(launchdarkly)


def test_a_class_method(launchdarkly: OfflineLaunchDarkly) -> None:
    """The decorator works above ``@classmethod`` and ``@staticmethod``."""

    class Flows:
        @track_graph("support-flow")
        @classmethod
        def run(cls) -> str:
            return str(node("triage")())

    assert Flows.run() == "triage"
    assert graph_events(launchdarkly)["path"] == ["triage"]


def test_the_agents_share_an_anonymous_context(launchdarkly: OfflineLaunchDarkly) -> None:
    """Without a request, the graph and its agents are evaluated for the same anonymous LD context."""
    with track_graph("support-flow"):
        node("triage")()
        node("answer")()
    launchdarkly.tracking.flush()

    events = [event for event in launchdarkly.events.custom if event.key.startswith("$ld:ai:graph:") or event.data]
    keys = {event.context.key for event in events if isinstance(event.data, dict) and "variationKey" in event.data}
    assert len(keys) == 1


def test_a_block_in_a_coroutine(launchdarkly: OfflineLaunchDarkly) -> None:
    """In a coroutine, ``async with`` does the same as ``with``."""

    async def work() -> None:
        async with track_graph("support-flow"):
            node("triage", 11)()
            await asyncio.sleep(0)
            node("answer", 7)()

    asyncio.run(work())
    assert graph_events(launchdarkly)["path"] == ["triage", "answer"]
