"""The CPU time of a tracked call, against hand-written calls of the SDK that send the same events."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack

from ldai import LDAIClient
from ldai.tracker import TokenUsage
from ldclient import Context, LDClient

from ldai_integrations import Tracking, current_run, track_ai
from ldai_integrations.delivery import SpoolingEventProcessor
from ldai_integrations.usage import warm_up

from ._launchdarkly import KEY, client_with_file, local_client
from ._measure import Contestant, Figure, interleaved, ratio
from ._receiver import Faults, receiving

_CALLS, _ROUNDS = 200, 50
_CONTEXT = Context.create("ada")
_VARIABLES = {"shop": "Knits & Co"}
# Both event processors have sent everything by then.
_SETTLE_SECONDS = 0.2
_Call = Callable[[], str]


def figures() -> list[Figure]:
    """Measure the caller's own time, and the time of all threads with and without the delivery of the events."""
    warm_up(timeout=60)  # which the start of an application does, and which takes a second on another thread
    return [*_without_delivery(), *_with_delivery()]


def _without_delivery() -> list[Figure]:
    """Measure calls whose events are dropped, after a check that both send the same number of them."""
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
            note=_note(caller),
        ),
        Figure(
            what="the same, all threads, events dropped",
            value=ratio(process, "tracked", "by hand"),
            note=_note(process),
        ),
    ]


def times_of(call: _Call, tracking: Tracking, clock: Callable[[], float]) -> Contestant:
    """Return a contestant that times calls, with what other threads do for them if the clock includes that."""

    def contestant() -> float:
        begun = clock()
        for _ in range(_CALLS):
            call()
        took = clock() - begun
        tracking.flush()
        return (clock() - begun if clock is time.process_time else took) / _CALLS

    return contestant


def _with_delivery() -> list[Figure]:
    """Measure the whole process until a server has the events."""
    with ExitStack() as opened:
        url = opened.enter_context(receiving(Faults()))

        def client_of(processor: type[SpoolingEventProcessor] | None) -> LDClient:
            uris = {"base_uri": url, "stream_uri": url, "events_uri": url}
            return opened.enter_context(client_with_file(event_processor_class=processor, **uris))

        plain, given, ours = client_of(None), client_of(None), client_of(SpoolingEventProcessor)
        with_given, with_ours = Tracking(given), Tracking(ours)
        contestants = {
            "by hand": _until_delivered(by_hand(LDAIClient(plain)), plain.flush),
            "given": _until_delivered(tracked(with_given), with_given.flush),
            "ours": _until_delivered(tracked(with_ours), with_ours.flush),
        }
        process = interleaved(contestants, rounds=_ROUNDS)
    return [
        Figure(
            what="tracked call / by hand, process",
            value=ratio(process, "ours", "by hand"),
            at_most=1.8,
            note=f"until the events are delivered; {_note(process)}",
        ),
        Figure(
            what="the same with a client of your own",
            value=ratio(process, "given", "by hand"),
            at_most=1.8,
            note="the SDK delivers the events",
        ),
    ]


def _until_delivered(call: _Call, flush: Callable[[], object]) -> Contestant:
    def contestant() -> float:
        begun = time.process_time()
        for _ in range(_CALLS):
            call()
        flush()
        time.sleep(_SETTLE_SECONDS)
        return (time.process_time() - begun) / _CALLS

    return contestant


def _note(times: dict[str, list[float]]) -> str:
    return f"CPU time; by hand {statistics.median(times['by hand']) * 1e6:.0f} µs"


def by_hand(ai_client: LDAIClient) -> _Call:
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


def tracked(tracking: Tracking) -> _Call:
    """Return a tracked call that does the same."""

    @track_ai(config_key=KEY, tracking=tracking, variables=_VARIABLES, ld_context=lambda: _CONTEXT)
    def call() -> str:
        run = current_run()
        answer = run.model
        run.first_token()
        run.add_usage(input_tokens=11, output_tokens=7)
        return answer

    return call
