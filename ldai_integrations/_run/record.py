"""The record of a finished run, and its outcome: success, error, cancelled, or discarded because it called no model."""

from __future__ import annotations

from collections.abc import Sequence

from ..costs import Costs
from ..records import Outcome, RunRecord, Usage
from ..usage import Reading
from .matching import CountedCall
from .request import NOT_OF_TEXT
from .state import RunState
from .tokens import added_usages, note_unread, tokens_and_cost
from .web import status_of_exception


def build_record(run: RunState, calls: Sequence[CountedCall], ended_at: float, costs: Costs | None) -> RunRecord:
    """Build the record of a finished run; estimate tokens that no provider reported.

    What user code reported on ``run.tracker`` replaces what was measured.

    Args:
        run: A finished run.
        calls: Its provider calls, each of them once.
        ended_at: The end of the run on its clock, in seconds.
        costs: The prices; ``None`` if nobody wants to know the cost.
    """
    added = added_usages(run)
    # Spans without tokens say that a model was called, and the output says what it answered.
    seen = [] if _are_spans_without_tokens(calls) else calls
    own = None
    if not seen and not added:
        own = run.output.reading()
        note_unread(run)
    _note_calls_outside(run)
    outcome = outcome_of(run, calls, own, has_added=bool(added))
    if outcome == "discarded" and not run.is_resolved:
        return _discarded(run, ended_at)
    identity, stated = run.identity, run.stated.events
    usage, cost = tokens_and_cost(run, seen, added, own, outcome, costs)
    readings = [call.reading for call in calls] if own is None else list(own.calls)
    failures = [call.is_failed for call in calls]
    if not calls and own is not None and usage is not None and outcome != "discarded":  # its answers are the calls
        failures = [bool(answer.error) for answer in own.calls]
    # Spans do not name the tools.
    with_tools = [run.output.reading()] if calls and all(call.call.source == "span" for call in calls) else readings
    tools = [tool.name for reading in with_tools if reading is not None for tool in reading.tool_calls if tool.name]
    time_to_first_token_ms, time_to_first_answer_ms = _first_times(run, calls)
    if run.sdk_calls is not None and outcome != "cancelled":
        ended_at = run.sdk_calls.ended_at or ended_at
    return RunRecord(
        run_id=identity.run_id,
        config_key=run.config_key,
        mode=run.options.mode,
        variation_key=identity.variation_key,
        version=identity.version,
        model_name=run.model,
        response_model=next((reading.model for reading in reversed(readings) if reading.model), ""),
        finish_reasons=tuple(reading.finish_reasons[-1] if reading.finish_reasons else "" for reading in readings),
        provider_name=run.provider,
        enabled=run.config.enabled,
        started_at=run.started_at,
        duration_ms=stated.get("duration", _ms(ended_at - run.opened_at)),
        time_to_first_token_ms=time_to_first_token_ms,
        time_to_first_answer_ms=time_to_first_answer_ms,
        usage=usage,
        outcome=outcome,
        error=run.error,
        tool_calls=tuple(run.stated.tools or tools),
        default_served=not identity.variation_key,
        cost=cost,
        ld_context=run.ld_context,
        tracker=run.sdk_tracker,
        environment_id=run.services.ld_client.environment_id,
        calls=len(failures),
        failed_calls=sum(failures),
        parent_run_id=run.parent_run_id,
        graph_key=run.graph_key,
        conversation_id=run.conversation_id or "",
        stated=frozenset(stated),
        abandoned=run.is_abandoned and outcome == "cancelled",
    )


def _are_spans_without_tokens(calls: Sequence[CountedCall]) -> bool:
    """Return whether only spans were seen, of which none has tokens and at least one did not fail."""
    has_tokens = any(call.call.source != "span" or call.usage != Usage() for call in calls)
    return not has_tokens and any(not call.is_failed for call in calls)


def _discarded(run: RunState, ended_at: float) -> RunRecord:
    """Build the record of a run whose AI Config nobody asked for; it is not evaluated now."""
    return RunRecord(
        run_id="",
        config_key=run.config_key,
        mode=run.options.mode,
        variation_key="",
        version=0,
        model_name="",
        provider_name="",
        enabled=True,
        started_at=run.started_at,
        duration_ms=_ms(ended_at - run.opened_at),
        time_to_first_token_ms=None,
        usage=None,
        outcome="discarded",
        error=run.error,
        conversation_id=run.conversation_id or "",
    )


def _first_times(run: RunState, calls: Sequence[CountedCall]) -> tuple[int | None, int | None]:
    """Return the milliseconds to the first token and to the first visible text, as stated or as seen."""
    has_calls = any(call.call.source != "sdk" for call in calls)  # LaunchDarkly's SDK has no such times
    if has_calls or run.output.is_whole:
        token_at, answer_at = run.ledger.first_times()
    else:
        token_at, answer_at = run.output.first_token_at, run.output.first_answer_at
    stated_at = run.stated.first_token_at  # by run.first_token()
    if stated_at is not None:
        token_at = stated_at
        answer_at = None if answer_at is None else max(answer_at, stated_at)
    to_token = run.stated.events.get("first_token", _since_opened(run, token_at))  # run.tracker comes first
    return to_token, _since_opened(run, answer_at)


def _since_opened(run: RunState, at: float | None) -> int | None:
    return None if at is None else _ms(at - run.opened_at)


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def _note_calls_outside(run: RunState) -> None:
    """Say once how the calls of other threads become part of their run."""
    if run.calls_outside.has_unobserved:
        run.services.diagnostics.note(
            "call_outside_run",
            "client",
            "A model was called outside of any run while runs were open, for example on a thread without the context "
            "of its run; the tokens of these runs are unknown, or a lower bound if they made other calls. Pass the run "
            "to the thread: executor.submit(run.bind(function), …).",
        )


# APIs whose answers are not generated text.
_WITHOUT_TEXT = NOT_OF_TEXT - {"realtime"} | {"embeddings"}


def outcome_of(run: RunState, calls: Sequence[CountedCall], own: Reading | None, *, has_added: bool) -> Outcome:
    """Return the outcome. What user code reported comes first, then discarded, cancelled, error and success.

    Args:
        run: A finished run.
        calls: Its provider calls, each of them once.
        own: What its output contains in a provider's format, if no call was seen.
        has_added: Whether user code reported the tokens of a call.
    """
    if run.is_discarded:
        return "discarded"
    stated = run.stated.events
    if "success" in stated:
        return "success" if stated["success"] else "error"
    if own is not None and _is_stored(run, own):
        return "discarded"
    saw_calls = bool(calls) or has_added or "tokens" in stated
    is_generation = saw_calls or run.calls_outside.has_unobserved or _is_answer(run, own)
    if not (is_generation or run.counts_without_call or run.error_by_result is not None):
        if own is not None and run.output.is_response:
            _note_no_call(run)
        return "discarded"  # a page, an asset, a redirect, a health check or an error page
    if run.is_cancelled:
        return "cancelled"
    if run.error_by_result is not None:
        return "error" if run.error_by_result else "success"
    status = run.output.status if run.error is None else status_of_exception(run.error)
    if run.error is not None and status is None:
        return "error"
    if is_generation:
        return "error" if _is_error(run, calls, own, status) else "success"
    return _outcome_without_call(run, status)


def _is_answer(run: RunState, own: Reading | None) -> bool:
    """Return whether the output is the answer of a provider.

    The application's own JSON may contain a cached answer, or nothing but usage, such as that of a month. A provider's
    answer says more than its usage. It has a finish reason, or input only, as embeddings have.
    """
    may_be_cached = run.services.reporter.expects_calls(run.config_key)
    if own is None or not (run.output.is_response or (run.counts_without_call and not may_be_cached)):
        return False
    if not (own.model or own.ids or own.error or own.finish_reasons or own.has_output):
        return False
    is_streamed = run.output.first_token_at is not None
    return is_streamed or own.has_input_only or bool(own.finish_reasons or own.error) or not may_be_cached


def _is_stored(run: RunState, own: Reading) -> bool:
    """Return whether a response was generated before the request of the run, whose path has its id."""
    return not set(own.ids).isdisjoint(run.path.split("/"))


def _outcome_without_call(run: RunState, status: int | None) -> Outcome:
    """Return the outcome of a run in which no provider call took place, or none that was seen."""
    if run.is_resolved and not run.config.enabled:
        return "discarded"
    if status is not None and status in run.services.settings.error_statuses:
        return "error"
    if status is not None and status >= 400:
        return "discarded"
    if run.services.reporter.expects_calls(run.config_key) and not run.has_nested_usage:
        _note_no_call(run)
        return "discarded"
    return "success" if run.config.enabled else "discarded"


def _note_no_call(run: RunState) -> None:
    """Say once for each AI Config that runs without a call are not reported."""
    run.services.diagnostics.note(
        "no_call",
        run.config_key,
        "No provider call was seen in a run of %r, so it is not reported, as if its answer came from a cache. If it "
        "called a model, wrap the client with wrap_client(). Otherwise call run.discard(), which ends this warning.",
        run.config_key,
    )


def _is_error(run: RunState, calls: Sequence[CountedCall], own: Reading | None, status: int | None) -> bool:
    """Return whether a failed call, an error in the output or an HTTP status makes the run an error."""
    settings = run.services.settings
    unanswered = [call for call in calls if call.is_unanswered]
    if unanswered and settings.caught_failures == "error" and not _is_substituted(calls, unanswered):
        return True
    has_error = bool(own.error) if own is not None else run.output.has_error_event
    return has_error or (status is not None and status in settings.error_statuses)


def _is_substituted(calls: Sequence[CountedCall], unanswered: Sequence[CountedCall]) -> bool:
    """Return whether a provider call succeeded after the last unanswered one had started.

    Embeddings, speech and images are no substitute for text that was not generated. Nor are the calls of a handler that
    failed, streams that had begun before and were not read to their end, and calls that nobody has waited for.
    """
    last = max(unanswered, key=lambda call: call.call.started_at).call
    return any(
        not call.is_unanswered
        and not call.is_pending
        and (call.answered_at is None or call.answered_at >= last.started_at)
        and (call.call.started_at >= last.started_at or not call.is_unfinished)
        and (call.call.api not in _WITHOUT_TEXT or call.call.api == last.api)
        and (last.source != "sdk" or call.call.source == "sdk" or not last.encloses(call.call))
        for call in calls
    )
