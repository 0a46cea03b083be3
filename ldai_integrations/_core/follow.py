"""From what a handler returned to the true end of its run: value, generator, streaming response, provider stream."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from .current import bind, unbind
from .http import status_of_response
from .offer import EndedAsyncBody, EndedBody, Offer
from .proxies import watch
from .run import Run, take_output
from .streams import FollowedAsyncGenerator, FollowedGenerator


def follow(run: Run, result: Any) -> Any:
    """Return what the handler returned, and finish its run at the end of it.

    A value ends the run now. What is consumed step by step comes back in a wrapper that keeps its protocol
    and ends the run when it is exhausted, closed or dropped.
    """
    run.evidence.returned()
    try:
        return _follow(run, result)
    except Exception as exc:  # only ours can raise here: the handler's code has returned
        run.frame.tracking.diagnostics.note(
            "follow",
            run.config_key,
            "What the handler of %r returned could not be followed; its run ends at return.",
            run.config_key,
            exc=exc,
        )
        run.finish()
        return result


def _follow(run: Run, result: Any) -> Any:
    if isinstance(result, (str, bytes, dict, list, int, float, type(None))):
        return _follow_bedrock(run, result) if isinstance(result, dict) else _end_with(run, result)
    if isinstance(result, GeneratorType):
        return FollowedGenerator(result, run)
    if isinstance(result, AsyncGeneratorType):
        return FollowedAsyncGenerator(result, run)
    if isinstance(result, asyncio.Future):
        result.add_done_callback(lambda done: _end_with_future(run, done))
        return result
    if inspect.isawaitable(result):
        return _follow_awaitable(run, result)
    if _looks_like_stream(result) and status_of_response(result) is None:  # Django's responses are iterable
        return watch(result, run.evidence.put_out, run.end)
    return _follow_response(run, result)


async def _follow_awaitable(run: Run, awaitable: Awaitable[Any]) -> Any:
    token = bind(run)
    try:
        result = await awaitable
    except BaseException as exc:
        run.end(exc)
        raise
    finally:
        unbind(token)
    return follow(run, result)


def _end_with_future(run: Run, done: asyncio.Future[Any]) -> None:
    if done.cancelled():
        run.end(asyncio.CancelledError())
    elif (exc := done.exception()) is not None:
        run.end(exc)
    else:
        _end_with(run, done.result())


def _follow_bedrock(run: Run, result: dict[Any, Any]) -> Any:
    """Follow Bedrock's ``{"stream": EventStream, …}`` and end with any other dict."""
    name = next((key for key in ("stream", "body") if _looks_like_stream(result.get(key))), None)
    if name is None:
        return _end_with(run, result)
    return {**result, name: watch(result[name], run.evidence.put_out, run.end)}


def _follow_response(run: Run, result: Any) -> Any:
    """Follow the body of a streaming response of any framework; end with anything else."""
    response = result[0] if type(result) is tuple and result and status_of_response(result) else result
    compressed = (_header(response, "Content-Encoding") or "identity") != "identity"
    run.evidence.responded(status_of_response(result), _content_type(response), compressed=compressed)
    followed = _replace_body(
        response, lambda steps: FollowedGenerator(steps, run), lambda steps: FollowedAsyncGenerator(steps, run)
    )
    offer = Offer.alone(run)
    if offer is not None:
        offer_on(response, offer, status_of_response(result))
    if followed:
        return result
    if response is not result:
        inner = follow(run, response)
        return result if inner is response else (inner, *result[1:])
    return _end_with(run, result)


def offer_on(response: Any, offer: Offer, status: int | None, *, head: bool = False) -> None:
    """Add the feedback token to a response of any framework: a header, and an event after a streamed body."""
    if not hasattr(response, "set_cookie"):  # a provider's or an HTTP client's, for nobody's browser
        return
    looked_at = ("Content-Length", "Content-Encoding", offer.header or "Content-Type")
    headers = {name.lower(): value for name in looked_at if (value := _header(response, name)) is not None}
    added = offer.begin(status, {**headers, "content-type": _content_type(response) or ""}, head=head)
    for name, value in added.items():
        response.headers[name] = value
    if offer.streams:
        _replace_body(response, lambda steps: EndedBody(steps, offer), lambda steps: EndedAsyncBody(steps, offer))


def _replace_body(
    response: Any, sync: Callable[[Iterator[Any]], Any], asynchronous: Callable[[AsyncIterator[Any]], Any]
) -> bool:
    """Put a wrapper in the place of a response's streamed body; tell whether it has one."""
    streamed = _streamed_body(response)
    if streamed is None:
        return False
    holder, name = streamed
    body = getattr(holder, name)
    setattr(holder, name, asynchronous(aiter(body)) if hasattr(body, "__aiter__") else sync(iter(body)))
    return True


def _streamed_body(response: Any) -> tuple[Any, str] | None:
    """Find the attribute with a response's streamed body: Starlette's, Django's, Litestar's, Quart's, Werkzeug's.

    A file is none: wrapped, it would no longer be sent by the operating system.
    """
    if hasattr(response, "body_iterator"):
        return response, "body_iterator"
    if getattr(response, "streaming", None) is True and hasattr(response, "streaming_content"):
        return (response, "streaming_content") if getattr(response, "file_to_stream", None) is None else None
    if hasattr(response, "to_asgi_response") and _is_iterable(getattr(response, "iterator", None)):
        return response, "iterator"
    body = getattr(response, "response", None)
    if isinstance(getattr(body, "iter", None), AsyncIterator):  # Quart asks the body itself for its type
        return body, "iter"
    if hasattr(response, "call_on_close") and isinstance(body, Iterable) and not hasattr(body, "__len__"):
        is_file = getattr(response, "direct_passthrough", False) and not isinstance(body, GeneratorType)
        return None if is_file else (response, "response")
    return None


def _is_iterable(value: Any) -> bool:
    return isinstance(value, (AsyncIterable, Iterable))


def _content_type(response: Any) -> str | None:
    for name in ("content_type", "media_type"):
        value = getattr(response, name, None)
        if isinstance(value, str):
            return value
    return _header(response, "Content-Type")


def _header(response: Any, name: str) -> str | None:
    headers = getattr(response, "headers", None)
    value = headers.get(name) if headers is not None and hasattr(headers, "get") else None
    return value if isinstance(value, str) else None


def _end_with(run: Run, result: Any) -> Any:
    take_output(run, result)
    run.finish()
    return result


def _looks_like_stream(value: Any) -> bool:
    """Tell whether a value is consumed step by step.

    Iterators are. Of other objects only those that call themselves a stream: a session or a lock has
    ``__enter__`` too and is nothing to follow.
    """
    kind = type(value)
    if hasattr(kind, "__next__") or hasattr(kind, "__anext__"):
        return True
    steps = any(hasattr(kind, name) for name in ("__iter__", "__aiter__", "__enter__", "__aenter__"))
    return steps and "stream" in kind.__name__.lower() and not hasattr(kind, "__len__")
