"""One execution of an agent graph: the runs that are its nodes, and the events about the whole graph."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from typing import Any, Protocol, cast

from ldai.tracker import AIGraphTracker, TokenUsage
from ldclient import Context, LDClient

from ..records import RunRecord, Usage
from .context import RequestScope


class NodeRun(Protocol):
    """A run that is a node of a graph."""

    config_key: str
    opened_at: float

    @property
    def parent(self) -> Any:
        """The run that was open where this one was opened."""


@dataclass(slots=True, eq=False)
class _Node:
    """A visit of a node."""

    key: str
    opened_at: float
    parent: str
    ended_at: float | None = None
    record: RunRecord | None = None


class GraphRun:
    """One execution of an agent graph. Thread-safe.

    It is reported when its block has ended and the runs of all nodes have been reported.

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
        variation = services.ld_client.variation(graph_key, ld_context, {})
        self._graph: Mapping[str, Any] = variation if isinstance(variation, Mapping) else {}
        meta = self._graph.get("_ldMeta")
        meta = meta if isinstance(meta, Mapping) else {}
        self._tracker = AIGraphTracker(
            cast(LDClient, services.ld_client),
            str(meta.get("variationKey", "")),
            graph_key,
            int(meta.get("version") or 1),
            ld_context,
        )
        self._opened_at: float = services.clock()

    def enter(self, run: NodeRun) -> Callable[[RunRecord | None], None]:
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
                node.ended_at, node.record = node.opened_at + record.duration_ms / 1000, record
        self._report_if_complete()

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

    def _report(self, nodes: list[_Node]) -> None:
        tracker = self._tracker
        assert self._ended_at is not None
        if self._error is None and not (nodes and _last_of(nodes).outcome == "error"):
            tracker.track_invocation_success()
        else:
            tracker.track_invocation_failure()
        tracker.track_duration(round(1000 * (self._ended_at - self._opened_at)))
        tracker.track_total_tokens(_tokens_of(nodes))
        if not nodes:
            return
        tracker.track_path([node.key for node in nodes])
        self._report_handoffs(nodes)

    def _report_handoffs(self, nodes: list[_Node]) -> None:
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
                self._tracker.track_redirect(source.key, node.key)
                self._note_difference(f"there is no edge from {source.key!r} to {node.key!r}")
            if node.record is not None and node.record.outcome == "error":
                self._tracker.track_handoff_failure(source.key, node.key)
            else:
                self._tracker.track_handoff_success(source.key, node.key)

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


def _last_of(nodes: list[_Node]) -> RunRecord:
    last = max(nodes, key=lambda node: node.ended_at or 0.0).record
    assert last is not None
    return last


def _tokens_of(nodes: list[_Node]) -> TokenUsage | None:
    """Return the sum of the nodes' tokens; ``None`` if none is known."""
    usages = [node.record.usage for node in nodes if node.record is not None and node.record.usage is not None]
    total = reduce(add, usages).with_total() if usages else Usage()
    if total.total_tokens is None:
        return None
    return TokenUsage(total.total_tokens, total.input_tokens or 0, total.output_tokens or 0)


_current: ContextVar[GraphRun | None] = ContextVar("ldai_integrations.graph", default=None)

#: Return the graph that runs here; ``None`` if there is none.
get_graph = _current.get
#: Bind a graph.
bind_graph = _current.set
#: Restore what :func:`bind_graph` replaced.
reset_graph = _current.reset
