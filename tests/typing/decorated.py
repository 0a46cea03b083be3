"""Decorated functions keep their types, without the run that is filled in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

from starlette.requests import Request
from typing_extensions import assert_type

from ldai_integrations import Run, current_run, track_ai

tracked = track_ai(config_key="chat")


@tracked
def plain(question: str, *, loud: bool = False) -> str:
    """Answer a question."""
    return question.upper() if loud else question


@tracked
def with_run(run: Run, question: str, *, loud: bool = False) -> str:
    """Answer a question in a run."""
    return f"{run.model} {question} {loud}"


@tracked
def with_run_after(question: str, run: Run) -> int:
    """Answer a question in a run that is the second parameter."""
    return len(question + run.model)


@tracked
def with_run_last(question: str, tone: str, run: Run) -> int:
    """Answer a question in a run that is the third parameter."""
    return len(question + tone + run.model)


@tracked
def with_run_between(question: str, run: Run, tone: str = "kind") -> int:
    """Answer a question in a run that is between other parameters."""
    return len(question + tone + run.model)


@tracked
def with_any_object(payload: object, tone: str = "kind") -> int:
    """Answer any object, such as a request of a framework without types."""
    return len(f"{payload} {tone}")


@tracked
async def coroutine(run: Run, request: Request) -> bytes:
    """Answer a request."""
    return await request.body() + run.model.encode()


@tracked
def generator(run: Run, question: str) -> Iterator[str]:
    """Answer in parts."""
    yield question + run.model


@tracked
async def async_generator(run: Run, count: int) -> AsyncIterator[int]:
    """Answer in parts."""
    for number in range(count):
        yield number + len(run.model)


class Assistant:
    """An object with tracked methods."""

    @tracked
    def ask(self, run: Run, question: str) -> str:
        """Answer a question in a run."""
        return run.model + question

    @tracked
    def ask_in_tone(self, question: str, run: Run) -> str:
        """Answer a question in a run that is the last parameter."""
        return run.model + question

    @tracked
    async def ask_plainly(self, question: str) -> str:
        """Answer a question."""
        return question


async def check_calls() -> None:
    """Call everything as its users do."""
    assert_type(plain("Who?", loud=True), str)
    assert_type(with_run("Who?", loud=True), str)
    assert_type(with_run_after("Who?"), int)
    assert_type(with_run_after(question="Who?"), int)
    assert_type(with_run_last("Who?", "kind"), int)
    assert_type(with_run_last(question="Who?", tone="kind"), int)
    assert_type(with_run_between("Who?", tone="kind"), int)
    assert_type(with_any_object({"question": "Who?"}, tone="kind"), int)
    assert_type(await coroutine(Request({"type": "http"})), bytes)
    assert_type(generator("Who?"), Iterator[str])
    assert_type(async_generator(3), AsyncIterator[int])
    assert_type(Assistant().ask("Who?"), str)
    assert_type(Assistant().ask(question="Who?"), str)
    assert_type(Assistant().ask_in_tone("Who?"), str)
    assert_type(Assistant().ask_in_tone(question="Who?"), str)
    assert_type(await Assistant().ask_plainly("Who?"), str)
    whole: Callable[[str], int] = with_run_after
    assert whole is with_run_after


def check_mistakes() -> None:
    """Make the mistakes that a type checker must find; an unused ``type: ignore`` is an error."""
    plain(3)  # type: ignore[arg-type]
    with_run(current_run(), "Who?")  # type: ignore[arg-type, call-arg]
    with_any_object()  # type: ignore[call-arg]
    generator()  # type: ignore[call-arg]


def check_blocks() -> None:
    """Open runs in blocks, and carry one to a thread."""
    with tracked as run:
        assert_type(run, Run)
        assert_type(run.bind(plain)("Who?"), str)
        assert_type(run.config.tracker.track_duration_of(lambda: "Hello"), str)
        assert_type(run.config.enabled, bool)
        assert_type(run.observe([1]), list[int])


async def check_async_blocks() -> None:
    """Open a run in an asynchronous block."""
    async with track_ai(config_key="chat") as run:
        assert_type(run, Run)
