"""The feedback token of an answer on its way to the browser: a response header, and the last event of a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..feedback import Feedback
    from .run import Run

_SSE = "text/event-stream"
_BLANK_LINES = (b"\n\n", b"\r\r", b"\r\n\r\n")
_LONGEST_BLANK = 4


class Offer:
    """Offer the token of one response's run; nothing else of the response changes.

    Of the runs in a request that one is offered that was opened last and is in no other that could be.
    """

    __slots__ = ("_feedback", "_run", "_tail", "began", "streams")

    def __init__(self, feedback: Feedback) -> None:
        self._feedback = feedback
        self._run: Run | None = None
        self._tail: bytes | str = b""
        #: Whether the head of the response is known, and whether an event follows its body.
        self.began = False
        self.streams = False

    @classmethod
    def of(cls, feedback: Feedback) -> Offer | None:
        """Return an offer, if the application wants tokens to go out with responses."""
        return cls(feedback) if feedback.settings.header or feedback.settings.event else None

    @classmethod
    def alone(cls, run: Run) -> Offer | None:
        """Return the offer of a run in code that no door of ours serves; doors have one for the whole request."""
        feedback = run.frame.tracking.feedback
        offer = cls.of(feedback) if feedback is not None and run.frame.offer is None else None
        if offer is None:
            return None
        offer.consider(run)
        return offer if offer._run is run else None

    @property
    def header(self) -> str | None:
        """Name of the header that is added, if one is."""
        return self._feedback.settings.header

    def consider(self, run: Run) -> None:
        """Take a run that has been opened, if it is the one to vote on."""
        votes_on, outer = self._feedback.votes_on, run.outer
        while outer is not None and not votes_on(outer.config_key):
            outer = outer.outer
        if outer is None and votes_on(run.config_key):
            self._run = run

    def begin(self, status: int | None, headers: Mapping[str, str | None], *, head: bool = False) -> dict[str, str]:
        """Look at the head of the response, and return the headers to add to it.

        Args:
            status: The HTTP status, where it is known.
            headers: By names in lower case; what decides is ``content-type``, ``-length`` and ``-encoding``.
            head: Whether the request's method is HEAD, so that no body follows.
        """
        self.began = True
        good = status is None or 200 <= status < 300
        encoded = (headers.get("content-encoding") or "identity") != "identity"
        media_type = (headers.get("content-type") or "").partition(";")[0].strip().lower()
        bare = not (head or encoded or headers.get("content-length"))
        self.streams = bool(self._feedback.settings.event) and good and bare and media_type == _SSE
        name = self.header
        token = self._token() if name and good and name.lower() not in headers else ""
        return {name: token} if name and token else {}

    def passed(self, chunk: Any) -> None:
        """Note how far the stream has come; runs for every chunk."""
        if isinstance(chunk, (bytes, str)):  # anything else is an event that the framework encodes
            self._tail = chunk if len(chunk) >= _LONGEST_BLANK else _ending(self._tail) + _ending(chunk)

    def last_event(self) -> bytes:
        """Return the event that ends the stream, once; empty where there is none."""
        token = self._token() if self.streams else ""
        self.streams = False
        if not token:
            return b""
        return self._apart() + f"event: {self._feedback.settings.event}\ndata: {token}\n\n".encode()

    def _apart(self) -> bytes:
        """Return what ends an event that the application has left open."""
        tail = _ending(self._tail)
        if not tail or tail.endswith(_BLANK_LINES):
            return b""
        return b"\n" if tail.endswith((b"\n", b"\r")) else b"\n\n"

    def _token(self) -> str:
        run = self._run
        return "" if run is None or run.evidence.no_generation else run.feedback_token


def _ending(chunk: bytes | str) -> bytes:
    ending = chunk[-_LONGEST_BLANK:]
    return ending.encode("utf-8", "replace") if isinstance(ending, str) else ending


class _Ended:
    """A streamed body with our event at its end; a class, because a generator that is never started never cleans up."""

    __slots__ = ("_body", "_next", "_offer")

    def __init__(self, body: Any, offer: Offer) -> None:
        self._body = body
        self._offer = offer
        self._next: Callable[[], Any] | None = None


class EndedBody(_Ended, Iterator[Any]):
    """The body of a WSGI response, or what a framework makes one of."""

    __slots__ = ()

    def __next__(self) -> Any:
        if self._next is None:
            self._next = iter(self._body).__next__
        try:
            item = self._next()
        except StopIteration:
            self._next = iter(()).__next__
            event = self._offer.last_event()
            if not event:
                raise
            return event
        except BaseException:
            self._offer.streams = False  # it broke off, and must not look complete
            raise
        self._offer.passed(item)
        return item

    def close(self) -> None:
        """Close the body."""
        close = getattr(self._body, "close", None)
        if close is not None:
            close()


class EndedAsyncBody(_Ended, AsyncIterator[Any]):
    """The same for an asynchronous body."""

    __slots__ = ()

    async def __anext__(self) -> Any:
        if self._next is None:
            self._next = aiter(self._body).__anext__
        try:
            item = await self._next()
        except StopAsyncIteration:
            self._next = _no_more
            event = self._offer.last_event()
            if not event:
                raise
            return event
        except BaseException:
            self._offer.streams = False  # it broke off, and must not look complete
            raise
        self._offer.passed(item)
        return item

    async def aclose(self) -> None:
        """Close the body."""
        close = getattr(self._body, "aclose", None)
        if close is not None:
            await close()


async def _no_more() -> Any:
    raise StopAsyncIteration
