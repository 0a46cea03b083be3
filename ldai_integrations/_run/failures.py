"""What an exception says about a run or a provider call: whether somebody stopped waiting, and what may be billed."""

from __future__ import annotations

import asyncio

# Exceptions that cancel, by module and name, so that trio and gevent need not be imported.
_STOPPED = {("trio", "Cancelled"), ("gevent", "GreenletExit"), ("greenlet", "GreenletExit")}
_CLIENT_GONE = {
    ("starlette", "ClientDisconnect"),
    ("werkzeug", "ClientDisconnected"),
    ("starlette", "WebSocketDisconnect"),
}

# The crash of an extension module that is written in Rust. It is not an ``Exception`` either, but a failure.
_CRASHES = {("pyo3_runtime", "PanicException")}

# Exceptions of clients of HTTP before a request is sent, and those after it, by the names of their classes: of httpx,
# Python itself, aiohttp and botocore.
_NOT_CONNECTED = (
    *("ConnectTimeout", "ConnectionTimeout", "PoolTimeout", "ConnectError"),
    *("LocalProtocolError", "ProxyError", "UnsupportedProtocol"),
)
_BROKEN = {
    *("ReadError", "RemoteProtocolError", "ConnectionResetError", "ConnectionAbortedError"),
    *("ServerDisconnectedError", "ClientPayloadError", "ConnectionClosedError"),
}

_MOST_CAUSES = 8


def is_cancellation(exc: BaseException) -> bool:
    """Return whether an exception means that the client, a task group or the process stopped waiting.

    A group of exceptions means it if all of them do: Trio and task groups raise such groups.
    """
    members = _members(exc)
    if members:
        return all(map(is_cancellation, members))
    if isinstance(exc, (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit)):
        return True
    return any(origin_of(cls) in _STOPPED or origin_of(cls) in _CLIENT_GONE for cls in type(exc).__mro__)


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
        if any(origin_of(cls) in _CLIENT_GONE for cls in type(cause).__mro__):
            return True
        for one in (cause.__context__, *_members(cause)):
            if one is not None and len(causes) < _MOST_CAUSES and all(one is not known for known in causes):
                causes.append(one)
    return False


def may_be_billed(exc: BaseException) -> bool:
    """Return whether a server may have a request whose answer did not arrive: a timeout, or a broken connection."""
    names, cause = [], exc
    for _ in range(_MOST_CAUSES):
        names += [cls.__name__ for cls in type(cause).__mro__]
        if cause.__cause__ is None:
            break
        cause = cause.__cause__
    has_left = any("Timeout" in name or name in _BROKEN for name in names)
    return has_left and not any(name.startswith(_NOT_CONNECTED) for name in names)


def _members(exc: BaseException) -> tuple[BaseException, ...]:
    """Return the exceptions in a group, which Python 3.10 has not; empty for any other exception."""
    is_group = any(cls.__name__ == "BaseExceptionGroup" for cls in type(exc).__mro__)
    members: tuple[BaseException, ...] = getattr(exc, "exceptions", ()) if is_group else ()
    return members


def origin_of(kind: type) -> tuple[str, str]:
    """Return the first name of the package of a class, and its own name."""
    return kind.__module__.partition(".")[0], kind.__name__
