"""The result of a handler, followed to the end of its run: a value, a generator, a response or a provider's stream."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from .._diagnostics import describe, raise_if_from_signal
from .context import bind, unbind
from .kinds import is_botocore_body, track_body
from .observe import observe_response
from .state import RunState
from .stream import StreamHooks, track_stream
from .vote_token import VoteToken
from .web import (
    Responses,
    content_type_of,
    header_of,
    looks_like_stream,
    status_of_response,
    status_set_in,
    streamed_body,
    whole_body,
)


class RunHooks(StreamHooks):
    """The hooks of a handler's output: each step runs in the run, and the end of the output ends the run."""

    def __init__(self, run: RunState) -> None:
        super().__init__(run)
        self.run = run
        self._is_manager = False

    def on_enter(self, entered: object) -> object:
        """Read a provider's stream whose manager the handler returned."""
        self._is_manager = True
        return track_stream(observe_response(self.run, entered), self)

    def on_item(self, item: object) -> object:
        """Read an item."""
        self.run.output.add(item)
        return False

    def on_end(self, exc: BaseException | None) -> None:
        """End the run."""
        if self._is_manager and isinstance(exc, GeneratorExit) and self.run.ledger.is_complete:
            exc = None  # the block was left after the stream had ended
        self.run.end(exc)

    def on_drop(self) -> None:
        """Leave the run to another thread."""
        self.run.end_from_finalizer()

    async def aread_rest(self, exc: BaseException | None = None) -> None:
        """Read what providers still send in streams that the handler has left."""
        await self.run.settle(exc)


class TokenHooks(StreamHooks):
    """The hooks of a streamed body that gets an event with the feedback token at its end.

    Args:
        vote_token: The token of the response.
        inner: What happens besides.
    """

    def __init__(self, vote_token: VoteToken, inner: StreamHooks) -> None:
        self.bound, self.binder = inner.bound, inner.binder
        self._vote_token = vote_token
        self._inner = inner

    def on_item(self, item: object) -> object:
        """Pass an item to the token."""
        self._vote_token.pass_on(item)
        return self._inner.on_item(item)

    def on_end(self, exc: BaseException | None) -> None:
        """Add no token to a body that broke off, because it must not look complete."""
        if exc is not None:
            self._vote_token.streams = False
        self._inner.on_end(exc)

    def on_drop(self) -> None:
        """Pass on that the body was dropped."""
        self._inner.on_drop()

    def last_item(self) -> object:
        """Return the event with the feedback token."""
        return self._vote_token.last_event() or None

    async def aread_rest(self, exc: BaseException | None = None) -> None:
        """Read what providers still send."""
        await self._inner.aread_rest(exc)


def follow(run: RunState, result: object, status: int | None = None, *, responses: Responses | None = None) -> object:
    """Return what a handler returned, and end its run at the end of it.

    A value ends the run now. A stream is returned in a stand-in that ends the run when it is exhausted or closed.

    Args:
        run: The run of the handler.
        result: What it returned.
        status: The HTTP status that replaces that of the result.
        responses: What ``responses_among`` returned before the call. A result that is a response comes first.
    """
    run.output.last_item_at, run.worker = run.services.clock(), None
    try:
        if responses:
            run.output.respond(status_set_in(responses), None)
        return _follow(run, result, status)
    except Exception as exc:  # only the library can raise here, or a signal handler: the handler has returned
        raise_if_from_signal(exc)
        run.services.diagnostics.note(
            "follow",
            run.config_key,
            "The result of the handler of %r could not be read to its end (%s); the run ended when the handler "
            "returned. Fix that line if it is yours, otherwise report it with the versions of both libraries.",
            run.config_key,
            describe(exc),
        )
        run.end()
        return result


def _follow(run: RunState, result: object, status: int | None) -> object:
    if result is None or isinstance(result, (str, bytes, list, int, float)):
        return _end_with(run, result)
    if isinstance(result, dict):
        name = next((key for key in ("stream", "body") if looks_like_stream(result.get(key))), None)
        if name is None:
            return _end_with(run, result)
        return {**result, name: _track(result[name], RunHooks(run))}  # Bedrock's {"stream": EventStream, …}
    if isinstance(result, asyncio.Future):
        result.add_done_callback(lambda done: _end_with_future(run, done))
        return result
    if isinstance(result, (GeneratorType, AsyncGeneratorType)):
        return track_stream(result, RunHooks(run))
    if isinstance(result, Coroutine):
        return _follow_coroutine(run, result)
    if inspect.isawaitable(result):  # another one may be used in other ways, and must stay what it is
        return _end_with_awaitable(run, result)
    if looks_like_stream(result) and status_of_response(result) is None:  # Django's responses are iterable
        return _track(result, RunHooks(run))
    return _follow_response(run, result, status)


def _track(stream: object, hooks: StreamHooks) -> object:
    """Return a stand-in for a stream, or for a body that its consumer reads like a file."""
    return track_body(stream, hooks) if is_botocore_body(stream) else track_stream(stream, hooks)


async def _follow_coroutine(run: RunState, coroutine: Coroutine[Any, Any, object]) -> object:
    token = bind(run)
    try:
        result = await coroutine
    except BaseException as exc:
        await run.settle(exc)
        run.end(exc)
        raise
    finally:
        unbind(token)
    await run.settle()
    return follow(run, result)


def _end_with_awaitable(run: RunState, result: object) -> object:
    run.services.diagnostics.note(
        "follow",
        f"{run.config_key}: awaitable",
        "The handler of %r returned an object of type %s that can be awaited, so the run ended when the handler "
        "returned. Await it in the handler, or put track_ai on the function that calls the model.",
        run.config_key,
        type(result).__name__,
    )
    run.end()
    return result


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
        body = whole_body(result) if run.output.status is not None else None
        if body is not None:
            run.output.is_whole = True
            run.output.add(body)
        else:
            run.output.take(result)
    except Exception as exc:
        run.services.diagnostics.failed("result", run.config_key, exc, is_private=True)


def _follow_response(run: RunState, result: Any, status: int | None) -> object:
    """Follow the body of a streaming response of any web framework; end the run with anything else."""
    status = status or status_of_response(result)
    response = result[0] if type(result) is tuple and result and status else result
    encoding = header_of(response, "Content-Encoding") or ""
    run.output.respond(status, content_type_of(response), content_encoding=encoding)
    hooks: StreamHooks = RunHooks(run)
    if run.scope.vote_token is None:  # code without a middleware, which adds the token to the response of the request
        vote_token = VoteToken.wanted_by(run.services.feedback)
        if vote_token is not None:
            vote_token.consider(run)
            _add_header(response, vote_token, status)
            hooks = TokenHooks(vote_token, hooks) if vote_token.streams else hooks
    if _replace_body(response, hooks):
        return result
    if response is not result:
        inner = follow(run, response, status)
        return result if inner is response else (inner, *result[1:])
    return _end_with(run, result)


def add_vote_token(response: object, vote_token: VoteToken, status: int | None, *, head: bool) -> None:
    """Add the feedback token to a response: a header, and an event after a streamed body."""
    _add_header(response, vote_token, status, head=head)
    if vote_token.streams:
        _replace_body(response, TokenHooks(vote_token, StreamHooks()))


def _add_header(response: Any, vote_token: VoteToken, status: int | None, *, head: bool = False) -> None:
    if not hasattr(response, "set_cookie"):  # the response of a provider or of an HTTP client, not for a browser
        vote_token.streams = False
        return
    names = ("Content-Length", "Content-Encoding", vote_token.header or "Content-Type")
    headers = {name.lower(): value for name in names if (value := header_of(response, name)) is not None}
    added = vote_token.begin(status, {**headers, "content-type": content_type_of(response) or ""}, head=head)
    for name, value in added.items():
        response.headers[name] = value


def _replace_body(response: object, hooks: StreamHooks) -> bool:
    """Put a stand-in in the place of a response's streamed body; return whether it has one."""
    place = streamed_body(response)
    if place is None:
        return False
    holder, name = place
    setattr(holder, name, track_stream(getattr(holder, name), hooks))
    return True
