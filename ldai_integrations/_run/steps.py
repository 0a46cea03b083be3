"""The steps of streams, and what happens at them.

Each step of a stream binds its run and unbinds it again, in whatever task or thread takes the step. Nothing stays bound
while the consumer works, so nothing leaks to it, and a stream may be closed from anywhere. Streams take no times; their
hooks do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from .web import is_cancellation


class StreamHooks:
    """The hooks of a tracked stream: what happens at its items and at its end. By default, they do nothing.

    Attributes:
        run: The run that each step is bound to; ``None`` to bind nothing.
        binder: The functions that bind and unbind it; see :func:`~ldai_integrations._run.context.binder`.
        binds_methods: Whether the stream's methods take their steps through the stand-in. Helpers that accumulate a
            stream consume it in methods of their own, such as openai's ``get_final_response``.
        response: The HTTP response of the stream. Whoever closes it closes the stream.
    """

    run: Any = None
    binder: tuple[Any, Any] = (None, None)
    binds_methods: bool = False
    response: Any = None

    def on_item(self, item: object) -> object:
        """Take an item; return a true value to keep it from the consumer."""

    def on_end(self, exc: BaseException | None) -> None:
        """Take the exception that ended the stream.

        ``None`` means that it was exhausted, ``GeneratorExit`` that its consumer closed it. May be called more than
        once.
        """

    def on_enter(self, entered: object) -> Any:
        """Return what a ``with`` block gets instead of the stream that a manager gives."""
        return entered

    def on_enter_failed(self, exc: BaseException) -> None:
        """Take the exception that a manager raised instead of giving its stream."""
        self.on_end(exc)

    def on_drop(self) -> None:
        """Note that the stream was garbage collected. Must take no lock, start no thread and run no user code."""

    def last_item(self) -> Any:
        """Return an item to append to the stream; ``None`` for none."""
        return None

    def read_rest(self) -> None:
        """Read what the provider still sends, before the stream is closed."""

    async def aread_rest(self) -> None:
        """Read what the provider still sends, before the stream is closed."""


class Steps:
    """The steps of a stream.

    They are not methods of the stand-in, because reading one attribute of a stand-in takes longer than a step.

    Attributes:
        stream: The stream.
        hooks: What happens at its items and its end.
        run: What each step is bound to; ``None`` to bind nothing.
        bind: Binds it.
        unbind: Restores what ``bind`` replaced.
        is_over: Whether the stream has ended.
    """

    __slots__ = ("bind", "hooks", "is_over", "run", "stream", "unbind")

    def __init__(self, stream: Any, hooks: StreamHooks) -> None:
        self.stream = stream
        self.hooks = hooks
        self.run = hooks.run
        self.bind, self.unbind = hooks.binder
        self.is_over = False

    def take(self, step: Callable[..., Any], *args: Any) -> Any:
        """Take a step; return the item that the consumer gets."""
        run, hooks, bind, unbind = self.run, self.hooks, self.bind, self.unbind
        while True:
            token = bind(run) if run is not None else None
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

    async def atake(self, step: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """Take a step; return the item that the consumer gets."""
        run, hooks, bind, unbind = self.run, self.hooks, self.bind, self.unbind
        while True:
            token = bind(run) if run is not None else None
            try:
                item = await step(*args)
            except StopAsyncIteration:
                last = self.last_item()
                if last is not None:
                    return last
                await hooks.aread_rest()
                hooks.on_end(None)
                raise
            except BaseException as exc:
                self.fail(exc, args)
                raise
            finally:
                if token is not None:
                    try:
                        unbind(token)
                    except ValueError:  # see unbind
                        pass
            if not hooks.on_item(item):
                return item
            step, args = self.stream.__anext__, ()

    def last_item(self) -> Any:
        """Note that the stream is exhausted; return an item to append to it, once."""
        is_over, self.is_over = self.is_over, True
        return None if is_over else self.hooks.last_item()

    def fail(self, exc: BaseException, thrown: tuple[Any, ...] = ()) -> None:
        """Note the exception of a step, which somebody who stopped waiting may have thrown in."""
        self.is_over = True
        self.hooks.on_end(GeneratorExit() if exc in thrown and is_cancellation(exc) else exc)
