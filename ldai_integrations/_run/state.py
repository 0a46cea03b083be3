"""The state of one run: the AI Config that it is served, everything that is measured, and its end.

The application sees a run as a :class:`~ldai_integrations.Run`; the modules of the library pass its state around.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, cast

from ldai.tracker import LDAIConfigTracker
from ldclient import Context, LDClient

from .._identity import TrackerIdentity
from .._launchdarkly.client import ExtendingClient, TrackingClient
from .._launchdarkly.configs import AIConfig
from .._locks import forks
from ..delivery import exits
from ..records import RunRecord
from ..typing import RunCompanion
from ..usage import Reading
from .context import RequestScope, Services, bind, get_current, outside, unbind
from .events import is_at_work
from .failures import is_cancellation, is_control_flow, is_disconnect
from .ledger import Ledger
from .open_runs import CallOutside, CallsOutside, note_in_open_runs
from .options import RunOptions
from .output import HandlerOutput
from .rest import aread_rests, read_rests
from .stated import Scores, SdkCalls, Stated


class RunState:
    """The state of one run. Its methods may be called from any thread; after the end of the run they change nothing."""

    #: The run as the application sees it, once it asks; see :func:`~ldai_integrations._run.run.run_of`.
    public: object = None
    finished: bool = False
    is_cancelled: bool = False
    #: Whether the consumer of the output left, and nobody cancelled the run before.
    is_abandoned: bool = False
    is_discarded: bool = False
    #: Whether a nested run has reported a provider call or tokens, so that the output may be the answer of that run.
    has_nested_usage: bool = False
    #: The calls of LaunchDarkly's newer AI SDK, if it generates the answer. It also runs the judges.
    sdk_calls: SdkCalls | None = None
    #: Returns the thread or task that is in the handler or the block of the run; ``None`` if there is none.
    worker: Callable[[], object] | None = None
    #: The path of the request, if a middleware has opened the run.
    path: str = ""
    error: BaseException | None = None
    error_by_result: bool | None = None
    #: The messages that the application got for its request to a provider.
    prompt: list[dict[str, object]] | None = None
    #: The keys of the judges that were drawn for this run.
    judge_keys: tuple[str, ...] = ()
    #: The key of the agent graph that the run is a node of; empty if there is none.
    graph_key: str = ""
    #: Takes the record if the run is a node of an agent graph; it gets ``None`` if there is no record.
    report_node: Callable[[RunRecord | None], object] | None = None
    #: What sinks have for this run, by the index of the sink.
    companions: Mapping[int, RunCompanion] = MappingProxyType({})
    # How long the end of the run waited for providers, which is not the time of the handler.
    _settling_seconds: float = 0.0
    _config: AIConfig | None = None
    _sdk_tracker: LDAIConfigTracker | None = None
    _identity: TrackerIdentity | None = None
    # The names of the model and its provider, as one of LaunchDarkly's trackers states them.
    _stated_names: tuple[str, str] | None = None

    def __init__(
        self,
        scope: RequestScope,
        options: RunOptions,
        *,
        variables: Mapping[str, object],
        ld_context: Context | None = None,
        parent: RunState | None = None,
    ) -> None:
        services = scope.services
        self.scope: RequestScope = scope
        self.services: Services = services
        self.options: RunOptions = options
        self.config_key: str = options.config_key
        self.variables: Mapping[str, object] = variables
        self.parent: RunState | None = parent
        #: The id of the conversation that the run belongs to. A nested run begins with that of the run around it.
        self.conversation_id: str | None = parent.conversation_id if parent is not None else None
        #: The number of forks before the run; a run that was opened before a fork belongs to the parent process.
        self.forks: int = forks.count
        self.opened_at: float = services.clock()
        self.started_at: float = time.time()
        #: Whether the run is reported without a provider call. A decorated handler sets this in a middleware's run.
        self.counts_without_call: bool = options.counts_without_call
        self.ledger: Ledger = Ledger(services.clock, parent.ledger if parent is not None else None)
        self.output: HandlerOutput = HandlerOutput(services.clock, services.settings.max_body_bytes)
        self.stated: Stated = Stated()
        self.scores: Scores = Scores()
        #: The calls of wrapped clients that belong to no run, made while this run was open or bound.
        self.calls_outside: CallsOutside = CallsOutside()
        # The ids of other trackers that report about this run.
        self._other_ids: set[object] = set()
        self._ld_context = ld_context
        self._lock = threading.RLock()  # a signal handler or a finalizer may use the run

    # The AI Config

    @property
    def id(self) -> str:
        """The run id that all LaunchDarkly events of this run share."""
        return self.identity.run_id

    @property
    def config(self) -> AIConfig:
        """The AI Config. It is evaluated once, when it is first needed, from any thread."""
        if self._config is None:
            config = self._resolve() if not self.companions else outside(self, self._resolve)
            with self._lock:
                if self._config is None:
                    self._config = config
                    self._draw_judges(config)
        return self._config

    @property
    def model(self) -> str:
        """The name of the configured model; empty if there is none."""
        if self._stated_names is not None:
            return self._stated_names[0]
        model = self.config.model
        return model.name if model is not None else ""

    @property
    def provider(self) -> str:
        """The name of the configured provider; empty if there is none."""
        if self._stated_names is not None:
            return self._stated_names[1]
        provider = self.config.provider
        return provider.name if provider is not None else ""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """All configured parameters of the model; one that is null is not set."""
        model = self.config.model
        given = model.to_dict()["parameters"] or {} if model is not None else {}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def ld_context(self) -> Context:
        """The LD context that the AI Config is evaluated for."""
        if self._ld_context is None:
            self._ld_context = self.scope.ld_context
        return self._ld_context

    @property
    def is_resolved(self) -> bool:
        """Whether the AI Config has been evaluated."""
        return self._config is not None

    @property
    def sdk_tracker(self) -> LDAIConfigTracker:
        """The AI SDK's tracker, created once."""
        if self._sdk_tracker is None:
            tracker, parent_id = self.config.create_tracker(), self.parent_run_id
            identity = TrackerIdentity.of(tracker)
            if self.graph_key or parent_id:
                tracker = self._make_tracker(identity, {"parentRunId": parent_id})
            with self._lock:
                if self._sdk_tracker is None:  # another thread, or a signal handler, may have been faster
                    self._sdk_tracker, self._identity = tracker, identity
                    self.ld_client.remember_run(identity.run_id)
        return self._sdk_tracker

    @property
    def parent_run_id(self) -> str:
        """The id of the run in which this one was opened; empty if there is none, or if it has no AI Config."""
        return self.parent.id_as_parent if self.parent is not None else ""

    @property
    def id_as_parent(self) -> str:
        """The id that runs opened in this one name as their parent; empty while the AI Config was not evaluated."""
        return self.id if self.is_resolved or self._sdk_tracker is not None else ""

    @property
    def identity(self) -> TrackerIdentity:
        """The run id, variation and version."""
        _ = self.sdk_tracker  # which is created with it
        assert self._identity is not None
        return self._identity

    def fill_in(self, variables: Mapping[str, object] | Callable[[], Mapping[str, object]]) -> None:
        """Take the values for the prompt. Models that a function calls for them are calls of this run."""
        if not callable(variables):
            self.variables = variables
            return
        token = bind(self)
        try:
            self.variables = variables()
        finally:
            unbind(token)

    def configured_messages(self) -> list[dict[str, object]]:
        """Return the messages of the AI Config, or its instructions as one system message."""
        instructions = getattr(self.config, "instructions", None)
        if instructions:
            return [{"role": "system", "content": instructions}]
        return [message.to_dict() for message in getattr(self.config, "messages", None) or ()]

    @property
    def feedback_token(self) -> str:
        """The signed token that the browser sends back with a vote; empty if there is nothing to vote on."""
        feedback = self.services.feedback
        if feedback is None and not self.services.is_idle:
            self.services.diagnostics.note(
                "feedback",
                "off",
                "Runs have no feedback_token, because votes are off. Give Settings(feedback=FeedbackSettings("
                "config_keys={%r})), or leave out run.feedback_token.",
                self.config_key,
            )
        if feedback is None or not feedback.votes_on(self.config_key) or self.is_discarded:
            return ""
        with self.services.diagnostics.guard("feedback token", self.config_key):
            if self.config.enabled:
                ld_context = self.ld_context
                is_anonymous = self.scope.is_anonymous(ld_context)
                _, config_key, variation_key, version = self.identity
                model = self.ld_client.model_of(config_key, variation_key, version)
                return feedback.token(self.sdk_tracker, ld_context, anonymous=is_anonymous, model=model)
        return ""

    @property
    def exports_texts(self) -> bool:
        """Whether a sink wants the texts of this run."""
        return bool(self.companions) and any(companion.wants_texts for companion in self.companions.values())

    @property
    def keeps_texts(self) -> bool:
        """Whether a sink wants the texts of this run, or judges were drawn for it."""
        return self.exports_texts or (self.config is not None and bool(self.judge_keys))

    def needs_request(self, reading: Reading | None) -> bool:
        """Return whether the request of a call with this response is still needed: for an estimate, or for its text."""
        usage = reading.usage if reading is not None else None
        is_counted = usage is not None and usage.input_tokens is not None and usage.output_tokens is not None
        return not is_counted or self.keeps_texts

    # Measurements

    def note_wrong_number(self, source: str, consequence: str) -> None:
        """Note that a number of tokens or a time cannot be true.

        Args:
            source: Who gave it.
            consequence: What becomes of it, and what to do.
        """
        self.services.diagnostics.note(
            "usage",
            f"{self.config_key}: {source}",
            "%s gave a number that cannot be true, in a run of %r. %s",
            source,
            self.config_key,
            consequence,
        )

    def note_call_after_end(self) -> CallOutside:
        """Count a provider call after the end of the run, and return it.

        It may be one of another run: a worker that the first request has started makes the calls of later ones.
        """
        call = CallOutside()
        call.is_late = True
        note_in_open_runs(call)
        self.services.diagnostics.note(
            "call_after_run",
            self.config_key,
            "A model was called after the end of a run of %r, or its response came then, for example in a background "
            "task; what came after the end is not counted. Wait for it in the run, or open a run of its own there, "
            "with another key: with track_ai(config_key=…).",
            self.config_key,
        )
        return call

    def tool_call(self, name: str) -> None:
        """Record that the model called a tool."""
        if self.finished:
            self.sdk_tracker.track_tool_call(name)
        else:
            self.stated.tools.append(name)

    @property
    def is_in_background(self) -> bool:
        """Whether another thread or task than this one is in the handler or the block of the run."""
        return self.worker is not None and is_at_work(self.worker())

    @property
    def ld_client(self) -> TrackingClient:
        """The client that sends the events of the run."""
        return self.services.ld_client

    def has_id(self, run_id: object) -> bool:
        """Return whether this is the id of the run."""
        return self._identity is not None and self._identity.run_id == run_id

    def find_run(self, config_key: str) -> RunState | None:
        """Return the open run of a config key: this one, or one around it."""
        run: RunState | None = self
        while run is not None and (run.finished or run.config_key != config_key):
            run = run.parent
        return run

    def take_event(
        self, event_name: str, ld_context: Context, data: dict[str, Any], value: float | None, *, of_newer_sdk: bool
    ) -> dict[str, Any] | None:
        """Note an event of one of LaunchDarkly's trackers for this run; return its data with the run's id.

        The run takes the identity of the first tracker. It has one outcome and one duration: of several trackers of the
        older SDK the first one counts; each call of the newer SDK is a provider call of the run.

        Args:
            event_name: The name of the event, without ``$ld:ai:``.
            ld_context: The LD context that it is about.
            data: The data of the event.
            value: Its metric value.
            of_newer_sdk: Whether LaunchDarkly's newer AI SDK sends it.

        Returns:
            ``None`` if the event must not be sent.
        """
        if "judgeConfigKey" in data:
            self.scores.claim(str(data["judgeConfigKey"]), event_name)
        elif event_name.startswith("feedback:"):
            if data.get("runId") not in self._other_ids:
                return data  # it is about an earlier run
        else:
            is_first_of_newer = of_newer_sdk and self.sdk_calls is None
            if is_first_of_newer:
                self.sdk_calls = SdkCalls(self.ledger)
            if self._sdk_tracker is None or is_first_of_newer:
                self._take_identity(ld_context, data)
            if of_newer_sdk and self.sdk_calls is not None and self.sdk_calls.take_event(event_name, data, value):
                self._other_ids.add(data.get("runId"))
                return None
            if not self.stated.take_event(event_name, data, value):
                return None
        if data.get("runId") == self.id:
            return data
        self._other_ids.add(data.get("runId"))
        return {**data, "runId": self.id}

    def _take_identity(self, ld_context: Context, data: Mapping[str, Any]) -> None:
        """Take the run id, the variation, the model and the LD context of one of LaunchDarkly's trackers.

        An id that somebody has asked for before stays. The newer SDK evaluates AI Configs itself, maybe for another LD
        context.
        """
        if not isinstance(data.get("runId"), str) or "variationKey" not in data:
            return
        run_id = self.id if self._sdk_tracker is not None else data["runId"]
        self.ld_client.remember_run(run_id)
        version = int(data.get("version") or 1)
        identity = TrackerIdentity(run_id, self.config_key, str(data["variationKey"]), version)
        fields = {name: data.get(name) for name in ("environmentId", "modelKey", "modelVersion")}
        fields["parentRunId"] = self.parent_run_id
        with self._lock:
            self.graph_key = self.graph_key or str(data.get("graphKey", ""))
            self._stated_names = str(data.get("modelName", "")), str(data.get("providerName", ""))
            self._identity, self._ld_context = identity, ld_context
            self._sdk_tracker = self._make_tracker(identity, fields)

    def _make_tracker(self, identity: TrackerIdentity, fields: Mapping[str, object]) -> LDAIConfigTracker:
        """Return a tracker of the AI SDK whose events have more fields, as far as these have a value."""
        known = {name: value for name, value in fields.items() if value}
        client = cast(LDClient, ExtendingClient(self.ld_client, known)) if known else self.ld_client
        graph_key = self.graph_key or None
        return LDAIConfigTracker(client, *identity, self.ld_context, self.model, self.provider, graph_key=graph_key)

    def claim_score(self, judge_key: str, metric_key: str) -> bool:
        """Return whether this is the first score of a judge, or of the application itself, under a metric."""
        return self.scores.claim(judge_key, metric_key)

    def fail(self, exc: BaseException) -> None:
        """Record an exception of the handler: the outcome of the run is error, or cancelled."""
        if self.finished:  # for example, Starlette raises the exception again after it has answered with status 500
            return
        if is_cancellation(exc) or is_disconnect(exc):
            self.is_cancelled = True
        elif is_control_flow(exc):
            self.is_cancelled |= self.ledger.is_in_progress
        elif self.error is None:
            self.error = exc

    # The end

    def read_rest(self) -> None:
        """Read what providers still send in streams that the handler has left. On an event loop, nothing is read."""
        if self.ledger.has_rest:
            read_rests(self.services, self.ledger)

    async def settle(self, exc: BaseException | None = None) -> None:
        """Read what providers still send, as :meth:`read_rest` does, without blocking the event loop.

        Args:
            exc: The exception that ends the run. Nobody waits after a cancellation.
        """
        if not self.ledger.has_rest or (exc is not None and is_cancellation(exc)):
            return
        begun = self.services.clock()
        try:
            await aread_rests(self.services, self.ledger)
        except BaseException as stopped:  # whoever waits for the handler does not wait any more
            self.end(stopped)
            raise
        self._settling_seconds += self.services.clock() - begun

    def end(self, exc: BaseException | None = None) -> None:
        """End the run.

        Args:
            exc: The exception of its last step. ``None`` is a normal end; ``GeneratorExit`` means that the consumer
                closed the output.
        """
        if isinstance(exc, GeneratorExit):
            self.abandon()
            return
        if exc is not None:
            self.fail(exc)
        ended_at = self.services.clock() - self._settling_seconds
        self.read_rest()
        exits.begin_report()
        try:
            self._finish(ended_at)
        finally:
            exits.end_report()

    def abandon(self) -> None:
        """End a run whose output was not consumed to its end: it ended with the last item."""
        if not self.finished:
            last = self.output.last_item_at
            ended_at = last if last is not None else self.services.clock()
            self.read_rest()
            self._finish(ended_at, is_abandoned=True)

    def end_from_finalizer(self, *, is_complete: bool = False) -> None:
        """End the run from a finalizer: another thread finishes it, or abandons it if its output is not complete."""
        if not self.finished:
            self.services.flushing.worker.submit_from_finalizer(self.end if is_complete else self.abandon)

    def release(self) -> None:
        """Forget texts, callables and what refers back to the run, such as its exception, once it is reported."""
        self.ledger.release()
        self.output.release()
        self.prompt, self.error, self.public = None, None, None

    def _finish(self, ended_at: float, *, is_abandoned: bool = False) -> None:
        with self._lock:
            if self.finished:
                return
            self.finished, self.worker = True, None
            if is_abandoned:
                self.is_abandoned, self.is_cancelled = not self.is_cancelled, True
        self.scope.open_runs.discard(self)
        if self.scope.is_connection and not self.scope.open_runs:
            self.scope.resolved.clear()
        self.services.reporter.report(self, ended_at)

    def _resolve(self) -> AIConfig:
        return self.services.configs.resolve(
            self.scope.resolved,
            self.config_key,
            self.ld_context,
            mode=self.options.mode,
            default=self.options.default,
            variables=self.variables,
        )

    def _draw_judges(self, config: AIConfig) -> None:
        if self.scope.is_judging or config.judge_configuration is None:
            return
        with self.services.diagnostics.guard("judge_config", self.config_key):
            self.judge_keys = self.services.judges.draw(config)


def run_in(scope: RequestScope) -> RunState | None:
    """Return the run that is in progress here, if it belongs to a scope."""
    current = get_current()
    return current if isinstance(current, RunState) and current.scope is scope else None


def open_run(
    scope: RequestScope,
    options: RunOptions,
    *,
    variables: Mapping[str, object] | Callable[[], Mapping[str, object]],
    ld_context: Context | None = None,
    parent: RunState | None = None,
) -> RunState:
    """Open a run in a request scope. The code that opens a run finishes it, at the latest when the scope closes.

    Args:
        scope: The scope.
        options: The options of the run.
        variables: Values for the prompt, or a function that returns them. Models that it calls are calls of the run.
        ld_context: The LD context, if it is not that of the scope.
        parent: The run around it.
    """
    services = scope.services
    known = {} if callable(variables) else variables
    if services.is_idle:
        run = RunState(scope, options, variables=known, ld_context=ld_context, parent=parent)
        run.fill_in(variables)
        run.finished = True
        return run
    if forks.count:
        services.flushing.ensure_started()
    if ld_context is None and not scope.has_source:
        # Determined now, because random bytes release the interpreter's lock. At the end of a run, another thread could
        # then see a state that is not complete.
        ld_context = scope.ld_context
    run = RunState(scope, options, variables=known, ld_context=ld_context, parent=parent)
    scope.open_runs.add(run)
    scope.had_runs = True
    if scope.vote_token is not None:
        scope.vote_token.consider(run)
    services.reporter.open(run)
    if callable(variables):
        try:
            run.fill_in(variables)
        except BaseException as exc:  # of a signal handler
            run.end(exc)
            raise
    return run
