"""What is left of many requests: memory, objects, threads, file descriptors, tasks, runs; and what was told of them."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ldclient import Config, LDClient
from ldclient.integrations.test_data import TestData
from ldclient.interfaces import EventProcessor

from ldai_integrations import RunRecord, Tracking
from ldai_integrations._core.current import get_current
from ldai_integrations._core.run import Run
from ldai_integrations.usage import warm_up

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
DOORS = {**WSGI, **ASGI}

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
# What interpreters and frameworks may still cache after the first tenth of the requests, in traced memory and resident.
_TRACED_BYTES, _RESIDENT_BYTES = 200_000, 16_000_000
# Frameworks' pools grow to a size of their own, when they are first busy.
_POOLS = ("AnyIO worker thread", "ThreadPoolExecutor", "asyncio_")
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
        with open("/proc/self/statm") as statm:
            resident = int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        traced = tracemalloc.get_traced_memory()[0] if tracemalloc.is_tracing() else 0
        runs = sum(type(item) is Run for item in gc.get_objects())
        threads = sum(not thread.name.startswith(_POOLS) for thread in threading.enumerate())
        return cls(traced, resident, threads, len(os.listdir("/proc/self/fd")), tasks, runs)


@dataclass(frozen=True)
class Report:
    """What many requests left behind, and what was told of them."""

    door: str
    requests: int
    seconds: float
    before: Left
    after: Left
    told: Counter[tuple[str, str]]
    events: Counter[str]
    troubles: Mapping[str, int]

    def wrong(self) -> list[str]:
        """Say what was left, lost or told twice."""
        traced = self.after.traced_bytes - self.before.traced_bytes
        resident = self.after.resident_bytes - self.before.resident_bytes
        found = {
            f"{traced} bytes more": traced > _TRACED_BYTES,
            f"{resident} bytes more are resident": resident > _RESIDENT_BYTES,
            f"{self.after.threads - self.before.threads} threads more": self.after.threads > self.before.threads,
            f"{self.after.files - self.before.files} files more": self.after.files > self.before.files,
            f"{self.after.tasks} tasks left": self.after.tasks > 0,
            f"{self.after.runs} runs left": self.after.runs > 0,
            f"bound: {get_current()}": get_current() is not None,
            f"told {dict(self.told)}": self.told != expected(self.requests),
            f"events {dict(self.events)}": not self._events_are_right(),
            f"troubles {self.troubles}": bool(self.troubles),
        }
        return [text for text, is_wrong in found.items() if is_wrong]

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
        resident = (self.after.resident_bytes - self.before.resident_bytes) / 1e6
        traced = (self.after.traced_bytes - self.before.traced_bytes) / 1e3
        line = (
            f"{self.door}: {self.requests} requests, {self.requests / self.seconds:,.0f} a second, "
            f"{self.told.total()} records, {self.events.total()} events; resident {resident:+.1f} MB, "
            f"traced {traced:+.0f} kB, threads {self.after.threads - self.before.threads:+}, "
            f"files {self.after.files - self.before.files:+}, tasks {self.after.tasks}, runs {self.after.runs}"
        )
        return "\n".join([line, *(f"  WRONG: {text}" for text in self.wrong())])


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


def soak(door: str, requests: int) -> Report:
    """Send requests through a door, the first tenth to warm up, and compare what there is then and at the end."""
    warm_up(timeout=120)
    counting, tally, data = _Counting(), Tally(), TestData.data_source()
    for flag in FLAGS["flags"].values():
        data.update(data.flag(flag["key"]).variations(*flag["variations"]).fallthrough_variation(0).on(True))
    client = LDClient(
        Config("test", update_processor_class=data, event_processor_class=lambda _config: counting), start_wait=10
    )
    tracking = Tracking(client, sinks=[tally])
    app = DOORS[door](tracking)
    first = requests // 10 // len(PATHS) * len(PATHS)
    if requests <= _MOST_TRACED:
        tracemalloc.start()
    try:
        before, after, seconds = _send_through(door, app, first, requests - first)
    finally:
        tracemalloc.stop()
    tracking.flush(30)
    client.close()
    return Report(
        door, requests, seconds, before, after, tally.outcomes, _without_sdk(counting), dict(tracking.stats().troubles)
    )


def _without_sdk(counting: _Counting) -> Counter[str]:
    return Counter({name: count for name, count in counting.names.items() if not name.startswith("$ld:ai:sdk")})


def _send_through(door: str, app: Any, first: int, rest: int) -> tuple[Left, Left, float]:
    if door in WSGI:
        send_wsgi(app, first)
        before, began = Left.now(0), time.perf_counter()
        send_wsgi(app, rest)
        seconds = time.perf_counter() - began
        return before, Left.now(0), seconds

    # Django goes on with a request whose task the server cancels, and then waits for a client who has long gone.
    cancels = not door.startswith("django")

    async def send() -> tuple[Left, Left, float]:
        await send_asgi(app, first, cancels=cancels)
        await _settle()
        before, began = Left.now(_other_tasks()), time.perf_counter()
        await send_asgi(app, rest, cancels=cancels)
        seconds = time.perf_counter() - began
        await _settle()
        return before, Left.now(_other_tasks()), seconds

    return asyncio.run(send())


async def _settle() -> None:
    """Let the tasks end that the last clients have just left, and abandoned generators be closed."""
    for _ in range(200):
        gc.collect()
        await asyncio.sleep(0.01)
        if not _other_tasks():
            return


def _other_tasks() -> int:
    return len(asyncio.all_tasks()) - 1
