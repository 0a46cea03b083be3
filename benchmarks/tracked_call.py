"""A tracked call against the same events by hand-written SDK calls, in CPU time."""

from __future__ import annotations

import time
from collections.abc import Callable

from ldai import LDAIClient
from ldai.tracker import TokenUsage
from ldclient import Context

from ldai_integrations import Tracking, current_run, track_ai

from ._launchdarkly import KEY, local_client
from ._measure import Contestant, Figure, interleaved, ratio

_CALLS, _ROUNDS = 200, 50
_CONTEXT = Context.create("ada")
_VARIABLES = {"shop": "Knits & Co"}


def figures() -> list[Figure]:
    """Measure both, after a check that both send the same number of events."""
    with local_client() as (client, events):
        tracking = Tracking(client)
        calls = {"by hand": by_hand(LDAIClient(client)), "tracked": tracked(tracking)}
        counts = []
        for call in calls.values():
            before = events.count
            call()
            tracking.flush()
            counts.append(events.count - before)
        assert counts[0] == counts[1], f"by hand {counts[0]} events, tracked {counts[1]}"
        caller, process = (
            interleaved({name: _times(call, tracking, clock) for name, call in calls.items()}, rounds=_ROUNDS)
            for clock in (time.thread_time, time.process_time)
        )
    return [
        Figure("tracked call / by hand, caller", f"{ratio(caller, 'tracked', 'by hand'):.2f}", "CPU; at most 1.15"),
        Figure("tracked call / by hand, process", f"{ratio(process, 'tracked', 'by hand'):.2f}", "CPU of all threads"),
    ]


def _times(call: Callable[[], str], tracking: Tracking, clock: Callable[[], float]) -> Contestant:
    """Time calls, and what other threads do for them where the clock counts that too."""

    def contestant() -> float:
        begun = clock()
        for _ in range(_CALLS):
            call()
        took = clock() - begun
        tracking.flush()
        return (clock() - begun if clock is time.process_time else took) / _CALLS

    return contestant


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
