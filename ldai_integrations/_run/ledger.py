"""The ledger of a run: every provider call, exactly once.

Several sources may report the same call: the wrapped client that made it, ``run.observe``, a framework's callback, and
the span of an instrumentation. The ledger keeps what each source reports. At the end of the run it decides which
reports describe the same call.
"""

from __future__ import annotations

import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import takewhile
from typing import Any, Literal, Protocol

from ..records import Usage
from ..usage import Reading
from .request import ProviderRequest

#: Who reports a call, the most trusted first. A wrapped client makes the call itself.
Source = Literal["client", "framework", "observed", "span"]
_SOURCES: tuple[Source, ...] = ("client", "framework", "observed", "span")

# How many calls may be combined in search of the ones that an aggregate stands for: 2 ** 12 sums.
_MOST_COMBINED = 12
# The ids of responses that runs of this process saw before they were complete; the oldest are forgotten. Methods of
# a deque need no lock.
_awaited: deque[str] = deque(maxlen=1_000)


class RestOfStream(Protocol):
    """A stream that may still send its usage."""

    stream: Any

    def on_item(self, item: Any) -> object:
        """Read an item of the stream."""


class ProviderCall:
    """One request to a model, as one source reports it.

    Attributes:
        source: Who reports it.
        framework: The name of the framework, if one reports it.
        started_at: The start of the request on the run's clock, in seconds.
        ended_at: The end of the response; ``None`` while it is in progress.
        api: The format of the request, if it is known; see :class:`ProviderRequest`.
        request: The request, if a wrapped client made it and its tokens may have to be estimated.
        error: The type of the error that ended it; empty if it did not fail.
        first_token_at: When the first text, reasoning or tool delta of its stream arrived.
        first_answer_at: When the first visible text of its stream arrived.
        is_background: Whether the response may be complete only after the call, so that it has to be looked up.
        is_lookup: Whether it asks for a response that another call has started.
        is_left: Whether the consumer of its stream left before the end.
        form: The class of the response: an object of a provider's library, a dict, a stream.
        rest: What reads the rest of the stream, while the finish reason has arrived and the usage has not.
        measure: Returns how many characters of the response have still to be read or counted.
        wait: Waits at most so many seconds for the report of a framework that sends it from a thread of its own;
            ``None`` if there is nothing to wait for.
    """

    __slots__ = (
        "_read",
        "api",
        "ended_at",
        "error",
        "first_answer_at",
        "first_token_at",
        "form",
        "framework",
        "is_background",
        "is_left",
        "is_lookup",
        "measure",
        "request",
        "rest",
        "source",
        "started_at",
        "wait",
    )

    def __init__(self, source: Source, started_at: float, request: ProviderRequest | None = None) -> None:
        self.source = source
        self.framework: str = ""
        self.started_at: float = started_at
        self.api: str = request.api if request is not None else ""
        self.request = request
        self.ended_at: float | None = None
        self.error: str = ""
        self.first_token_at: float | None = None
        self.first_answer_at: float | None = None
        self.is_background: bool = False
        self.is_lookup: bool = False
        self.is_left: bool = False
        self.form: type | None = None
        self.rest: RestOfStream | None = None
        self.wait: Callable[[float], object] | None = None
        self._read: Callable[[], Reading | None] = _read_nothing
        self.measure: Callable[[], int] = int

    @property
    def reporter(self) -> str:
        """Who reports it: each framework is a source of its own, because one may call models through another."""
        return self.framework or self.source

    def read_with(self, read: Callable[[], Reading | None]) -> None:
        """Set the function that returns what is known about the response so far."""
        self._read = read

    def reading(self) -> Reading | None:
        """Return what is known about the response so far; ``None`` if nothing is.

        Some providers send the usage so far in every chunk. It is a lower bound if nobody read the finish reason.
        """
        reading = self._read()
        is_left = self.is_left or (self.ended_at is None and self.first_token_at is not None)
        if not is_left or reading is None or reading.usage is None or reading.finish_reasons:
            return reading
        return replace(reading, usage=replace(reading.usage, lower_bound=True))

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

    def fail(self, exc: BaseException, now: float) -> None:
        """Note that the call failed."""
        self.error = self.error or type(exc).__name__
        self.end(now)

    def release(self) -> None:
        """Forget request and response once the run is reported."""
        self.request, self.rest, self.wait, self._read = None, None, None, _read_nothing


class CountedCall:
    """A provider call that counts, with everything that its sources reported about it.

    Attributes:
        call: The report of the most trusted source.
        reading: What is known about the response.
    """

    __slots__ = ("_matched", "call", "reading")

    def __init__(self, call: ProviderCall, reading: Reading) -> None:
        self.call = call
        self.reading = reading
        self._matched: set[str] = {call.reporter}

    @property
    def usage(self) -> Usage:
        """The provider's figures; all unknown if it sent none."""
        return self.reading.usage or Usage()

    @property
    def is_failed(self) -> bool:
        """Whether the call raised an exception, or its response carries an error."""
        return bool(self.call.error or self.reading.error)

    def is_free_for(self, report: ProviderCall) -> bool:
        """Return whether a report of another source may describe this call."""
        apis = {self.call.api, report.api} - {""}
        return report.reporter not in self._matched and (len(apis) < 2 or "embeddings" not in apis)

    def add(self, report: ProviderCall, reading: Reading) -> None:
        """Fill gaps with what another source reports about the same call."""
        self._matched.add(report.reporter)
        mine = self.reading
        self.reading = replace(
            mine,
            usage=mine.usage if mine.usage is not None and _tokens(mine.usage) != (None, None) else reading.usage,
            model=mine.model or reading.model,
            finish_reasons=mine.finish_reasons or reading.finish_reasons,
            ids=mine.ids or reading.ids,
            tool_calls=mine.tool_calls or reading.tool_calls,
            text=mine.text or reading.text,
        )

    def mark_lower_bound(self) -> None:
        """Note that the run has more tokens than its known calls."""
        self.reading = replace(self.reading, usage=replace(self.usage, lower_bound=True))


class Ledger:
    """The provider calls of one run. Calls may be added from any thread.

    Args:
        clock: A monotonic clock, in seconds.
    """

    __slots__ = ("_calls", "_clock", "_counted", "_known", "_request_chars", "lines")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._calls: list[ProviderCall] = []
        self._counted: list[CountedCall] | None = None
        self._known: dict[int, Callable[[], Any]] = {}
        self._request_chars = 0
        #: Takes the next line of a provider's stream whose lines are observed one by one.
        self.lines: Callable[[Any], object] | None = None

    def __iter__(self) -> Iterator[ProviderCall]:
        return iter(tuple(self._calls))

    def __len__(self) -> int:
        return len(self._calls)

    def begin(self, source: Source, request: ProviderRequest | None = None) -> ProviderCall:
        """Add a call that starts now."""
        call = ProviderCall(source, self._clock(), request)
        self._calls.append(call)
        return call

    def withdraw(self, call: ProviderCall) -> None:
        """Remove a call that was not made after all."""
        if call in self._calls:
            self._calls.remove(call)

    def remember(self, response: object) -> None:
        """Remember an object that has been read; it is not kept alive if it supports weak references."""
        try:
            self._known[id(response)] = weakref.ref(response)
        except TypeError:  # dicts, and the streams that boto3 puts into them
            self._known[id(response)] = lambda: response

    def knows(self, response: object) -> bool:
        """Return whether this very object has been read."""
        known = self._known.get(id(response))
        return known is not None and known() is response

    def keep_request(self, call: ProviderCall, most_chars: int) -> None:
        """Copy the request of a call, because its tokens may have to be estimated; drop it beyond the limit."""
        if call.request is not None:
            call.request = call.request.kept(most_chars - self._request_chars)
            self._request_chars += call.request.chars if call.request is not None else 0

    def first_times(self) -> tuple[float | None, float | None]:
        """Return when the first token and the first visible text of a provider stream arrived."""
        tokens = [call.first_token_at for call in self._calls if call.first_token_at is not None]
        answers = [call.first_answer_at for call in self._calls if call.first_answer_at is not None]
        return min(tokens, default=None), min(answers, default=None)

    @property
    def is_complete(self) -> bool:
        """Whether there are calls, and all of their responses have ended."""
        return bool(self._calls) and all(call.ended_at is not None for call in self._calls)

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

    def counted(self) -> list[CountedCall]:
        """Return every call once, in the order of their starts. The first time decides, at the end of the run."""
        if self._counted is None:
            counted: list[CountedCall] = []
            for reporter in self._reporters():
                found: list[CountedCall] = []
                for call in self._calls:
                    if call.reporter == reporter:
                        found += _new_calls(call, counted, found)
                counted += found
            for one in counted:
                if one.call.is_background and _is_incomplete(one.reading):
                    _await_response(one.reading)
            self._counted = sorted(counted, key=lambda one: one.call.started_at)
        return list(self._counted)

    def _reporters(self) -> list[str]:
        """Return who reports calls, the most trusted first.

        A framework that calls models through another one begins its calls first, and knows less about them.
        """
        trust = {call.reporter: _SOURCES.index(call.source) for call in reversed(self._calls)}
        return sorted(trust, key=trust.__getitem__)

    def release(self) -> None:
        """Forget requests, responses and the objects that were read."""
        for call in self._calls:
            call.release()
        self._counted = None
        self._known.clear()
        self.lines = None


def _new_calls(call: ProviderCall, counted: list[CountedCall], same_source: list[CountedCall]) -> list[CountedCall]:
    """Return the calls in a report that nobody has reported before; merge the others into the known calls."""
    reading = call.reading()
    if call.is_lookup:
        return [] if reading is None else _looked_up(call, reading, same_source)
    if reading is None:
        return _new_calls_without_response(call, counted)
    if call.source == "client":
        return [CountedCall(call, part) for part in reading.calls]
    new = []
    for part in reading.calls:
        twin = _twin(part, call, counted)
        if twin is not None:
            twin.add(call, part)
        elif not _is_repeated(part, call, same_source) and not _is_covered(part, call, counted):
            new.append(CountedCall(call, part))
    return new


def _new_calls_without_response(call: ProviderCall, counted: list[CountedCall]) -> list[CountedCall]:
    """Return a call whose response says nothing, or that failed before it, unless another source has seen it."""
    reading = Reading(error=call.error or None)
    if call.source == "client":
        return [CountedCall(call, reading)]
    if not call.error and call.source != "framework":
        return []
    is_failed = bool(call.error)
    twin = next((one for one in counted if one.is_failed == is_failed and one.is_free_for(call)), None)
    if twin is None:
        return [CountedCall(call, reading)]
    twin.add(call, reading)
    return []


def _looked_up(call: ProviderCall, reading: Reading, known: list[CountedCall]) -> list[CountedCall]:
    """Return the response of a lookup if it counts; complete the call of this run that started it.

    It counts once: when it is complete, after it was seen in this process before it was.
    """
    twin = next((one for one in known if not set(reading.ids).isdisjoint(one.reading.ids)), None)
    if _is_incomplete(reading):
        if twin is None:
            _await_response(reading)
    elif twin is not None:
        if _is_incomplete(twin.reading):
            twin.reading = reading
    elif _is_awaited(reading):
        return [CountedCall(call, reading)]
    return []


def _is_incomplete(reading: Reading) -> bool:
    """Return whether a response has only begun."""
    return reading.usage is None and reading.error is None and not reading.finish_reasons


def _await_response(reading: Reading) -> None:
    """Remember the id of a response that is not complete."""
    for response_id in reading.ids:
        if response_id not in _awaited:
            _awaited.append(response_id)


def _is_awaited(reading: Reading) -> bool:
    """Return whether the id of a response was remembered; it is forgotten by this."""
    for response_id in reading.ids:
        try:
            _awaited.remove(response_id)
        except ValueError:
            continue
        return True
    return False


def _twin(reading: Reading, report: ProviderCall, counted: Iterable[CountedCall]) -> CountedCall | None:
    """Find the call that a report describes: by its response id, else by its tokens, else the first without figures."""
    free = [one for one in counted if one.is_free_for(report)]
    for one in free:
        if not set(reading.ids).isdisjoint(one.reading.ids):
            return one
    others = [one for one in free if not _are_comparable(reading.ids, one.reading.ids)]
    same = []
    if reading.usage is not None:
        same = [one for one in others if _tokens(one.usage) == _tokens(reading.usage)]
        same += [one for one in others if _differ_by_cache(one.usage, reading.usage)]
    is_failed = bool(report.error or reading.error)
    same += [one for one in others if one.reading.usage is None and one.is_failed == is_failed]
    return same[0] if same else None


def _is_repeated(reading: Reading, call: ProviderCall, same_source: Iterable[CountedCall]) -> bool:
    """Return whether the same source has reported the same response before, in another form.

    A handler may observe a stream and then the message that was put together from it, or an object and then its dict.
    Two streams are two calls, whatever their ids.
    """
    return any(
        one.call.form is not call.form and not set(reading.ids).isdisjoint(one.reading.ids) for one in same_source
    )


def _is_covered(reading: Reading, report: ProviderCall, counted: list[CountedCall]) -> bool:
    """Return whether a report without a response id adds nothing to the calls that other sources have seen.

    It adds nothing if it has no figures, if it is the sum of some calls, or if it contains all of them. If it contains
    more than all of them, there are calls that nobody saw, and the known figures are a lower bound.
    """
    free = [one for one in counted if one.is_free_for(report)]
    if not free or any(_are_comparable(reading.ids, one.reading.ids) for one in free):
        return False
    if reading.usage is None:
        return True
    tokens = _numbers(reading.usage)
    figures = [_numbers(one.usage) for one in free]
    total = sum(pair[0] for pair in figures), sum(pair[1] for pair in figures)
    if tokens == total or tokens in _sums(figures[:_MOST_COMBINED]):
        return True
    if tokens[0] < total[0] or tokens[1] < total[1]:
        return False
    unknown = next((one for one in free if one.reading.usage is None and not one.call.error), None)
    if unknown is not None:
        rest = Usage(tokens[0] - total[0], tokens[1] - total[1]).with_total()
        unknown.reading = replace(unknown.reading, usage=rest)
    else:
        free[0].mark_lower_bound()
    return True


def _sums(figures: Iterable[tuple[int, int]]) -> set[tuple[int, int]]:
    """Return the sums of all combinations of calls."""
    sums: set[tuple[int, int]] = set()
    for pair in figures:
        sums |= {(pair[0] + known[0], pair[1] + known[1]) for known in sums} | {pair}
    return sums


def _are_comparable(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Return whether two ids are of the same kind, so that different ids mean different calls.

    Frameworks give responses ids of their own (``run-…``) beside the provider's (``chatcmpl-…``).
    """
    return bool(one and other) and _kind_of(one[0]) == _kind_of(other[0])


def _kind_of(response_id: str) -> str:
    return "".join(takewhile(str.isalpha, response_id))


def _tokens(usage: Usage) -> tuple[int | None, int | None]:
    return usage.input_tokens, usage.output_tokens


def _differ_by_cache(one: Usage, other: Usage) -> bool:
    """Return whether two usages are the same, except that only one of them counts cached tokens as input."""
    if one.output_tokens is None or one.output_tokens != other.output_tokens:
        return False
    difference = abs((one.input_tokens or 0) - (other.input_tokens or 0))
    caches = [(usage.cached_input_tokens or 0, usage.cache_write_input_tokens or 0) for usage in (one, other)]
    return any(difference in (read, written, read + written) for read, written in caches)


def _numbers(usage: Usage) -> tuple[int, int]:
    return usage.input_tokens or 0, usage.output_tokens or 0


def _read_nothing() -> None:
    return None
