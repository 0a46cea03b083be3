"""Where each framework takes applications and handlers, and how ours get there.

Changing a framework in place is right here and nowhere else: its tests must not know.
"""

from __future__ import annotations

import ctypes
import functools
import inspect
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from types import FrameType
from typing import Any

from .instrument import Instrument

_HTTP_METHODS = ("get", "head", "post", "put", "patch", "delete", "options")

Change = Callable[[Any], Any]


def instrument_all(instrument: Instrument) -> None:
    """Change every framework that is installed."""
    for change in (
        _httpx,
        _httpx2,
        _starlette,
        _sse_starlette,
        _fastapi,
        _flask,
        _werkzeug,
        _quart,
        _litestar,
        _django,
        _asgiref,
        _bottle,
        _falcon,
        _uvicorn,
    ):
        if find_spec(change.__name__[1:]):
            with warnings.catch_warnings():  # a suite may make errors of them, and need not import what we do
                warnings.simplefilter("ignore")
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


def _decorate_argument(owner: Any, function: str, argument: str, decorate: Change) -> None:
    """Have a handler decorated that a call gives by a name, under that name too: as if it stood at its definition."""

    def change(func: Any) -> Any:
        decorated = decorate(func)
        _rename(sys._getframe(2), func, decorated)  # below this function and the one that calls it
        return decorated

    _change_argument(owner, function, argument, change)


def _rename(frame: FrameType, old: Any, new: Any) -> None:
    """Have the names of ``old`` in a frame stand for ``new``; before Python 3.13 a function's has to be told."""
    names = frame.f_locals
    for name in [name for name, value in names.items() if value is old]:
        names[name] = new
    ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(0))


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


def _serve_wsgi_class(owner: Any, instrument: Instrument) -> None:
    """Have every instance of a WSGI application class served below the middleware."""
    original = owner.__call__

    @functools.wraps(original)
    def call(self: Any, environ: Any, start_response: Any) -> Any:
        return instrument.wsgi(functools.partial(original, self))(environ, start_response)

    owner.__call__ = call


def _handle_methods(owner: Any, names: tuple[str, ...], instrument: Instrument) -> None:
    """Have the named methods of every later subclass decorated."""

    def init_subclass(cls: Any, /, **kwargs: Any) -> None:
        super(owner, cls).__init_subclass__(**kwargs)
        for name in names:
            if name in vars(cls):
                setattr(cls, name, instrument.handler(vars(cls)[name]))

    owner.__init_subclass__ = classmethod(init_subclass)


def _httpx(instrument: Instrument) -> None:
    httpx = import_module("httpx")
    _change_argument(httpx.ASGITransport, "__init__", "app", instrument.asgi)
    _change_argument(httpx.WSGITransport, "__init__", "app", instrument.wsgi)


def _httpx2(instrument: Instrument) -> None:
    httpx2 = import_module("httpx2")
    _change_argument(httpx2.ASGITransport, "__init__", "app", instrument.asgi)
    _change_argument(httpx2.WSGITransport, "__init__", "app", instrument.wsgi)


def _starlette(instrument: Instrument) -> None:
    endpoints, routing = import_module("starlette.endpoints"), import_module("starlette.routing")
    transport = import_module("starlette.testclient")._TestClientTransport
    _change_argument(transport, "__init__", "app", instrument.asgi)
    _serve_class(import_module("starlette.applications").Starlette, instrument)
    _decorate_argument(routing.Route, "__init__", "endpoint", instrument.handler)
    _decorate_argument(routing.WebSocketRoute, "__init__", "endpoint", instrument.handler)
    _change_argument(import_module("starlette.responses").StreamingResponse, "__init__", "content", instrument.output)
    _handle_methods(endpoints.HTTPEndpoint, _HTTP_METHODS, instrument)
    _handle_methods(endpoints.WebSocketEndpoint, ("on_receive",), instrument)


def _sse_starlette(instrument: Instrument) -> None:
    response = import_module("sse_starlette.sse").EventSourceResponse
    _change_argument(response, "__init__", "content", instrument.output)


def _fastapi(instrument: Instrument) -> None:
    routing = import_module("fastapi.routing")
    for decorator in ("api_route", "websocket"):
        _change_decorated(routing.APIRouter, decorator, instrument.handler)
    _decorate_argument(routing.APIRoute, "__init__", "endpoint", instrument.handler)
    _decorate_argument(routing.APIWebSocketRoute, "__init__", "endpoint", instrument.handler)


def _flask(instrument: Instrument) -> None:
    flask = import_module("flask").Flask
    for decorator in ("route", "endpoint"):  # also Quart's
        _change_decorated(import_module("flask.sansio.scaffold").Scaffold, decorator, instrument.handler)
    _decorate_argument(import_module("flask.sansio.app").App, "add_url_rule", "view_func", instrument.handler)
    _after_init(flask, instrument.on_flask)
    _serve_wsgi_class(flask, instrument)


def _werkzeug(instrument: Instrument) -> None:
    _change_argument(import_module("werkzeug.test"), "run_wsgi_app", "app", instrument.wsgi)
    _change_argument(import_module("werkzeug.serving").BaseWSGIServer, "__init__", "app", instrument.wsgi)
    request = import_module("werkzeug.wrappers").Request
    application = request.application.__func__  # behind a classmethod
    request.application = classmethod(lambda cls, func: application(cls, instrument.handler(func)))


def _quart(instrument: Instrument) -> None:
    def serve(app: Any) -> None:
        app.asgi_app = instrument.asgi(app.asgi_app)

    _after_init(import_module("quart").Quart, serve)


def _litestar(instrument: Instrument) -> None:
    http, asgi = (import_module(f"litestar.handlers.{name}") for name in ("http_handlers.base", "asgi_handlers"))
    websocket = import_module("litestar.handlers.websocket_handlers")
    listener_handler = import_module("litestar.handlers.websocket_handlers._utils").ListenerHandler

    def handler(func: Any) -> Any:  # a listener comes again, in an object of Litestar's own
        return func if isinstance(func, listener_handler) else instrument.handler(func)

    _serve_class(import_module("litestar").Litestar, instrument)
    for owner in (
        http.HTTPRouteHandler,
        asgi.ASGIRouteHandler,
        websocket.WebsocketListenerRouteHandler,
        websocket.WebsocketRouteHandler,
    ):
        _decorate_argument(owner, "__call__", "fn", handler)
    if hasattr(websocket, "stream"):  # later versions have them
        _decorate_argument(websocket.stream._WebSocketStreamOptions, "__init__", "generator_fn", handler)


def _django(instrument: Instrument) -> None:
    base: Any = import_module("django.core.handlers.base")
    settings, handlers = base.settings, base.BaseHandler
    make_view = handlers.make_view_atomic

    class Settings:
        """Django's settings with one middleware more, whichever a test puts there."""

        def __getattr__(self, name: str) -> Any:
            value = getattr(settings, name)
            return [instrument.django_middleware, *value] if name == "MIDDLEWARE" else value

    base.settings = Settings()
    instrument.in_django(base.settings)
    handlers.make_view_atomic = lambda self, view: instrument.handler(make_view(self, view))


def _asgiref(instrument: Instrument) -> None:
    single = import_module("asgiref.compatibility").guarantee_single_callable
    communicator = import_module("asgiref.testing").ApplicationCommunicator
    _change_argument(communicator, "__init__", "application", lambda app: instrument.asgi(single(app)))
    _change_argument(import_module("asgiref.wsgi").WsgiToAsgi, "__init__", "wsgi_application", instrument.wsgi)


def _bottle(instrument: Instrument) -> None:
    bottle = import_module("bottle")
    _serve_wsgi_class(bottle.Bottle, instrument)
    _decorate_argument(bottle.Route, "__init__", "callback", instrument.handler)


def _falcon(instrument: Instrument) -> None:
    router = import_module("falcon.routing.compiled").CompiledRouter
    find_responders = router.map_http_methods

    def map_http_methods(self: Any, resource: Any, **kwargs: Any) -> dict[str, Any]:
        return {name: instrument.handler(func) for name, func in find_responders(self, resource, **kwargs).items()}

    router.map_http_methods = map_http_methods
    _serve_wsgi_class(import_module("falcon").App, instrument)
    _serve_class(import_module("falcon.asgi").App, instrument)


def _uvicorn(instrument: Instrument) -> None:
    def serve(protocol: Any) -> None:
        protocol.app = instrument.asgi(protocol.app)

    for module, protocol in (
        ("http.h11_impl", "H11Protocol"),
        ("http.httptools_impl", "HttpToolsProtocol"),
        ("websockets.websockets_impl", "WebSocketProtocol"),
        ("websockets.wsproto_impl", "WSProtocol"),
    ):
        with suppress(ImportError):  # what they need is optional
            _after_init(getattr(import_module(f"uvicorn.protocols.{module}"), protocol), serve)
