"""Provider streams, watched: the stream keeps its protocol, its attributes and the type it claims to be."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

#: Takes an item; a true answer keeps it from the consumer.
OnItem = Callable[[Any], object]
#: Called with the exception that ended the stream: ``None`` at its end, ``GeneratorExit`` if it was closed before.
OnEnd = Callable[["BaseException | None"], None]
#: Takes what a manager gives when it is entered, and returns what its block gets.
OnEnter = Callable[[Any], Any]

# Private attributes where helpers of openai and anthropic (their streams of events that accumulate), and cohere's raw
# responses, keep the stream that all their methods step. Where it is not found, the helper is watched from outside.
_INSIDE = ("_raw_stream", "_data")


def is_stream(value: Any) -> bool:
    """Tell whether a value is consumed step by step: an iterator, or a context manager that yields one."""
    kind = type(value)
    if hasattr(kind, "__next__") or hasattr(kind, "__anext__"):
        return True
    entered = hasattr(kind, "__enter__") or hasattr(kind, "__aenter__")
    iterated = hasattr(kind, "__iter__") or hasattr(kind, "__aiter__")
    closes = hasattr(kind, "close") or hasattr(kind, "aclose")
    return (entered and not hasattr(kind, "__len__")) or (iterated and closes and not hasattr(kind, "__len__"))


def inside(holder: Any, replace: Callable[[Any], Any]) -> bool:
    """Replace the stream that a helper steps, and tell whether there is one: its own methods then go through it."""
    attributes: Any = getattr(holder, "__dict__", None)
    names = _INSIDE if type(attributes) is dict else ()
    # What is read is a connection, as botocore's streams keep it under the same name, and no stream of events.
    name = next((name for name in names if name in attributes and not hasattr(attributes[name], "read")), None)
    if name is None:
        return False
    setattr(holder, name, replace(attributes[name]))
    return True


def watch(stream: Any, on_item: OnItem, on_end: OnEnd, on_enter: OnEnter | None = None) -> Any:
    """Return a proxy of ``stream`` that reports each item, and the end once or more than once.

    Args:
        stream: What is iterated, or entered for what is.
        on_item: Takes each item.
        on_end: Takes how it ended.
        on_enter: Takes what a manager gives; without it, that is watched alike.
    """

    def watched(value: Any) -> Any:
        return watch(value, on_item, on_end)

    if inside(stream, watched):
        return stream
    kind = type(stream)
    asynchronous = any(hasattr(kind, name) for name in ("__anext__", "__aiter__", "__aenter__"))
    synchronous = any(hasattr(kind, name) for name in ("__next__", "__iter__", "__enter__"))
    proxy = (StreamProxy if synchronous else AsyncStreamProxy) if asynchronous else SyncStreamProxy
    return proxy(stream, on_item, on_end, watched if on_enter is None else on_enter)


class _Proxy:
    __slots__ = ("__weakref__", "_on_end", "_on_enter", "_on_item", "_stream")

    def __init__(self, stream: Any, on_item: OnItem, on_end: OnEnd, on_enter: OnEnter) -> None:
        self._stream = stream
        self._on_item = on_item
        self._on_end = on_end
        self._on_enter = on_enter

    @property  # type: ignore[misc]  # isinstance() asks an object for its __class__
    def __class__(self) -> type:
        kind: type = self._stream.__class__  # not its type: it may be watched by another run as well
        return kind

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._stream, name)
        if name == "close":
            return self._closing(value)
        return self._aclosing(value) if name == "aclose" else value

    def __del__(self) -> None:
        self._on_end(GeneratorExit())

    def _entered(self, value: Any) -> Any:
        return self if value is self._stream else self._on_enter(value)

    def _left(self, exc: BaseException | None, suppressed: object) -> None:
        if exc is not None:
            self._on_end(None if suppressed else exc)
        else:
            self._on_end(GeneratorExit())

    def _closing(self, close: Callable[..., Any]) -> Callable[..., Any]:
        def closed(*args: Any, **kwargs: Any) -> Any:
            result = close(*args, **kwargs)
            if not hasattr(type(result), "__await__"):  # openai's AsyncStream.close is a coroutine function
                self._on_end(GeneratorExit())
                return result
            return self._awaited(result)

        return closed

    def _aclosing(self, aclose: Callable[..., Any]) -> Callable[..., Any]:
        def closed(*args: Any, **kwargs: Any) -> Any:
            return self._awaited(aclose(*args, **kwargs))

        return closed

    async def _awaited(self, closing: Any) -> Any:
        try:
            return await closing
        finally:
            self._on_end(GeneratorExit())


class SyncStreamProxy(_Proxy):
    """Watch a stream that is iterated or entered synchronously."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        return self if hasattr(type(self._stream), "__next__") else self._steps()

    def _steps(self) -> Iterator[Any]:
        try:
            for item in self._stream:
                if not self._on_item(item):
                    yield item
        except BaseException as exc:
            self._on_end(exc)
            raise
        self._on_end(None)

    def __next__(self) -> Any:
        while True:
            try:
                item = self._stream.__next__()
            except StopIteration:
                self._on_end(None)
                raise
            except BaseException as exc:
                self._on_end(exc)
                raise
            if not self._on_item(item):
                return item

    def __enter__(self) -> Any:
        return self._entered(self._stream.__enter__())

    def __exit__(self, kind: Any, exc: BaseException | None, traceback: Any) -> Any:
        suppressed = self._stream.__exit__(kind, exc, traceback)
        self._left(exc, suppressed)
        return suppressed


class AsyncStreamProxy(_Proxy):
    """Watch a stream that is iterated or entered asynchronously."""

    __slots__ = ()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self if hasattr(type(self._stream), "__anext__") else self._asteps()

    async def _asteps(self) -> AsyncIterator[Any]:
        try:
            async for item in self._stream:
                if not self._on_item(item):
                    yield item
        except BaseException as exc:
            self._on_end(exc)
            raise
        self._on_end(None)

    async def __anext__(self) -> Any:
        while True:
            try:
                item = await self._stream.__anext__()
            except StopAsyncIteration:
                self._on_end(None)
                raise
            except BaseException as exc:
                self._on_end(exc)
                raise
            if not self._on_item(item):
                return item

    async def __aenter__(self) -> Any:
        return self._entered(await self._stream.__aenter__())

    async def __aexit__(self, kind: Any, exc: BaseException | None, traceback: Any) -> Any:
        suppressed = await self._stream.__aexit__(kind, exc, traceback)
        self._left(exc, suppressed)
        return suppressed


class StreamProxy(SyncStreamProxy, AsyncStreamProxy):
    """Watch a stream that may be iterated or entered either way."""

    __slots__ = ()
