"""From evidence to the record of a run: outcome, usage, times."""

from __future__ import annotations

from collections.abc import Container
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

from ..delivery import environment_id_of
from ..records import Cost, Outcome, RunRecord, Usage
from ..usage import estimate_prompt
from .evidence import Evidence
from .http import status_of_exception
from .output import Output

if TYPE_CHECKING:
    from ldai.tracker import LDAIMetricSummary, TokenUsage

    from .run import Run


def account_for(run: Run, ended_at: float) -> RunRecord:
    """Make the record of a run that has ended; counts tokens where the provider did not.

    What user code said on ``run.tracker`` wins over what was measured.

    Args:
        run: A finished run.
        ended_at: When it ended, on the run's clock, in seconds.
    """
    evidence = run.evidence
    own = evidence.own_output()
    outputs = evidence.outputs()
    said = run.said()
    saw_error = any(output.error for output in (*outputs, own) if output)
    outcome = _outcome(evidence, said, run.frame.tracking.settings.error_statuses, saw_error=saw_error)
    if outcome == "discarded" and not run.resolved:
        return _discarded(run, ended_at)
    usage = _usage(run, outputs) if evidence.generated or outcome in ("success", "cancelled") else None
    usage = usage if said.tokens is None else _said_usage(said.tokens)
    provider_name = run.config.provider.name if run.config.provider else ""
    read = evidence.read() if evidence.calls.were_overheard else outputs
    tools = evidence.said_tools or [name for output in read for name in output.tool_calls]
    return RunRecord(
        run_id=run.id,
        config_key=run.config_key,
        mode=run.spec.mode,
        variation_key=run.identity.variation_key,
        version=run.identity.version,
        model_name=run.model,
        response_model=next((output.model for output in reversed(outputs) if output.model), ""),
        finish_reasons=tuple(reason for output in outputs for reason in output.finish_reasons),
        provider_name=provider_name,
        enabled=run.config.enabled,
        started_at=run.started_at,
        duration_ms=_ms(ended_at - run.opened_at) if said.duration_ms is None else said.duration_ms,
        time_to_first_token_ms=_first_token(said, _since_opened(run, evidence.first_token_at)),
        time_to_first_answer_ms=_since_opened(run, evidence.first_answer_at),
        usage=usage,
        outcome=outcome,
        error=evidence.error,
        tool_calls=tuple(tools),
        default_served=not run.identity.variation_key,
        cost=_cost(run, usage, provider_name),
        ld_context=run.ld_context,
        tracker=run.sdk_tracker,
        environment_id=environment_id_of(run.frame.tracking.client),
    )


def _outcome(
    evidence: Evidence, said: LDAIMetricSummary, error_statuses: Container[int], *, saw_error: bool
) -> Outcome:
    """Decide, in this order: what user code said, cancelled, error, discarded, success."""
    if evidence.no_generation:
        return "discarded"
    if said.success is not None:
        return "success" if said.success else "error"
    if evidence.cancelled:
        return "cancelled"
    if evidence.judged_error is not None:
        return "error" if evidence.judged_error else "success"
    status = evidence.status
    if evidence.error is not None:
        status = status_of_exception(evidence.error)
        if status is None:
            return "error"
    if saw_error or (status is not None and status in error_statuses):
        return "error"
    if status is not None and status >= 400 and not evidence.generated:
        return "discarded"
    return "success"


def _usage(run: Run, outputs: list[Output]) -> Usage | None:
    """Add up the provider calls of a run; estimate what a provider left out.

    Of calls that a wrapped client made we know what was asked; where that does not tell the prompt, as where the
    provider keeps it, it stays unknown. Otherwise the configured prompt is taken, and only where there is one call
    whose input nobody told: of several calls we do not know what each was sent.
    """
    said = run.evidence.said_usage
    known = [_with_estimates(run, output) for output in outputs if said is None or output.usage is not None]
    parts = known if said is None else [said, *known]
    if not parts:
        return None
    total: Usage = reduce(add, parts)
    told = run.evidence.prompt is not None or all(output.asked is None for output in outputs)
    if total.input_tokens is None and told:
        total = total.filled_from(_estimated_prompt(run))
    return total.with_total()


def _with_estimates(run: Run, output: Output) -> Usage:
    usage = output.usage if output.usage is not None else Usage()
    asked = output.asked
    if usage.output_tokens is None and (output.usage is None or output.chars):
        usage = usage.filled_from(output.estimate(asked.request if asked is not None else None))
    if usage.input_tokens is None and asked is not None:
        prompt = asked.estimate(output.model or asked.model or run.model)
        if prompt is not None:
            usage = prompt if usage == Usage() else usage.filled_from(prompt)
    return usage


def _estimated_prompt(run: Run) -> Usage:
    messages = run.evidence.prompt if run.evidence.prompt is not None else run.configured_messages()
    estimate = estimate_prompt({"messages": messages}, model=run.model, api="chat") if messages else None
    return estimate if estimate is not None else Usage()


def _said_usage(tokens: TokenUsage) -> Usage:
    return Usage(tokens.input or None, tokens.output or None, tokens.total or None)


def _cost(run: Run, usage: Usage | None, provider_name: str) -> Cost | None:
    costs, model = run.frame.tracking.costs, run.config.model
    if costs is None or model is None:
        return None
    return costs.of(
        usage,
        config_key=run.config_key,
        model_name=model.name,
        provider_name=provider_name,
        get_custom=model.get_custom,
        started_at=run.started_at,
    )


def _first_token(said: LDAIMetricSummary, measured: int | None) -> int | None:
    return measured if said.time_to_first_token is None else int(said.time_to_first_token)


def _since_opened(run: Run, at: float | None) -> int | None:
    return None if at is None else _ms(at - run.opened_at)


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def _discarded(run: Run, ended_at: float) -> RunRecord:
    """Account for a run that nobody needed: its AI Config is not even evaluated."""
    return RunRecord(
        run_id="",
        config_key=run.config_key,
        mode=run.spec.mode,
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
        error=run.evidence.error,
    )
