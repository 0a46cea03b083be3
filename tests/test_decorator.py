"""``track_ai`` on every kind of callable, and as a block."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Optional

import pytest
from ldclient import Context

from ldai_integrations import ConfigurationError, Run, RunRecord, Tracking, current_run, track_ai

from .binding import in_run
from .conftest import Clock, Decorate, Events
from .waiting import eventually


def outcomes(records: list[RunRecord]) -> list[str]:
    """Return the outcomes of the runs, in order."""
    return [record.outcome for record in records]


def test_a_function(track: Decorate, records: list[RunRecord], clock: Clock) -> None:
    """A function returns what it returned, in a run that lasts as long as the call."""

    @track
    def ask(question: str) -> str:
        clock.advance(120)
        return f"{question} {current_run().config_key}"

    assert ask("Hello") == "Hello chat"
    assert (outcomes(records), records[0].duration_ms) == (["success"], 120)
    assert not in_run()


def test_a_coroutine_function(track: Decorate, records: list[RunRecord], clock: Clock) -> None:
    """A coroutine function is awaited in its run."""

    @track
    async def ask() -> str:
        await asyncio.sleep(0)
        clock.advance(30)
        return current_run().config_key

    assert asyncio.run(ask()) == "chat"
    assert (outcomes(records), records[0].duration_ms) == (["success"], 30)


def test_a_generator_function(track: Decorate, records: list[RunRecord], clock: Clock) -> None:
    """A generator is stepped in its run and in nothing between, and ends it."""

    @track
    def words() -> Iterator[str]:
        for _ in range(3):
            clock.advance(10)
            yield current_run().config_key

    seen = [(word, in_run()) for word in words()]

    assert seen == [("chat", False)] * 3
    assert (records[0].time_to_first_token_ms, records[0].duration_ms, records[0].outcome) == (10, 30, "success")


def test_an_async_generator_function(track: Decorate, records: list[RunRecord], clock: Clock) -> None:
    """The same for an async generator."""

    @track
    async def words() -> AsyncIterator[str]:
        for _ in range(3):
            clock.advance(10)
            await asyncio.sleep(0)
            yield current_run().config_key

    async def consume() -> list[Any]:
        return [(word, in_run()) async for word in words()]

    assert asyncio.run(consume()) == [("chat", False)] * 3
    assert (records[0].time_to_first_token_ms, records[0].duration_ms, records[0].outcome) == (10, 30, "success")


@pytest.mark.parametrize("kind", ["function", "coroutine", "generator", "async generator"])
def test_an_exception_comes_out_as_it_was_raised(track: Decorate, records: list[RunRecord], kind: str) -> None:
    """The handler's own exception is not changed, and the run is an error with it."""
    error = ValueError("broken")

    def function() -> None:
        raise error

    async def coroutine() -> None:
        raise error

    def generator() -> Iterator[int]:
        yield 1
        raise error

    async def async_generator() -> AsyncIterator[int]:
        yield 1
        raise error

    async def consume(steps: Any) -> None:
        async for _ in steps:
            pass

    calls: dict[str, Callable[[], Any]] = {
        "function": lambda: track(function)(),
        "coroutine": lambda: asyncio.run(track(coroutine)()),
        "generator": lambda: list(track(generator)()),
        "async generator": lambda: asyncio.run(consume(track(async_generator)())),
    }
    with pytest.raises(ValueError, match="broken") as caught:
        calls[kind]()

    assert caught.value is error
    assert [(record.outcome, record.error) for record in records] == [("error", error)]


def test_an_abandoned_generator_ends_with_its_last_item(
    track: Decorate, records: list[RunRecord], clock: Clock
) -> None:
    """A generator that is dropped ends its run without the time until somebody noticed."""

    @track
    def words() -> Iterator[str]:
        while True:
            clock.advance(10)
            yield "word "

    steps = words()
    next(steps)
    clock.advance(9_000)
    del steps

    assert eventually(lambda: [(record.outcome, record.duration_ms) for record in records] == [("cancelled", 10)])


def test_a_generator_never_iterated_is_no_run(track: Decorate, records: list[RunRecord]) -> None:
    """What never began was no generation."""

    @track
    def words() -> Iterator[str]:
        yield "word"

    words().close()

    assert records == []


def test_a_timeout_is_an_error(track: Decorate, records: list[RunRecord]) -> None:
    """A handler that gives up by itself has failed: nobody else cancelled it."""

    @track
    async def ask() -> None:
        raise asyncio.TimeoutError

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(ask())

    assert outcomes(records) == ["error"]


def test_a_context_variable_set_inside_is_seen_after(track: Decorate) -> None:
    """The handler runs in the caller's Context, not in a copy."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    @track
    def ask() -> None:
        variable.set("set inside")

    ask()

    assert variable.get() == "set inside"


async def _answer(clock: Clock) -> str:
    clock.advance(40)
    return current_run().config_key


RETURNS: dict[str, Callable[[Clock], Any]] = {
    "a coroutine": _answer,
    "a future": lambda clock: asyncio.ensure_future(_answer(clock)),
}


@pytest.mark.parametrize("kind", RETURNS)
def test_a_plain_function_that_returns_an_awaitable(
    track: Decorate, records: list[RunRecord], clock: Clock, kind: str
) -> None:
    """The run ends when what the function returned has been awaited."""

    @track
    def ask() -> Awaitable[str]:
        clock.advance(5)
        return RETURNS[kind](clock)  # type: ignore[no-any-return]

    async def consume() -> str:
        pending = ask()
        assert records == []
        assert isinstance(pending, asyncio.Future) == (kind == "a future")
        return str(await pending)

    assert asyncio.run(consume()) == "chat"
    assert (outcomes(records), records[0].duration_ms) == (["success"], 45)


@pytest.mark.parametrize("error", [ValueError("broken"), asyncio.CancelledError()])
def test_an_awaitable_that_fails(track: Decorate, records: list[RunRecord], error: BaseException) -> None:
    """What goes wrong in a returned coroutine or future goes wrong in the run."""

    async def fail() -> None:
        raise error

    async def consume(pending: Any) -> None:
        with pytest.raises(type(error)):
            await pending

    async def both() -> None:
        await consume(track(lambda: fail())())
        await consume(track(lambda: asyncio.ensure_future(fail()))())
        await asyncio.sleep(0)

    asyncio.run(both())

    assert outcomes(records) == ["error" if isinstance(error, ValueError) else "cancelled"] * 2


@pytest.mark.parametrize("source", [lambda: (word for word in ["one ", "two"]), lambda: iter(["one ", "two"])])
def test_a_plain_function_that_returns_an_iterator(
    track: Decorate, records: list[RunRecord], source: Callable[[], Iterator[str]], o200k: None
) -> None:
    """A returned generator or iterator is followed to its end, and what it yields is output."""
    stream = track(source)()
    assert records == []

    assert list(stream) == ["one ", "two"]
    assert outcomes(records) == ["success"]
    assert records[0].usage is not None
    assert records[0].usage.output_tokens == 2


def test_a_plain_function_that_returns_an_async_generator(track: Decorate, records: list[RunRecord]) -> None:
    """The same for an async generator; closed early it is cancelled."""

    async def words() -> AsyncIterator[str]:
        yield "one"
        yield "two"

    async def consume() -> None:
        assert [word async for word in track(lambda: words())()] == ["one", "two"]
        stream = track(lambda: words())()
        await stream.__anext__()
        await stream.aclose()

    asyncio.run(consume())

    assert outcomes(records) == ["success", "cancelled"]


class _Callable:
    def __call__(self) -> str:
        return current_run().config_key


class _AsyncCallable:
    async def __call__(self) -> str:
        return current_run().config_key


def test_partials_and_callable_objects(track: Decorate, records: list[RunRecord]) -> None:
    """Callables without a name of their own work, and an async ``__call__`` is awaited."""

    def ask(first: str, second: str) -> str:
        return f"{first} {second} {current_run().config_key}"

    async def aask(word: str) -> str:
        return f"{word} {current_run().config_key}"

    assert track(functools.partial(ask, "one"))("two") == "one two chat"
    assert asyncio.run(track(functools.partial(aask, "one"))()) == "one chat"
    assert track(_Callable())() == "chat"
    assert asyncio.run(track(_AsyncCallable())()) == "chat"
    assert outcomes(records) == ["success"] * 4


def test_inspect_answers_as_before(track: Decorate) -> None:
    """The kind, name, documentation and module of a function are what they were."""

    def function() -> None:
        """Document it."""

    async def coroutine() -> None: ...

    def generator() -> Iterator[int]:
        yield 1

    async def async_generator() -> AsyncIterator[int]:
        yield 1

    for func in (function, coroutine, generator, async_generator):
        tracked = track(func)
        for question in (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction):
            assert question(tracked) == question(func)
        assert (tracked.__name__, tracked.__doc__, tracked.__module__) == (func.__name__, func.__doc__, __name__)
        assert tracked.__wrapped__ is func


def test_the_run_parameter_is_filled_in_and_hidden(track: Decorate) -> None:
    """A parameter annotated ``Run``, as a type or as text, is given; nobody sees it in the signature."""

    def ask(question: str, run: Run, *, loud: bool = False) -> str:
        return f"{question} {run.config_key} {loud}"

    tracked = track(ask)

    assert tracked("Hello", loud=True) == "Hello chat True"
    assert list(inspect.signature(tracked).parameters) == ["question", "loud"]
    assert inspect.signature(tracked).parameters["question"].annotation is str
    assert inspect.signature(tracked).return_annotation is str
    assert "run" not in tracked.__annotations__


class _Bot:
    """An object whose methods have the run at every place."""

    def first(self, run: Run, question: str, tone: str = "kind") -> str:
        return f"{run.config_key} {question} {tone}"

    def between(self, question: str, run: Run, tone: str = "kind") -> str:
        return f"{run.config_key} {question} {tone}"

    def last(self, question: str, tone: str = "kind", *, run: Run) -> str:
        return f"{run.config_key} {question} {tone}"

    def by_position(self, run: Run, question: str, /, tone: str = "kind") -> str:
        return f"{run.config_key} {question} {tone}"


@pytest.mark.parametrize("kind", ["function", "method", "partial"])
@pytest.mark.parametrize("place", ["first", "between", "last", "by_position"])
def test_the_run_may_stand_anywhere(track: Decorate, place: str, kind: str) -> None:
    """The arguments of the caller, by position or by name, belong to the parameters without the run."""
    bot = _Bot()
    method = getattr(bot, place)
    if kind == "function":
        ask = track(method)
    elif kind == "method":
        ask = functools.partial(track(getattr(_Bot, place)), bot)
    else:
        ask = track(functools.partial(method, tone="grim"))

    tone = "grim" if kind == "partial" else "kind"
    assert ask("Who?") == f"chat Who? {tone}"
    assert ask("Who?", tone="dry") == "chat Who? dry"
    if kind != "partial":
        assert ask("Who?", "dry") == "chat Who? dry"
    if place != "by_position":
        assert ask(question="Who?") == f"chat Who? {tone}"
    with pytest.raises(TypeError, match="question"):
        ask()


@pytest.mark.parametrize("place", ["first", "last", "keyword"])
def test_a_framework_that_looks_through_decorators(track: Decorate, place: str) -> None:
    """A framework that reads the undecorated signature fills in the parameter with a value that is not used."""

    @track
    def first(run: Run, say: str) -> tuple[bool, str]:
        return isinstance(run, Run), say

    @track
    def last(say: str, run: Run) -> tuple[bool, str]:
        return isinstance(run, Run), say

    @track
    def keyword(say: str, *, run: Run) -> tuple[bool, str]:
        return isinstance(run, Run), say

    listener: Any = {"first": first, "last": last, "keyword": keyword}[place]
    known = {"say": "Hi", "run": None}
    names = inspect.getfullargspec(inspect.unwrap(listener))
    assert listener(**{name: known[name] for name in (*names.args, *names.kwonlyargs)}) == (True, "Hi")


def test_what_a_framework_fills_in_reaches_no_other_function(tracking: Tracking, records: list[RunRecord]) -> None:
    """The functions of the application get the arguments of the caller without that value, too."""

    def on_disabled(say: str) -> str:
        return f"{say}, we are closed"

    def ld_context(say: str) -> Context:
        return Context.create(say)

    @track_ai(config_key="disabled", tracking=tracking, on_disabled=on_disabled, ld_context=ld_context)
    def listener(run: Run, say: str) -> str:
        return "not called"

    answer: Any = listener
    assert answer(say="Hi", run=None) == "Hi, we are closed"
    assert tracking.stats().diagnostics == {}


def test_annotations_that_cannot_be_evaluated_stay(track: Decorate) -> None:
    """A name that is only known to type checkers does not hinder the decorator."""

    def ask(question: Unknown) -> str:  # type: ignore[name-defined]  # noqa: F821
        return current_run().config_key

    assert track(ask)("Hello") == "chat"
    assert inspect.signature(track(ask)).parameters["question"].annotation == "Unknown"


def test_nested_runs(tracking: Tracking, records: list[RunRecord]) -> None:
    """Another key is a run of its own, each call of it; the same key, at any depth, joins the one that is open."""

    @track_ai(config_key="summary", tracking=tracking)
    def summarise() -> str:
        return chat_again()

    @track_ai(config_key="chat", tracking=tracking)
    def chat_again() -> str:
        return current_run().id

    @track_ai(config_key="chat", tracking=tracking)
    def chat() -> bool:
        return summarise() == summarise() == current_run().id

    assert chat() is True
    assert [record.config_key for record in records] == ["summary", "summary", "chat"]
    assert len({record.run_id for record in records}) == 3


def test_a_generator_below_a_run_of_its_key_joins(track: Decorate, records: list[RunRecord]) -> None:
    """Joined generators, sync and async, are stepped as they are; the outer run has their words in its own time."""

    @track
    def words() -> Iterator[str]:
        yield current_run().config_key

    @track
    async def awords() -> AsyncIterator[str]:
        yield current_run().config_key

    @track
    async def ask() -> list[str]:
        return list(words()) + [word async for word in awords()]

    assert asyncio.run(ask()) == ["chat", "chat"]
    assert outcomes(records) == ["success"]


def test_arguments_reach_context_and_variables(tracking: Tracking) -> None:
    """The callables are given the handler's arguments, without the run."""

    @track_ai(
        config_key="greeting",
        tracking=tracking,
        ld_context=lambda user, greeting: Context.create(user),
        variables=lambda user, greeting: {"greeting": greeting},
    )
    def greet(user: str, greeting: str) -> Any:
        return current_run().messages()[0]["content"]

    assert greet("ada", greeting="A&B's <hello>") == "A&B's <hello> ada"


def test_is_error_decides(tracking: Tracking, records: list[RunRecord]) -> None:
    """The user's judgement of a result is the run's outcome."""

    def answer(text: str) -> str:
        return text

    ask = track_ai(config_key="chat", tracking=tracking, is_error=lambda text: text == "")(answer)

    assert [ask("Hello"), ask("")] == ["Hello", ""]
    assert outcomes(records) == ["success", "error"]


def test_an_is_error_that_raises(
    tracking: Tracking, records: list[RunRecord], caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the line of the user's function, and not the answer that the exception may quote."""

    def is_error(text: str) -> bool:
        raise ValueError(text)

    assert track_ai(config_key="chat", tracking=tracking, is_error=is_error)(lambda: "private")() == "private"
    assert outcomes(records) == ["success"]
    assert "result failed for 'chat' (ValueError at test_decorator.py:" in caplog.text
    assert "private" not in caplog.text


def test_a_disabled_config(tracking: Tracking, records: list[RunRecord], events: Events) -> None:
    """The handler runs and sees it, or ``on_disabled`` is called in its place; nothing of a run is reported."""

    def ask(name: str) -> str:
        return f"{name}: {current_run().config.enabled}"

    async def aask(name: str) -> str:
        return ask(name)

    async def afallback(name: str) -> str:
        return f"no {name}"

    def decorate(**options: Any) -> Decorate:
        return track_ai(config_key="disabled", tracking=tracking, **options)

    assert decorate()(ask)("chat") == "chat: False"
    assert decorate(on_disabled=lambda name: f"no {name}")(ask)("chat") == "no chat"
    assert asyncio.run(decorate(on_disabled=afallback)(aask)("chat")) == "no chat"
    assert [(record.enabled, record.outcome) for record in records] == [(False, "discarded")] * 3
    assert [record.usage for record in records] == [None] * 3  # what they return is not the output of a model
    assert events.of_runs() == []


def test_on_disabled_gets_the_arguments_of_the_caller(tracking: Tracking) -> None:
    """``on_disabled`` needs no parameter for the run, whatever kind of function the handler is."""

    def plain(question: str, run: Run) -> str:
        return question + run.model

    async def coroutine(question: str, run: Run) -> str:
        return question + run.model

    def generator(question: str, run: Run) -> Iterator[str]:
        yield question + run.model

    async def async_generator(question: str, run: Run) -> AsyncIterator[str]:
        yield question + run.model

    async def parts(question: str) -> AsyncIterator[str]:
        yield "no " + question

    async def one(question: str) -> str:
        return "no " + question

    async def collect(steps: AsyncIterator[str]) -> list[str]:
        return [step async for step in steps]

    def decorate(on_disabled: Callable[..., Any]) -> track_ai:
        return track_ai(config_key="disabled", tracking=tracking, on_disabled=on_disabled)

    assert decorate(lambda question: "no " + question)(plain)("chat") == "no chat"
    assert asyncio.run(decorate(one)(coroutine)("chat")) == "no chat"
    assert asyncio.run(decorate(lambda question: "no " + question)(coroutine)("chat")) == "no chat"
    assert list(decorate(lambda question: iter(["no " + question]))(generator)("chat")) == ["no chat"]
    assert asyncio.run(collect(decorate(parts)(async_generator)("chat"))) == ["no chat"]


def test_a_run_that_may_be_none(tracking: Tracking) -> None:
    """A parameter annotated ``Run | None`` or ``Optional[Run]`` gets the run as well; a collection of runs does not."""

    def modern(question: str, run: Run | None = None) -> str:
        return question + (run.config_key if run is not None else "")

    def older(run: Optional[Run], question: str) -> str:  # noqa: UP045
        return modern(question, run)

    def many(question: str, runs: list[Run]) -> str:
        return question + str(len(runs))

    decorate: Decorate = track_ai(config_key="chat", tracking=tracking)
    assert decorate(modern)("Hi ") == decorate(older)("Hi ") == "Hi chat"
    assert decorate(many)("Hi ", []) == "Hi 0"


def test_on_disabled_that_nobody_awaits() -> None:
    """A coroutine function in place of a handler that is none is refused when the handler is decorated."""

    async def unavailable() -> str:
        return "no"

    def plain() -> str:
        return "yes"

    def generator() -> Iterator[str]:
        yield "yes"

    for handler in (plain, generator):
        with pytest.raises(ConfigurationError, match="but the handler is not one"):
            track_ai(config_key="disabled", on_disabled=unavailable)(handler)


def test_on_disabled_is_not_called_for_an_enabled_config(tracking: Tracking) -> None:
    """An enabled AI Config is the handler's."""

    def handler() -> str:
        return "handler"

    ask = track_ai(config_key="chat", tracking=tracking, on_disabled=lambda: "fallback")(handler)

    assert ask() == "handler"


def _method(self: object, question: str, run: Run, *, tone: str = "kind") -> str:
    return f"{question} {tone}"


def _variadic(*args: str, run: Run) -> str:
    return run.model


@pytest.mark.parametrize(
    ("handler", "on_disabled", "problem"),
    [
        (_method, 7, "on_disabled is 7; give a function"),
        (_method, lambda: None, r"on_disabled takes \(\), but the handler takes \(self, question, tone\)"),
        (_method, lambda question: None, r"takes \(question\), but"),
        (_method, lambda self, question, run: None, r"takes \(self, question, run\), but"),
        (lambda: None, lambda question: None, r"takes \(question\), but the handler takes \(\)"),
    ],
)
def test_an_on_disabled_that_cannot_work(handler: Callable[..., Any], on_disabled: Any, problem: str) -> None:
    """It is refused when the handler is decorated, and not in the first outage."""
    with pytest.raises(ConfigurationError, match=problem):
        track_ai(config_key="chat", on_disabled=on_disabled)(handler)


@pytest.mark.parametrize("option", ["ld_context", "variables"])
def test_a_function_that_takes_other_arguments(option: str) -> None:
    """It is refused when the handler is decorated. Otherwise, every user would be anonymous."""
    options: dict[str, Any] = {option: lambda request: None}
    with pytest.raises(ConfigurationError, match=rf"{option} takes \(request\), but the handler takes \(self, "):
        track_ai(config_key="chat", **options)(_method)


@functools.wraps(_method)
def _filled_in(question: str) -> str:
    return _method(None, question, run=current_run())


@pytest.mark.parametrize(
    ("handler", "on_disabled"),
    [
        (_method, lambda *_args, **_options: None),
        (_method, lambda bot, text, **_options: None),
        (_method, lambda self, question: None),
        (_variadic, lambda question: None),
        (_filled_in, lambda question: None),
        (_method, print),
        (_method, dict),
    ],
)
def test_an_on_disabled_that_may_work(handler: Callable[..., Any], on_disabled: Any) -> None:
    """Whatever takes the arguments of some call of the handler is accepted."""
    track_ai(config_key="chat", on_disabled=on_disabled)(handler)
    track_ai(config_key="chat", ld_context=on_disabled, variables=on_disabled)(handler)


@pytest.mark.parametrize("target", [Tracking, 7, None, "handler"])
def test_what_cannot_be_decorated(target: Any) -> None:
    """A class or a value is refused with what to decorate instead."""
    with pytest.raises(ConfigurationError, match="put it on the function or method that handles the request"):
        track_ai(config_key="chat")(target)


def test_the_block(tracking: Tracking, records: list[RunRecord], clock: Clock) -> None:
    """A ``with`` block is a run: bound inside, finished at its end, an error if an exception leaves it."""
    with track_ai(config_key="chat", tracking=tracking) as run:
        assert current_run() is run
        clock.advance(20)
    with pytest.raises(ValueError, match="broken"), track_ai(config_key="chat", tracking=tracking):
        raise ValueError("broken")

    assert not in_run()
    assert [(record.outcome, record.duration_ms) for record in records] == [("success", 20), ("error", 0)]


def test_the_async_block(tracking: Tracking, records: list[RunRecord]) -> None:
    """An ``async with`` block is one too, and joins an open run of its key."""

    async def ask() -> None:
        async with track_ai(config_key="chat", tracking=tracking) as outer:
            async with track_ai(config_key="chat", tracking=tracking) as inner:
                assert inner is outer
            assert not outer.finished

    asyncio.run(ask())

    assert outcomes(records) == ["success"]


def test_nothing_configured_is_told_once(
    fresh_process: None, caplog: pytest.LogCaptureFixture, records: list[RunRecord]
) -> None:
    """Without any LaunchDarkly the handler runs, sync and async, and one line names the ways to give one."""

    @track_ai(config_key="chat")
    def ask() -> bool:
        return current_run().config.enabled

    @track_ai(config_key="chat")
    async def aask() -> bool:
        current_run().observe({"usage": {}})
        return current_run().config.enabled

    assert [ask(), ask(), asyncio.run(aask())] == [False] * 3
    assert records == []
    assert len(caplog.records) == 1
    assert "LAUNCHDARKLY_SDK_KEY" in caplog.text
