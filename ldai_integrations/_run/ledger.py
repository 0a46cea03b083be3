"""The ledger of a run: what every source reports about its provider calls.

Several sources may report the same call: the wrapped client that made it, ``run.observe``, a framework's callback, and
the span of an instrumentation. At the end of the run, ``matching.py`` decides which reports describe the same call.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, get_args

from ..usage import Reading
from .events import CallReader, EventStreams, find_worker
from .failures import is_of_parsing, is_refusal, may_be_billed
from .request import ProviderRequest

#: Who reports a call, the most trusted first. A wrapped client makes the call itself. LaunchDarkly's newer AI SDK adds
#: up the calls that one of its handlers makes.
Source = Literal["client", "framework", "observed", "span", "sdk"]
#: The sources in this order.
SOURCES: tuple[Source, ...] = get_args(Source)
# How many characters of requests one run keeps. Prompts beyond this limit are not estimated.
_MOST_KEPT = 8_000_000
# How exact the times of spans and of LaunchDarkly's SDK are, in seconds: they come from another clock, or are rounded.
_ROUNDED = 0.001


def _read_nothing() -> None:
    return None


def refer_to(value: object) -> Callable[[], object]:
    """Return a function that returns a value, which it does not keep alive if that supports weak references."""
    try:
        return weakref.ref(value)
    except TypeError:  # dicts, and the streams that boto3 puts into them
        return lambda: value


@dataclass(slots=True, eq=False)
class ProviderCall:
    """One request to a model, as one source reports it.

    Attributes:
        source: Who reports it.
        started_at: The start of the request on the run's clock, in seconds.
        request: The request, if a wrapped client made it and its tokens may have to be estimated.
        api: The format of the request, if it is known; see :class:`ProviderRequest`.
        model: The requested model, if a wrapped client made the call.
        provider: The provider whose own server was called, if that is certain.
        framework: The name of the framework, if one reports it.
        begins_late: Whether it may have started long before ``started_at``, because its reporter is late.
        ended_at: The end of the response; ``None`` while it is in progress.
        error: The type of the error that ended it; empty if it did not fail.
        first_token_at: When the first text, reasoning or tool delta of its stream arrived.
        first_answer_at: When the first visible text of its stream arrived.
        has_item: Whether an item of its stream has arrived.
        finished_at: When the last finish reason of its stream arrived. The application may do much before it reads on
            to the end of the stream.
        is_background: Whether the response may be complete only after the call, so that it has to be looked up.
        is_lookup: Whether it asks for a response that another call has started.
        hides_usage: Whether the caller must not see the usage chunk at the end of an OpenAI stream, because the library
            has asked for it.
        is_cut_short: Whether the provider may go on after what has arrived, and bill that: the consumer has stopped
            waiting, or the call failed after its request was sent.
        is_cancelled: Whether it was cut short because its consumer was cancelled, and did not leave by itself.
        is_refusal: Whether a framework may have got the answer, and failed because of what it says.
        form: The class of the response: an object of a provider's library, a dict, a stream.
        is_stream: Whether the response is read event by event.
        is_too_long: Whether the response is longer than what is kept of a document, so that it is not read.
        is_whole: Whether it was reported with its whole response, of which the application may have made copies.
        rest: What reads the rest of the stream, while the finish reason has arrived and the usage has not.
        wait: Waits at most so many seconds for the report of a framework that sends it from a thread of its own;
            ``None`` if there is nothing to wait for.
        read: Returns what is known about the response so far; ``None`` if nothing is.
        measure: Returns how many characters of the response have still to be read or counted.
    """

    source: Source
    started_at: float
    request: ProviderRequest | None = None
    api: str = ""
    model: str = ""
    provider: str = ""
    framework: str = ""
    begins_late: bool = False
    ended_at: float | None = None
    error: str = ""
    first_token_at: float | None = None
    first_answer_at: float | None = None
    has_item: bool = False
    finished_at: float | None = None
    is_background: bool = False
    is_lookup: bool = False
    hides_usage: bool = False
    is_cut_short: bool = False
    is_cancelled: bool = False
    is_refusal: bool = False
    form: type | None = None
    is_stream: bool = False
    is_too_long: bool = False
    is_whole: bool = False
    rest: CallReader | None = None
    wait: Callable[[float], object] | None = None
    read: Callable[[], Reading | None] = _read_nothing
    measure: Callable[[], int] = int

    @property
    def has_no_response(self) -> bool:
        """Whether a wrapped client has got neither the beginning of an answer nor an error."""
        return self.source == "client" and self.form is None and not self.error

    @property
    def is_waiting(self) -> bool:
        """Whether a wrapped client still waits for the beginning of the answer."""
        return self.has_no_response and self.ended_at is None

    @property
    def is_unread(self) -> bool:
        """Whether nobody has read its response, or waited for it, or its stream was empty."""
        is_empty = (self.is_stream or self.is_cut_short) and not self.has_item
        return self.ended_at is None or (is_empty and not self.error)

    def note_token(self, now: float, *, is_answer: bool) -> None:
        """Note the arrival of a delta; only the first one of each kind counts."""
        if self.first_token_at is None:
            self.first_token_at = now
        if is_answer and self.first_answer_at is None:
            self.first_answer_at = now

    def end(self, now: float) -> None:
        """Note that the response is complete, or that its consumer needs no more of it."""
        if self.ended_at is None:
            self.ended_at = now

    def note_left(self, exc: BaseException, now: float) -> None:
        """Note the exception that says that its consumer stopped waiting."""
        if self.ended_at is None:
            self.is_cut_short = True
            self.is_cancelled = not isinstance(exc, GeneratorExit)
        self.end(now)

    def fail(self, exc: BaseException, now: float, *, has_begun: bool = False) -> None:
        """Note that the call failed.

        Args:
            exc: The exception.
            now: The time on the run's clock.
            has_begun: The provider had accepted the request and begun its answer.
        """
        self.error = self.error or type(exc).__name__
        self.is_stream = self.is_stream and has_begun  # otherwise, the request itself failed
        self.is_refusal = self.source == "framework" and is_refusal(exc)
        if self.ended_at is None:
            is_lost = self.source == "framework" and is_of_parsing(exc)  # the framework got the answer
            self.is_cut_short = has_begun or is_lost or self.first_token_at is not None or may_be_billed(exc)
        elif has_begun and self.read() is None:  # it was read to its end, and nothing in it is known
            self.is_cut_short = True
        self.end(now)

    def overlaps(self, other: ProviderCall) -> bool:
        """Return whether both calls were in progress at some time."""
        return (self.ended_at is None or other.started_at <= self.ended_at + _ROUNDED) and (
            other.ended_at is None or self.started_at <= other.ended_at + _ROUNDED
        )

    def encloses(self, other: ProviderCall) -> bool:
        """Return whether the times of this call allow that its code made another call."""
        if other.source not in ("client", "framework"):  # others are reported after the fact
            return True
        if self.source == "sdk":  # its start follows from a duration without fractions of a millisecond, so it is late
            return self.overlaps(other)
        return self.started_at - _ROUNDED <= other.started_at and (
            self.ended_at is None or other.started_at <= self.ended_at
        )

    def release(self) -> None:
        """Forget request and response once the run is reported."""
        self.request, self.rest, self.wait, self.read = None, None, None, _read_nothing


class Waits:
    """The time for which a run waits for usage after finish reasons, maybe for several streams at a time."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a finalizer may close a stream
        self._count = 0
        self._since = self._seconds_before = 0.0

    @contextmanager
    def until(self, most: float) -> Iterator[float]:
        """Wait in a ``with`` block; it gets the end of the wait on the clock ``time.monotonic``.

        Args:
            most: For how many seconds the run waits in all.
        """
        with self._lock:
            if not self._count:
                self._since = time.monotonic()
            self._count += 1
            until = self._since + most - self._seconds_before
        try:
            yield until
        finally:
            with self._lock:
                self._count -= 1
                if not self._count:
                    self._seconds_before += time.monotonic() - self._since


@dataclass(slots=True, eq=False)
class Ledger:
    """The provider calls of one run. Calls may be added from any thread.

    Attributes:
        clock: A monotonic clock, in seconds.
        outer: The ledger of the run around this one; ``None`` if there is none.
        events: The streams whose events or lines are observed one by one.
        waits: The time for which the run waits for usage.
    """

    clock: Callable[[], float]
    outer: Ledger | None = None
    events: EventStreams = field(default_factory=EventStreams)
    waits: Waits = field(default_factory=Waits)
    _calls: list[ProviderCall] = field(default_factory=list)
    _known: dict[int, Callable[[], object]] = field(default_factory=dict)
    # The requests whose ``async with`` block is open and whose body nobody has observed, with who has entered it.
    _entered: list[tuple[object, ProviderCall]] = field(default_factory=list)
    _request_chars: int = 0

    def __iter__(self) -> Iterator[ProviderCall]:
        return iter(tuple(self._calls))

    def __len__(self) -> int:
        return len(self._calls)

    def begin(self, source: Source, request: ProviderRequest | None = None) -> ProviderCall:
        """Add a call that starts now."""
        call = ProviderCall(source, self.clock(), request)
        if request is not None:
            call.api, call.model = request.api, request.model
        self._calls.append(call)
        return call

    def withdraw(self, call: ProviderCall) -> None:
        """Remove a call that was not made after all."""
        if call in self._calls:
            self._calls.remove(call)

    def enter(self, call: ProviderCall) -> None:
        """Note that this thread or task has entered a block, in which it reads the body of a response."""
        self._entered.append((find_worker(), call))

    def leave(self, call: ProviderCall) -> bool:
        """Forget the block of a call; return whether nobody has observed the body."""
        count = len(self._entered)
        self._entered = [one for one in self._entered if one[1] is not call]
        return len(self._entered) < count

    def note_body(self, body: ProviderCall) -> None:
        """Let a request count once whose body is observed as a call of its own.

        The error in the body of a refused request is withdrawn, and the request counts. Any other body takes the place
        of the request that this thread or task has entered last. If it has entered none, the body may be that of any
        other request, and all of them are withdrawn.
        """
        if not self._entered or body.source != "observed" or body not in self._calls:
            return
        worker, reading = find_worker(), body.read()
        is_error = bool(body.error or (reading is not None and reading.error))
        own = [call for one, call in self._entered if one == worker]
        refused = [call for call in own if call.error]
        if is_error and refused:
            self.leave(refused[-1])
            self.withdraw(body)
            return
        own = [call for call in own if not call.error]
        for call in own[-1:] or [call for _, call in self._entered if not call.error]:
            self.leave(call)
            self.withdraw(call)

    def remember(self, response: object) -> None:
        """Remember an object that has been read; it is not kept alive if it supports weak references."""
        self._known[id(response)] = refer_to(response)
        if self.outer is not None:
            self.outer.remember(response)

    def remember_failure(self, exc: BaseException) -> None:
        """Remember an exception that ended a call of this run. Outer runs do not: it would keep its frames alive."""
        self._known[id(exc)] = refer_to(exc)

    def knows(self, response: object) -> bool:
        """Return whether this very object has been read, in this run, in one around it or in a nested one."""
        known = self._known.get(id(response))
        return (known is not None and known() is response) or (self.outer is not None and self.outer.knows(response))

    def keep_request(self, call: ProviderCall) -> None:
        """Copy the request of a call, because its tokens may have to be estimated; drop it beyond the limit."""
        if call.request is not None:
            call.request = call.request.kept(_MOST_KEPT - self._request_chars)
            self._request_chars += call.request.chars if call.request is not None else 0

    def first_times(self) -> tuple[float | None, float | None]:
        """Return when the first token and the first visible text of a provider stream arrived, counted or not."""
        tokens = [call.first_token_at for call in self._calls if call.first_token_at is not None]
        answers = [call.first_answer_at for call in self._calls if call.first_answer_at is not None]
        return min(tokens, default=None), min(answers, default=None)

    @property
    def is_complete(self) -> bool:
        """Whether there are calls, and all of their responses have ended."""
        return bool(self._calls) and all(call.ended_at is not None for call in self._calls)

    @property
    def is_in_progress(self) -> bool:
        """Whether the response of a call has not ended, and its finish reason has not arrived."""
        return any(call.ended_at is None and call.rest is None for call in self._calls)

    @property
    def chars(self) -> int:
        """How many characters of requests and responses may have to be read or counted."""
        return self._request_chars + sum(call.measure() for call in self._calls)

    @property
    def has_rest(self) -> bool:
        """Whether a stream whose consumer has left may still send its usage."""
        return any(call.rest is not None for call in self._calls)

    @property
    def awaits_reports(self) -> bool:
        """Whether a framework has still to report the end of a call."""
        return any(call.wait is not None for call in self._calls)

    def wait_for_reports(self, until: float) -> None:
        """Wait for the reports of frameworks that send them from threads of their own.

        Args:
            until: When to go on without them, on the clock ``time.monotonic``. A time that has passed does not wait.
        """
        for call in tuple(self._calls):
            wait = call.wait
            if wait is not None:
                wait(max(0.0, until - time.monotonic()))

    def turns_of_last_request(self) -> list[tuple[str, str]]:
        """Return the role and the text of the messages of the last request that was kept; empty if none was."""
        kept = [call.request for call in self._calls if call.request is not None]
        return kept[-1].turns() if kept else []

    def release(self) -> None:
        """Forget requests, responses and the objects that were read."""
        for call in self._calls:
            call.release()
        self._known.clear()
        self.events.clear()
