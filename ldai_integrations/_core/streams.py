"""Iterables stepped inside a run, and followed to their true end.

Each step binds the run and unbinds it again, in whatever task or thread takes the step; nothing is held bound
across a ``yield``, so nothing leaks to the consumer and a stream may be closed from anywhere.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from contextvars import Token
from typing import Any

from .current import Frame, bind, unbind
from .http import is_cancellation
from .run import Run


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

    __slots__ = ("_advance", "_inner", "_put_out", "_run")

    def __init__(self, inner: Iterator[Any], run: Run) -> None:
        self._inner = inner
        self._advance = inner.__next__
        self._run = run
        self._put_out = run.evidence.put_out

    def __next__(self) -> Any:
        token = bind(self._run)
        try:
            item = self._advance()
        except BaseException as exc:
            _ended(self._run, token, exc)
            raise
        unbind(token)
        self._put_out(item)
        return item

    def send(self, value: Any) -> Any:
        return self._step(self._inner.send, value)

    def throw(self, typ: Any, val: Any = None, tb: Any = None) -> Any:  # noqa: ARG002  # the ABC's signature
        exc = typ if val is None else val
        return self._step(self._inner.throw, exc, thrown=exc)

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

    def _step(self, step: Callable[[Any], Any], value: Any, thrown: object = None) -> Any:
        token = bind(self._run)
        try:
            item = step(value)
        except BaseException as exc:
            _ended(self._run, token, exc, thrown)
            raise
        unbind(token)
        self._put_out(item)
        return item


class FollowedAsyncGenerator(_Alike, AsyncGenerator[Any, Any]):
    """The same for an async generator or iterator, stepped in the consumer's task."""

    __slots__ = ("_advance", "_inner", "_put_out", "_run")

    def __init__(self, inner: Any, run: Run) -> None:
        self._inner = inner
        self._advance = inner.__anext__
        self._run = run
        self._put_out = run.evidence.put_out

    async def __anext__(self) -> Any:
        token = bind(self._run)
        try:
            item = await self._advance()
        except BaseException as exc:
            _ended(self._run, token, exc)
            raise
        unbind(token)
        self._put_out(item)
        return item

    async def asend(self, value: Any) -> Any:
        return await self._step(self._inner.asend(value))

    async def athrow(self, typ: Any, val: Any = None, tb: Any = None) -> Any:  # noqa: ARG002  # the ABC's signature
        exc = typ if val is None else val
        return await self._step(self._inner.athrow(exc), thrown=exc)

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

    async def _step(self, step: Awaitable[Any], thrown: object = None) -> Any:
        token = bind(self._run)
        try:
            item = await step
        except BaseException as exc:
            _ended(self._run, token, exc, thrown)
            raise
        unbind(token)
        self._put_out(item)
        return item


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
