"""The client object through which all LaunchDarkly traffic of the library passes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from ldclient import Context, LDClient
from ldclient.evaluation import EvaluationDetail

from .. import signals
from .._diagnostics import Diagnostics
from ..delivery import Delivery, environment_id_of, why_not_connected
from .variations import problem_with

# Why LaunchDarkly gave no variation (ldclient's error kinds), and what to do about it; a part of a log line.
_REMEDIES = {
    "FLAG_NOT_FOUND": "there is no such AI Config in this environment; `ldai doctor {}` names similar keys",
    "USER_NOT_SPECIFIED": "the LD context is not valid; check ld_context",
    "MALFORMED_FLAG": "its targeting points to a variation that does not exist; check the AI Config",
}
_AI_EVENT = "$ld:ai:"
_GRAPH_EVENT = f"{_AI_EVENT}graph:"
# How many runs are remembered, so that an event about one of them is not taken for one about the run in progress.
_MOST_RUNS = 10_000

# The key and the run id of the newer SDK's graph that runs here. It sends an event before each agent.
_graph_run: ContextVar[tuple[object, str]] = ContextVar("ldai_integrations.graph_run", default=(None, ""))


if TYPE_CHECKING:
    _Interface: TypeAlias = LDClient
else:
    _Interface = object  # at run time, it is no LDClient: it contains one


class EventRefusedError(Exception):
    """An event that the LDClient does not take."""


class EventReceiver(Protocol):
    """A run that takes the events of LaunchDarkly's trackers."""

    @property
    def ld_client(self) -> TrackingClient:
        """The client that sends the run's events."""

    def has_id(self, run_id: object) -> bool:
        """Return whether this is the id of the run."""

    def take_event(
        self, event_name: str, ld_context: Context, data: dict[str, Any], value: float | None, *, of_newer_sdk: bool
    ) -> dict[str, object] | None:
        """Note an event about this run; return its data with the run's id, or ``None`` if it must not be sent."""


class GraphReceiver(Protocol):
    """An agent graph that takes the events of LaunchDarkly's own trackers of graphs."""

    key: str

    @property
    def ld_client(self) -> TrackingClient:
        """The client that sends the graph's events."""

    def note_event(self, event_name: str, data: Mapping[str, object]) -> None:
        """Note an event about this graph that is sent."""


class Current(Protocol):
    """The run or the request that the calling code belongs to."""

    @property
    def id_as_parent(self) -> str:
        """The id that runs opened here name as their parent; empty if there is none."""

    def find_run(self, config_key: str) -> EventReceiver | None:
        """Return the open run of a config key."""


class TrackingClient(_Interface):
    """A client with the interface of ``LDClient``.

    Pass it to ``LDAIClient(tracking.ld_client)``, or as ``client`` to ``init_client`` of LaunchDarkly's newer AI SDK.
    It differs from an LDClient in these ways:

    - A malformed AI Config is not returned; the default is served, and the reason is logged once.
    - The LDClient does not get the default of an AI Config, because it would log its prompt.
    - Event data is made serializable, so that one value does not lose a whole batch.
    - AI events carry ``modelKey`` and ``modelVersion`` if LaunchDarkly provides them. Inside a run of the same AI
      Config they belong to that run, so that the run is not reported twice. Inside any other run, or in a graph of the
      newer SDK, those of the newer SDK carry the ``parentRunId``.
    - In a forked process, the first call restarts the client.
    - A context may be a dict, as in the newer SDK.
    - :meth:`close` sends what is buffered and leaves the client open: it belongs to the application.

    Every other attribute is that of the LDClient. Thread-safe.

    Args:
        client: The LDClient.
        delivery: Sends events.
        diagnostics: Receives failures.
        ensure_started: Restarts the client in a forked process; does nothing in any other.
        get_current: Returns the run or the request that the calling code belongs to.
        get_graph: Returns the agent graph that the calling code belongs to.
    """

    def __init__(
        self,
        client: LDClient,
        delivery: Delivery,
        diagnostics: Diagnostics,
        ensure_started: Callable[[], None],
        get_current: Callable[[], Current | None],
        get_graph: Callable[[], GraphReceiver | None],
    ) -> None:
        #: The LDClient.
        self.client = client
        self._delivery = delivery
        self._diagnostics = diagnostics
        self._ensure_started = ensure_started
        self._get_current = get_current
        self._get_graph = get_graph
        #: The id of the environment, if LaunchDarkly sent one. It comes with the flags, so it is read with new ones.
        self.environment_id: str = environment_id_of(client)
        # The last value of each variation that passed the checks: the SDK's store returns the same object again.
        self._checked: dict[tuple[str, int | None, str], object] = {}
        self._models: dict[tuple[object, object, object], dict[str, object]] = {}
        # The ids of the last runs.
        self._run_ids: OrderedDict[object, None] = OrderedDict()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def close(self) -> None:
        """Start to send what is buffered. The LDClient stays open."""
        self.client.flush()

    def variation(self, key: str, context: Context | Mapping[str, Any], default: object) -> Any:
        """Return the variation of a flag or AI Config; ``default`` if it cannot be used."""
        return self.variation_detail(key, context, default).value

    def variation_detail(self, key: str, context: Context | Mapping[str, Any], default: object) -> EvaluationDetail:
        """Return the variation of a flag or AI Config, and the reason; ``default`` if it cannot be used."""
        self._ensure_started()
        mode = _mode_of(default)
        if mode is None:  # a plain flag
            return self.client.variation_detail(key, _context_of(context), default)
        # The SDK writes the default to its log and into events. That of an AI Config has a prompt.
        detail = self.client.variation_detail(key, _context_of(context), None)
        if detail.is_default_value() and detail.value is None:
            detail = EvaluationDetail(default, None, detail.reason)
        reason: Mapping[str, Any] = detail.reason or {}
        if reason.get("kind") == "ERROR":
            error = str(reason.get("errorKind"))
            remedy = _REMEDIES.get(error, "the SDK could not evaluate it; see its own log lines").format(key)
            if error == "CLIENT_NOT_READY":
                remedy = f"LaunchDarkly is not connected yet: {why_not_connected(self.client)}"
            self._note_default(key, default, error.lower(), remedy)
            return detail
        if detail.is_default_value():
            self._note_default(key, default, "off", "it is off and has no variation to serve while off")
            return detail
        value: Any = detail.value
        variation = (key, detail.variation_index, mode)
        if value is not self._checked.get(variation):
            problem = problem_with(value, mode)
            if problem is not None:
                self._note_default(key, default, "malformed", problem)
                return EvaluationDetail(default, None, {"kind": "ERROR", "errorKind": "WRONG_TYPE"})
            self._checked[variation] = value
            self.environment_id = environment_id_of(self.client)
            self._remember_model(key, value)
        return detail

    def track(
        self, event_name: str, context: Context | Mapping[str, Any], data: object = None, metric_value: Any = None
    ) -> None:
        """Send an event. Values that cannot be sent are replaced or left out; this never raises."""
        try:
            self._send(event_name, context, data, metric_value)
        except Exception as exc:
            self._diagnostics.failed("event", event_name, exc)

    def remember_run(self, run_id: str) -> None:
        """Remember the id of a run: events with it are about this run, whichever run is in progress."""
        self._run_ids[run_id] = None
        if len(self._run_ids) > _MOST_RUNS:
            self._run_ids.popitem(last=False)

    def send(
        self,
        event_name: str,
        context: Context | Mapping[str, Any],
        data: object = None,
        metric_value: float | None = None,
    ) -> None:
        """Send an event as :meth:`track` does, and raise an exception if the LDClient does not take it."""
        if not self._delivery.accepts_events:
            raise EventRefusedError("the LDClient is closed, or its queue of events is full")
        self._send(event_name, context, data, metric_value)

    def _send(self, event_name: str, context: Context | Mapping[str, Any], data: object, value: float | None) -> None:
        self._ensure_started()
        if isinstance(data, dict) and event_name.startswith(_GRAPH_EVENT):
            graph = self._get_graph()
            if graph is not None and graph.ld_client is self and data.get("graphKey") == graph.key:
                graph.note_event(event_name.removeprefix(_GRAPH_EVENT), data)
        if isinstance(data, dict) and "configKey" in data:
            current = self._get_current()
            run = current.find_run(str(data["configKey"])) if current is not None else None
            of_newer_sdk = not isinstance(context, Context)
            if run is not None and data.get("runId") in self._run_ids and not run.has_id(data["runId"]):
                run = None  # the event is about an earlier run
            if run is not None and run.ld_client is self:
                name, ld_context = event_name.removeprefix(_AI_EVENT), _context_of(context)
                data = run.take_event(name, ld_context, data, value, of_newer_sdk=of_newer_sdk)
                if data is None:  # the run has sent the same already, or will
                    return
            elif of_newer_sdk:
                parent_id = _parent_in_graph(event_name, data) or (current.id_as_parent if current is not None else "")
                data = {**data, "parentRunId": parent_id} if parent_id else data
            if self._models:
                data = {**data, **self.model_of(*(data.get(name) for name in ("configKey", "variationKey", "version")))}
        self._delivery.track(event_name, _context_of(context), data, value)

    def model_of(self, config_key: object, variation_key: object, version: object) -> Mapping[str, object]:
        """Return ``modelKey`` and ``modelVersion`` of a variation; empty if LaunchDarkly has sent none."""
        return self._models.get((config_key, variation_key, version), {})

    def _remember_model(self, key: str, value: Mapping[str, Any]) -> None:
        meta = value["_ldMeta"]
        model = {name: meta[name] for name in ("modelKey", "modelVersion") if meta.get(name) is not None}
        if model and meta.get("variationKey"):  # events without one are about a default
            self._models[key, meta["variationKey"], int(meta.get("version", 1))] = model

    def _note_default(self, key: str, default: Any, reason: str, remedy: str) -> None:
        self.environment_id = environment_id_of(self.client)
        served = "served as its default" if default["_ldMeta"].get("enabled") else "disabled"
        subject = f"{key}: {served}: {remedy}"
        self._diagnostics.note("default_served", subject, f"AI Config %r is {served}, because %s.", key, remedy)
        try:
            signals.default_served.send(key, reason=reason)
        except Exception as exc:
            self._diagnostics.note("signal", key, "A receiver of default_served raised; fix the receiver.", exc=exc)


@dataclass(frozen=True, slots=True, eq=False)
class ExtendingClient:
    """A client for a tracker that adds fields to its events, such as the ``parentRunId`` of a nested run.

    LaunchDarkly ignores the fields that it does not know. The dev server shows the ``parentRunId``.

    Attributes:
        client: The client object of the library.
        fields: The fields, which come before those of the tracker.
    """

    client: TrackingClient
    fields: Mapping[str, object]

    def track(
        self, event_name: str, context: Context, data: dict[str, object], metric_value: float | None = None
    ) -> None:
        """Send an event with the fields."""
        self.client.track(event_name, context, {**self.fields, **data}, metric_value)


def _parent_in_graph(event_name: str, data: Mapping[str, Any]) -> str:
    """Return the run id of the newer SDK's graph that an event of an agent belongs to; empty for other events."""
    if event_name.startswith(_GRAPH_EVENT):
        _graph_run.set((data.get("graphKey"), str(data.get("runId", ""))))
        return ""
    graph_key, run_id = _graph_run.get()
    return run_id if graph_key is not None and data.get("graphKey") == graph_key else ""


def _context_of(context: Context | Mapping[str, Any]) -> Context:
    """Return a context; one that is not valid is an invalid ``Context``, which the LDClient logs."""
    return context if isinstance(context, Context) else Context.from_dict(dict(context))


def _mode_of(default: object) -> str | None:
    """Return the kind of AI Config that is read. The AI SDK shows it only by the shape of its default."""
    if not isinstance(default, dict) or "_ldMeta" not in default:
        return None
    if "evaluationMetricKey" in default:
        return "judge"
    return "completion" if "messages" in default else "agent"
