"""What is left of many requests: memory, objects, threads, file descriptors, tasks, runs; and what was told of them."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ldclient import Config, LDClient
from ldclient.integrations.test_data import TestData
from ldclient.interfaces import EventProcessor

from ldai_integrations import Run, RunRecord, Tracking
from ldai_integrations.usage import warm_up

from ..binding import in_run
from ..contract.cases import CONFIG_KEY, INNER_KEY
from ..contract.conftest import FLAGS
from ..contract.drivers import asgi, django, fastapi, flask, starlette, wsgi
from .traffic import PATHS, send_asgi, send_wsgi

Build = Callable[[Tracking], Any]

WSGI: dict[str, Build] = {
    "wsgi": wsgi.middleware,
    "flask": flask.extension_and_decorator,
    "django-wsgi": django.wsgi_middleware_and_decorator,
}
ASGI: dict[str, Build] = {
    "asgi": asgi.middleware,
    "starlette": starlette.middleware_and_decorator,
    "starlette-decorator": starlette.decorator,
    "fastapi": fastapi.middleware_and_decorator,
    "django-asgi": django.asgi_middleware_and_decorator,
}
INTEGRATIONS = {**WSGI, **ASGI}

#: Runs of the request itself, by path; of "nested" there is a second one, with a key of its own.
_OUTCOMES = {
    "ok": "success",
    "stream": "success",
    "raise": "error",
    "slow": "cancelled",
    "observed": "success",
    "stream-raises": "error",
    "nested": "success",
    "missing": None,
    "bad": "discarded",
    "stream-error-event": "error",
}
# What interpreters and frameworks may still cache after the first batch of the requests, in traced memory and resident.
_TRACED_BYTES, _RESIDENT_BYTES = 200_000, 16_000_000
# By the second half of the rest all is warm: of 8,000 requests it keeps 8 kB, of 50,000 less than 0.1 MB; of 1,000,
# where it is not quite, up to 70 kB.
_TRACED_LATE, _RESIDENT_LATE = 100_000, 1_000_000
# Frameworks' pools grow to a size of their own, when they are first busy.
_POOLS = ("AnyIO worker thread", "ThreadPoolExecutor", "asyncio_")
# The first batch warms up, and of the rest the second half must leave nothing. To collect takes as long as 50 requests.
_MOST_BATCHES, _SMALLEST_BATCH = 20, 250
# Tracing takes as long as serving does: of more requests than this, what is resident tells enough.
_MOST_TRACED = 10_000


class _Counting(EventProcessor):
    """Count what would be sent, by event."""

    def __init__(self) -> None:
        self.names: Counter[str] = Counter()

    def send_event(self, event: Any) -> None:
        if hasattr(event, "metric_value"):
            self.names[event.key] += 1

    def flush(self) -> None:
        pass

    def stop(self) -> None:
        pass


class Tally:
    """Count the records by what they are of, and keep none."""

    def __init__(self) -> None:
        self.outcomes: Counter[tuple[str, str]] = Counter()

    def emit(self, record: RunRecord) -> None:
        """Count a record."""
        self.outcomes[record.config_key, record.outcome] += 1


@dataclass(frozen=True)
class Left:
    """What there is at one moment."""

    traced_bytes: int
    resident_bytes: int
    threads: int
    files: int
    tasks: int
    runs: int

    @classmethod
    def now(cls, tasks: int) -> Left:
        """Look around, after the garbage has been collected."""
        gc.collect()
        _give_back_freed_memory()
        with open("/proc/self/statm") as statm:
            resident = int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        traced = tracemalloc.get_traced_memory()[0] if tracemalloc.is_tracing() else 0
        resident -= tracemalloc.get_tracemalloc_memory()  # the traces are no part of what is traced, but grow with it
        runs = sum(type(item) is Run for item in gc.get_objects())
        threads = sum(not thread.name.startswith(_POOLS) for thread in threading.enumerate())
        return cls(traced, resident, threads, len(os.listdir("/proc/self/fd")), tasks, runs)


@dataclass(frozen=True)
class Report:
    """What many requests left behind, and what was told of them."""

    integration: str
    requests: int
    seconds: float
    before: Left
    midway: Left
    after: Left
    told: Counter[tuple[str, str]]
    events: Counter[str]
    diagnostics: Mapping[str, int]

    def wrong(self) -> list[str]:
        """Say what was left, lost or told twice."""
        traced, resident = self._grown(self.before)
        traced_late, resident_late = self._grown(self.midway)
        found = {
            f"{traced} bytes more": traced > _TRACED_BYTES,
            f"{resident} bytes more are resident": resident > _RESIDENT_BYTES,
            f"{traced_late} bytes more in the second half": traced_late > _TRACED_LATE,
            f"{resident_late} bytes more are resident in the second half": resident_late > _RESIDENT_LATE,
            f"{self.after.threads - self.before.threads} threads more": self.after.threads > self.before.threads,
            f"{self.after.files - self.before.files} files more": self.after.files > self.before.files,
            f"{self.after.tasks} tasks left": self.after.tasks > 0,
            f"{self.after.runs} runs left": self.after.runs > 0,
            "a run is bound": in_run(),
            f"told {dict(self.told)}": self.told != expected(self.requests),
            f"events {dict(self.events)}": not self._events_are_right(),
            f"diagnostics {self.diagnostics}": bool(set(self.diagnostics) - {"estimated", "one_time_contexts"}),
        }
        return [text for text, is_wrong in found.items() if is_wrong]

    def _grown(self, since: Left) -> tuple[int, int]:
        """Return by how many bytes traced and resident memory have grown since then."""
        return (self.after.traced_bytes - since.traced_bytes, self.after.resident_bytes - since.resident_bytes)

    def _events_are_right(self) -> bool:
        outcomes = Counter[str]()
        for (_, outcome), count in self.told.items():
            outcomes[outcome] += count
        told = {name: self.events[f"$ld:ai:{name}"] for name in ("generation:success", "generation:error")}
        return (
            told == {"generation:success": outcomes["success"], "generation:error": outcomes["error"]}
            and self.events["$ld:ai:duration:total"] == outcomes.total()
        )

    def __str__(self) -> str:
        (traced, resident), (traced_late, resident_late) = self._grown(self.before), self._grown(self.midway)
        line = (
            f"{self.integration}: {self.requests} requests, {self.requests / self.seconds:,.0f} a second, "
            f"{self.told.total()} records, {self.events.total()} events; resident {resident / 1e6:+.2f} MB, "
            f"{resident_late / 1e6:+.2f} of it late, traced {traced / 1e3:+.0f} kB, {traced_late / 1e3:+.0f} late, "
            f"threads {self.after.threads - self.before.threads:+}, "
            f"files {self.after.files - self.before.files:+}, tasks {self.after.tasks}, runs {self.after.runs}"
        )
        return "\n".join([line, *(f"  WRONG: {text}" for text in self.wrong())])


def _give_back_freed_memory() -> None:
    """Have the C library give its free pages back, where it can: what it keeps of them is nobody's memory."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def expected(requests: int) -> Counter[tuple[str, str]]:
    """Count the runs that must be told of this many requests, by what they are of."""
    told = Counter[tuple[str, str]]()
    for number in range(requests):
        path = PATHS[number % len(PATHS)]
        outcome = _OUTCOMES[path]
        if outcome not in (None, "discarded"):
            told[CONFIG_KEY, str(outcome)] += 1
        if path == "nested":
            told[INNER_KEY, "success"] += 1
    return told


def soak(integration: str, requests: int) -> Report:
    """Send requests through an integration in batches, the first ones to warm up, and compare what there is after them.

    The garbage is collected after each batch: what a framework leaves for the collector may be as much as it likes.
    """
    warm_up(timeout=120)
    counting, tally, data = _Counting(), Tally(), TestData.data_source()
    for flag in FLAGS["flags"].values():
        data.update(data.flag(flag["key"]).variations(*flag["variations"]).fallthrough_variation(0).on(True))
    client = LDClient(
        Config("test", update_processor_class=data, event_processor_class=lambda _config: counting), start_wait=10
    )
    tracking = Tracking(client, sinks=[tally])
    app = INTEGRATIONS[integration](tracking)
    if requests <= _MOST_TRACED:
        tracemalloc.start()
    began = time.perf_counter()
    try:
        if integration in WSGI:
            looks = _send_wsgi(app, _batches(requests))
        else:
            # Django goes on with a request whose task the server cancels, and waits for a client who has long gone.
            looks = asyncio.run(_send_asgi(app, _batches(requests), cancels=not integration.startswith("django")))
    finally:
        tracemalloc.stop()
    seconds = time.perf_counter() - began
    tracking.flush(30)
    client.close()
    return Report(
        integration,
        requests,
        seconds,
        looks[0],
        looks[len(looks) // 2 - 1],
        looks[-1],
        tally.outcomes,
        _without_sdk(counting),
        dict(tracking.stats().diagnostics),
    )


def _without_sdk(counting: _Counting) -> Counter[str]:
    return Counter({name: count for name, count in counting.names.items() if not name.startswith("$ld:ai:sdk")})


def _batches(requests: int) -> list[int]:
    """Divide requests into batches of about the same size, each of every path."""
    rounds, batches = requests // len(PATHS), min(_MOST_BATCHES, max(4, requests // _SMALLEST_BATCH))
    ends = [rounds * number // batches * len(PATHS) for number in range(batches)] + [requests]
    return [end - start for start, end in pairwise(ends)]


def _send_wsgi(app: Any, sizes: list[int]) -> list[Left]:
    looks = []
    for size in sizes:
        send_wsgi(app, size)
        looks.append(Left.now(0))
    return looks


async def _send_asgi(app: Any, sizes: list[int], *, cancels: bool) -> list[Left]:
    looks = []
    for size in sizes:
        await send_asgi(app, size, cancels=cancels)
        await _settle()
        looks.append(Left.now(_other_tasks()))
    return looks


async def _settle() -> None:
    """Let the tasks end that the last clients have just left, and abandoned generators be closed."""
    for _ in range(200):
        gc.collect()
        await asyncio.sleep(0.01)
        if not _other_tasks():
            return


def _other_tasks() -> int:
    return len(asyncio.all_tasks()) - 1
