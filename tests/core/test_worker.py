"""Work off the caller's thread: in order, all of it, and none kept waiting for a thread that has gone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue

import pytest

from ldai_integrations import RunRecord, Tracking, track_ai
from ldai_integrations._core import worker as room
from ldai_integrations._core.current import Frame
from ldai_integrations._core.run_spec import RunSpec
from ldai_integrations._core.worker import Worker
from ldai_integrations._diagnostics import Diagnostics

from ..conftest import Events
from ..waiting import eventually


class _Impatient(SimpleQueue[Callable[[], None]]):
    """Wait for nothing. CPython's own, up to 3.12, may wait for ever where a timeout has passed before it looked."""

    def get(self, block: bool = True, timeout: float | None = None) -> Callable[[], None]:
        return self.get_nowait()


@pytest.fixture
def held() -> Iterator[tuple[Worker, threading.Event]]:
    """Give a worker whose thread is at work until the event is set."""
    worker, go_on = Worker(Diagnostics()), threading.Event()
    worker.submit(go_on.wait)  # type: ignore[arg-type]
    assert eventually(lambda: worker._jobs.empty())
    yield worker, go_on
    go_on.set()
    assert worker.join(20)


def test_jobs_are_done_in_order_on_one_thread() -> None:
    """What is submitted first is done first, and joining waits for all of it."""
    worker, done = Worker(Diagnostics()), list[tuple[int, int]]()
    for number in range(100):
        assert worker.submit(lambda number=number: done.append((number, threading.get_ident())))  # type: ignore[misc]
    assert worker.join(20)
    assert [number for number, _ in done] == list(range(100))
    assert len({thread for _, thread in done} - {threading.get_ident()}) == 1


def test_joining_has_an_end(held: tuple[Worker, threading.Event]) -> None:
    """Joining returns False at its deadline, and True at once where nothing was ever begun."""
    worker, _ = held
    assert not worker.join(0.01)
    assert Worker(Diagnostics()).join(0)


def test_too_many_jobs_are_left_to_the_caller(
    held: tuple[Worker, threading.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the queue full a job is not taken; who joins is waited for all the same."""
    worker, go_on = held
    monkeypatch.setattr(room, "_MAX_JOBS", 2)
    done: list[int] = []
    assert [worker.submit(lambda: done.append(1)) for _ in range(3)] == [True, True, False]
    go_on.set()
    assert worker.join(20)
    assert done == [1, 1]


def test_an_idle_thread_ends_and_another_takes_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs that come while the thread is leaving are done: thousands of them, at all moments of it."""
    monkeypatch.setattr(room, "_MAX_JOBS", 2_000)
    worker, done = Worker(Diagnostics()), list[int]()
    worker._jobs = _Impatient()
    for number in range(2_000):
        assert worker.submit(lambda number=number: done.append(number))  # type: ignore[misc]
    assert eventually(lambda: len(done) == 2_000)
    assert done == list(range(2_000))
    assert eventually(lambda: worker._thread is None)


def test_where_no_thread_can_be_started_the_caller_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter that is ending starts no threads: the job is done at once."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    worker, done = Worker(Diagnostics()), list[int]()
    assert worker.submit(lambda: done.append(1))
    assert done == [1]
    assert worker.join(0)


def test_a_job_that_would_end_the_thread_does_not(caplog: pytest.LogCaptureFixture) -> None:
    """What a job raises, SystemExit included, is logged once and counted, and the next job is done."""

    def leave() -> None:
        raise SystemExit

    diagnostics, done = Diagnostics(), list[int]()
    worker = Worker(diagnostics)
    for job in (leave, leave, lambda: done.append(1)):
        assert worker.submit(job)
    assert worker.join(20)
    assert (done, diagnostics.counts(), len(caplog.records)) == ([1], {"report": 2}, 1)


def test_a_run_is_reported_off_the_callers_thread(tracking: Tracking, events: Events) -> None:
    """Where only LaunchDarkly is told, the handler's thread does not wait for it, and a flush does."""
    go_on = threading.Event()
    tracking._worker.submit(go_on.wait)  # type: ignore[arg-type]
    assert track_ai(config_key="chat", tracking=tracking)(lambda: "Hello")() == "Hello"
    assert events.of_runs() == []
    go_on.set()
    tracking.flush()
    assert "generation:success" in dict(events.of_runs())


def test_values_that_cannot_be_compared_do_not_reach_the_handler(tracking: Tracking, events: Events) -> None:
    """What the application's own values raise, when the AI Config is asked for at the end, is counted."""

    class Variables(dict[str, str]):
        __hash__ = None

        def __eq__(self, _other: object) -> bool:
            raise ValueError("the truth value is ambiguous")

    frame, spec = Frame(tracking), RunSpec(config_key="chat")
    for _ in range(2):
        tracking.open_run(frame, spec, variables=Variables()).finish()
    tracking.flush()
    assert dict(events.of_runs()).keys() >= {"duration:total", "generation:success"}
    assert sum(tracking.stats().diagnostics.values()) >= 1


def test_receivers_are_told_where_the_run_ended(tracking: Tracking, records: list[RunRecord]) -> None:
    """A receiver of the application's gets the record before the decorated call returns."""
    track_ai(config_key="chat", tracking=tracking)(lambda: "Hello")()
    assert [record.outcome for record in records] == ["success"]


def test_the_application_is_asked_for_its_user_in_its_own_request(tracking: Tracking) -> None:
    """``ld_context`` is called on the handler's thread, also where nobody asked for the AI Config before the end."""
    asked: list[int] = []

    def ld_context() -> None:
        asked.append(threading.get_ident())

    with track_ai(config_key="chat", tracking=tracking, ld_context=ld_context):
        pass
    tracking.flush()
    assert asked == [threading.get_ident()]
