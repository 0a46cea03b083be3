"""The outcome of a finished run: success, error, cancelled, or discarded because it called no model."""

from __future__ import annotations

from collections.abc import Sequence

from ..records import Outcome
from ..usage import Reading
from .matching import CountedCall
from .request import NOT_OF_TEXT
from .state import RunState
from .web import status_of_exception

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
    saw_calls = bool(calls) or has_added or "tokens" in stated
    is_generation = saw_calls or run.may_miss_calls or _is_answer(run, own)
    if not (is_generation or run.counts_without_call or run.error_by_result is not None):
        if own is not None and run.output.is_response and not _is_stored(run, own):
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

    JSON of the application may contain the usage of an answer that it has cached. A provider's has a finish reason, or
    input only, as embeddings have.
    """
    if own is None or _is_stored(run, own) or not (run.counts_without_call or run.output.is_response):
        return False
    is_streamed = run.output.first_token_at is not None
    has_input_only = own.usage is not None and own.usage.input_tokens is not None and own.usage.output_tokens is None
    may_be_cached = run.services.reporter.expects_calls(run.config_key)
    return is_streamed or has_input_only or bool(own.finish_reasons or own.error) or not may_be_cached


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
        and (call.answered_at is None or call.answered_at >= last.started_at)
        and (call.call.started_at >= last.started_at or not call.is_unfinished)
        and (call.call.api not in _WITHOUT_TEXT or call.call.api == last.api)
        and (last.source != "sdk" or call.call.source == "sdk" or not last.encloses(call.call))
        for call in calls
    )
