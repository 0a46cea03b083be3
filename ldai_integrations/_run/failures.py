"""What an exception says about a run or a provider call: whether somebody stopped waiting, and what may be billed."""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import Iterator

from .._diagnostics import is_from_signal, raise_if_from_signal

# Exceptions that cancel, by module and name, so that trio and gevent need not be imported.
_STOPPED = {("trio", "Cancelled"), ("gevent", "GreenletExit"), ("greenlet", "GreenletExit")}
_CLIENT_GONE = {
    ("starlette", "ClientDisconnect"),
    ("werkzeug", "ClientDisconnected"),
    ("starlette", "WebSocketDisconnect"),
}
# Where aiohttp's server writes. The class of its exception is also that of a broken connection to a provider.
_SERVER_WRITES = ("aiohttp.web_response", "aiohttp.web_ws")

# The crash of an extension module that is written in Rust. It is not an ``Exception`` either, but a failure.
_CRASHES = {("pyo3_runtime", "PanicException")}

# Statuses of a request that a proxy or a server gave up on, while the model may have gone on: a timeout of the request,
# of a gateway, of Cloudflare, and nginx's for a client that has left. With any other error, nothing was generated.
_GAVE_UP = (408, 499, 504, 524)

# Exceptions before a request is sent, by the beginnings of the names of their classes: of httpx, aiohttp and botocore.
_NOT_CONNECTED = (
    *("ConnectTimeout", "ConnectionTimeout", "PoolTimeout", "ConnectError"),
    *("LocalProtocolError", "ProxyError", "UnsupportedProtocol"),
)
# Exceptions while an answer is awaited or read, by parts of these names: ``JSONDecodeError``, httpx' ``DecodingError``,
# ``ModelBehaviorError`` of openai-agents, ``UnexpectedModelBehavior`` of pydantic-ai.
_OF_MODELS = "ModelBehavior"
_WHILE_READING = ("Timeout", "Decod", _OF_MODELS)
# Other exceptions of this kind, by their whole names: of httpx, Python itself, aiohttp, botocore and httpx-sse.
_BROKEN = {
    *("ReadError", "RemoteProtocolError", "ConnectionResetError", "ConnectionAbortedError"),
    *("ServerDisconnectedError", "ClientPayloadError", "ConnectionClosedError", "SSEError"),
}

_MOST_CAUSES = 8


def is_cancellation(exc: BaseException) -> bool:
    """Return whether an exception means that the client, a task group or the process stopped waiting.

    A group of exceptions means it if all of them do: Trio and task groups raise such groups.
    """
    members = _members(exc)
    if members:
        return all(map(is_cancellation, members))
    if isinstance(exc, (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt)):
        return True
    if isinstance(exc, SystemExit):  # on another thread, it ends the thread and not the process
        return threading.current_thread() is threading.main_thread()
    return _is_client_gone(exc) or any(origin_of(cls) in _STOPPED for cls in type(exc).__mro__)


def is_control_flow(exc: BaseException) -> bool:
    """Return whether a framework ends a handler by an exception, as Streamlit does for ``st.rerun()``.

    Such an exception is not an ``Exception``, so that handlers do not catch it. A group is one if all its members are.
    """
    members = _members(exc)
    if members:
        return all(map(is_control_flow, members))
    return not isinstance(exc, Exception) and origin_of(type(exc)) not in _CRASHES


def is_disconnect(exc: BaseException) -> bool:
    """Return whether an exception means that the client has left, or was raised while such an exception was handled."""
    causes = [exc]
    for cause in causes:  # which become more: an exception may come from the group that it is in
        if _is_client_gone(cause):
            return True
        for one in (cause.__context__, *_members(cause)):
            if one is not None and len(causes) < _MOST_CAUSES and all(one is not known for known in causes):
                causes.append(one)
    return False


def _is_client_gone(exc: BaseException) -> bool:
    """Return whether a web server has raised an exception because the client has left."""
    if isinstance(exc, ConnectionResetError):
        modules = (frame.f_globals.get("__name__") for frame, _line in traceback.walk_tb(exc.__traceback__))
        return any(module in _SERVER_WRITES for module in modules)
    return any(origin_of(cls) in _CLIENT_GONE for cls in type(exc).__mro__)


def may_be_billed(exc: BaseException) -> bool:
    """Return whether a provider may bill a call that ended with an exception, which a client or a framework raised.

    It may if it answered with a status of success, or gave up after a while, or if the request was sent and the answer
    did not arrive or cannot be read. An exception that does not say whether the request was sent counts as one before,
    unless a signal handler raised it while the client waited.
    """
    has_left = is_from_signal(exc)
    for cause in _with_causes(exc):
        names = _names_of(cause)
        if any(name.startswith(_NOT_CONNECTED) for name in names):
            return False
        has_left = has_left or _has_left(cause, names)
    return has_left


def is_of_parsing(exc: BaseException) -> bool:
    """Return whether an exception of a framework may say that it could not parse an answer.

    The provider bills such an answer, and the framework does not pass it on.
    """
    return isinstance(exc, (ValueError, TypeError, LookupError, AttributeError))


def is_refusal(exc: BaseException) -> bool:
    """Return whether a framework may have raised an exception, or one of its causes, about an answer that it got."""
    return any(
        is_of_parsing(cause) or any(_OF_MODELS in name for name in _names_of(cause)) for cause in _with_causes(exc)
    )


def _with_causes(exc: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its causes."""
    cause: BaseException | None = exc
    for _ in range(_MOST_CAUSES):
        if cause is None:
            return
        yield cause
        deeper = cause.__cause__
        # LiteLLM and its plain exceptions leave the cause in the context. That of another one may be an earlier call.
        if deeper is None and (origin_of(type(cause))[0] == "litellm" or type(cause) is Exception):
            deeper = None if cause.__suppress_context__ else cause.__context__
        cause = deeper


def _names_of(exc: BaseException) -> list[str]:
    return [cls.__name__ for cls in type(exc).__mro__]


def _has_left(exc: BaseException, names: list[str]) -> bool:
    """Return whether an exception says that its request was sent and not refused."""
    status = _status_of(exc)
    if status is not None:
        return status < 300 or status in _GAVE_UP
    # The clients of openai and anthropic make it of whatever stops a request.
    if any(map(_is_of_answer, names)) or ("APIConnectionError" in names and exc.__cause__ is not None):
        return True
    # Google's client checks its arguments and the answer with pydantic, whose exceptions name the class.
    return "ValidationError" in names and str(_field(exc, "title")).endswith("Response")


def may_be_billed_as(error_type: str) -> bool:
    """Return whether a provider may bill a call whose span has this ``error.type``: a status or the name of a class."""
    name = error_type.rpartition(".")[2]
    if name.isdigit():
        return int(name) < 300 or int(name) in _GAVE_UP
    return _is_of_answer(name) and not name.startswith(_NOT_CONNECTED)


def is_refused_with(code: str) -> bool:
    """Return whether the code of a provider's error is the status of a request that was not billed."""
    return code.isdigit() and not may_be_billed_as(code)


def is_stop(error_type: str) -> bool:
    """Return whether the failure of a span says that somebody stopped waiting."""
    return error_type.rpartition(".")[2] in ("CancelledError", "GeneratorExit")


def _is_of_answer(name: str) -> bool:
    return name in _BROKEN or any(part in name for part in _WHILE_READING)


def _status_of(exc: BaseException) -> int | None:
    """Return the HTTP status of an exception of any provider's client; ``None`` if it has none."""
    response = _field(exc, "response")
    statuses = [_field(exc, name) for name in ("status_code", "http_status", "status", "code")]
    statuses += [_field(response, "status_code"), _field(_field(response, "ResponseMetadata"), "HTTPStatusCode")]
    return next((status for status in statuses if isinstance(status, int) and 100 <= status < 600), None)


def _field(source: object, name: str) -> object:
    """Return a field of a dict, or of an object of another library; ``None`` without one."""
    try:
        return source.get(name) if isinstance(source, dict) else getattr(source, name, None)
    except Exception as exc:
        raise_if_from_signal(exc)
        return None


def _members(exc: BaseException) -> tuple[BaseException, ...]:
    """Return the exceptions in a group, which Python 3.10 has not; empty for any other exception."""
    is_group = any(cls.__name__ == "BaseExceptionGroup" for cls in type(exc).__mro__)
    members: tuple[BaseException, ...] = getattr(exc, "exceptions", ()) if is_group else ()
    return members


def origin_of(kind: type) -> tuple[str, str]:
    """Return the first name of the package of a class, and its own name."""
    return kind.__module__.partition(".")[0], kind.__name__
