"""Streams that report their items.

Each step of a stream binds its run and unbinds it again, in whatever task or thread takes the step. Nothing stays bound
while the consumer works, so nothing leaks to it, and a stream may be closed from anywhere.

The classes of this module take no times. Their hooks do, and so do the two loops of ``_functions.py``, which are these
steps written out for decorated generators.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from .context import Binder, Bound, bind, binder, unbind
from .failures import is_cancellation
from .proxy import Proxy

T = TypeVar("T")


class StreamHooks:
    """The hooks of a tracked stream: what happens at its items and at its end. By default, they do nothing.

    Attributes:
        bound: The run or the request that each step is bound to; ``None`` to bind nothing.
        binder: The functions that bind and unbind it; see :func:`~ldai_integrations._run.context.binder`.
        response: The HTTP response of the stream. Whoever closes it closes the stream.
        iterator: Refers to the iterator that the consumer got last, which a loop drops where it is left.
    """

    bound: Bound | None = None
    binder: Binder = (bind, unbind)
    response: object = None
    iterator: weakref.ref[Any] | None = None

    def __init__(self, bound: Bound | None = None) -> None:
        if bound is not None:
            self.bound, self.binder = bound, binder(bound)

    def on_item(self, item: object) -> object:
        """Take an item; return a true value to keep it from the consumer. ``None`` and ``False`` let it pass."""

    def on_end(self, exc: BaseException | None) -> None:
        """Take the exception that ended the stream.

        ``None`` means that it was exhausted, ``GeneratorExit`` that its consumer closed it. May be called more than
        once.
        """

    def on_left(self, exc: BaseException | None) -> None:
        """Take the exception with which a consumer left the ``with`` block of the stream; ``None`` if there is none."""
        self.on_end(GeneratorExit() if exc is None else exc)

    def on_enter(self, entered: object) -> object:
        """Return what a ``with`` block gets instead of the stream that a manager gives."""
        return entered

    def on_enter_failed(self, exc: BaseException) -> None:
        """Take the exception that a manager raised instead of giving its stream."""
        self.on_end(exc)

    def on_drop(self) -> None:
        """Note that the stream was garbage collected. Must take no lock, start no thread and run no user code."""

    def last_item(self) -> object:
        """Return an item to append to the stream; ``None`` for none."""
        return None

    def read_rest(self) -> None:
        """Read what the provider still sends, before the stream is closed."""

    async def aread_rest(self, exc: BaseException | None = None) -> None:
        """Read what the provider still sends, before the stream ends or is closed.

        Args:
            exc: The exception that ends the stream; ``StopAsyncIteration`` if it is exhausted. Nobody waits after a
                cancellation.
        """


class _Steps:
    """The steps of a stream.

    They are not methods of the stand-in, because reading one attribute of a stand-in takes longer than a step.

    Attributes:
        stream: The stream.
        hooks: What happens at its items and its end.
        bound: What each step is bound to; ``None`` to bind nothing.
        bind: Binds it.
        unbind: Restores what ``bind`` replaced.
        is_over: Whether the stream has ended.
    """

    __slots__ = ("bind", "bound", "hooks", "is_over", "stream", "unbind")

    def __init__(self, stream: Any, hooks: StreamHooks) -> None:
        self.stream = stream
        self.hooks = hooks
        self.bound = hooks.bound
        self.bind, self.unbind = hooks.binder
        self.is_over = False

    @contextmanager
    def binding(self) -> Iterator[None]:
        """Bind what each step is bound to, in a ``with`` block. The steps do the same without one, to be faster."""
        token = self.bind(self.bound) if self.bound is not None else None
        try:
            yield
        finally:
            if token is not None:
                unbind(token)

    def take(self, step: Callable[..., object], *args: object) -> object:
        """Take a step; return the item that the consumer gets."""
        bound, hooks, bind, unbind = self.bound, self.hooks, self.bind, self.unbind
        while True:
            token = bind(bound) if bound is not None else None
            try:
                item = step(*args)
            except StopIteration:
                last = self.last_item()
                if last is not None:
                    return last
                hooks.on_end(None)
                raise
            except BaseException as exc:
                self.fail(exc, args)
                raise
            finally:
                if token is not None:
                    unbind(token)
            if not hooks.on_item(item):
                return item
            step, args = self.stream.__next__, ()

    async def atake(self, step: Callable[..., Awaitable[object]], *args: object) -> object:
        """Take a step; return the item that the consumer gets."""
        bound, hooks, bind = self.bound, self.hooks, self.bind
        while True:
            token = bind(bound) if bound is not None else None
            try:
                item = await step(*args)
            except StopAsyncIteration as end:
                last = self.last_item()
                if last is not None:
                    return last
                await hooks.aread_rest(end)
                hooks.on_end(None)
                raise
            except BaseException as exc:
                await self.afail(exc, args)
                raise
            finally:
                if token is not None:
                    unbind(token)  # of the module: the garbage collector may close a step in another context
            if not hooks.on_item(item):
                return item
            step, args = self.stream.__anext__, ()

    def last_item(self) -> object:
        """Note that the stream is exhausted; return an item to append to it, once."""
        is_over, self.is_over = self.is_over, True
        return None if is_over else self.hooks.last_item()

    def fail(self, exc: BaseException, thrown: tuple[object, ...] = ()) -> None:
        """Note the exception of a step, to which something may have been passed."""
        self.is_over = True
        self.hooks.on_end(end_of_step(exc, *thrown))

    async def afail(self, exc: BaseException, thrown: tuple[object, ...] = ()) -> None:
        """Read what providers still send, and note the exception of a step."""
        try:
            await self.hooks.aread_rest(exc)
        finally:
            self.fail(exc, thrown)


def end_of_step(exc: BaseException, *passed: object) -> BaseException:
    """Return the exception that ends a stream; ``GeneratorExit`` if somebody who stopped waiting has thrown it in."""
    return GeneratorExit() if any(exc is one for one in passed) and is_cancellation(exc) else exc


def consumes_itself(kind: type) -> bool:
    """Return whether streams of a class have methods that consume them, such as openai's ``get_final_response``.

    These are helpers that accumulate a stream. Such a method is bound to the stand-in, so that the steps that it takes
    are seen.
    """
    return hasattr(kind, "until_done")


class _Tracked(Proxy):
    """The base class of synchronous and asynchronous streams."""

    def __init__(self, stream: object, hooks: StreamHooks) -> None:
        super().__init__(stream)
        self._self_hooks = hooks
        self._self_steps = _Steps(stream, hooks)
        self._self_is_closed = False

    def __getattr__(self, name: str) -> Any:
        value, hooks = getattr(self.__wrapped__, name), self._self_hooks
        if name == "response" and value is hooks.response is not None:
            return _Response(value, hooks)
        return self._self_bind(value) if consumes_itself(self.__wrapped__.__class__) else value

    def _self_wrap(self, other: object) -> object:
        return type(self)(other, self._self_hooks)

    def _self_lend(self, iterator: T) -> T:
        self._self_hooks.iterator = weakref.ref(iterator)
        return iterator

    def __del__(self) -> None:
        hooks = getattr(self, "_self_hooks", None)  # missing if __init__ failed
        if hooks is not None:
            hooks.on_drop()

    def _self_left(self, exc: BaseException | None, suppressed: object) -> None:
        self._self_hooks.on_end(None) if exc is not None and suppressed else self._self_hooks.on_left(exc)

    async def _self_close_later(self, closing: Awaitable[object]) -> object:
        try:
            await self._self_hooks.aread_rest()
            return await closing
        finally:
            self._self_hooks.on_end(GeneratorExit())


class _Response(Proxy):
    """The HTTP response of a stream. Helpers of openai close it, and not the stream that they read from."""

    def __init__(self, response: object, hooks: StreamHooks) -> None:
        super().__init__(response)
        self._self_hooks = hooks

    def close(self) -> None:
        """Close the response, and note the end of its stream."""
        try:
            self._self_hooks.read_rest()
            self.__wrapped__.close()
        finally:
            self._self_hooks.on_end(GeneratorExit())

    async def aclose(self) -> None:
        """Close the response, and note the end of its stream."""
        try:
            await self._self_hooks.aread_rest()
            await self.__wrapped__.aclose()
        finally:
            self._self_hooks.on_end(GeneratorExit())

    def _self_wrap(self, other: object) -> object:
        return other


class TrackedStream(_Tracked):
    """A synchronous stream, generator, iterable or manager of one that reports its items and its end."""

    def __iter__(self) -> Iterator[object]:
        stream = self.__wrapped__
        if not hasattr(stream, "__next__"):
            return self._self_lend(self._self_iterate())
        iterator = iter(stream)
        return self._self_lend(self if iterator is stream else self._self_take_all(iterator.__next__))

    def _self_iterate(self) -> Iterator[object]:
        yield from type(self)(iter(self.__wrapped__), self._self_hooks)

    def _self_take_all(self, step: Callable[[], object]) -> Iterator[object]:
        """Take all steps of a stream whose iterator is another object, such as openai's: faster than ``__next__``."""
        steps, hooks = self._self_steps, self._self_hooks
        bound, bind, unbind = steps.bound, steps.bind, steps.unbind
        while True:
            token = bind(bound) if bound is not None else None
            try:
                item = step()
            except StopIteration:
                item = steps.last_item()
                if item is None:
                    hooks.on_end(None)
                    return
                yield item
                continue
            except BaseException as exc:
                steps.fail(exc)
                raise
            finally:
                if token is not None:
                    unbind(token)
            if not hooks.on_item(item):
                yield item

    def __next__(self) -> object:
        steps = self._self_steps
        return steps.take(steps.stream.__next__)

    def send(self, value: object) -> object:
        """Send a value into a generator."""
        return self._self_steps.take(self.__wrapped__.send, value)

    def throw(self, *exc_info: object) -> object:
        """Raise an exception in a generator."""
        return self._self_steps.take(self.__wrapped__.throw, *exc_info)

    def close(self, *args: Any, **kwargs: Any) -> object:
        """Close the stream, if it can be closed and is not closed."""
        close = None if self._self_is_closed else getattr(self.__wrapped__, "close", None)
        self._self_is_closed, closing = True, None
        try:
            with self._self_steps.binding():
                self._self_hooks.read_rest()
                if close is not None:
                    closing = close(*args, **kwargs)
        except BaseException as exc:
            self._self_hooks.on_end(exc)
            raise
        self._self_hooks.on_end(GeneratorExit())
        return closing

    def __enter__(self) -> object:
        try:
            with self._self_steps.binding():
                entered = self.__wrapped__.__enter__()
        except BaseException as exc:
            self._self_hooks.on_enter_failed(exc)
            raise
        return self if entered is self.__wrapped__ else self._self_hooks.on_enter(entered)

    def __exit__(self, kind: object, exc: BaseException | None, traceback: object) -> object:
        self._self_hooks.read_rest()
        suppressed = self.__wrapped__.__exit__(kind, exc, traceback)
        self._self_left(exc, suppressed)
        return suppressed


class TrackedAsyncStream(_Tracked):
    """An asynchronous stream, generator, iterable or manager of one that reports its items and its end."""

    def __aiter__(self) -> AsyncIterator[object]:
        stream = self.__wrapped__
        iterator = aiter(stream)
        if not hasattr(stream, "__anext__"):
            return self._self_lend(type(self)(iterator, self._self_hooks))
        return self._self_lend(self if iterator is stream else self._self_atake_all(iterator.__anext__))

    async def _self_atake_all(self, step: Callable[[], Awaitable[object]]) -> AsyncIterator[object]:
        """Take all steps of a stream whose iterator is another object, such as openai's: faster than ``__anext__``."""
        steps, hooks = self._self_steps, self._self_hooks
        bound, bind = steps.bound, steps.bind
        while True:
            token = bind(bound) if bound is not None else None
            try:
                item = await step()
            except StopAsyncIteration as end:
                item = steps.last_item()
                if item is None:
                    await hooks.aread_rest(end)
                    hooks.on_end(None)
                    return
                yield item
                continue
            except BaseException as exc:
                await steps.afail(exc)
                raise
            finally:
                if token is not None:
                    unbind(token)
            if not hooks.on_item(item):
                yield item

    def __anext__(self) -> Awaitable[object]:
        steps = self._self_steps
        return steps.atake(steps.stream.__anext__)

    def asend(self, value: object) -> Awaitable[object]:
        """Send a value into an asynchronous generator."""
        return self._self_steps.atake(self.__wrapped__.asend, value)

    def athrow(self, *exc_info: object) -> Awaitable[object]:
        """Raise an exception in an asynchronous generator."""
        return self._self_steps.atake(self.__wrapped__.athrow, *exc_info)

    async def aclose(self) -> None:
        """Close the stream, if it can be closed."""
        close = getattr(self.__wrapped__, "aclose", None) or getattr(self.__wrapped__, "close", None)
        try:
            with self._self_steps.binding():
                await self._self_hooks.aread_rest()
                closing = close() if close is not None else None
                if inspect.isawaitable(closing):
                    await closing
        except BaseException as exc:
            self._self_hooks.on_end(exc)
            raise
        self._self_hooks.on_end(GeneratorExit())

    def close(self, *args: object, **kwargs: object) -> object:
        """Close a provider's stream; openai's ``close`` is a coroutine function, and aiobotocore's is not."""
        closing = self.__wrapped__.close(*args, **kwargs)
        if inspect.isawaitable(closing):
            return self._self_close_later(closing)
        self._self_hooks.on_end(GeneratorExit())
        return closing

    async def __aenter__(self) -> object:
        try:
            with self._self_steps.binding():
                entered = await self.__wrapped__.__aenter__()
        except BaseException as exc:
            self._self_hooks.on_enter_failed(exc)
            raise
        return self if entered is self.__wrapped__ else self._self_hooks.on_enter(entered)

    async def __aexit__(self, kind: object, exc: BaseException | None, traceback: object) -> object:
        await self._self_hooks.aread_rest()
        suppressed = await self.__wrapped__.__aexit__(kind, exc, traceback)
        self._self_left(exc, suppressed)
        return suppressed


def track_stream(stream: object, hooks: StreamHooks) -> Any:
    """Return a stand-in for a stream that reports to ``hooks``.

    Args:
        stream: An iterator, an iterable, or a context manager that gives one; synchronous or asynchronous.
        hooks: What happens at its items and its end.
    """
    kind = stream.__class__
    is_async = any(hasattr(kind, name) for name in ("__anext__", "__aiter__", "__aenter__"))
    is_sync = any(hasattr(kind, name) for name in ("__next__", "__iter__", "__enter__"))
    if is_async and is_sync:
        return TrackedEitherStream(stream, hooks)
    return (TrackedAsyncStream if is_async else TrackedStream)(stream, hooks)


class TrackedEitherStream(TrackedStream, TrackedAsyncStream):
    """A stream that can be consumed synchronously or asynchronously, such as the streams of mistralai."""
