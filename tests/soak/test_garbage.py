"""What a request leaves for the garbage collector: of ours nothing, else memory grows until there is time for it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest

from ldai_integrations import Run, Tracking, track_ai

from ..waiting import eventually
from . import traffic
from .measure import INTEGRATIONS, WSGI

_REQUESTS = 20
# Without us too, an exception that a frame in its traceback keeps, or a task that is cancelled, is garbage, and so is
# each of FastAPI's streams; with it goes the Context, in which our run is.
_EVERYWHERE = ["ok", "observed", "nested"]
_STREAMS = ["stream", "stream-error-event"]
_PATHS = {
    "wsgi": traffic.PATHS,
    "flask": [*_EVERYWHERE, *_STREAMS, "slow"],
    "asgi": [*_EVERYWHERE, *_STREAMS, "missing", "bad"],
    "starlette": [*_EVERYWHERE, *_STREAMS, "missing", "bad"],
    "starlette-decorator": [*_EVERYWHERE, *_STREAMS, "missing", "bad"],
    "fastapi": [*_EVERYWHERE, "missing", "bad"],
}
_CASES: list[Any] = [(integration, path) for integration, paths in _PATHS.items() for path in paths]


@pytest.fixture
def _uncollected() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_uncollected")
@pytest.mark.parametrize(("integration", "path"), _CASES)
def test_runs_are_freed_when_they_are_over(
    tracking: Tracking, monkeypatch: pytest.MonkeyPatch, integration: str, path: str
) -> None:
    """No run, with all that was known of it, waits for the garbage collector."""
    monkeypatch.setattr(traffic, "PATHS", [path])
    app: Any = INTEGRATIONS[integration](tracking)
    if integration in WSGI:
        traffic.send_wsgi(app, _REQUESTS)
    else:
        asyncio.run(_send(app))
    tracking.flush()

    assert eventually(lambda: _runs() == 0)  # the thread that reports may not be done with the last one


async def _send(app: Any) -> None:
    await traffic.send_asgi(app, _REQUESTS)
    await asyncio.sleep(0.05)  # for the tasks that have just been cancelled


def _runs() -> int:
    return sum(type(item) is Run for item in gc.get_objects())


@pytest.mark.usefixtures("_uncollected")
def test_a_stream_of_nothing_is_freed(tracking: Tracking) -> None:
    """Neither does a run whose stream had but empty chunks, the kind of which is not known."""

    @track_ai(config_key="chat", tracking=tracking)
    def chat() -> Iterator[str]:
        yield from ["", ""]

    assert list(chat()) == ["", ""]
    tracking.flush()

    assert eventually(lambda: _runs() == 0)
