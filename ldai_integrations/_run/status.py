"""What a status or an exception means for the outcome of a run. It recognises web frameworks without importing them."""

from __future__ import annotations

import asyncio
import sys

# The HTTP exceptions of these frameworks are answers. Exceptions of provider SDKs carry a status too, but are failures.
_WEB_PACKAGES = {"aiohttp", "bottle", "django", "falcon", "litestar", "quart", "starlette", "fastapi", "werkzeug"}

# Exceptions that cancel, by module and name, so that trio and gevent need not be imported.
_STOPPED = {("trio", "Cancelled"), ("gevent", "GreenletExit"), ("greenlet", "GreenletExit")}
_CLIENT_GONE = {
    ("starlette", "ClientDisconnect"),
    ("werkzeug", "ClientDisconnected"),
    ("starlette", "WebSocketDisconnect"),
}

# django.http.Http404 and PermissionDenied carry no status.
_NAMED_STATUS = {"Http404": 404, "PermissionDenied": 403, "SuspiciousOperation": 400, "BadRequest": 400}


def is_cancellation(exc: BaseException) -> bool:
    """Return whether an exception means that the client, a task group or the process stopped waiting."""
    if isinstance(exc, (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit)):
        return True
    return any(_origin(cls) in _STOPPED or _origin(cls) in _CLIENT_GONE for cls in type(exc).__mro__)


def status_of_exception(exc: BaseException) -> int | None:
    """Return the HTTP status of a web framework's own exception; ``None`` for other exceptions."""
    origins = [_origin(cls) for cls in type(exc).__mro__]
    if not any(module in _WEB_PACKAGES for module, _ in origins):
        return None
    for name in ("status_code", "code", "status"):
        status = as_status(getattr(exc, name, None))
        if status is not None:
            return status
    return next((_NAMED_STATUS[name] for module, name in origins if module == "django" and name in _NAMED_STATUS), None)


def status_of_response(result: object) -> int | None:
    """Return the HTTP status of what a handler returned, if it is a response.

    Flask and Quart views may return ``(body, status)``. Elsewhere such a tuple is no response.
    """
    if type(result) is tuple:
        return as_status(result[1]) if len(result) in (2, 3) and _in_view() else None
    status = as_status(getattr(result, "status_code", None))
    return status if status is not None and (hasattr(result, "headers") or callable(result)) else None


def as_status(value: object) -> int | None:
    """Return an HTTP status from an int or from text such as ``"404 Not Found"``."""
    if isinstance(value, str):
        value = int(value[:3]) if value[:3].isdigit() else None
    return int(value) if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599 else None


def _origin(cls: type) -> tuple[str, str]:
    return cls.__module__.partition(".")[0], cls.__name__


def _in_view() -> bool:
    """Return whether a Flask or Quart request is being served; only loaded modules are asked."""
    modules = (sys.modules.get(name) for name in ("flask", "quart"))
    return any(module is not None and module.has_request_context() for module in modules)
