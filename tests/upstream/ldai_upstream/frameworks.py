"""Where each framework takes applications and handlers, and how ours get there.

Changing a framework in place is right here and nowhere else: its tests must not know.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from .offline import Instrument

_HTTP_METHODS = ("get", "head", "post", "put", "patch", "delete", "options")

Change = Callable[[Any], Any]


def instrument_all(instrument: Instrument) -> None:
    """Change every framework that is installed."""
    for change in (_httpx, _httpx2, _starlette, _fastapi, _flask, _werkzeug, _quart, _litestar, _asgiref):
        if find_spec(change.__name__[1:]):
            change(instrument)


def _change_argument(owner: Any, function: str, argument: str, change: Change) -> None:
    """Have ``change`` applied to one argument of a function, wherever a call gives it."""
    original = getattr(owner, function)
    names = list(inspect.signature(original).parameters)
    position = names.index(argument)

    @functools.wraps(original)
    def changed(*args: Any, **kwargs: Any) -> Any:
        if len(args) > position and args[position] is not None:
            args = (*args[:position], change(args[position]), *args[position + 1 :])
        elif kwargs.get(argument) is not None:
            kwargs[argument] = change(kwargs[argument])
        return original(*args, **kwargs)

    setattr(owner, function, changed)


def _change_decorated(owner: Any, function: str, change: Change) -> None:
    """Have ``change`` applied to what a decorator is put on, as if the change stood below it."""
    original = getattr(owner, function)

    @functools.wraps(original)
    def changed(*args: Any, **kwargs: Any) -> Change:
        register: Change = original(*args, **kwargs)
        return lambda func: register(change(func))

    setattr(owner, function, changed)


def _after_init(owner: Any, change: Callable[[Any], object]) -> None:
    """Have ``change`` applied to every new instance."""
    original = owner.__init__

    @functools.wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        change(self)

    owner.__init__ = init


def _serve_class(owner: Any, instrument: Instrument) -> None:
    """Have every instance of an ASGI application class served below the middleware."""
    original = owner.__call__

    @functools.wraps(original)
    async def call(self: Any, scope: Any, receive: Any, send: Any) -> None:
        await instrument.asgi(functools.partial(original, self))(scope, receive, send)

    owner.__call__ = call


def _handle_methods(owner: Any, names: tuple[str, ...], instrument: Instrument) -> None:
    """Have the named methods of every later subclass decorated."""

    def init_subclass(cls: Any, /, **kwargs: Any) -> None:
        super(owner, cls).__init_subclass__(**kwargs)
        for name in names:
            if name in vars(cls):
                setattr(cls, name, instrument.handler(vars(cls)[name]))

    owner.__init_subclass__ = classmethod(init_subclass)


def _httpx2(instrument: Instrument) -> None:
    import httpx2

    _change_argument(httpx2.ASGITransport, "__init__", "app", instrument.asgi)
    _change_argument(httpx2.WSGITransport, "__init__", "app", instrument.wsgi)


def _httpx(instrument: Instrument) -> None:
    import httpx

    _change_argument(httpx.ASGITransport, "__init__", "app", instrument.asgi)
    _change_argument(httpx.WSGITransport, "__init__", "app", instrument.wsgi)


def _starlette(instrument: Instrument) -> None:
    from starlette import applications, endpoints, routing, testclient

    _change_argument(testclient._TestClientTransport, "__init__", "app", instrument.asgi)
    _serve_class(applications.Starlette, instrument)
    _change_argument(routing.Route, "__init__", "endpoint", instrument.handler)
    _change_argument(routing.WebSocketRoute, "__init__", "endpoint", instrument.handler)
    _handle_methods(endpoints.HTTPEndpoint, _HTTP_METHODS, instrument)
    _handle_methods(endpoints.WebSocketEndpoint, ("on_receive",), instrument)


def _fastapi(instrument: Instrument) -> None:
    from fastapi import routing

    for decorator in ("api_route", "websocket"):
        _change_decorated(routing.APIRouter, decorator, instrument.handler)
    _change_argument(routing.APIRoute, "__init__", "endpoint", instrument.handler)
    _change_argument(routing.APIWebSocketRoute, "__init__", "endpoint", instrument.handler)


def _flask(instrument: Instrument) -> None:
    import flask
    from flask.sansio.app import App
    from flask.sansio.scaffold import Scaffold

    from ldai_integrations.flask import AITracking

    for decorator in ("route", "endpoint"):
        _change_decorated(Scaffold, decorator, instrument.handler)
    _change_argument(App, "add_url_rule", "view_func", instrument.handler)
    _after_init(flask.Flask, lambda app: AITracking(app, instrument.tracking, **instrument.options))


def _werkzeug(instrument: Instrument) -> None:
    from werkzeug import serving, test
    from werkzeug.wrappers import Request

    _change_argument(test, "run_wsgi_app", "app", instrument.wsgi)
    _change_argument(serving.BaseWSGIServer, "__init__", "app", instrument.wsgi)
    application = Request.application.__func__  # type: ignore[attr-defined]  # behind a classmethod
    Request.application = classmethod(  # type: ignore[assignment, method-assign]
        lambda cls, func: application(cls, instrument.handler(func))
    )


def _quart(instrument: Instrument) -> None:
    import quart

    def serve(app: quart.Quart) -> None:
        app.asgi_app = instrument.asgi(app.asgi_app)  # type: ignore[method-assign, arg-type, assignment]

    _after_init(quart.Quart, serve)
    if "add_url_rule" in vars(quart.Quart):
        _change_argument(quart.Quart, "add_url_rule", "view_func", instrument.handler)


def _litestar(instrument: Instrument) -> None:
    from litestar import Litestar
    from litestar.handlers.base import BaseRouteHandler

    _serve_class(Litestar, instrument)
    _change_argument(BaseRouteHandler, "__call__", "fn", instrument.handler)


def _asgiref(instrument: Instrument) -> None:
    from asgiref import compatibility, testing, wsgi

    def single(app: Any) -> Any:
        return instrument.asgi(compatibility.guarantee_single_callable(app))  # type: ignore[no-untyped-call]

    _change_argument(testing.ApplicationCommunicator, "__init__", "application", single)
    _change_argument(wsgi.WsgiToAsgi, "__init__", "wsgi_application", instrument.wsgi)
