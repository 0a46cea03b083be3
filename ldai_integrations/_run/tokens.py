"""The tokens and the cost of a finished run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import add

from .._launchdarkly.tracker import WRONG_COUNTS
from .._prices import is_same_model
from ..costs import Costs, PricedCall
from ..records import Cost, Outcome, Usage
from ..usage import Reading, estimate_prompt, reconcile
from .matching import CountedCall
from .request import NOT_OF_TEXT
from .state import RunState

# APIs whose streams have their usage only if the call asks for it; the API of an observed stream is not known.
_WITH_USAGE_ON_REQUEST = ("chat", "completions", "")
# What becomes of numbers of tokens that cannot be true.
_COUNT_REPLACED = (
    "It is computed from the other numbers, estimated or unknown. Correct the server or gateway that sends it."
)
# How to ask for the usage of a stream, by who reports the call.
_OF_CALL = "stream_options={'include_usage': True}"
_TO_ASK = {
    "client": "Ask for it: wrap_client(client, include_usage='always') asks every server, and include_usage=True only "
    f"OpenAI's own and Azure's. A call outside of a run needs {_OF_CALL}. Azure refuses this before the API version "
    "2024-09-01-preview, and together with data_sources.",
    "framework": f"Have the framework ask for it, for example with LangChain's stream_usage=True, or {_OF_CALL}. If it "
    "has asked, the server does not report it.",
}
_OBSERVED = (
    "If it has the format of OpenAI's chat completions, ask for it, unless the call has done so, with "
    f"{_OF_CALL} in the call."
)
# What is said about an estimate, by its cause.
_TEXTS = {
    "no call": "No provider's usage was seen in a run of %r, so its tokens are estimated from the handler's output. "
    "Wrap the provider's client with wrap_client(), or give the response to run.observe(). If the answer came from a "
    "cache, call run.discard().",
    "not in the output": "A provider's stream in a run of %r has no usage, so its tokens are estimated. " + _OBSERVED,
    "failed": "A provider call in a run of %r failed after its request was sent, and the provider may bill it. So the "
    "tokens are an estimate and a lower bound. If it timed out, give the client a longer timeout. If the connection "
    "broke, look at the log of the server. If the answer could not be read, its exception says why.",
    "stopped": "A provider call was stopped before its answer arrived, in a run of %r, and the provider may bill it. "
    "So the tokens are an estimate and a lower bound. If a timeout stopped it, give it more time. If another task of "
    "its task group failed, catch the exception in that task.",
    "not waited for": "A provider's answer had not arrived when a run of %r ended, so its tokens are an estimate and a "
    "lower bound. Wait for the call in the run, for example with asyncio.TaskGroup or gather(return_exceptions=True).",
    "cut off": "A provider's stream in a run of %r ended without a finish reason, so its tokens are an estimate and a "
    "lower bound. The server, or a proxy before it, broke it off: look at its log.",
    "not read to its end": "A provider's answer was not read to its end in a run of %r, so its tokens are an estimate "
    "and a lower bound. Read streams until their finish reason before the run ends. If the client raises an exception "
    "before, because it validates the answer with text_format= or output_format=, validate the answer yourself after "
    "the stream.",
    "not asked for": "A provider sent no usage for a call in a run of %r, so its tokens are estimated.",
    "closed": "A provider's stream was closed at its finish reason in a run of %r, and its usage had not arrived, so "
    "its tokens are estimated. Read streams to their end. In a coroutine, you can also use an async client: the "
    "library does not wait there for the usage of a stream of a sync client.",
    "asked for": "A provider sent no usage for a call in a run of %r, although the call asked for it, so its tokens "
    "are estimated. The stream ended before its usage, or the server does not report it.",
    "not sent": "A provider's response in a run of %r lacks usage, so its tokens are estimated. Configure the server, "
    "or a gateway in front of it, to send it.",
}


def added_usages(run: RunState) -> list[Usage]:
    """Return the tokens of each provider call that user code reported with ``run.add_usage``."""
    known = [reconcile(usage) for usage in run.stated.usages]
    if None in known:
        run.note_wrong_number("run.add_usage()", WRONG_COUNTS)
    return [usage for usage in known if usage is not None]


def note_unread(run: RunState) -> None:
    """Say once that a response without a provider call could not be read, also if its run is discarded for that."""
    if run.output.undecodable:
        run.services.diagnostics.note(
            "encoding",
            run.output.undecodable,
            "A response with Content-Encoding %s cannot be decoded, so the usage in it is unknown. Put the middleware "
            "inside the one that compresses, or use gzip.",
            run.output.undecodable,
        )
    if run.output.is_too_long:
        run.services.diagnostics.note(
            "too_long",
            run.config_key,
            "A JSON response in a run of %r is longer than %d bytes, so the usage in it is unknown. If it is a model's,"
            " wrap the provider's client with wrap_client(), or set a higher Settings(max_body_bytes=…).",
            run.config_key,
            run.output.limit,
        )


def tokens_and_cost(
    run: RunState,
    calls: Sequence[CountedCall],
    added: Sequence[Usage],
    own: Reading | None,
    outcome: Outcome,
    costs: Costs | None,
) -> tuple[Usage | None, Cost | None]:
    """Return the tokens and the cost of a run; estimate tokens that no provider reported.

    Args:
        run: A finished run.
        calls: Its provider calls, each of them once.
        added: The tokens of each call that user code reported.
        own: What its output contains in a provider's format, if no call was seen.
        outcome: Its outcome.
        costs: The prices; ``None`` if nobody wants to know the cost.
    """
    priced = _priced_calls(run, calls, added, own, outcome)
    is_partial = _is_partial(run, calls, added, own)
    usage, stated = _sum(run, calls, priced, is_partial=is_partial), _stated_usage(run)
    # A report that repeats the provider's counts must not hide what else is known, such as cached tokens.
    if stated is not None and (usage is None or _counts_of(stated) != _counts_of(usage)):
        usage, priced = stated, [PricedCall(stated)]
    if calls and usage is not None and usage.estimated:
        _explain_estimate(run, calls, outcome)
    return usage, _cost(run, priced, usage, costs, is_partial=is_partial)


def _is_partial(run: RunState, calls: Sequence[CountedCall], added: Sequence[Usage], own: Reading | None) -> bool:
    """Return whether the run may have more tokens than are known, because nobody saw an answer, or its end."""
    if run.calls_outside.may_lack_tokens and (calls or not added):  # the handler may have added those of the call
        return True
    if calls:
        return any(call.is_unfinished or _is_unknown(call) for call in calls)
    has_begun = run.output.first_token_at is not None or (own is not None and own.is_start)
    is_stream = has_begun and not run.output.is_whole
    if is_stream and own is not None and own.has_usage_so_far:
        return True
    if added or (own is not None and own.finish_reasons):
        return False
    is_cut_off = own is not None and is_stream and (own.usage is None or own.usage.output_tokens is None)
    return run.is_cancelled or is_cut_off


def _is_unknown(call: CountedCall) -> bool:
    """Return whether a call that answered with text has neither usage nor anything to estimate it from."""
    if call.call.is_too_long:
        return True
    has_none = call.call.api in NOT_OF_TEXT or call.call.is_background or call.is_failed
    return not has_none and call.usage == Usage() and call.call.request is None and not call.reading.has_output


def _stated_usage(run: RunState) -> Usage | None:
    """Return the tokens that user code reported on ``run.tracker``."""
    tokens: Usage | None = run.stated.events.get("tokens")
    known = reconcile(tokens) if tokens is not None else None
    if tokens is not None and known is None:
        run.note_wrong_number("run.tracker", WRONG_COUNTS)
    return known


def _counts_of(usage: Usage) -> tuple[int, ...]:
    """Return the counts that LaunchDarkly's trackers report; they do not report a zero."""
    return usage.input_tokens or 0, usage.output_tokens or 0, usage.total_tokens or 0


def _priced_calls(
    run: RunState, calls: Sequence[CountedCall], added: Sequence[Usage], own: Reading | None, outcome: Outcome
) -> list[PricedCall]:
    """Return what is known about the usage and the cost of each provider call; estimate what a provider left out."""
    priced = [PricedCall(usage) for usage in added]
    for counted in calls:
        if counted.call.source == "span" and added:  # the handler reports tokens itself
            continue
        usage, reading = _complete(run, counted), counted.reading
        if usage is not None or reading.cost is not None or counted.is_unfinished or not counted.is_failed:
            provider = _other_provider(run, counted)
            priced.append(_priced_call(usage, reading, requested_model=counted.call.model, provider=provider))
    if not calls and not priced and outcome != "discarded":
        usage = _usage_of_output(run, own, outcome)
        if usage is not None:
            priced = _priced_output(usage, own if own is not None else Reading())
    return priced


def _priced_output(usage: Usage, own: Reading) -> list[PricedCall]:
    """Return the calls in the handler's own output, or one call with all of its tokens if some are estimated."""
    usages = [part.usage or Usage() for part in own.calls]
    if len(usages) > 1 and reduce(add, usages) == usage:
        return [_priced_call(one, part) for one, part in zip(usages, own.calls, strict=True)]
    return [_priced_call(usage, own)]


def _complete(run: RunState, counted: CountedCall) -> Usage | None:
    """Return the usage of a call; estimate what the provider did not report."""
    reading, request = counted.reading, counted.call.request
    usage = counted.usage
    if reading.has_wrong_counts:
        run.note_wrong_number("A provider", _COUNT_REPLACED)
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


def _usage_of_output(run: RunState, own: Reading | None, outcome: Outcome) -> Usage | None:
    """Return the usage in the handler's own output, or an estimate from its text."""
    failed_before_output = run.error is not None and run.output.first_token_at is None
    if run.calls_outside.has_unobserved or run.has_nested_usage or failed_before_output:
        return None
    if not run.config.enabled:  # the output is not that of a model
        return None
    if own is not None and own.has_wrong_counts:
        run.note_wrong_number("A provider", _COUNT_REPLACED)
    usage = own.usage if own is not None and own.usage is not None else Usage()
    is_error = own is not None and own.error is not None and not own.has_output
    tokens = run.output.estimate(run.model) if usage.output_tokens is None and not is_error else None
    if tokens is not None:
        usage = usage.filled_from(Usage(output_tokens=tokens))
        if own is None or run.output.is_whole:
            _note_estimate(run, outcome, "no call", _TEXTS["no call"])
        elif own.finish_reasons:
            _note_estimate(run, outcome, "not in the output", _TEXTS["not in the output"])
        else:
            more = "If neither did, the handler did not pass on the rest."
            _note_estimate(run, outcome, "cut off", f"{_TEXTS['cut off']} {more}")
    return None if usage == Usage() else usage


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


def _sum(
    run: RunState, calls: Sequence[CountedCall], priced: Sequence[PricedCall], *, is_partial: bool
) -> Usage | None:
    """Add up the usage of all provider calls."""
    parts = [call.usage for call in priced if call.usage is not None]
    if not parts and not (calls and is_partial):  # nothing shows that a prompt was sent
        return None
    total: Usage = reduce(add, parts).with_total() if parts else Usage()
    if total.input_tokens is None and len(parts) <= 1 and all(call.call.source != "client" for call in calls):
        # Other prompts than the one that run.messages() returned are not known.
        prompt = estimate_prompt({"messages": run.prompt}, model=run.model, api="chat") if run.prompt else None
        total = total.filled_from(prompt or Usage())
    if total == Usage():
        return None
    return _as_lower_bound(total) if is_partial else total


def _as_lower_bound(usage: Usage) -> Usage:
    """Return a usage that may be higher. Its total has at least the tokens that are known."""
    if usage.total_tokens is not None:
        return replace(usage, lower_bound=True)
    known = (usage.input_tokens or 0) + (usage.output_tokens or 0) + (usage.other_tokens or 0)
    estimated = usage.estimated | {"total_tokens"} if usage.estimated else usage.estimated
    return replace(usage, total_tokens=known, estimated=estimated, lower_bound=True)


def _cost(
    run: RunState, priced: list[PricedCall], usage: Usage | None, costs: Costs | None, *, is_partial: bool
) -> Cost | None:
    """Return the cost of a run; ``None`` if nobody wants to know it, or if nothing is known about it."""
    model = run.config.model
    if costs is None or model is None:
        return None
    if len(priced) == 1:
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


def _note_estimate(run: RunState, outcome: Outcome, cause: str, text: str) -> None:
    """Say once for each AI Config and cause how its tokens become exact.

    Of a cancelled run, they cannot. Tokens that the application states replace the estimate.
    """
    if outcome != "cancelled" and "tokens" not in run.stated.events:
        run.services.diagnostics.note("estimated", f"{run.config_key}: {cause}", text, run.config_key)


def _explain_estimate(run: RunState, calls: Sequence[CountedCall], outcome: Outcome) -> None:
    """Say how the tokens of provider calls become exact."""
    calls = [call for call in calls if not call.call.is_too_long]  # which the log has named
    if not calls:
        return
    cause = _cause_of_estimate(calls)
    text = _TEXTS[cause]
    if cause == "not asked for":
        source = next(call.call.source for call in calls if _is_not_asked_for(call))
        cause, text = f"{cause} by {source}", f"{text} {_TO_ASK.get(source, _OBSERVED)}"
    _note_estimate(run, outcome, cause, text)


def _cause_of_estimate(calls: Sequence[CountedCall]) -> str:
    """Return why tokens of some calls had to be estimated: a key of ``_TEXTS``."""
    unfinished = [call for call in calls if call.is_unfinished]
    if unfinished:
        if all(call.is_failed for call in unfinished):
            return "failed"
        if all(call.is_failed or call.is_stopped for call in unfinished):
            return "stopped"
        if all(call.call.is_waiting for call in unfinished):
            return "not waited for"
        if all(call.call.ended_at is not None and not call.call.is_cut_short for call in unfinished):
            return "cut off"
        return "not read to its end"
    if any(_is_not_asked_for(call) for call in calls):
        return "not asked for"
    streams = [call for call in calls if _is_stream_without_usage(call)]
    if any(call.call.is_cut_short for call in streams):
        return "closed"
    return "asked for" if streams else "not sent"


def _is_stream_without_usage(call: CountedCall) -> bool:
    """Return whether a call is a stream that has no usage, and that may have had it on request."""
    request = call.call.request
    is_stream = call.call.first_token_at is not None or (request is not None and bool(request.arguments.get("stream")))
    return is_stream and call.usage.output_tokens is None and call.call.api in _WITH_USAGE_ON_REQUEST


def _is_not_asked_for(call: CountedCall) -> bool:
    """Return whether a call is a stream without usage that has not asked for it."""
    return _is_stream_without_usage(call) and not _asks_for_usage(call)


def _asks_for_usage(call: CountedCall) -> bool:
    """Return whether a call asked for the usage of its stream."""
    arguments = call.call.request.arguments if call.call.request is not None else {}
    extra = arguments.get("extra_body")
    given = (arguments, extra) if isinstance(extra, Mapping) else (arguments,)
    options = [one.get("stream_options") for one in given]
    return any(isinstance(one, Mapping) and one.get("include_usage") for one in options)
