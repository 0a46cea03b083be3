"""The record of a finished run."""

from __future__ import annotations

from collections.abc import Sequence

from ..costs import Costs
from ..records import RunRecord, Usage
from .matching import CountedCall
from .outcome import outcome_of
from .state import RunState
from .tokens import added_usages, note_unread, tokens_and_cost


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
    own = run.output.reading() if not seen and not added else None
    if not seen and not added:
        note_unread(run)
    _note_calls_outside(run)
    outcome = outcome_of(run, calls, own, has_added=bool(added))
    if outcome == "discarded" and not run.is_resolved:
        return _discarded(run, ended_at)
    identity, stated = run.identity, run.stated.events
    usage, cost = tokens_and_cost(run, seen, added, own, outcome, costs)
    readings = [call.reading for call in calls] if own is None else list(own.calls)
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
        calls=len(calls),
        failed_calls=sum(call.is_failed for call in calls),
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
    if run.may_miss_calls:
        run.services.diagnostics.note(
            "call_outside_run",
            "client",
            "A model was called outside of any run while runs were open, for example on a thread without the context "
            "of its run; the tokens of these runs are unknown, or a lower bound if they made other calls. Pass the run "
            "to the thread: executor.submit(run.bind(function), …).",
        )
