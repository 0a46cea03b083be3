"""A run of an AI Config with judges, against a run of one without."""

from __future__ import annotations

import time

from ldclient import Context

from ldai_integrations import Tracking, track_ai

from ._launchdarkly import JUDGED_KEY, KEY, local_client
from ._measure import Figure, interleaved, per_unit, ratio

_CALLS, _ROUNDS = 300, 25


def figures() -> list[Figure]:
    """Measure the CPU time of a run of each."""
    with local_client() as (client, _events):
        tracking, context = Tracking(client), Context.create("ada")

        def runs(key: str) -> None:
            for _ in range(_CALLS):
                with track_ai(config_key=key, tracking=tracking, ld_context=lambda: context) as run:
                    run.first_token()

        times = interleaved(
            {
                "plain": per_unit(lambda: runs(KEY), _CALLS, clock=time.process_time),
                "judged": per_unit(lambda: runs(JUDGED_KEY), _CALLS, clock=time.process_time),
            },
            rounds=_ROUNDS,
        )
    return [Figure(what="AI Config with judges / without", value=ratio(times, "judged", "plain"), at_most=1.3)]
