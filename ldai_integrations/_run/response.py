"""The result of a handler, followed to the end of its run: a value, a generator, a response or a provider's stream."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Iterable
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from .context import bind, binder, unbind
from .observe import observe_response
from .state import RunState
from .status import status_of_response
from .stream import StreamHooks, track_stream
from .vote_token import VoteToken


class HandlerHooks(StreamHooks):
    """The hooks of a handler's output: each step runs in the run, and the end of the output ends the run.

    They do not take the items of decorated generators: ``functions.py`` adds these to ``run.output`` itself.

    Args:
        run: The run; ``None`` if only a token is added.
        vote_token: Adds an event at the end of the output.
    """

    def __init__(self, run: RunState | None, vote_token: VoteToken | None = None) -> None:
        self.run: RunState | None = run
        if run is not None:
            self.binder = binder(run)
        self._vote_token = vote_token
        self._is_manager = False

    def on_enter(self, entered: object) -> object:
        """Read a provider's stream whose manager the handler returned."""
        self._is_manager = True
        return track_stream(entered if self.run is None else observe_response(self.run, entered), self)

    def on_item(self, item: object) -> object:
        """Read an item."""
        if self._vote_token is not None:
            self._vote_token.pass_on(item)
        if self.run is not None:
            self.run.output.add(item)
        return False

    def on_end(self, exc: BaseException | None) -> None:
        """End the run."""
        if exc is not None and self._vote_token is not None:
            self._vote_token.streams = False  # the output broke off, and must not look complete
        if self.run is None:
            return
        if self._is_manager and isinstance(exc, GeneratorExit) and self.run.ledger.is_complete:
            exc = None  # the block was left after the stream had ended
        self.run.end(exc)

    def on_drop(self) -> None:
        """Leave the run to another thread."""
        if self.run is not None:
            self.run.leave()

    def last_item(self) -> object:
        """Return the event with the feedback token."""
        return (self._vote_token.last_event() or None) if self._vote_token is not None else None

    async def aread_rest(self) -> None:
        """Read what providers still send in streams that the handler has left."""
        if self.run is not None:
            await self.run.settle()


def follow(run: RunState, result: object) -> object:
    """Return what a handler returned, and end its run at the end of it.

    A value ends the run now. A stream is returned in a stand-in that ends the run when it is exhausted or closed.
    """
    run.output.last_item_at = run.services.clock()
    try:
        return _follow(run, result)
    except Exception as exc:  # only the library can raise here: the handler has returned
        run.services.diagnostics.note(
            "follow",
            run.config_key,
            "The result of the handler of %r could not be read to its end; the run ended when the handler returned.",
            run.config_key,
            exc=exc,
        )
        run.end()
        return result


def _follow(run: RunState, result: object) -> object:
    if result is None or isinstance(result, (str, bytes, list, int, float)):
        return _end_with(run, result)
    if isinstance(result, dict):
        name = next((key for key in ("stream", "body") if _looks_like_stream(result.get(key))), None)
        if name is None:
            return _end_with(run, result)
        return {**result, name: track_stream(result[name], HandlerHooks(run))}  # Bedrock's {"stream": EventStream, …}
    if isinstance(result, asyncio.Future):
        result.add_done_callback(lambda done: _end_with_future(run, done))
        return result
    if isinstance(result, (GeneratorType, AsyncGeneratorType)):
        return track_stream(result, HandlerHooks(run))
    if inspect.isawaitable(result):
        return _follow_awaitable(run, result)
    if _looks_like_stream(result) and status_of_response(result) is None:  # Django's responses are iterable
        return track_stream(result, HandlerHooks(run))
    return _follow_response(run, result)


async def _follow_awaitable(run: RunState, awaitable: Awaitable[object]) -> object:
    token = bind(run)
    try:
        result = await awaitable
    except BaseException as exc:
        run.end(exc)
        raise
    finally:
        unbind(token)
    await run.settle()
    return follow(run, result)


def _end_with_future(run: RunState, done: asyncio.Future[object]) -> None:
    if done.cancelled():
        run.end(asyncio.CancelledError())
    elif (exc := done.exception()) is not None:
        run.end(exc)
    else:
        _end_with(run, done.result())


def _end_with(run: RunState, result: object) -> object:
    read_result(run, result)
    run.end()
    return result


def read_result(run: RunState, result: object) -> None:
    """Read the value that a handler returned, and pass it to ``is_error``."""
    try:
        if run.options.is_error is not None:
            run.error_by_result = bool(run.options.is_error(result))
        body = _whole_body(result) if run.output.status is not None else None
        if body is not None:
            run.output.is_whole = True
            run.output.add(body)
        else:
            run.output.take(result)
    except Exception as exc:
        run.services.diagnostics.failed("result", run.config_key, exc)


def _follow_response(run: RunState, result: Any) -> object:
    """Follow the body of a streaming response of any web framework; end the run with anything else."""
    status = status_of_response(result)
    response = result[0] if type(result) is tuple and result and status else result
    encoding = _header(response, "Content-Encoding") or ""
    run.output.respond(status, _content_type(response), content_encoding=encoding)
    vote_token = None
    if run.scope.vote_token is None:  # code without a middleware, which adds the token to the response of the request
        vote_token = VoteToken.wanted_by(run.services.feedback)
        if vote_token is not None:
            vote_token.consider(run)
            _add_header(response, vote_token, status)
    if _replace_body(response, HandlerHooks(run, vote_token if vote_token and vote_token.streams else None)):
        return result
    if response is not result:
        inner = follow(run, response)
        return result if inner is response else (inner, *result[1:])
    return _end_with(run, result)


def add_vote_token(response: object, vote_token: VoteToken, status: int | None, *, head: bool) -> None:
    """Add the feedback token to a response: a header, and an event after a streamed body."""
    _add_header(response, vote_token, status, head=head)
    if vote_token.streams:
        _replace_body(response, HandlerHooks(None, vote_token))


def _add_header(response: Any, vote_token: VoteToken, status: int | None, *, head: bool = False) -> None:
    if not hasattr(response, "set_cookie"):  # the response of a provider or of an HTTP client, not for a browser
        vote_token.streams = False
        return
    names = ("Content-Length", "Content-Encoding", vote_token.header or "Content-Type")
    headers = {name.lower(): value for name in names if (value := _header(response, name)) is not None}
    added = vote_token.begin(status, {**headers, "content-type": _content_type(response) or ""}, head=head)
    for name, value in added.items():
        response.headers[name] = value


# What follows is the library's knowledge of the response classes of web frameworks. To support another one, add the
# place of its streamed body to _streamed_body, and of a complete body to _whole_body. If it names its status or its
# headers in its own way, add that to status_of_response and _header.


def _replace_body(response: object, hooks: HandlerHooks) -> bool:
    """Put a stand-in in the place of a response's streamed body; return whether it has one."""
    place = _streamed_body(response)
    if place is None:
        return False
    holder, name = place
    body = getattr(holder, name)
    iterator = aiter(body) if hasattr(body, "__aiter__") else iter(body)
    setattr(holder, name, track_stream(iterator, hooks))
    return True


def _streamed_body(response: object) -> tuple[object, str] | None:
    """Return the object and the attribute with the streamed body of a response; ``None`` if it has none.

    Files are left alone: a stand-in would no longer be sent by the operating system.
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
    if hasattr(response, "call_on_close") and isinstance(body, Iterable) and not hasattr(body, "__len__"):  # Werkzeug
        is_file = getattr(response, "direct_passthrough", False) and not isinstance(body, GeneratorType)
        return None if is_file else (response, "response")
    return None


def _whole_body(response: Any) -> bytes | None:
    """Return the body of a response that is complete; ``None`` if it is not."""
    if getattr(response, "is_sequence", False):  # Werkzeug
        data = response.get_data()
        return data if isinstance(data, bytes) else None
    if getattr(response, "is_rendered", True) is False:  # Django renders it after the view, and raises before
        return None
    bodies = (getattr(response, name, None) for name in ("body", "content"))  # Starlette; Django
    return next((body for body in bodies if isinstance(body, bytes)), None)


def _content_type(response: object) -> str | None:
    for name in ("content_type", "media_type"):
        value = getattr(response, name, None)
        if isinstance(value, str):
            return value
    return _header(response, "Content-Type")


def _header(response: object, name: str) -> str | None:
    headers = getattr(response, "headers", None)
    value = headers.get(name) if headers is not None and hasattr(headers, "get") else None
    return value if isinstance(value, str) else None


def _looks_like_stream(value: object) -> bool:
    """Return whether a value is consumed step by step.

    Iterators are. Other objects are only if the name of their class contains "stream", because sessions and locks have
    ``__enter__`` too.
    """
    kind = value.__class__
    if hasattr(kind, "__next__") or hasattr(kind, "__anext__"):
        return True
    names = ("__iter__", "__aiter__", "__enter__", "__aenter__")
    is_stepped = any(hasattr(kind, name) for name in names)
    return is_stepped and "stream" in kind.__name__.lower() and not hasattr(kind, "__len__")
