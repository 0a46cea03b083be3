"""Iterables stepped inside a run, and followed to their true end.

Each step binds the run and unbinds it again, in whatever task or thread takes the step; nothing is held bound
across a ``yield``, so nothing leaks to the consumer and a stream may be closed from anywhere. What happens for each
chunk stands in the loop that takes the steps, since calls would be most of its price.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import suppress
from contextvars import Token
from functools import partial
from typing import Any

from .current import Frame, bind, restore, unbind
from .evidence import LONG_CHUNK, MOST_WAITING
from .http import is_cancellation
from .run import Run
from .tail import aflush_after_run

_BATCH = range(MOST_WAITING)


class _Alike:
    """Answer as the followed generator would: frameworks ask a value what it is before they stream it."""

    __slots__ = ()
    _inner: Any

    @property  # type: ignore[misc]  # isinstance() asks an object for its __class__
    def __class__(self) -> type:
        kind: type = self._inner.__class__  # not its type: it may be followed by another run as well
        return kind

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __reduce_ex__(self, protocol: Any) -> Any:  # a generator cannot be copied, and says so
        return self._inner.__reduce_ex__(protocol)


class FollowedGenerator(_Alike, Generator[Any, Any, Any]):
    """Step a generator, or any iterator, inside its run; finish the run when it ends, is closed or is dropped."""

    __slots__ = ("_closed", "_inner", "_steps")

    def __init__(self, inner: Iterator[Any], run: Run) -> None:
        self._inner = inner
        self._steps = stepped(inner, run)
        self._closed = False

    def __next__(self) -> Any:
        return next(self._steps)

    def send(self, value: Any) -> Any:
        return self._steps.send(value)

    def throw(self, typ: Any, val: Any = None, tb: Any = None) -> Any:  # noqa: ARG002  # the ABC's signature
        return self._steps.throw(typ if val is None else val)

    def close(self) -> None:
        at_end, closed, self._closed = inspect.getgeneratorstate(self._steps) == "GEN_CLOSED", self._closed, True
        self._steps.close()
        if at_end and not closed:  # frameworks close what they have read to its end; it may hold a file
            _close(self._inner)


def stepped(inner: Iterator[Any], run: Run) -> Generator[Any, Any, Any]:
    """Return a generator that takes the steps of ``inner`` in its run."""
    steps = _steps(inner, run)
    next(steps)  # a generator that was begun hears of its end, even if nobody takes a step of it
    return steps


def _steps(inner: Any, run: Run) -> Generator[Any, Any, Any]:
    evidence = run.evidence
    send, throw = getattr(inner, "send", None) or (lambda _nothing: next(inner)), partial(_throw, inner)
    clock, wait, put_out = evidence.clock, evidence.waiting.append, evidence.put_out
    item: Any = None
    while True:
        waits = evidence.waits
        for _ in _BATCH:
            step = send
            try:
                given = yield item
            except BaseException as exc:  # raised in the inner generator, which decides about it
                step, given = throw, exc
            token = bind(run)
            try:
                item = step(given)
            except StopIteration as stop:
                _ended(run, token, stop, given)
                return stop.value
            except BaseException as exc:
                _ended(run, token, exc, given)
                given = None  # it may be what is raised, whose traceback leads here
                raise
            restore(token)
            if type(item) is not waits or len(item) >= LONG_CHUNK:
                put_out(item)
                break
            evidence.last_item_at = clock()
            wait(item)
        else:
            evidence.settle()


def _throw(inner: Any, exc: BaseException) -> Any:
    """Raise an exception in a generator; what else can be stepped can only be closed."""
    try:
        if not isinstance(exc, GeneratorExit):
            return inner.throw(exc)
        _close(inner)
        raise exc
    finally:
        del exc  # its traceback leads here: a cycle would keep the run


def _close(inner: Any) -> None:
    close = getattr(inner, "close", None)
    if close is not None:
        close()


class FollowedAsyncGenerator(_Alike, AsyncGenerator[Any, Any]):
    """The same for an async generator or iterator, stepped in the consumer's task."""

    __slots__ = ("_advance", "_inner", "_put_out", "_run")

    def __init__(self, inner: Any, run: Run) -> None:
        self._inner = inner
        self._advance = inner.__anext__
        self._run = run
        self._put_out = run.evidence.put_out

    def __anext__(self) -> Coroutine[Any, Any, Any]:
        return self._step(self._advance)

    def asend(self, value: Any) -> Coroutine[Any, Any, Any]:
        return self._step(self._inner.asend, value)

    def athrow(self, typ: Any, val: Any = None, tb: Any = None) -> Coroutine[Any, Any, Any]:  # noqa: ARG002  # the ABC's signature
        return self._step(self._inner.athrow, typ if val is None else val)

    async def aclose(self) -> None:
        token = bind(self._run)
        try:
            close = getattr(self._inner, "aclose", None)
            if close is not None:
                await close()
        except BaseException as exc:
            self._run.end(exc)
            raise
        finally:
            unbind(token)
            self._run.abandon()

    def __del__(self) -> None:
        self._run.abandon()

    async def _step(self, step: Callable[..., Awaitable[Any]], *values: Any) -> Any:
        token = bind(self._run)
        try:
            item = await step(*values)
        except BaseException as exc:
            _ended(self._run, token, exc, *values)
            raise
        unbind(token)
        self._put_out(item)
        return item


def async_stepper(begin: Callable[..., Awaitable[tuple[Any, Run, bool]]]) -> Callable[..., Any]:  # noqa: C901  # see wrapper()
    """Return an async generator function that takes the steps of another.

    It is what ``yield from`` a :class:`FollowedAsyncGenerator` would be, if there were one for async generators.

    Args:
        begin: Called with the arguments; gives what is to be stepped, its run, and whether that is ours to finish.
    """

    async def wrapper(*args: Any, **kwargs: Any) -> Any:  # noqa: C901  # a call for each step would be most of its price
        steps, run, owned = await begin(*args, **kwargs)
        followed = FollowedAsyncGenerator(steps, run) if owned else steps
        evidence = run.evidence
        advance, clock, waiting, put_out = steps.__anext__, evidence.clock, evidence.waiting, evidence.put_out
        resumed: Awaitable[Any] | None = None if owned else advance()  # any step but a plain one of our own
        with suppress(StopAsyncIteration):
            while True:
                if resumed is not None:
                    item, resumed = await resumed, None
                else:
                    token = bind(run)
                    try:
                        item = await advance()
                    except BaseException as exc:
                        _ended(run, token, exc)
                        raise
                    try:  # unbind(), without the call
                        restore(token)
                    except ValueError:
                        pass
                    if type(item) is evidence.waits and len(item) < LONG_CHUNK and len(waiting) < MOST_WAITING:
                        evidence.last_item_at = clock()
                        waiting.append(item)
                    else:
                        put_out(item)
                try:
                    sent = yield item
                except GeneratorExit:
                    await followed.aclose()
                    raise
                except BaseException as exc:
                    resumed = followed.athrow(exc)
                    continue
                if sent is not None:
                    resumed = followed.asend(sent)
                elif not owned:
                    resumed = advance()
        if owned:
            await aflush_after_run(run)

    return wrapper


def _ended(run: Run, token: Token[Frame | Run | None], exc: BaseException, thrown: object = None) -> None:
    """End the run with what its last step raised; the end of an iteration is an exception too.

    A cancellation that was thrown in found the stream idle: its run ended with the last item.
    """
    unbind(token)
    if isinstance(exc, (StopIteration, StopAsyncIteration)):
        run.finish()
    elif exc is thrown and is_cancellation(exc):
        run.abandon()
    else:
        run.end(exc)
