"""The library's thread pool, and the helpers of asyncio, anyio and Starlette that call a function on a thread."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from typing import Any

import anyio.to_thread
import pytest
from starlette.concurrency import run_in_threadpool

from ldai_integrations import Run, current_run, track_ai, wrap_client
from ldai_integrations.executors import ThreadPoolExecutor
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink

from .provider import IN, OUT

ASK: list[Any] = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def ask(openai: Any) -> Callable[[], Any]:
    """Return a function that calls a wrapped client."""
    client = wrap_client(openai)
    return lambda: client.chat.completions.create(model="gpt-4o-mini", messages=ASK)


def test_tasks_run_in_the_run_of_their_submission(
    ask: Callable[[], Any], launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """A pool that outlives many runs counts the calls of each task in the run that submitted it."""
    with ThreadPoolExecutor(1) as pool:
        for count, config_key in ((1, "chat"), (2, "other")):
            with track_ai(config_key=config_key):
                concurrent.futures.wait([pool.submit(ask) for _ in range(count)])

    found = [(record.config_key, record.calls, record.usage) for record in runs.wait(2)]
    assert [(key, calls) for key, calls, _ in found] == [("chat", 1), ("other", 2)]
    assert [usage and (usage.input_tokens, usage.output_tokens) for *_, usage in found] == [
        (IN, OUT),
        (2 * IN, 2 * OUT),
    ]
    assert launchdarkly.tracking.stats().diagnostics == {}


def test_map(launchdarkly: OfflineLaunchDarkly) -> None:
    """The tasks of ``map`` run in the run, get their arguments, and leave nothing bound on their threads."""

    def work(number: int, factor: int) -> tuple[int, Run]:
        return number * factor, current_run()

    with ThreadPoolExecutor(2, thread_name_prefix="work") as pool:
        with track_ai(config_key="chat") as run:
            assert list(pool.map(work, (1, 2, 3), (4, 5, 6), timeout=5)) == [(4, run), (10, run), (18, run)]
        assert pool.submit(current_run).result() is not run


def test_an_event_loop_uses_it(launchdarkly: OfflineLaunchDarkly) -> None:
    """``loop.run_in_executor`` runs a function in the run, also if the pool is the loop's default."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        async with track_ai(config_key="chat") as run:
            with ThreadPoolExecutor(1) as pool:
                found = [await loop.run_in_executor(pool, current_run), await loop.run_in_executor(None, current_run)]
            assert [*found, await asyncio.to_thread(current_run)] == [run] * 3

    asyncio.run(main())


def test_without_a_run_it_is_pythons_pool() -> None:
    """Outside of any run, a task, its exception and its cancellation are those of Python's pool."""
    with ThreadPoolExecutor(1) as pool:
        assert isinstance(pool, concurrent.futures.ThreadPoolExecutor)
        assert pool.submit(pow, 2, exp=3).result() == 8
        with pytest.raises(ZeroDivisionError):
            pool.submit(divmod, 1, 0).result()
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(pow, 2, 3)


@pytest.mark.parametrize("call", [asyncio.to_thread, anyio.to_thread.run_sync, run_in_threadpool])
def test_functions_on_threads_belong_to_the_run(
    call: Callable[..., Any], ask: Callable[[], Any], launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """asyncio, anyio and Starlette carry the run to the thread on which they call a function."""

    @track_ai(config_key="chat")
    async def handler() -> None:
        await call(ask)

    asyncio.run(handler())

    record = runs.wait()[0]
    assert record.usage is not None
    assert (record.calls, record.usage.input_tokens, record.usage.output_tokens) == (1, IN, OUT)
    assert launchdarkly.tracking.stats().diagnostics == {}
