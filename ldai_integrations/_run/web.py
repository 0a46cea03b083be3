"""The requests, responses and exceptions of web frameworks, recognised without importing them.

"Add a web framework" in ``CONTRIBUTING.md`` says what another framework needs here.
"""

from __future__ import annotations

import io
import sys
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from typing import Any

from .._diagnostics import raise_if_from_signal
from .failures import origin_of

# The HTTP exceptions of these frameworks are answers. Exceptions of provider SDKs carry a status too, but are failures.
_WEB_PACKAGES = {
    *("apiflask", "bottle", "django", "falcon", "fastapi", "litestar", "ninja", "quart"),
    *("rest_framework", "sanic", "starlette", "werkzeug"),
}

# Exceptions that carry no status.
_NAMED_STATUS = {
    ("django", "Http404"): 404,
    ("django", "PermissionDenied"): 403,
    ("django", "SuspiciousOperation"): 400,
    ("django", "BadRequest"): 400,
    ("fastapi", "RequestValidationError"): 422,
}

# The responses among the arguments of a handler, each with its status before the call.
Responses = list[tuple[object, int | None]]


def method_of(request: object) -> str:
    """Return the HTTP method of a request: an ASGI scope, a WSGI environ or Django's object."""
    if isinstance(request, Mapping):
        return str(request.get("method") or request.get("REQUEST_METHOD") or "")
    return str(getattr(request, "method", ""))


def path_of(request: object) -> str:
    """Return the path of a request."""
    if isinstance(request, Mapping):
        return str(request.get("path") or request.get("PATH_INFO") or "")
    return str(getattr(request, "path", ""))


def status_of_exception(exc: BaseException) -> int | None:
    """Return the HTTP status of a web framework's own exception; ``None`` for other exceptions."""
    origins = [origin_of(cls) for cls in type(exc).__mro__]
    # The exceptions of aiohttp's server are responses. Those of its client have the same package.
    if not (_is_for_browser(type(exc)) or any(package in _WEB_PACKAGES for package, _ in origins)):
        return None
    for source in (exc, getattr(exc, "response", None)):  # Werkzeug's abort(response) has no code of its own
        for name in ("status_code", "code", "status"):
            status = as_status(getattr(source, name, None))
            if status is not None:
                return status
    return next((_NAMED_STATUS[origin] for origin in origins if origin in _NAMED_STATUS), None)


def _is_for_browser(kind: type) -> bool:
    """Return whether a class is that of responses that a server sends: those of clients set no cookies."""
    return hasattr(kind, "set_cookie") or hasattr(kind, "add_cookie")


def status_of_response(result: object) -> int | None:
    """Return the HTTP status of what a handler returned, if it is a response.

    Flask and Quart views may return ``(body, status)`` or ``(body, headers)``. Of the second form, only the ones whose
    body is a stream or a response are recognised. Elsewhere such a tuple is not a response.
    """
    if type(result) is tuple:
        if len(result) not in (2, 3) or not _in_view():
            return None
        status = as_status(result[1])
        if status is None:
            status = 200 if looks_like_stream(result[0]) else status_of_response(result[0])
        return status
    status = _own_status(result)
    if status is None or hasattr(result, "headers") or callable(result):
        return status
    return status if origin_of(type(result))[0] in _WEB_PACKAGES else None


def _own_status(value: object) -> int | None:
    """Return the status that an object carries; aiohttp and Sanic have another name for it, as HTTP clients have."""
    status = as_status(getattr(value, "status_code", None))
    return as_status(getattr(value, "status", None)) if status is None and _is_for_browser(type(value)) else status


def responses_among(args: tuple[object, ...], kwargs: Mapping[str, object]) -> Responses:
    """Return the responses among the arguments of a handler, each with its status.

    FastAPI and Falcon pass the response to the handler, which may set another status.
    """
    arguments = (*args, *kwargs.values())
    try:
        return [(one, _own_status(one)) for one in arguments if _is_for_browser(type(one))]
    except Exception as exc:  # of a class of the application
        raise_if_from_signal(exc)
        return []


def status_set_in(responses: Responses) -> int | None:
    """Return the status that a handler has set in one of its arguments; ``None`` if it has set none."""
    statuses = ((_own_status(response), before) for response, before in responses)
    return next((status for status, before in statuses if status != before), None)


def as_status(value: object) -> int | None:
    """Return an HTTP status from an int or from text such as ``"404 Not Found"``."""
    if isinstance(value, str):
        value = int(value[:3]) if value[:3].isdigit() else None
    return int(value) if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599 else None


def _in_view() -> bool:
    """Return whether a Flask or Quart request is being served; only loaded modules are asked."""
    modules = (sys.modules.get(name) for name in ("flask", "quart"))
    return any(module is not None and module.has_request_context() for module in modules)


def streamed_body(response: object) -> tuple[object, str] | None:
    """Return the object and the attribute with the streamed body of a response; ``None`` if it has none.

    A body with a length is complete unless it is an iterator, and stays as it is; see :func:`whole_body`. Files stay
    too: a stand-in would no longer be sent by the operating system.
    """
    if hasattr(response, "body_iterator"):  # Starlette, FastAPI, sse-starlette
        return response, "body_iterator"
    if getattr(response, "streaming", None) is True and hasattr(response, "streaming_content"):  # Django
        return (response, "streaming_content") if getattr(response, "file_to_stream", None) is None else None
    iterator = getattr(response, "iterator", None)
    if hasattr(response, "to_asgi_response") and isinstance(iterator, (AsyncIterable, Iterable)):  # Litestar
        return response, "iterator"
    body = getattr(response, "response", None)
    if isinstance(getattr(body, "iter", None), AsyncIterator):  # Quart, which checks the type of the body itself
        return body, "iter"
    is_streamed = isinstance(body, Iterator) or (isinstance(body, Iterable) and not hasattr(body, "__len__"))
    if hasattr(response, "call_on_close") and is_streamed:  # Werkzeug
        return None if getattr(response, "direct_passthrough", False) and _is_file(body) else (response, "response")
    return None


def _is_file(body: object) -> bool:
    """Return whether a body is a file, which uWSGI sends itself, or the wrapper that other servers put around one."""
    return isinstance(body, (io.BufferedReader, io.BytesIO)) or "file" in type(body).__name__.lower()


def whole_body(response: Any) -> bytes | None:
    """Return the body of a response that is complete, as bytes; ``None`` if it is not.

    It is only asked about responses whose status :func:`status_of_response` knows.
    """
    if getattr(response, "is_sequence", False):  # Werkzeug
        data = response.get_data()
        return data if isinstance(data, bytes) else None
    if getattr(response, "is_rendered", True) is False:  # Django renders it after the view, and raises before
        return None
    try:
        bodies = [getattr(response, name, None) for name in ("body", "content")]  # Starlette; Django
    except Exception:  # the response of an HTTP client that has not been read
        return None
    return next((body for body in bodies if isinstance(body, bytes)), None)


def content_type_of(response: object) -> str | None:
    for name in ("content_type", "media_type"):
        value = getattr(response, name, None)
        if isinstance(value, str):
            return value
    return header_of(response, "Content-Type")


def header_of(response: object, name: str) -> str | None:
    headers = getattr(response, "headers", None)
    value = headers.get(name) if headers is not None and hasattr(headers, "get") else None
    return value if isinstance(value, str) else None


def looks_like_stream(value: object) -> bool:
    """Return whether a value is consumed step by step.

    Iterators are, except files and database cursors, which are read by methods. Other objects are only if the name of
    their class contains "stream", because sessions and locks have ``__enter__`` too.
    """
    kind = value.__class__
    is_iterator = hasattr(kind, "__next__") or hasattr(kind, "__anext__")
    if is_iterator and not _is_read_by_method(value):
        return True
    names = ("__iter__", "__aiter__", "__enter__", "__aenter__")
    is_stepped = is_iterator or any(hasattr(kind, name) for name in names)
    return is_stepped and "stream" in kind.__name__.lower() and not hasattr(kind, "__len__")


def _is_read_by_method(value: object) -> bool:
    """Return whether an iterator is a file or a cursor. The body of an HTTP response looks like a file with headers."""
    kind = value.__class__
    return any(hasattr(kind, name) for name in ("read", "getvalue", "fetchone")) and not hasattr(value, "headers")
