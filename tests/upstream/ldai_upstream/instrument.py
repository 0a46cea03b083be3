"""What is put around applications and handlers; of itself, nothing of the library: the control."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from contextlib import aclosing
from types import MethodType
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from ldai_integrations.typing import ASGIApp, StartResponse, WSGIApp, WSGIEnviron

T = TypeVar("T")


class Instrument:
    """Put an empty middleware around applications, and an empty decorator on handlers."""

    #: One that Django can import.
    django_middleware = f"{__name__}.django_middleware"

    def __init__(self) -> None:
        self._decorated: WeakValueDictionary[int, Any] = WeakValueDictionary()

    def asgi(self, app: ASGIApp) -> ASGIApp:
        """Put the middleware around an ASGI application."""

        async def passing(scope: Any, receive: Any, send: Any) -> None:
            await app(scope, receive, send)

        return passing

    def wsgi(self, app: WSGIApp) -> WSGIApp:
        """Put the middleware around a WSGI application."""

        def passing(environ: WSGIEnviron, start_response: StartResponse) -> Iterable[bytes]:
            return app(environ, start_response)

        return passing

    def decorate(self, func: Any) -> Any:
        """Put the decorator on a handler."""
        return passing_on(func)

    def handler(self, func: T) -> T:
        """Decorate a handler, once however often it is registered; leave a class, or what cannot be called."""
        if inspect.isclass(func) or not callable(func):
            return func
        if inspect.ismethod(func):  # which is decorated in its class
            return cast(T, MethodType(self.handler(func.__func__), func.__self__))
        decorated = self._decorated.get(id(func))
        if decorated is None:
            decorated = self.decorate(func)
            if decorated is not func:  # while it lives it keeps the handler, and so its id
                self._decorated[id(func)] = self._decorated[id(decorated)] = decorated
        return cast(T, decorated)

    def output(self, content: T) -> T:
        """Return the content of a streamed response as a decorated function would have returned it."""
        return self.handler(lambda: content)()

    def on_flask(self, app: Any) -> None:
        """Take a new Flask application."""

    def in_django(self, settings: Any) -> None:
        """Take Django's settings."""

    def breaches(self) -> list[str]:
        """Say what has gone wrong since the last call."""
        return []

    def left_open(self) -> list[str]:
        """Name the tests whose runs are open, as pytest does, after the last test."""
        return []

    def summary(self) -> str:
        """Say how much was done."""
        return "nothing was tracked"


def passing_on(func: Any) -> Any:
    """Return a function of the same kind that calls ``func``, as the shortest correct decorator would."""
    if not inspect.isroutine(func):  # of an object no function can be made that frameworks take for it
        return func
    if inspect.isasyncgenfunction(func):

        @functools.wraps(func)
        async def passing_steps(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
            async with aclosing(func(*args, **kwargs)) as steps:
                async for step in steps:
                    yield step

        return passing_steps
    if inspect.isgeneratorfunction(func):

        @functools.wraps(func)
        def passing_generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            return (yield from func(*args, **kwargs))

        return passing_generator
    if inspect.iscoroutinefunction(func):

        @functools.wraps(func)
        async def passing_await(*args: Any, **kwargs: Any) -> Any:
            return await func(*args, **kwargs)

        return passing_await

    @functools.wraps(func)
    def passing_call(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return passing_call


def django_middleware(get_response: Callable[[Any], Any]) -> Any:
    """Pass requests on, synchronous and asynchronous ones."""
    return passing_on(get_response)


django_middleware.sync_capable = django_middleware.async_capable = True  # type: ignore[attr-defined]
