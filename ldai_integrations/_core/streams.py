"""Iterables stepped inside a run, and followed to their true end.

Each step binds the run and unbinds it again, in whatever task or thread takes the step; nothing is held bound
across a ``yield``, so nothing leaks to the consumer and a stream may be closed from anywhere.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

from .current import bind, unbind

if TYPE_CHECKING:
    from .run import Run


class FollowedGenerator(Generator[Any, Any, Any]):
    """Step a generator, or any iterator, inside its run; finish the run when it ends, is closed or is dropped."""

    __slots__ = ("_inner", "_run")

    def __init__(self, inner: Iterator[Any], run: Run) -> None:
        self._inner = inner
        self._run = run

    def __next__(self) -> Any:
        run = self._run
        token = bind(run)
        try:
            item = next(self._inner)
        except StopIteration:
            run.finish()
            raise
        except BaseException as exc:
            run.end(exc)
            raise
        finally:
            unbind(token)
        run.evidence.put_out(item)
        return item

    def send(self, value: Any) -> Any:
        return self._step(self._inner.send, value)  # type: ignore[attr-defined]  # only generators are sent to

    def throw(self, typ: Any, val: Any = None, tb: Any = None) -> Any:  # noqa: ARG002  # the ABC's signature
        exc = typ if val is None else val
        return self._step(self._inner.throw, exc)  # type: ignore[attr-defined]

    def close(self) -> None:
        token = bind(self._run)
        try:
            close = getattr(self._inner, "close", None)
            if close is not None:
                close()
        except BaseException as exc:
            self._run.end(exc)
            raise
        finally:
            unbind(token)
            self._run.abandon()

    def __del__(self) -> None:
        self._run.abandon()

    def _step(self, step: Callable[[Any], Any], value: Any) -> Any:
        run = self._run
        token = bind(run)
        try:
            item = step(value)
        except StopIteration:
            run.finish()
            raise
        except BaseException as exc:
            run.end(exc)
            raise
        finally:
            unbind(token)
        run.evidence.put_out(item)
        return item


class FollowedAsyncGenerator(AsyncGenerator[Any, Any]):
    """The same for an async generator or iterator, stepped in the consumer's task."""

    __slots__ = ("_inner", "_run")

    def __init__(self, inner: Any, run: Run) -> None:
        self._inner = inner
        self._run = run

    async def __anext__(self) -> Any:
        return await self._step(self._inner.__anext__)

    async def asend(self, value: Any) -> Any:
        return await self._step(self._inner.asend, value)

    async def athrow(self, typ: Any, val: Any = None, tb: Any = None) -> Any:  # noqa: ARG002  # the ABC's signature
        return await self._step(self._inner.athrow, typ if val is None else val)

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

    async def _step(self, step: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        run = self._run
        token = bind(run)
        try:
            item = await step(*args)
        except StopAsyncIteration:
            run.finish()
            raise
        except BaseException as exc:
            run.end(exc)
            raise
        finally:
            unbind(token)
        run.evidence.put_out(item)
        return item
