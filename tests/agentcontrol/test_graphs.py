"""``track_graph`` compared with ``graph(…)`` of the newer SDK, with the same agents; skipped without the SDK."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from ldclient import Context

from ldai_integrations import current_run, track_ai, track_graph
from ldai_integrations.agentcontrol import call, connect
from ldai_integrations.testing import OfflineLaunchDarkly, ai_config

sdk = pytest.importorskip(
    "launchdarkly_ai_server", reason="comes with the extra [agentcontrol], on Python 3.12 or later"
)
# The SDK warns about OpenTelemetry packages that are not installed, or are set up already.
pytestmark = pytest.mark.filterwarnings("ignore")

ANNA = {"kind": "user", "key": "anna"}
GRAPH = {"_ldMeta": {"enabled": True, "variationKey": "first", "version": 4}, "root": "triage"}
#: Paths, with the agent that fails.
PATHS = {
    "one agent": (["triage"], ""),
    "three agents": (["triage", "refund", "answer"], ""),
    "the first agent fails": (["triage"], "triage"),
    "the last agent fails": (["triage", "refund"], "refund"),
}
# Events about the path have other names and forms in each SDK.
_OF_PATHS = ("$ld:ai:graph:node", "$ld:ai:graph:path")


class _Handler:
    provides_for = ("OpenAI", "agent")
    capture_content = False
    has_stream = False

    def __init__(self, fails: str) -> None:
        self._fails = fails

    async def __call__(self, config: Any, *_: Any) -> dict[str, Any]:
        if self._fails == config["instructions"]:
            raise ConnectionError
        return {"output": "Hello", "usage": {"input": 7317, "output": 3863, "total": 11180}}


def _agent(key: str, fails: str) -> Any:
    @track_ai(config_key=key, mode="agent")
    def agent() -> None:
        if key == fails:
            raise ConnectionError
        current_run().add_usage(input_tokens=7317, output_tokens=3863)

    return agent


@pytest.fixture
def launchdarkly() -> Iterator[OfflineLaunchDarkly]:
    """Connect the SDK; the test serves the graph."""
    agents = {key: ai_config(instructions=key) for key in ("triage", "refund", "answer")}
    with OfflineLaunchDarkly(agents) as launchdarkly:
        connect(launchdarkly.tracking)
        yield launchdarkly
        call(sdk.shutdown())


def _sent(launchdarkly: OfflineLaunchDarkly) -> tuple[list[Any], list[str]]:
    """Return the events about the graph and its agents, and the path; forget them.

    Run ids, times and the fields of a model, which a graph does not have, are left out.
    """
    launchdarkly.tracking.flush()
    found, path = [], []
    for event in launchdarkly.events.custom:
        data = event.data if isinstance(event.data, dict) else {}
        if event.key in _OF_PATHS:
            path += data.get("path", [data.get("nodeKey")])
        elif "graphKey" in data:
            of_graph = event.key.startswith("$ld:ai:graph:")
            hidden = {"runId", "parentRunId"} | ({"configKey", "modelName", "providerName"} if of_graph else set())
            fields = sorted((name, value) for name, value in data.items() if name not in hidden)
            found.append((event.key, fields, None if "duration" in event.key else event.metric_value))
    launchdarkly.events.custom.clear()
    return sorted(found, key=repr), path


@pytest.mark.parametrize("situation", PATHS)
def test_the_events_are_those_of_the_newer_sdk(situation: str, launchdarkly: OfflineLaunchDarkly) -> None:
    """A graph and its agents send the events of the newer SDK: path, handoffs, tokens, durations and outcomes."""
    path, fails = PATHS[situation]
    edges = {source: [{"key": target}] for source, target in itertools.pairwise(path)}
    launchdarkly.serve("support-flow", {**GRAPH, "edges": edges})
    with contextlib.suppress(ConnectionError):
        call(sdk.graph("support-flow", handlers=[_Handler(fails)]).invoke("Hi", ANNA))
    theirs, their_path = _sent(launchdarkly)

    with (
        contextlib.suppress(ConnectionError),
        track_graph("support-flow", ld_context=lambda: Context.from_dict(ANNA)),
    ):
        for key in path:
            _agent(key, fails)()

    assert _sent(launchdarkly) == (theirs, their_path)
    assert their_path == path


def test_the_tree_of_a_graph(launchdarkly: OfflineLaunchDarkly) -> None:
    """The runs of the SDK's agents name the run of its graph as their parent, and that names the run around it."""
    launchdarkly.serve("support-flow", {**GRAPH, "edges": {"triage": [{"key": "answer"}]}})
    launchdarkly.serve("chat", ai_config("gpt-4o-mini"))
    with track_ai(config_key="chat", tracking=launchdarkly.tracking) as run:
        assert run.config.enabled
        for _ in range(2):
            call(sdk.graph("support-flow", handlers=[_Handler("")]).invoke("Hi", ANNA))

    events = [event.data for event in launchdarkly.events.custom if "graphKey" in str(event.data)]
    graphs = {data["runId"]: data["parentRunId"] for data in events if data["configKey"] == "support-flow"}
    agents = {data["runId"]: data["parentRunId"] for data in events if data["configKey"] != "support-flow"}
    assert list(graphs.values()) == [run.id] * 2
    assert sorted(agents.values()) == sorted([*graphs, *graphs])


@pytest.mark.parametrize("situation", PATHS)
def test_a_graph_of_the_sdk_in_track_graph(situation: str, launchdarkly: OfflineLaunchDarkly) -> None:
    """``track_graph`` around ``graph(…)`` of the SDK adds nothing to what the SDK reports."""
    path, fails = PATHS[situation]
    edges = {source: [{"key": target}] for source, target in itertools.pairwise(path)}
    launchdarkly.serve("support-flow", {**GRAPH, "edges": edges})

    def invoke() -> None:
        call(sdk.graph("support-flow", handlers=[_Handler(fails)]).invoke("Hi", ANNA))

    with contextlib.suppress(ConnectionError):
        invoke()
    alone = _sent(launchdarkly)
    with contextlib.suppress(ConnectionError):
        track_graph("support-flow")(invoke)()

    assert _sent(launchdarkly) == alone


def test_a_graph_of_the_sdk_that_is_cancelled(launchdarkly: OfflineLaunchDarkly) -> None:
    """The SDK sends no duration for a graph that is cancelled, and ``track_graph`` does, with the SDK's run id."""
    launchdarkly.serve("support-flow", {**GRAPH, "edges": {}})

    class Slow(_Handler):
        async def __call__(self, *_: Any) -> dict[str, Any]:
            await asyncio.sleep(30)
            raise AssertionError

    @track_graph("support-flow")
    async def flow() -> None:
        await sdk.graph("support-flow", handlers=[Slow("")]).invoke("Hi", ANNA)

    async def main() -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(flow(), 0.05)

    asyncio.run(main())
    launchdarkly.tracking.flush()

    events = [event for event in launchdarkly.events.custom if event.key.startswith("$ld:ai:graph:")]
    assert [event.key for event in events] == ["$ld:ai:graph:node", "$ld:ai:graph:duration:total"]
    assert {event.data["runId"] for event in events} == {events[0].data["runId"]}
