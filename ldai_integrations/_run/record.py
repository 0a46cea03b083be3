"""The record of a finished run: outcome, usage, times and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import add

from .._prices import is_same_model
from ..costs import Costs, PricedCall
from ..records import Cost, Outcome, RunRecord, Usage
from ..usage import Reading, estimate_prompt, reconcile
from .matching import CountedCall
from .request import NOT_OF_TEXT
from .state import RunState
from .web import status_of_exception

# APIs whose answers are no generated text.
_WITHOUT_TEXT = NOT_OF_TEXT - {"realtime"} | {"embeddings"}
# APIs whose streams have their usage only if the call asks for it; the API of an observed stream is not known.
_WITH_USAGE_ON_REQUEST = ("chat", "completions", "")
# What becomes of numbers of tokens that cannot be true.
_COUNT_REPLACED = (
    "It is computed from the other numbers, estimated or unknown. Correct the server or gateway that sends it."
)
_REPORT_LEFT_OUT = "This report is not counted. Give whole numbers from zero to 100 million."
# An id may come from a header, which may have any length.
_MOST_OF_ID = 256


def build_record(run: RunState, calls: Sequence[CountedCall], ended_at: float, costs: Costs | None) -> RunRecord:
    """Build the record of a finished run; estimate tokens that no provider reported.

    What user code reported on ``run.tracker`` replaces what was measured.

    Args:
        run: A finished run.
        calls: Its provider calls, each of them once.
        ended_at: The end of the run on its clock, in seconds.
        costs: The prices; ``None`` if nobody wants to know the cost.
    """
    added = _added_usage(run)
    own = run.output.reading() if not calls and added is None else None
    _note_calls_outside(run)
    outcome = _outcome(run, calls, added, own)
    if outcome == "discarded" and not run.is_resolved:
        return _discarded(run, ended_at)
    identity, stated = run.identity, run.stated.events
    priced = _priced_calls(run, calls, added, own, outcome)
    is_partial = _is_partial(run, calls, added, own)
    usage = _stated_usage(run) or _sum(run, calls, priced, is_partial=is_partial)
    if calls and usage is not None and usage.estimated and outcome == "success" and "tokens" not in stated:
        _note_estimate(run, calls)
    readings = [call.reading for call in calls] if own is None else list(own.calls)
    # Spans do not name the tools.
    with_tools = [run.output.reading()] if calls and all(call.call.source == "span" for call in calls) else readings
    tools = [tool.name for reading in with_tools if reading is not None for tool in reading.tool_calls]
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
        cost=_cost(run, priced, usage, costs, is_partial=is_partial),
        ld_context=run.ld_context,
        tracker=run.sdk_tracker,
        environment_id=run.services.ld_client.environment_id,
        calls=len(calls),
        failed_calls=sum(call.is_failed for call in calls),
        parent_run_id=run.parent_run_id,
        graph_key=run.graph_key,
        conversation_id=_conversation_id(run),
        stated=frozenset(stated),
        abandoned=run.is_abandoned and outcome == "cancelled",
    )


def _is_partial(run: RunState, calls: Sequence[CountedCall], added: Usage | None, own: Reading | None) -> bool:
    """Return whether the run may have more tokens than are known: of an answer that nobody saw, or saw to its end."""
    if calls:
        return run.may_miss_calls or any(call.is_unfinished for call in calls)
    if added is not None or (own is not None and own.finish_reasons):
        return False
    is_stream = run.output.first_token_at is not None and not run.output.is_whole
    is_cut_off = own is not None and is_stream and (own.usage is None or own.usage.output_tokens is None)
    return run.is_cancelled or is_cut_off


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


def _note_estimate(run: RunState, calls: Sequence[CountedCall]) -> None:
    """Say once for each AI Config and cause how its tokens become exact."""
    streams = [call for call in calls if _is_stream_without_usage(call)]
    unfinished = [call for call in calls if call.is_unfinished]
    if unfinished and all(call.is_failed for call in unfinished):
        cause = "not answered"
        text = (
            "A provider's answer did not arrive, or not to its end, in a run of %r, and the provider may bill it. So "
            "the tokens are an estimate and a lower bound. If the client gave up, give it a longer timeout."
        )
    elif unfinished:
        cause = "not read to its end"
        text = (
            "A provider's answer was not read to its end in a run of %r, so its tokens are an estimate and a lower "
            "bound. Read streams until their finish reason."
        )
    elif not all(map(_asks_for_usage, streams)):
        cause = "not asked for"
        text = (
            "A provider sent no usage for a call in a run of %r, so its tokens are estimated. Ask for it, unless "
            "the call has done so: wrap_client(client, include_usage='always') for calls in a run, or "
            "stream_options={'include_usage': True} in the call."
        )
    elif streams:
        cause = "asked for"
        text = (
            "A provider sent no usage for a call in a run of %r, although the call asked for it, so its tokens are "
            "estimated. The stream ended before its usage, or the server does not report it."
        )
    else:
        cause = "not sent"
        text = (
            "A provider's response in a run of %r lacks usage, so its tokens are estimated. Configure the server, or a "
            "gateway in front of it, to send it."
        )
    run.services.diagnostics.note("estimated", f"{run.config_key}: {cause}", text, run.config_key)


def _is_stream_without_usage(call: CountedCall) -> bool:
    """Return whether a call is a stream that has no usage, and that may have had it on request."""
    request = call.call.request
    is_stream = call.call.first_token_at is not None or (request is not None and bool(request.arguments.get("stream")))
    return is_stream and call.usage.output_tokens is None and call.call.api in _WITH_USAGE_ON_REQUEST


def _asks_for_usage(call: CountedCall) -> bool:
    """Return whether a call asked for the usage of its stream."""
    arguments = call.call.request.arguments if call.call.request is not None else {}
    extra = arguments.get("extra_body")
    given = (arguments, extra) if isinstance(extra, Mapping) else (arguments,)
    options = [one.get("stream_options") for one in given]
    return any(isinstance(one, Mapping) and one.get("include_usage") for one in options)


def _added_usage(run: RunState) -> Usage | None:
    """Return the tokens of the provider calls that user code reported with ``run.add_usage``."""
    known = [reconcile(usage) for usage in run.stated.usages]
    if None in known:
        run.note_wrong_counts("run.add_usage()", _REPORT_LEFT_OUT)
    parts = [usage for usage in known if usage is not None]
    return reduce(add, parts) if parts else None


def _stated_usage(run: RunState) -> Usage | None:
    """Return the tokens that user code reported on ``run.tracker``."""
    tokens: Usage | None = run.stated.events.get("tokens")
    known = reconcile(tokens) if tokens is not None else None
    if tokens is not None and known is None:
        run.note_wrong_counts("run.tracker", _REPORT_LEFT_OUT)
    return known


def _outcome(run: RunState, calls: Sequence[CountedCall], added: Usage | None, own: Reading | None) -> Outcome:
    """Decide in this order: what user code reported, cancelled, error, discarded, success."""
    if run.is_discarded:
        return "discarded"
    stated = run.stated.events.get("success")
    if stated is not None:
        return "success" if stated else "error"
    has_answered = own is not None and (run.counts_pages or run.output.is_response)
    is_streamed = run.output.first_token_at is not None
    if own is not None and not (is_streamed or own.finish_reasons or own.error):
        # JSON of the application may contain the usage of a cached answer; that of a provider has a finish reason.
        has_answered = has_answered and not run.services.reporter.expects_calls(run.config_key)
    saw_calls = bool(calls) or added is not None or "tokens" in run.stated.events
    if (
        not (saw_calls or has_answered)
        and not run.counts_pages
        and not run.may_miss_calls
        and run.error_by_result is None
    ):
        return "discarded"  # a page, an asset, a redirect, a health check or an error page
    if run.is_cancelled:
        return "cancelled"
    if run.error_by_result is not None:
        return "error" if run.error_by_result else "success"
    status = run.output.status if run.error is None else status_of_exception(run.error)
    if run.error is not None and status is None:
        return "error"
    if saw_calls or has_answered or run.may_miss_calls:
        return "error" if _is_error(run, calls, own, status) else "success"
    return _outcome_without_call(run, status)


def _outcome_without_call(run: RunState, status: int | None) -> Outcome:
    """Return the outcome of a run in which no provider call took place, or none that was seen."""
    if run.is_resolved and not run.config.enabled:
        return "discarded"
    if status is not None and status in run.services.settings.error_statuses:
        return "error"
    if status is not None and status >= 400:
        return "discarded"
    if run.services.reporter.expects_calls(run.config_key):
        _note_no_call(run)
        return "discarded"
    return "success" if run.config.enabled else "discarded"


def _note_no_call(run: RunState) -> None:
    """Say once for each AI Config that runs without a call are not reported."""
    run.services.diagnostics.note(
        "no_call",
        run.config_key,
        "No provider call was seen in a run of %r, so it is not reported, as if its answer came from a cache: other "
        "runs made calls that were seen. If it called a model, wrap the client with wrap_client(). Otherwise call "
        "run.discard(), which ends this warning.",
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
    failed, and streams that had begun before and were not read to their end.
    """
    last = max(unanswered, key=lambda call: call.call.started_at).call
    return any(
        not call.is_unanswered
        and (call.call.ended_at is None or call.call.ended_at >= last.started_at)
        and (call.call.started_at >= last.started_at or not call.is_unfinished)
        and (call.call.api not in _WITHOUT_TEXT or call.call.api == last.api)
        and (last.source != "sdk" or call.call.source == "sdk" or not last.encloses(call.call))
        for call in calls
    )


def _priced_calls(
    run: RunState, calls: Sequence[CountedCall], added: Usage | None, own: Reading | None, outcome: Outcome
) -> list[PricedCall]:
    """Return what is known about the usage and the cost of each provider call; estimate what a provider left out."""
    priced = [] if added is None else [PricedCall(added)]
    for counted in calls:
        if counted.call.source == "span" and added is not None:  # the handler reports tokens itself
            continue
        usage, reading = _complete(run, counted), counted.reading
        if usage is not None or reading.cost is not None or counted.is_unfinished or not counted.is_failed:
            provider = _other_provider(run, counted)
            priced.append(_priced_call(usage, reading, requested_model=counted.call.model, provider=provider))
    if not calls and not priced and outcome != "discarded":
        usage = _usage_of_output(run, own)
        if usage is not None:
            priced = [_priced_call(usage, own if own is not None else Reading())]
    return priced


def _other_provider(run: RunState, counted: CountedCall) -> str:
    """Return the provider that was called, if it is certainly not the configured one; say so once."""
    called, configured = counted.call.provider, run.provider
    if called in configured.casefold():
        return ""
    model = counted.call.model or counted.reading.model or run.model
    if configured and is_same_model(model, run.model):
        run.services.diagnostics.note(
            "provider",
            run.config_key,
            "The provider of AI Config %r is %r, but its model was called at %s. Choose the provider in LaunchDarkly "
            "that your client calls, or use the client of the configured provider. Costs have the prices of %s.",
            run.config_key,
            configured,
            called,
            called,
        )
    return called


def _priced_call(usage: Usage | None, reading: Reading, *, requested_model: str = "", provider: str = "") -> PricedCall:
    return PricedCall(
        usage,
        model=reading.model or "",
        service_tier=reading.service_tier,
        cost=reading.cost,
        requested_model=requested_model,
        provider=provider,
        billed=reading.billed,
        has_fees=reading.has_fees,
    )


def _cost(
    run: RunState, priced: list[PricedCall], usage: Usage | None, costs: Costs | None, *, is_partial: bool
) -> Cost | None:
    """Return the cost of a run; ``None`` if nobody wants to know it, or if nothing is known about it."""
    model = run.config.model
    if costs is None or model is None:
        return None
    if "tokens" in run.stated.events:
        priced = [PricedCall(usage)]
    elif len(priced) == 1:
        priced = [replace(priced[0], usage=usage)]  # with the estimated prompt
    cost = costs.of(
        priced,
        config_key=run.config_key,
        model_name=run.model,
        provider_name=run.provider,
        get_custom=model.get_custom,
        started_at=run.started_at,
    )
    return replace(cost, lower_bound=True) if cost is not None and is_partial else cost


def _sum(
    run: RunState, calls: Sequence[CountedCall], priced: Sequence[PricedCall], *, is_partial: bool
) -> Usage | None:
    """Add up the usage of all provider calls."""
    parts = [call.usage for call in priced if call.usage is not None]
    if not parts and not is_partial:
        return None
    total: Usage = reduce(add, parts).with_total() if parts else Usage()
    if total.input_tokens is None and len(parts) <= 1 and all(call.call.source != "client" for call in calls):
        # Other prompts than the one that run.messages() returned are not known.
        prompt = estimate_prompt({"messages": run.prompt}, model=run.model, api="chat") if run.prompt else None
        total = total.filled_from(prompt or Usage())
    if total == Usage():
        return None
    return replace(total, lower_bound=True) if is_partial else total


def _complete(run: RunState, counted: CountedCall) -> Usage | None:
    """Return the usage of a call; estimate what the provider did not report."""
    reading, request = counted.reading, counted.call.request
    usage = counted.usage
    if reading.has_wrong_counts:
        run.note_wrong_counts("A provider", _COUNT_REPLACED)
    if counted.call.api in NOT_OF_TEXT:
        return None if usage == Usage() else usage
    if usage.output_tokens is None and reading.has_output:
        arguments = request.arguments if request is not None else None
        model = (request.model if request is not None else "") or run.model
        usage = usage.filled_from(reading.estimate(model=model, request=arguments))
    if usage.input_tokens is None and (reading.has_output or counted.is_unfinished or not counted.is_failed):
        estimate = request.estimate(reading.model or request.model or run.model) if request is not None else None
        if estimate is not None:
            usage = estimate if usage == Usage() else usage.filled_from(estimate)
    return None if usage == Usage() else usage


def _usage_of_output(run: RunState, own: Reading | None) -> Usage | None:
    """Return the usage in the handler's own output, or an estimate from its text."""
    if run.output.undecodable:
        run.services.diagnostics.note(
            "encoding",
            run.output.undecodable,
            "A response with Content-Encoding %s cannot be decoded, so the usage in it is unknown. Put the middleware "
            "inside the one that compresses, or use gzip.",
            run.output.undecodable,
        )
    if run.may_miss_calls or run.has_nested_usage or (run.error is not None and run.output.first_token_at is None):
        return None
    if not run.config.enabled:  # the output is not that of a model
        return None
    if own is not None and own.has_wrong_counts:
        run.note_wrong_counts("A provider", _COUNT_REPLACED)
    usage = own.usage if own is not None and own.usage is not None else Usage()
    is_error = own is not None and own.error is not None and not own.has_output
    tokens = run.output.estimate(run.model) if usage.output_tokens is None and not is_error else None
    if tokens is not None:
        usage = usage.filled_from(Usage(output_tokens=tokens))
        run.services.diagnostics.note(
            "estimated",
            f"{run.config_key}: no call",
            "No provider call was seen in a run of %r, so its tokens are estimated from the handler's output. Wrap the "
            "provider's client with wrap_client(), or give the response to run.observe(). If the answer came from a "
            "cache, call run.discard().",
            run.config_key,
        )
    return None if usage == Usage() else usage


def _first_times(run: RunState, calls: Sequence[CountedCall]) -> tuple[int | None, int | None]:
    """Return the milliseconds to the first token and to the first visible text, as stated or as seen."""
    token_at, answer_at = _seen_first_times(run, calls)
    stated_at = run.stated.first_token_at
    if stated_at is not None and answer_at is not None:
        answer_at = max(answer_at, stated_at)
    to_answer = _since_opened(run, answer_at)
    if "first_token" in run.stated.events:  # run.tracker
        return run.stated.events["first_token"], to_answer
    if stated_at is not None:  # run.first_token()
        return _since_opened(run, stated_at), to_answer
    return _since_opened(run, token_at), to_answer


def _seen_first_times(run: RunState, calls: Sequence[CountedCall]) -> tuple[float | None, float | None]:
    """Return when the first token and the first visible text were seen, on the run's clock."""
    has_calls = any(call.call.source != "sdk" for call in calls)  # LaunchDarkly's SDK has no such times
    if has_calls or run.output.is_whole:
        return run.ledger.first_times()
    return run.output.first_token_at, run.output.first_answer_at


def _since_opened(run: RunState, at: float | None) -> int | None:
    return None if at is None else _ms(at - run.opened_at)


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))


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
        conversation_id=_conversation_id(run),
    )


def _conversation_id(run: RunState) -> str:
    return str(run.conversation_id or "")[:_MOST_OF_ID]
