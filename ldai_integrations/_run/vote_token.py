"""The feedback token on its way to the browser: a response header, and the last event of a stream."""

from __future__ import annotations

from collections.abc import Mapping

from ..feedback import Feedback
from .open_runs import OpenRun

_SSE = "text/event-stream"
_WITHOUT_BODY = (204, 205)  # the good statuses whose responses have none
_BLANK_LINES = (b"\n\n", b"\r\r", b"\r\n\r\n")
_LONGEST_BLANK = 4


class VoteToken:
    """The feedback token of one response. Nothing else of the response changes.

    A request may have several runs. The token belongs to the outermost run whose AI Config is voted on. If there are
    several such runs, it belongs to the last one.
    """

    __slots__ = ("_feedback", "_run", "_tail", "streams")

    def __init__(self, feedback: Feedback) -> None:
        self._feedback = feedback
        self._run: OpenRun | None = None
        self._tail: bytes | str = b""
        #: Whether an event is added to the body.
        self.streams: bool = False

    @classmethod
    def wanted_by(cls, feedback: Feedback | None) -> VoteToken | None:
        """Return a token if the application adds tokens to responses."""
        if feedback is None or not (feedback.settings.header or feedback.settings.event):
            return None
        return cls(feedback)

    @property
    def header(self) -> str | None:
        """The name of the header that is added; ``None`` if none is."""
        return self._feedback.settings.header

    def consider(self, run: OpenRun) -> None:
        """Use a run that was opened, if it is the one to vote on."""
        votes_on, parent = self._feedback.votes_on, run.parent
        while parent is not None and not votes_on(parent.config_key):
            parent = parent.parent
        if parent is None and votes_on(run.config_key):
            self._run = run

    def begin(self, status: int | None, headers: Mapping[str, str | None], *, head: bool = False) -> dict[str, str]:
        """Take the head of the response, and return the headers to add to it.

        Args:
            status: The HTTP status; ``None`` if it is not known.
            headers: The headers by their names in lower case.
            head: Whether the method of the request is HEAD, so that no body follows.
        """
        good = status is None or 200 <= status < 300
        encoded = (headers.get("content-encoding") or "identity") != "identity"
        media_type = (headers.get("content-type") or "").partition(";")[0].strip().lower()
        bare = not (head or status in _WITHOUT_BODY or encoded or headers.get("content-length"))
        self.streams = bool(self._feedback.settings.event) and good and bare and media_type == _SSE
        name = self.header
        token = self._token() if name and good and name.lower() not in headers else ""
        return {name: token} if name and token else {}

    def pass_on(self, chunk: object) -> None:
        """Note a chunk of the stream."""
        if isinstance(chunk, (bytes, str)):  # anything else is an event that the framework encodes
            self._tail = chunk if len(chunk) >= _LONGEST_BLANK else _ending(self._tail) + _ending(chunk)

    def last_event(self) -> bytes:
        """Return the event at the end of the stream, once; empty if there is none."""
        token = self._token() if self.streams else ""
        self.streams = False
        if not token:
            return b""
        event = f"event: {self._feedback.settings.event}\ndata: {token}\n\n".encode()
        tail = _ending(self._tail)
        if not tail or tail.endswith(_BLANK_LINES):
            return event
        # Complete the last event of the application. A carriage return and a newline are one line end.
        return (b"\n" if tail.endswith(b"\n") else b"\n\n") + event

    def _token(self) -> str:
        return "" if self._run is None else self._run.feedback_token


def _ending(chunk: bytes | str) -> bytes:
    ending = chunk[-_LONGEST_BLANK:]
    return ending.encode("utf-8", "replace") if isinstance(ending, str) else ending
