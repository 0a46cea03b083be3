"""One AI run: open until its handler has truly ended, then accounted for once."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .._identity import TrackerIdentity
from ..delivery import forks
from ..records import Usage
from .ai_client import make_tracker
from .current import Frame
from .evidence import Evidence
from .observing import observe
from .outlets import NO_EMITTERS
from .resolver import NOTHING_SAID
from .run_tracker import RunTracker
from .scoring import Scores, score_run

if TYPE_CHECKING:
    from ldai.tracker import LDAIConfigTracker, LDAIMetricSummary
    from ldclient import Context

    from ..typing import Score
    from .resolver import AIConfig
    from .run_spec import RunSpec

T = TypeVar("T")


class Run:
    """Collect what happens in one AI run and report it once.

    Handlers get it by annotation or from :func:`~ldai_integrations.current_run`. Its methods never block and
    never raise because of LaunchDarkly; they may be called from any thread, and after the end they change nothing.
    """

    def __init__(
        self,
        frame: Frame,
        spec: RunSpec,
        *,
        variables: Mapping[str, Any],
        ld_context: Context | None = None,
        outer: Run | None = None,
    ) -> None:
        tracking = frame.tracking
        self.forks = forks.count
        self.frame = frame
        self.spec = spec
        self.outer = outer
        self.variables = variables
        self.finished = False
        self.started_at = time.time()
        self.evidence = Evidence(
            tracking.clock, lambda: self.model, tracking.settings.max_body_bytes, self.could_not_read
        )
        self._ld_context = ld_context
        self._lock = threading.Lock()
        self._config: AIConfig | None = None
        #: Keys of the judges that were drawn to judge this run.
        self.judged_by: tuple[str, ...] = ()
        self.scores = Scores()
        #: Where sinks that looked around when it opened want its record.
        self.emitters = NO_EMITTERS
        self._sdk_tracker: LDAIConfigTracker | None = None
        self._identity: TrackerIdentity | None = None
        self.opened_at = tracking.clock()

    # What handlers use

    @property
    def config_key(self) -> str:
        """Key of the AI Config."""
        return self.spec.config_key

    @property
    def id(self) -> str:
        """The run id that all of this run's LaunchDarkly events share."""
        return self.identity.run_id

    @property
    def config(self) -> AIConfig:
        """The AI Config as served to this request, prompt rendered; look at ``config.enabled``."""
        if self._config is None:
            config = self.frame.tracking.resolve(self)
            with self._lock:
                if self._config is None:
                    self._config = config
                    self.frame.tracking.draw_judges(self, config)
        return self._config

    @property
    def model(self) -> str:
        """Name of the configured model; empty if there is none."""
        model = self.config.model
        return model.name if model is not None else ""

    @property
    def parameters(self) -> dict[str, Any]:
        """The configured model parameters, for ``create(model=run.model, **run.parameters, …)``; a new dict."""
        model = self.config.model
        return dict(model.to_dict()["parameters"] or {}) if model is not None else {}

    @property
    def ld_context(self) -> Context:
        """The LaunchDarkly context that the AI Config is evaluated for."""
        return self._ld_context if self._ld_context is not None else self.frame.ld_context

    @property
    def tracker(self) -> RunTracker:
        """LaunchDarkly's tracker for this run; what you say there wins over what is measured."""
        return RunTracker(self)

    @property
    def feedback_token(self) -> str:
        """What the browser sends back with a thumb, for templates and JSON; signed for this user and a limited time.

        Empty where there is nothing to vote on: without ``Settings.feedback``, for AI Configs that are not among its
        ``config_keys``, and while the AI Config is disabled.
        """
        feedback = self.frame.tracking.feedback
        if feedback is None or not feedback.votes_on(self.config_key):
            return ""
        with self.frame.tracking.diagnostics.guard("feedback token", self.config_key):
            if self.config.enabled:
                ld_context = self.ld_context
                return feedback.token(self.sdk_tracker, ld_context, anonymous=self.frame.made_up(ld_context))
        return ""

    def messages(self, *, user: str | None = None) -> list[Any]:
        """Return the configured messages, ready for a provider call.

        Args:
            user: What the user says, added as the last message.

        Returns:
            New ``{"role": …, "content": …}`` dicts, typed so that every provider's client takes them; an agent's
            instructions come as a system message.
        """
        messages = self.configured_messages()
        if user is not None:
            messages.append({"role": "user", "content": user})
        self.evidence.prompt = messages
        return [dict(message) for message in messages]

    def observe(self, response: T) -> T:
        """Take usage, tool calls and the time to the first token from a provider's response.

        Args:
            response: An SDK object, a dict, a stream, or an awaitable of one.

        Returns:
            The same object; for a stream a proxy with the stream's protocol and type; for an awaitable another one.
            What was observed before, by a wrapped client or here, is not counted again.
        """
        return response if self.finished else cast(T, observe(self, response))

    def add_usage(
        self, usage: Usage | None = None, *, input_tokens: int | None = None, output_tokens: int | None = None
    ) -> None:
        """Add the tokens of one provider call that :meth:`observe` cannot read.

        Args:
            usage: All that is known, or
            input_tokens: all prompt tokens, and
            output_tokens: all generated tokens.
        """
        more = usage if usage is not None else Usage(input_tokens=input_tokens, output_tokens=output_tokens)
        with self._lock:
            evidence = self.evidence
            evidence.generated = True
            evidence.said_usage = more if evidence.said_usage is None else evidence.said_usage + more

    def first_token(self) -> None:
        """Stop the time to the first token; only the first call counts."""
        self.evidence.first_token()

    def tool_call(self, name: str) -> None:
        """Record that the model called a tool; takes the place of the tool calls found in responses."""
        if self.finished:
            self.sdk_tracker.track_tool_call(name)
        else:
            self.evidence.said_tools.append(name)

    def evaluate(self, metric_key: str, score: Score) -> None:
        """Score this run under a metric of your own, once per metric.

        The score is sent when the run has been reported, and not at all if it is not. What cannot be a score is logged
        once and counted.

        Args:
            metric_key: The event key of a metric in LaunchDarkly.
            score: From 0 to 1; or a plain or coroutine function without arguments that returns it, which is called
                after the run, off the request, with the bounds of :class:`~ldai_integrations.judges.JudgeSettings`.
        """
        score_run(self, metric_key, score)

    def fail(self, exc: BaseException) -> None:
        """Record an exception that the handler deals with itself: the run is an error, or cancelled."""
        self.evidence.raised(exc)

    def finish(self) -> None:
        """End the run and report it; only the first call counts. Whoever opened a run finishes it."""
        self._finish(self.frame.tracking.clock())

    # What doors, streams and the account use

    def end(self, exc: BaseException | None) -> None:
        """End the run with what its last step raised; ``None`` is its own end, ``GeneratorExit`` somebody else's."""
        if isinstance(exc, GeneratorExit):
            self.abandon()
            return
        if exc is not None:
            self.evidence.raised(exc)
        self.finish()

    def abandon(self) -> None:
        """End a run whose output was not consumed to its end: it ended with the last item, not now."""
        if not self.finished:
            self.evidence.cancelled = True
            last = self.evidence.last_item_at
            self._finish(last if last is not None else self.frame.tracking.clock())

    def _finish(self, ended_at: float) -> None:
        with self._lock:
            if self.finished:
                return
            self.finished = True
        self.frame.open_runs.discard(self)
        self.frame.tracking.report(self, ended_at)

    @property
    def resolved(self) -> bool:
        """Whether the AI Config has been asked for."""
        return self._config is not None

    @property
    def sdk_tracker(self) -> LDAIConfigTracker:
        """The AI SDK's own tracker, made once."""
        if self._sdk_tracker is None:
            config = self.config
            with self._lock:
                if self._sdk_tracker is None:
                    self._sdk_tracker = make_tracker(config)
        return self._sdk_tracker

    @property
    def identity(self) -> TrackerIdentity:
        """Run id, variation and version."""
        if self._identity is None:
            self._identity = TrackerIdentity.of(self.sdk_tracker)
        return self._identity

    def said(self) -> LDAIMetricSummary:
        """Return what user code has said on the tracker."""
        return NOTHING_SAID if self._sdk_tracker is None else self._sdk_tracker.get_summary()

    def configured_messages(self) -> list[dict[str, Any]]:
        """Return the AI Config's messages, or its instructions as one system message."""
        instructions = getattr(self.config, "instructions", None)
        if instructions:
            return [{"role": "system", "content": instructions}]
        return [message.to_dict() for message in getattr(self.config, "messages", None) or ()]

    def could_not_read(self, exc: Exception) -> None:
        """Tell, once, of output that cannot be read."""
        self.frame.tracking.diagnostics.note(
            "output", self.config_key, "Output of %r cannot be read; its tokens stay unknown.", self.config_key, exc=exc
        )


def enclosing(current: Frame | Run | None, config_key: str) -> Run | None:
    """Return the open run of a config key that the code below ``current`` belongs to, if there is one."""
    while isinstance(current, Run):
        if current.config_key == config_key and not current.finished:
            return current
        current = current.outer
    return None


def take_output(run: Run, result: Any) -> None:
    """Judge and read the value that a handler returned."""
    try:
        if run.spec.is_error is not None:
            run.evidence.judged_error = bool(run.spec.is_error(result))
        run.evidence.take(result)
    except Exception as exc:
        run.frame.tracking.diagnostics.failed("result", run.config_key, exc)
