"""The report of a finished run to sinks, signals and judges, and the texts that judges and some sinks read."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from ldai.providers.types import JudgeResult

from .. import signals
from .._diagnostics import Diagnostics
from .._locks import ForkSafeLock, forks
from ..exceptions import ConfigurationError
from ..judges import Evaluation
from ..records import RunRecord, RunTexts
from ..typing import RunCompanion, Sink
from .graph import get_graph
from .lifetime import Flushing
from .matching import CountedCall, count_calls
from .record import build_record
from .run import run_of
from .state import RunState
from .stated import Destination, drop

# After so many runs, an application whose LD contexts are all used once is not just being tried out.
_MANY_RUNS = 100
# Requests may make up keys. Those of AI Configs have at most 256 characters.
_MOST_KEYS, _MOST_CHARS_OF_KEY = 10_000, 256
# Counting this many characters takes about 1 ms. A message and a call take as long as this many, in addition.
_LONG, _CHARS_OF_MESSAGE, _CHARS_OF_CALL = 16_000, 100, 1_000


class Reporter:
    """A reporter of the runs of one application. It uses a background thread if a run may be reported later.

    Args:
        diagnostics: Receives failures.
        flushing: Has the background thread and the open runs.
        sinks: The sink for LaunchDarkly, then those of the application.

    Raises:
        ConfigurationError: If a sink has no ``emit``.
    """

    def __init__(self, diagnostics: Diagnostics, flushing: Flushing, sinks: tuple[Sink, ...]) -> None:
        for sink in sinks:
            if not callable(getattr(sink, "emit", None)):
                raise ConfigurationError(f"sink {sink!r} has no emit(record) method; see ldai_integrations.typing.Sink")
        self._diagnostics = diagnostics
        self._flushing = flushing
        self._open_runs = flushing.open_runs
        self._sinks = sinks
        self._openers: list[tuple[int, Any]] = [
            (index, sink) for index, sink in enumerate(sinks) if callable(getattr(sink, "accompany", None))
        ]
        # The keys of the AI Configs of runs in which a provider call was seen, and of runs that were reported.
        self._keys_with_calls: set[str] = set()
        self._reported_keys: set[str] = set()
        self._lock = ForkSafeLock()
        #: How many runs were reported.
        self.runs = 0
        self._looks_for_stable_contexts = True

    def expects_calls(self, config_key: str) -> bool:
        """Return whether an earlier run of this AI Config made a provider call that was seen."""
        return config_key in self._keys_with_calls

    def has_reported(self, config_key: str) -> bool:
        """Return whether an earlier run of this AI Config was reported."""
        return config_key in self._reported_keys

    def open(self, run: RunState) -> None:
        """Take a run that was opened, and announce it."""
        self._open_runs.add(run)
        graph = get_graph()
        if graph is not None:
            run.graph_key, run.report_node = graph.key, graph.enter(run)
        if not self._flushing.worker.is_started:
            self._flushing.worker.start()  # for what finalizers may leave to it
        if self._openers:
            companions: dict[int, RunCompanion] = {}
            for index, sink in self._openers:
                with self._diagnostics.guard(_name_of(sink), run.config_key):
                    companions[index] = sink.accompany(run.config_key, run.options.mode)
            run.companions = companions
        if signals.run_opened.receivers:
            with self._diagnostics.guard("receiver of run_opened", run.config_key):
                signals.run_opened.send(run.config_key, run=run_of(run))

    def report(self, run: RunState, ended_at: float) -> None:
        """Report a run that has ended: on the background thread, or now if somebody waits for it."""
        if run.forks != forks.count:
            return  # opened before a fork: it belongs to the parent process
        until = time.monotonic() + run.services.settings.usage_wait
        later = partial(self._report, run, ended_at, until=until)
        if not (self._may_wait(run) and self._flushing.worker.submit(later)):
            self._report(run, ended_at)
        self._open_runs.discard(run)  # not before, because a flush at the end of the process waits for it
        if run.scope.needs_flush:
            self._flushing.flush_after_request()

    @property
    def _has_receivers(self) -> bool:
        """Whether anybody but LaunchDarkly gets the records."""
        return len(self._sinks) > 1 or bool(signals.run_finished.receivers)

    def _may_wait(self, run: RunState) -> bool:
        """Return whether a finished run may be reported later; evaluate what its record needs of the request before.

        The application's receivers and sinks get the record at once, where the run ended, unless there is much text to
        count, a text to mask, or a call that a framework has still to report.
        """
        try:
            if run.parent is not None and run.parent.counts_without_call:
                _ = run.parent.id
            is_short = _chars_of(run) < _LONG
            if self._has_receivers and is_short and not (run.exports_texts or run.ledger.awaits_reports):
                return False
            if run.is_resolved:
                return True
            if not _may_be_a_page(run):
                _ = run.config
                return True
            if is_short:
                return False  # without a look at the request, which a page may not need
            _ = run.ld_context
            return True
        except Exception as exc:  # of the application's own values
            self._diagnostics.failed("report", run.config_key, exc, is_private=True)
            return False

    def _report(self, run: RunState, ended_at: float, *, until: float = 0.0) -> None:
        run.ledger.wait_for_reports(until)
        try:
            calls = count_calls(run.ledger, run.started_at)
            record = build_record(run, calls, ended_at, run.services.costs if self._has_receivers else None)
        except Exception as exc:
            self._diagnostics.failed("report", run.config_key, exc, is_private=True)
            self._drop(run)
            if run.report_node is not None:
                run.report_node(None)
            return
        if calls:
            _remember(run.config_key, self._keys_with_calls)
        if run.parent is not None and (record.calls or record.usage is not None or run.has_nested_usage):
            run.parent.has_nested_usage = True
        evaluations = evaluations_of(run, record, calls) if run.judge_keys and run.sdk_calls is None else []
        is_reported = record.enabled and record.outcome != "discarded"
        texts = texts_of(run, calls) if is_reported and run.exports_texts else None
        run.release()
        if is_reported:
            self._emit(run, record, texts)
        else:
            self._drop(run)
        if run.report_node is not None:
            run.report_node(record if is_reported else None)
        if signals.run_finished.receivers:
            with self._diagnostics.guard("receiver of run_finished", run.config_key):
                signals.run_finished.send(run.config_key, record=record)
        try:
            run.scores.open(Destination(run.services, run.companions.values(), record).send if is_reported else drop)
            for evaluation in evaluations:
                run.services.judges.judge(evaluation)
        except Exception as exc:
            self._diagnostics.failed("judge", run.config_key, exc)

    def _emit(self, run: RunState, record: RunRecord, texts: RunTexts | None) -> None:
        _remember(record.config_key, self._reported_keys)
        with self._lock:
            self.runs += 1
        if self._looks_for_stable_contexts:
            is_one_time = record.ld_context is not None and run.scope.is_one_time(record.ld_context)
            self._looks_for_stable_contexts = is_one_time and self.runs < _MANY_RUNS
            if is_one_time and not self._looks_for_stable_contexts:
                self._diagnostics.note(
                    "one_time_contexts",
                    "ld_context",
                    "Each run so far had an LD context that no other request has, so rollouts and experiments change "
                    "with each request. Give ld_context=…, or Settings(visitors=VisitorSettings()).",
                )
        for index, sink in enumerate(self._sinks):
            companion = run.companions.get(index)
            try:
                if companion is None:
                    sink.emit(record)
                else:
                    companion.emit(record, texts if companion.wants_texts else None)
            except Exception as exc:
                self._diagnostics.failed(_name_of(sink), record.config_key, exc)

    def _drop(self, run: RunState) -> None:
        """End a run that is not reported for the sinks that accompany it."""
        for index, companion in run.companions.items():
            sink = self._sinks[index]
            with self._diagnostics.guard(_name_of(sink), run.config_key):
                companion.drop()


def _may_be_a_page(run: RunState) -> bool:
    """Return whether a finished run may be that of a page, an asset or a refused request, which are not reported."""
    is_refused = run.error is not None or run.output.is_error_page
    return run.is_discarded or ((is_refused or not run.counts_without_call) and not run.ledger)


def _chars_of(run: RunState) -> int:
    """Return how many characters may have to be read or counted for the record of a run."""
    calls = len(run.ledger) + len(run.stated.usages)
    chars = run.output.chars + run.ledger.chars + calls * _CHARS_OF_CALL
    if run.prompt and (chars or not run.ledger):  # otherwise the provider has counted it
        chars += sum(_CHARS_OF_MESSAGE + len(str(message.get("content") or "")) for message in run.prompt)
    return chars


def _remember(config_key: str, keys: set[str]) -> None:
    if len(config_key) <= _MOST_CHARS_OF_KEY and len(keys) < _MOST_KEYS:
        keys.add(config_key)


def _name_of(sink: object) -> str:
    return f"sink {type(sink).__name__}"


def evaluations_of(run: RunState, record: RunRecord, calls: Sequence[CountedCall]) -> list[Evaluation]:
    """Return the evaluations for the judges of a run; none unless the run was a success."""
    judges = [key for key in run.judge_keys if not run.scores.given_by(key)]
    if not judges or not record.enabled or record.outcome != "success":
        return []
    services = run.services
    with services.diagnostics.guard("judge_text", run.config_key, is_private=True):
        question, answer = _question(run), "\n\n".join(_completions_of(run, calls))
        problem = _problem_with_texts(question, answer, services.judges.max_chars)
        if problem is None:
            return [_evaluation(run, record, key, question, answer) for key in judges]
        services.diagnostics.note(
            "judge_text", f"{run.config_key}: {problem}", "A run of %r is not judged: %s.", run.config_key, problem
        )
    return []


def _question(run: RunState) -> str:
    """Return the messages that the model was given, one per line; empty if it is not known what the user asked."""
    turns = _prompt_of(run)
    if not turns:
        turns = _turns_of(run.configured_messages())
        if not run.variables and all(role == "system" for role, _text in turns):
            return ""
    return "\n".join(f"{role}: {text}" for role, text in turns)


def _problem_with_texts(question: str, answer: str, max_chars: int) -> str | None:
    if not question:
        return "what the user asked is not known; call the model through wrap_client, or with run.messages(user=…)"
    if not answer.strip():
        return "its answer has no text that can be read; give the response to run.observe()"
    if len(question) + len(answer) > max_chars:
        return "its texts are longer than JudgeSettings.max_chars"
    return None


def _evaluation(run: RunState, record: RunRecord, judge_key: str, question: str, answer: str) -> Evaluation:
    destination, scores = Destination(run.services, run.companions.values(), record), run.scores

    def track_once(result: JudgeResult) -> None:
        if scores.claim(judge_key, result.metric_key or ""):
            destination.track(result)

    return Evaluation(
        judge_key=judge_key,
        ld_context=run.ld_context,
        variables=run.variables,
        asked=question,
        answered=answer,
        contextvars=destination.contextvars(),
        track=track_once,
    )


def texts_of(run: RunState, calls: Sequence[CountedCall]) -> RunTexts:
    """Return what the model was given last, and everything that it answered."""
    return RunTexts(prompt=tuple(_prompt_of(run)), completions=tuple(_completions_of(run, calls)))


def _prompt_of(run: RunState) -> list[tuple[str, str]]:
    """Return the role and the text of the messages of the last request; empty if they are not known."""
    return run.ledger.turns_of_last_request() or _turns_of(run.prompt or ())


def _completions_of(run: RunState, calls: Sequence[CountedCall]) -> list[str]:
    """Return the text of each provider call; without one, the text of the handler's output."""
    texts = [call.reading.text for call in calls] if calls else [run.output.text()]
    return [text for text in texts if text]


def _turns_of(messages: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return the role and the text of each message of an AI Config."""
    return [(str(message["role"]), str(message["content"])) for message in messages]
