"""Odd variables and prompts, interleaved blocks, signals, and garbage collection at the worst moment."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextvars import copy_context
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
from ldai.models import AICompletionConfigDefault, LDMessage, ModelConfig

from ldai_integrations import Settings, current_run, track_ai, wrap_client
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink, ai_config

from .provider import Provider

ASK: list[Any] = [{"role": "user", "content": "Hi"}]


def test_variables_that_cannot_be_compared(launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """Two runs of one key in one request may have a numpy array among their variables."""
    launchdarkly.serve("chat", ai_config(messages="Use {{vector}} for {{name}}."))

    @track_ai(config_key="chat", variables=lambda name: {"vector": numpy.array([1, 2]), "name": name})
    def inner(name: str) -> str:
        return str(current_run().config.messages[0].content)  # type: ignore[index]

    @track_ai(config_key="other")
    def outer() -> list[str]:
        return [inner("a"), inner("b")]

    one, two = outer()
    assert (one[-6:], two[-6:]) == ("for a.", "for b.")
    assert [record.outcome for record in runs.wait(3)] == ["success"] * 3
    assert "resolve" not in launchdarkly.tracking.stats().diagnostics


def test_a_shared_context_manager(launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """Generators that are interleaved may be in blocks of one ``track_ai`` object, and leave them in any order."""
    block = track_ai(config_key="chat")

    def work(name: str) -> Iterator[str]:
        with block as run:
            run.tool_call(name)
            yield run.id
            yield run.id

    # As in a server: each request has a context of its own.
    works = [(copy_context(), work(name)) for name in ("one", "two", "three")]
    ids = [context.run(next, generator) for context, generator in works]
    assert len(set(ids)) == 3
    for index in (1, 0, 2):
        context, generator = works[index]
        assert context.run(list, generator) == [ids[index]]
        assert context.run(current_run).finished
    found = {record.run_id: (record.tool_calls, record.outcome) for record in runs.wait(3)}
    names = (("one",), ("two",), ("three",))
    assert found == {run_id: (name, "success") for run_id, name in zip(ids, names, strict=True)}


def test_a_shared_context_manager_in_one_context(launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """In one context the later blocks join the run of the first one, which ends with its own block."""
    block = track_ai(config_key="chat")

    def work() -> Iterator[str]:
        with block as run:
            yield run.id
            yield run.id

    def interleave() -> None:
        one, two = work(), work()
        assert next(one) == next(two) == next(one)
        assert list(two)
        assert runs.records == []
        assert list(one) == []
        assert len(runs.records) == 1

    copy_context().run(interleave)
    assert runs.records[0].outcome == "success"


@pytest.mark.parametrize("prompt", ["Hello {{}}.", "{{#a}}", "{{#a}}" * 3000 + "{{/a}}" * 3000, "{{a}}" * 100_000])
def test_prompts_that_cannot_be_rendered(prompt: str, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """A prompt that is malformed or too large is not served, at once: ``default=`` is."""
    launchdarkly.serve("chat", ai_config(messages=prompt))
    default = AICompletionConfigDefault(
        enabled=True, model=ModelConfig("spare"), messages=[LDMessage(role="system", content="Spare")]
    )
    start = time.perf_counter()
    with track_ai(config_key="chat", default=default, variables={"a": True}) as run:
        assert run.model == "spare"
        assert run.messages()[0]["content"] == "Spare"
    assert time.perf_counter() - start < 1
    assert runs.wait()[0].default_served
    assert launchdarkly.tracking.stats().diagnostics["default_served"] == 1


class TimeLimitError(Exception):
    """What a task queue raises in the main thread when the time is over."""


@pytest.fixture
def time_limit() -> Iterator[None]:
    """Raise an exception at SIGALRM, as task queues do."""

    def stop(*_: Any) -> None:
        raise TimeLimitError

    former = signal.signal(signal.SIGALRM, stop)
    yield
    signal.signal(signal.SIGALRM, former)


def test_a_time_limit_during_a_call(time_limit: None, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """A call that a signal handler stops may be billed, so that the tokens of another call are a lower bound."""

    def create(**arguments: Any) -> Any:
        if arguments["model"] == "slow":
            signal.raise_signal(signal.SIGALRM)
        usage = {"prompt_tokens": 1013, "completion_tokens": 77, "total_tokens": 1090}
        return {"id": "c1", "object": "chat.completion", "model": "m", "choices": [], "usage": usage}

    client: Any = SimpleNamespace(chat=SimpleNamespace(completions=SimpleNamespace(create=create)))
    create_tracked = wrap_client(client).chat.completions.create
    with track_ai(config_key="chat"):
        with pytest.raises(TimeLimitError):
            create_tracked(model="slow", messages=ASK)
        create_tracked(model="fast", messages=ASK)
    record = runs.wait()[0]
    assert (record.outcome, record.calls, record.failed_calls) == ("success", 2, 1)
    assert record.usage is not None
    assert record.usage.lower_bound


class Chunk:
    """A chunk that is read when the time is over."""

    @property
    def choices(self) -> Any:
        """Raise."""
        signal.raise_signal(signal.SIGALRM)


@pytest.mark.parametrize("how", ["wrapped", "yielded"])
def test_time_limits(how: str, time_limit: None, provider: Provider, openai: Any, o200k: None) -> None:
    """An exception that a signal handler raises while the library reads a chunk reaches the application."""
    is_over = False

    def clock() -> float:
        if is_over:
            signal.raise_signal(signal.SIGALRM)
        return time.perf_counter()

    settings = Settings(flush="never", judges=None)
    with OfflineLaunchDarkly({"chat": ai_config()}, settings=settings, clock=clock) as launchdarkly:
        client = wrap_client(openai)

        @track_ai(config_key="chat", tracking=launchdarkly.tracking)
        def handler() -> Iterator[Any]:
            nonlocal is_over
            stream = client.chat.completions.create(model="gpt-4o-mini", messages=ASK, stream=True)
            is_over = True
            try:
                if how == "wrapped":
                    list(stream)
                yield "text"
            finally:
                is_over = False
                stream.close()

        with pytest.raises(TimeLimitError):
            list(handler())


@pytest.mark.parametrize("how", ["observed", "yielded"])
def test_time_limits_within_a_property(how: str, time_limit: None, launchdarkly: OfflineLaunchDarkly) -> None:
    """The same if the signal comes while an attribute of the chunk is read."""

    @track_ai(config_key="chat")
    def handler() -> Iterator[Any]:
        chunks = iter([Chunk()])
        yield from current_run().observe(chunks) if how == "observed" else chunks

    with pytest.raises(TimeLimitError):
        list(handler())


def test_awkward_items(launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """A handler may yield anything, also what has no truth value or raises when it is read."""

    class Hostile:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

        def __bool__(self) -> bool:
            raise RuntimeError("no truth value")

    for items in ([numpy.array([1, 2]), "text"], ["text", None, 7, numpy.array([1])], [Hostile()], [b"a", Hostile()]):
        handler: Any = track_ai(config_key="chat")(lambda items=items: iter(items))
        assert len(list(handler())) == len(items)
    assert [record.outcome for record in runs.wait(4)] == ["success"] * 4


PROGRAM = """
    import gc, signal, sys, threading
    from ldai_integrations import Settings, track_ai
    from ldai_integrations.testing import OfflineLaunchDarkly, ai_config

    launchdarkly = OfflineLaunchDarkly({"chat": ai_config()}, settings=Settings(flush="never", judges=None))

    @track_ai(config_key="chat", tracking=launchdarkly.tracking)
    def stream():
        yield from ["a", "b"]

    @track_ai(config_key="chat", tracking=launchdarkly.tracking)
    def iterator():
        return iter(["a", "b"])

    def drop():
        "Leave streams to the garbage collector, in a cycle."
        for make in (stream, iterator):
            cycle = [make()]
            next(cycle[0])
            cycle.append(cycle)

    start = threading.Thread.start

    def collect(*_):
        gc.collect()

    def start_and_collect(thread):
        if MODE == "signal":
            signal.raise_signal(signal.SIGALRM)
        else:
            collect()
        start(thread)

    MODE = sys.argv[1]
    signal.signal(signal.SIGALRM, lambda *_: (drop(), collect()))
    gc.disable()
    threading.Thread.start = start_and_collect
    drop()
    drop()
    list(stream())
    collect()
    launchdarkly.tracking.flush()
    print(launchdarkly.tracking.stats().runs, flush=True)
"""


@pytest.mark.parametrize("mode", ["gc", "signal"])
def test_garbage_while_the_worker_starts(mode: str) -> None:
    """A collection that frees a tracked stream while the worker thread is being started does not hang."""
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), mode]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 5


def test_dropped_streams_are_reported(launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """A stream that its consumer drops is a cancelled run."""

    @track_ai(config_key="chat")
    def handler() -> Any:
        return iter(["a", "b"])

    stream = handler()
    next(stream)
    del stream
    gc.collect()
    assert runs.wait()[0].outcome == "cancelled"
