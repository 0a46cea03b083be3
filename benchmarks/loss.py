"""Count runs that do not arrive: ``python -m benchmarks.loss [name …]``. All loads together take ten minutes.

Each run has six events with its id. ``by hand`` is LaunchDarkly's guide with the SDK's defaults, ``own client`` a
Tracking over such a client, ``from_env`` the client that ``Tracking.from_env()`` makes.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ldai import LDAIClient
from ldclient import Config, LDClient

from ldai_integrations import FlushReport, Tracking

from ._receiver import Faults, counts, receiving
from .tracked_call import by_hand, tracked

_EVENTS = 6
_NO_FAULTS = Faults()
# The time for the SDK at the end, because its flush does not wait.
_SDK_SECONDS = 10.0

Call = Callable[[], object]
Maker = Callable[[str], tuple[Call, Callable[[float], FlushReport | None]]]


@dataclass(frozen=True)
class Load:
    """A number of runs, and the receiver that they are sent to.

    Attributes:
        runs: The number of runs.
        rate: Runs per second; 0 for as fast as possible.
        faults: The failures of the receiver.
        patience: The longest time for the last flush, in seconds.
    """

    runs: int
    rate: int = 0
    faults: Faults = _NO_FAULTS
    patience: float = 60.0


LOADS = {
    "280/s": Load(2_800, 280),
    "1000/s": Load(10_000, 1_000),
    "2000/s for 20 s": Load(40_000, 2_000),
    "burst of 2000": Load(2_000),
    "burst of 20000": Load(20_000),
    "2 s a post, 280/s": Load(2_800, 280, Faults(delay=2.0)),
    "2 s a post, 2000/s for 20 s": Load(40_000, 2_000, Faults(delay=2.0), patience=180.0),
    "two 503": Load(1_000, 100, Faults(statuses=(503, 503))),
    "one 401": Load(1_000, 100, Faults(statuses=(401,))),
    "one 403": Load(1_000, 100, Faults(statuses=(403,))),
    "one 404": Load(1_000, 100, Faults(statuses=(404,))),
    "one 413": Load(1_000, 100, Faults(statuses=(413,))),
    "down for 60 s, 100/s": Load(3_000, 100, Faults(down=60.0), patience=120.0),
    "down for 60 s, 2000/s for 20 s": Load(40_000, 2_000, Faults(down=60.0), patience=180.0),
}


def main(names: list[str]) -> None:
    """Print how many runs each way of tracking loses under each load."""
    logging.disable(logging.WARNING)
    print(f"{'load':32} {'by hand':>22} {'own client':>22} {'from_env':>22}   lost runs (runs a second), report")
    for name in names or LOADS:
        load = LOADS[name]
        cells, report = [], None
        for maker in (_by_hand, _own_client, _from_env):
            lost, rate, report = measure(load, maker)
            cells.append(f"{lost} = {lost / load.runs:.1%} ({rate:.0f}/s)")
        print(f"{name:32} {cells[0]:>22} {cells[1]:>22} {cells[2]:>22}   {report}", flush=True)


def measure(load: Load, maker: Maker) -> tuple[int, float, FlushReport | None]:
    """Return how many runs did not arrive with all their events, the rate reached, and the last flush's report."""
    with receiving(load.faults) as url:
        call, finish = maker(url)
        begun = time.perf_counter()
        for number in range(load.runs):
            if load.rate:
                time.sleep(max(0.0, begun + number / load.rate - time.perf_counter()))
            call()
        rate = load.runs / (time.perf_counter() - begun)
        report = finish(load.patience)
        return load.runs - counts(url).get(_EVENTS, 0), rate, report


def _by_hand(url: str) -> tuple[Call, Callable[[float], None]]:
    client = LDClient(_config(url))
    return by_hand(LDAIClient(client)), partial(_finish_sdk, client)


def _own_client(url: str) -> tuple[Call, Callable[[float], FlushReport]]:
    client = LDClient(_config(url))
    tracking = Tracking(client)

    def finish(patience: float) -> FlushReport:
        report = tracking.flush(min(patience, 2 * _SDK_SECONDS))
        client.close()
        return report

    return tracked(tracking), finish


def _from_env(url: str) -> tuple[Call, Callable[[float], FlushReport]]:
    tracking = Tracking.from_env(environ={"LDAI_DEV_SERVER": url})

    def finish(patience: float) -> FlushReport:
        report = tracking.flush(patience)
        tracking.close()
        return report

    return tracked(tracking), finish


def _finish_sdk(client: LDClient, _patience: float) -> None:
    client.flush()
    time.sleep(_SDK_SECONDS)
    client.close()


def _config(url: str) -> Config:
    return Config("benchmark", base_uri=url, stream_uri=url, events_uri=url)


if __name__ == "__main__":
    main(sys.argv[1:])
