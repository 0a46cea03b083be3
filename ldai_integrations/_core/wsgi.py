"""One WSGI request inside a frame; shared by the doors of WSGI frameworks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from .current import FRAME_KEY, Frame, bind, unbind
from .http import as_status
from .offer import EndedBody
from .tail import flush_after

if TYPE_CHECKING:
    from ..typing import StartResponse, WSGIApp, WSGIEnviron
    from .door import Door
    from .offer import Offer
    from .run import Run


def serve(app: WSGIApp, door: Door, environ: WSGIEnviron, start_response: StartResponse) -> Iterable[bytes]:
    """Call the application in a frame, and finish what is still open when its body is closed."""
    if isinstance(environ.get(FRAME_KEY), Frame) and environ[FRAME_KEY].tracking is door.tracking:
        return _serve_inner(app, door, environ, start_response)
    frame = environ[FRAME_KEY] = door.frame(environ)
    offer = frame.offer
    if offer is not None:
        start_response = _offering(offer, door, environ, start_response)
    run = door.open_run(frame, environ)

    def close() -> None:
        environ.pop(FRAME_KEY, None)
        frame.close()
        flush_after(frame)

    body = _call(app, environ, start_response, frame, run, close)
    return body if offer is None else _with_event(body, offer, environ)


def _offering(offer: Offer, door: Door, environ: WSGIEnviron, start_response: StartResponse) -> StartResponse:
    """Add the feedback token to the headers."""

    def started(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Callable[[bytes], object]:
        with door.tracking.diagnostics.guard("feedback offer", "headers"):
            named = {name.lower(): value for name, value in headers}
            added = offer.begin(as_status(status), named, head=environ.get("REQUEST_METHOD") == "HEAD")
            headers = [*headers, *added.items()]
        return start_response(status, headers, *exc_info)

    return started


def _with_event(body: Iterable[bytes], offer: Offer, environ: WSGIEnviron) -> Iterable[bytes]:
    """Add the feedback token to the end of a stream; a body that cannot be one is returned as it is."""
    if offer.began and not offer.streams:
        return body
    return body if _is_file(body, environ) else EndedBody(body, offer)


def _serve_inner(app: WSGIApp, door: Door, environ: WSGIEnviron, start_response: StartResponse) -> Iterable[bytes]:
    """Serve below another of our doors: in its frame, with a run of our own if it has none of the same key."""
    frame = environ[FRAME_KEY]
    run = door.open_run(frame, environ)
    if run is None:
        return app(environ, start_response)
    return _call(app, environ, start_response, frame, run, _nothing)


def _call(
    app: WSGIApp,
    environ: WSGIEnviron,
    start_response: StartResponse,
    frame: Frame,
    run: Run | None,
    close: Callable[[], None],
) -> Iterable[bytes]:
    token = bind(run if run is not None else frame)
    try:
        body = app(environ, _watching(start_response, run) if run is not None else start_response)
    except BaseException as exc:
        if run is not None:
            run.end(exc)
        close()
        raise
    finally:
        unbind(token)
    if _is_whole(body, environ):
        if run is not None:
            run.evidence.whole = True
            for part in body if isinstance(body, (list, tuple)) else ():
                run.evidence.put_out(part)
            run.finish()
        close()
        return body
    return Body(body, frame, run, close, head=environ.get("REQUEST_METHOD") == "HEAD")


def _watching(start_response: StartResponse, run: Run) -> StartResponse:
    def started(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Callable[[bytes], object]:
        with run.frame.tracking.diagnostics.guard("response", run.config_key):
            named = {name.lower(): value for name, value in headers}
            run.evidence.responded(
                as_status(status),
                named.get("content-type", "text/plain"),
                whole="content-length" in named,
                compressed=named.get("content-encoding", "identity") != "identity",
            )
        write = start_response(status, headers, *exc_info)

        def written(data: bytes) -> object:
            run.evidence.put_out(data)
            return write(data)

        return written

    return started


def _is_whole(body: Iterable[bytes], environ: WSGIEnviron) -> bool:
    """Tell whether the body is all there: servers treat a list, and a file, better than an iterator."""
    return isinstance(body, (list, tuple)) or _is_file(body, environ)


def _is_file(body: Iterable[bytes], environ: WSGIEnviron) -> bool:
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(body, wrapper)


class Body:
    """Step a body inside its run or frame; a class, because a generator that is never started never cleans up."""

    __slots__ = ("_body", "_close", "_frame", "_head", "_run", "_steps")

    def __init__(
        self, body: Iterable[bytes], frame: Frame, run: Run | None, close: Callable[[], None], *, head: bool
    ) -> None:
        self._body = body
        self._frame = frame
        self._run = run
        self._close = close
        self._head = head
        self._steps: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        run = self._run
        token = bind(run if run is not None else self._frame)
        try:
            if self._steps is None:
                self._steps = iter(self._body)
            item = next(self._steps)
        except StopIteration:
            if run is not None:
                run.finish()
            raise
        except BaseException as exc:
            if run is not None:
                run.end(exc)
            raise
        finally:
            unbind(token)
        if run is not None:
            run.evidence.put_out(item)
        return item

    def close(self) -> None:
        """Close the body; a streamed one that was not read to its end was cancelled by the client."""
        token = bind(self._run if self._run is not None else self._frame)
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            unbind(token)
            self._end()
            self._close()

    def __del__(self) -> None:
        """End the run for a server, or a test client, that drops a body without closing it."""
        self._end()

    def _end(self) -> None:
        run = self._run
        if run is None:
            return
        if self._head or run.evidence.whole:
            run.finish()
        else:
            run.abandon()


def _nothing() -> None:
    return None
