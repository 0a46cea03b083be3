"""One execution of an agent graph: the runs that are its nodes, and the events about the whole graph."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from typing import Any, cast

from ldai.tracker import AIGraphTracker, TokenUsage
from ldclient import Context, LDClient

from .._launchdarkly.client import ExtendingClient, TrackingClient
from ..records import RunRecord
from .context import RequestScope, get_current, outside
from .failures import is_cancellation
from .state import RunState


@dataclass(slots=True, eq=False)
class _Node:
    """A visit of a node."""

    key: str
    opened_at: float
    parent: str
    ended_at: float | None = None
    record: RunRecord | None = None


# What the events of LaunchDarkly's trackers of graphs are about.
_PART_OF = {
    "invocation_success": "outcome",
    "invocation_failure": "outcome",
    "duration:total": "duration",
    "total_tokens": "tokens",
    "node": "path",
    "path": "path",
}


class GraphRun:
    """One execution of an agent graph. Thread-safe.

    It is reported when its block has ended and the runs of all nodes have been reported. What one of LaunchDarkly's
    SDKs reports about the same graph is not reported again.

    Args:
        scope: The request scope in which the graph runs.
        graph_key: The key of the graph.
        ld_context: The LD context that the graph is evaluated for.
    """

    def __init__(self, scope: RequestScope, graph_key: str, ld_context: Context) -> None:
        services = scope.services
        self.key = graph_key
        self._services = services
        self._lock = threading.Lock()
        self._nodes: list[_Node] = []
        self._error: BaseException | None = None
        self._ended_at: float | None = None
        self._is_reported = False
        self._reported_by_sdk: set[str] = set()
        self._data_of_sdk: Mapping[str, object] = {}
        self._scope = scope
        evaluate = partial(services.ld_client.variation, graph_key, ld_context, {})
        current = get_current()
        variation = outside(current, evaluate) if current is not None and current.companions else evaluate()
        self._graph: Mapping[str, Any] = variation if isinstance(variation, Mapping) else {}
        meta = self._graph.get("_ldMeta")
        meta = meta if isinstance(meta, Mapping) else {}
        if not self._graph.get("root"):
            services.diagnostics.note(
                "graph_path",
                graph_key,
                "LaunchDarkly has no agent graph %r, so its path cannot be compared; check the key, and that it is on.",
                graph_key,
            )
        self._ld_context = ld_context
        self._variation_key, self._version = str(meta.get("variationKey", "")), int(meta.get("version") or 1)
        self._opened_at: float = services.clock()

    def enter(self, run: RunState) -> Callable[[RunRecord | None], None]:
        """Add the run of a node that is opened; return the receiver of its record, or of ``None`` if it has none."""
        parent = run.parent.config_key if run.parent is not None else ""
        node = _Node(run.config_key, run.opened_at, parent)
        with self._lock:
            self._nodes.append(node)
        return partial(self._take, node)

    def _take(self, node: _Node, record: RunRecord | None) -> None:
        with self._lock:
            if record is None:
                self._nodes.remove(node)
            else:
                # The duration is rounded; the node may have ended half a millisecond earlier.
                node.ended_at, node.record = node.opened_at + (record.duration_ms - 0.5) / 1000, record
        self._report_if_complete()

    @property
    def ld_client(self) -> TrackingClient:
        """The client that sends the graph's events."""
        return self._services.ld_client

    def note_event(self, event_name: str, data: Mapping[str, object]) -> None:
        """Note an event of one of LaunchDarkly's own trackers of this graph.

        Args:
            event_name: The name of the event, without ``$ld:ai:graph:``.
            data: The data of the event.
        """
        with self._lock:
            self._reported_by_sdk.add(_PART_OF.get(event_name, "handoffs"))
            self._data_of_sdk = data

    def end(self, exc: BaseException | None) -> None:
        """End the graph, with the exception that left its block."""
        self._error, self._ended_at = exc, self._services.clock()
        self._report_if_complete()

    def _report_if_complete(self) -> None:
        with self._lock:
            nodes = sorted(self._nodes, key=lambda node: node.opened_at)
            is_complete = self._ended_at is not None and all(node.record is not None for node in nodes)
            if self._is_reported or not is_complete:
                return
            self._is_reported = True
        with self._services.diagnostics.guard("graph", self.key):
            self._report(nodes)
        if self._scope.needs_flush:
            self._services.flushing.flush_after_request()

    def _report(self, nodes: list[_Node]) -> None:
        done, tracker = self._reported_by_sdk, self._new_tracker()
        assert self._ended_at is not None
        last = max(nodes, key=lambda node: node.ended_at or 0.0, default=None)
        outcome = last.record.outcome if last is not None and last.record is not None else "success"
        if self._error is not None:
            outcome = "cancelled" if is_cancellation(self._error) else "error"
        if "outcome" not in done and outcome == "success":
            tracker.track_invocation_success()
        elif "outcome" not in done and outcome == "error":
            tracker.track_invocation_failure()
        if "duration" not in done:
            tracker.track_duration(round(1000 * (self._ended_at - self._opened_at)))
        if "tokens" not in done:
            tracker.track_total_tokens(self._tokens_of(nodes))
        if nodes and "path" not in done:
            tracker.track_path([node.key for node in nodes])
        if nodes and "handoffs" not in done:
            self._report_handoffs(nodes, tracker)

    def _tokens_of(self, nodes: list[_Node]) -> TokenUsage | None:
        """Return the sum of the nodes' tokens; ``None`` unless those of all nodes are known."""
        usages = [node.record.usage for node in nodes if node.record is not None and node.record.usage is not None]
        if len(usages) < len(nodes) or not usages:
            return None
        total = reduce(add, usages).with_total()
        if total.total_tokens is None or (total.estimated and not self._services.settings.report_estimates):
            return None
        return TokenUsage(total.total_tokens, total.input_tokens or 0, total.output_tokens or 0)

    def _new_tracker(self) -> AIGraphTracker:
        """Return a tracker whose events belong to the run of the newer SDK, if that runs the graph."""
        known = ("runId", "configKey", "parentRunId")
        fields = {name: value for name, value in self._data_of_sdk.items() if name in known}
        client = ExtendingClient(self.ld_client, fields) if fields else self.ld_client
        return AIGraphTracker(cast(LDClient, client), self._variation_key, self.key, self._version, self._ld_context)

    def _report_handoffs(self, nodes: list[_Node], tracker: AIGraphTracker) -> None:
        edges = self._graph.get("edges")
        edges = edges if isinstance(edges, Mapping) else {}
        root = self._graph.get("root")
        if root and nodes[0].key != root:
            self._note_difference(f"it starts with {nodes[0].key!r}, and the graph with {str(root)!r}")
        for position, node in enumerate(nodes):
            source = _source_of(node, nodes[:position])
            if source is None:
                continue
            targets = [edge.get("key") for edge in edges.get(source.key) or () if isinstance(edge, Mapping)]
            if edges and node.key not in targets:
                tracker.track_redirect(source.key, node.key)
                self._note_difference(f"there is no edge from {source.key!r} to {node.key!r}")
            if node.record is not None and node.record.outcome == "error":
                tracker.track_handoff_failure(source.key, node.key)
            else:
                tracker.track_handoff_success(source.key, node.key)

    def _note_difference(self, difference: str) -> None:
        self._services.diagnostics.note(
            "graph_path",
            f"{self.key}: {difference}",
            "The path of agent graph %r differs from the graph in LaunchDarkly: %s. Change one of the two.",
            self.key,
            difference,
        )


def _source_of(node: _Node, earlier: list[_Node]) -> _Node | None:
    """Return the node that handed over: the one that called this node, or the last one that had ended before."""
    callers = [other for other in earlier if other.key == node.parent]
    if callers:
        return callers[-1]
    ended = [other for other in earlier if other.ended_at is not None and other.ended_at <= node.opened_at]
    return max(ended, key=lambda other: other.ended_at or 0.0, default=None)


_current: ContextVar[GraphRun | None] = ContextVar("ldai_integrations.graph", default=None)

#: Return the graph that runs here; ``None`` if there is none.
get_graph = _current.get
#: Bind a graph.
bind_graph = _current.set


def unbind_graph(token: Token[GraphRun | None]) -> None:
    """Restore what :func:`bind_graph` replaced; there is nothing to restore where a generator is closed elsewhere."""
    try:
        _current.reset(token)
    except ValueError:
        pass
