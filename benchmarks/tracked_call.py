"""A tracked call against the same events by hand-written SDK calls, CPU time in the caller."""

from __future__ import annotations

import time
from collections.abc import Callable

from ldai import LDAIClient
from ldai.tracker import TokenUsage
from ldclient import Context

from ldai_integrations import Tracking, current_run, track_ai

from ._launchdarkly import KEY, local_client
from ._measure import Figure, interleaved, per_unit, ratio

_CALLS, _ROUNDS = 500, 25
_CONTEXT = Context.create("ada")
_VARIABLES = {"shop": "Knits & Co"}


def figures() -> list[Figure]:
    """Measure both, after a check that both send the same number of events."""
    with local_client() as (client, events):
        calls = {"by hand": by_hand(LDAIClient(client)), "tracked": tracked(Tracking(client))}
        counts = []
        for call in calls.values():
            before = events.count
            call()
            counts.append(events.count - before)
        assert counts[0] == counts[1], f"by hand {counts[0]} events, tracked {counts[1]}"
        times = interleaved(
            {
                name: per_unit(lambda call=call: [call() for _ in range(_CALLS)], _CALLS, clock=time.process_time)  # type: ignore[misc]
                for name, call in calls.items()
            },
            rounds=_ROUNDS,
        )
    return [Figure("tracked call / by hand", f"{ratio(times, 'tracked', 'by hand'):.2f}", "at most 1.15")]


def by_hand(ai_client: LDAIClient) -> Callable[[], str]:
    """Do what LaunchDarkly's guide shows."""

    def call() -> str:
        config = ai_client.completion_config(KEY, _CONTEXT, variables=_VARIABLES)
        tracker = config.create_tracker()
        begun = time.perf_counter()
        answer = config.model.name if config.model is not None else ""
        tracker.track_time_to_first_token(int((time.perf_counter() - begun) * 1000))
        tracker.track_tokens(TokenUsage(total=18, input=11, output=7))
        tracker.track_duration(int((time.perf_counter() - begun) * 1000))
        tracker.track_success()
        return answer

    return call


def tracked(tracking: Tracking) -> Callable[[], str]:
    """Track a call that does the same."""

    @track_ai(config_key=KEY, tracking=tracking, variables=_VARIABLES, ld_context=lambda: _CONTEXT)
    def call() -> str:
        run = current_run()
        answer = run.model
        run.first_token()
        run.add_usage(input_tokens=11, output_tokens=7)
        return answer

    return call
