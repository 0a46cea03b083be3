"""What is stated about a run by the application, LaunchDarkly's trackers and judges: figures, calls and scores."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ldai.providers.types import JudgeResult

from ..judges import own_score, problem_with_metric, problem_with_score
from ..records import RunRecord, Usage
from ..typing import RunCompanion, Score
from ..usage import Reading
from .context import RequestScope, Services, bind
from .ledger import Ledger, ProviderCall

# The events that a run has once, and what they state.
_ONCE = {"generation:success": "success", "generation:error": "success", "duration:total": "duration"}
# The error of a call of the newer SDK, by the event about its outcome.
_ERRORS = {"generation:success": "", "generation:error": "error"}
# The counts that events state.
_TOKENS = {"tokens:input": "input_tokens", "tokens:output": "output_tokens", "tokens:total": "total_tokens"}


@dataclass(slots=True)
class Stated:
    """The figures of one run that were stated before its end. They replace what the run measured.

    Attributes:
        usages: The tokens of provider calls that the application reports itself.
        tools: The names of the tools that the model called.
        first_token_at: When the first token arrived, on the run's clock in seconds.
        events: What LaunchDarkly's trackers have sent: ``success``, ``duration``, ``first_token``, ``tokens`` and
            ``tools``.
    """

    usages: list[Usage] = field(default_factory=list)
    tools: list[str] = field(default_factory=list)
    first_token_at: float | None = None
    events: dict[str, Any] = field(default_factory=dict)

    def take_event(self, event_name: str, data: dict[str, Any], value: float | None) -> bool:
        """Note an event of one of LaunchDarkly's trackers.

        Args:
            event_name: The name of the event, without ``$ld:ai:``.
            data: The data of the event.
            value: Its metric value.

        Returns:
            Whether it must be sent. A run has one outcome and one duration: the first one counts.
        """
        events = self.events
        once = _ONCE.get(event_name)
        if once is not None:
            if once in events:
                return False
            events[once] = round(value or 0) if once == "duration" else event_name == "generation:success"
        elif event_name == "tokens:ttf":
            events["first_token"] = round(value or 0)
        elif event_name in _TOKENS:
            tokens: Usage = events.get("tokens") or Usage()
            name = _TOKENS[event_name]
            counts: dict[str, Any] = {name: (getattr(tokens, name) or 0) + round(value or 0)}
            events["tokens"] = replace(tokens, **counts)
        elif event_name == "tool_call":
            events.setdefault("tools", []).append(str(data.get("toolKey", "")))
        return True


@dataclass(slots=True, eq=False)
class SdkCalls:
    """The calls of LaunchDarkly's newer AI SDK in one run, as entries of its ledger.

    The SDK makes events when a call has ended. They are not sent: the run sends its own when it ends. So a call that
    fails before another one succeeds is not a failure of the run, and tokens of a wrapped client inside the SDK count
    once.

    Attributes:
        ledger: The ledger of the run.
    """

    ledger: Ledger
    _by_id: dict[object, ProviderCall] = field(default_factory=dict)

    def take_event(self, event_name: str, data: Mapping[str, Any], value: float | None) -> bool:
        """Note what an event says about a call; return whether it is about one.

        Args:
            event_name: The name of the event, without ``$ld:ai:``.
            data: The data of the event. Each call has a run id of its own.
            value: Its metric value.
        """
        if event_name != "duration:total" and event_name not in _ERRORS and event_name not in _TOKENS:
            return False
        call = self._by_id.get(data.get("runId"))
        if call is None:
            call = self._by_id[data.get("runId")] = self.ledger.begin("sdk")
            call.end(call.started_at)
        if event_name in _ERRORS:
            call.error = _ERRORS[event_name]
        elif event_name in _TOKENS and (value or call.read() is not None):  # zeros alone: the provider sent none
            count: dict[str, Any] = {_TOKENS[event_name]: round(value or 0)}
            known = call.read() or Reading(usage=Usage())
            reading = replace(known, usage=replace(known.usage or Usage(), **count))
            call.read = lambda: reading
        elif event_name == "duration:total":
            now = self.ledger.clock()
            call.started_at, call.ended_at = now - (value or 0) / 1000, now
        return True

    @property
    def ended_at(self) -> float | None:
        """The end of the last call on the run's clock; ``None`` without a call.

        It does not include the judges that the SDK runs before it returns.
        """
        return max((call.ended_at or call.started_at for call in self._by_id.values()), default=None)


@dataclass(slots=True, eq=False)
class Scores:
    """The scores of one run. Thread-safe.

    Scores that the application gives are kept until the run is over. No score is sent twice.
    """

    _claimed: set[tuple[str, str]] = field(default_factory=set)
    _held: list[tuple[str, Score]] = field(default_factory=list)
    _send: Callable[[str, Score], None] | None = None

    def claim(self, judge_key: str, metric_key: str) -> bool:
        """Return whether this is the first score of a judge, or of the application itself, under a metric."""
        before = len(self._claimed)
        self._claimed.add((judge_key, metric_key))
        return len(self._claimed) > before

    def given_by(self, judge_key: str) -> bool:
        """Return whether the application has asked a judge itself."""
        return any(judge_key == key for key, _metric in self._claimed)

    def add(self, metric_key: str, score: Score) -> str | None:
        """Take a score of the application: it is sent when the run is over, or at once if it is.

        Returns:
            What is wrong with it; ``None`` if it was taken.
        """
        problem = problem_with_metric(metric_key)
        if problem is None and not callable(score):
            problem = problem_with_score(score)
            problem = None if problem is None else f"the score {problem}"
        if problem is None and not self.claim("", metric_key):
            problem = f"the run has a score for {metric_key!r} already, and a run has one score per metric"
        if problem is None:
            self._held.append((metric_key, score))
            self._hand_over()
        return problem

    def open(self, send: Callable[[str, Score], None]) -> None:
        """Send the kept scores, and all that follow, with ``send``."""
        self._send = send
        self._hand_over()

    def _hand_over(self) -> None:
        while self._send is not None and self._held:
            try:
                held = self._held.pop(0)
            except IndexError:  # another thread was faster
                return
            self._send(*held)


class Destination:
    """The destination of the scores of a reported run. Of the request, it keeps only the LD context."""

    __slots__ = ("_companions", "_config_key", "_ld_context", "_services", "_tracker")

    def __init__(self, services: Services, companions: Iterable[RunCompanion], record: RunRecord) -> None:
        self._services = services
        self._companions = tuple(companions)
        self._config_key = record.config_key
        self._ld_context = record.ld_context
        self._tracker = record.tracker

    def send(self, metric_key: str, score: Score) -> None:
        """Send a score of the application. A function is called outside of the request first."""
        if callable(score):
            self._services.judges.score(metric_key, score, self.contextvars(), self.track)
        else:
            self.track(own_score(metric_key, score))

    def track(self, result: JudgeResult) -> None:
        """Send a score for the run."""
        with self._services.diagnostics.guard("score", self._config_key):
            self._tracker.track_judge_result(result)
        for companion in self._companions:
            with self._services.diagnostics.guard("score", self._config_key):
                companion.score(result.metric_key or "", result.score or 0.0, result.judge_config_key)

    def contextvars(self) -> contextvars.Context:
        """Return the context of a judge: it knows the LD context of the request, and its own runs are not judged.

        What sinks had made current in the run is current there.
        """
        ld_context = self._ld_context
        scope = RequestScope(self._services, ld_context_from=lambda _request: ld_context)
        scope.is_judging = True
        context = contextvars.Context()
        context.run(bind, scope)
        for companion in self._companions:
            with self._services.diagnostics.guard("judge", self._config_key):
                context.run(companion.binding().enter)
        return context


def drop(_metric_key: str, _score: Score) -> None:
    """Ignore a score of a run that is not reported."""
