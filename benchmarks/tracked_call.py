"""The CPU time of a tracked call, against hand-written calls of the SDK that send the same events."""

from __future__ import annotations

import statistics
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
            interleaved({name: times_of(call, tracking, clock) for name, call in calls.items()}, rounds=_ROUNDS)
            for clock in (time.thread_time, time.process_time)
        )
    return [
        Figure(
            what="tracked call / by hand, caller",
            value=ratio(caller, "tracked", "by hand"),
            at_most=1.15,
            note=f"CPU time; by hand {statistics.median(caller['by hand']) * 1e6:.0f} µs",
        ),
        Figure(
            what="tracked call / by hand, process",
            value=ratio(process, "tracked", "by hand"),
            at_most=1.8,
            note=f"CPU time of all threads; by hand {statistics.median(process['by hand']) * 1e6:.0f} µs",
        ),
    ]


def times_of(call: Callable[[], str], tracking: Tracking, clock: Callable[[], float]) -> Contestant:
    """Return a contestant that times calls, with what other threads do for them if the clock includes that."""

    def contestant() -> float:
        begun = clock()
        for _ in range(_CALLS):
            call()
        took = clock() - begun
        tracking.flush()
        return (clock() - begun if clock is time.process_time else took) / _CALLS

    return contestant


def by_hand(ai_client: LDAIClient) -> Callable[[], str]:
    """Return a call that is written as LaunchDarkly's guide shows."""

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
    """Return a tracked call that does the same."""

    @track_ai(config_key=KEY, tracking=tracking, variables=_VARIABLES, ld_context=lambda: _CONTEXT)
    def call() -> str:
        run = current_run()
        answer = run.model
        run.first_token()
        run.add_usage(input_tokens=11, output_tokens=7)
        return answer

    return call
