"""What the modules of this package report to: begin, add_chunk, and end or fail for each provider call."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from weakref import WeakValueDictionary

from .._diagnostics import Diagnostics, Guard
from .._run.body import ItemReader
from .._run.current import get_open_run, note_call_outside
from .._run.failures import is_cancellation
from .._run.ledger import ProviderCall
from .._run.request import ProviderRequest
from .._run.state import RunState
from ..settings import Framework
from ..usage import Reading, read

#: Returns the request of a call, or ``None`` if it cannot be read.
ReadRequest = Callable[[], ProviderRequest | None]


class FrameworkCalls:
    """The provider calls that one framework reports to the current run, known by the framework's own ids.

    No method raises; a failure is a diagnostic. Thread-safe, if the calls of one id are made one after the other.

    Args:
        name: The framework.
        diagnostics: Receives failures.
    """

    def __init__(self, name: Framework, diagnostics: Diagnostics) -> None:
        self.name: Framework = name
        self._diagnostics = diagnostics
        # Its run keeps an open call alive. Some frameworks do not tell when a consumer leaves a stream.
        self._open: WeakValueDictionary[object, _OpenCall] = WeakValueDictionary()

    def guard(self) -> Guard:
        """Guard statements that read the framework's objects: an exception becomes a diagnostic.

        Exceptions of frameworks quote what they could not read, such as a part of a prompt.
        """
        return self._diagnostics.guard("framework", self.name, is_private=True)

    def begin(
        self,
        call_id: object,
        request: ReadRequest | None = None,
        *,
        api: str = "chat",
        begins_late: bool = False,
        ends_late: bool = False,
    ) -> None:
        """Begin a call of the current run; outside of any run, only note that there was one.

        A framework that begins an open call again repeats it, because it has failed.

        Args:
            call_id: The framework's id of the call; any hashable value.
            request: Returns the request, or ``None`` if it cannot be read. It is called only if the tokens have to be
                estimated.
            api: The format of the request; see :class:`ProviderRequest`.
            begins_late: Whether the call may have been made some time ago, and may even have ended.
            ends_late: Whether the end of the call is reported from another thread, maybe after the end of the run. The
                report of the run waits for it, at most ``Settings.usage_wait`` seconds.
        """
        failed = self._open.pop(call_id, None)
        if failed is not None:
            failed.close("repeated")
        run = get_open_run()
        if run is None:
            note_call_outside()
        elif self.name in run.services.settings.frameworks:
            begun = _OpenCall(run, self, api, request)
            begun.call.begins_late = begins_late
            self._open[call_id] = begun
            if ends_late:
                begun.call.wait = partial(self._wait, call_id, begun.ended)

    def add_chunk(self, call_id: object, chunk: object) -> None:
        """Read a chunk of a streamed response; the first one with a delta stops the time to the first token."""
        open_call = self._open.get(call_id)
        if open_call is not None:
            with self.guard():
                open_call.add_chunk(chunk)

    def note_token(self, call_id: object, *, seconds: float | None = None, is_answer: bool = True) -> None:
        """Stop the time to the first token of a call.

        Args:
            call_id: The framework's id of the call.
            seconds: The time between the start of the call and its first token; by default, the token comes now.
            is_answer: Whether it is visible text, and no reasoning or tool call.
        """
        open_call = self._open.get(call_id)
        if open_call is not None:
            open_call.note_token(seconds, is_answer=is_answer)

    def end(self, call_id: object, response: object = None, request: ReadRequest | None = None) -> None:
        """End a call.

        Args:
            call_id: The framework's id of the call.
            response: The response: a :class:`~ldai_integrations.usage.Reading`, or anything that
                :func:`~ldai_integrations.usage.read` can read. Without one, or if the chunks contain the usage,
                the chunks are the response.
            request: Returns the request, as in :meth:`begin`, if it was not known there.
        """
        open_call = self._open.pop(call_id, None)
        if open_call is not None:
            open_call.request = request or open_call.request
            open_call.end(response)

    def fail(self, call_id: object, exc: BaseException, response: object = None) -> None:
        """End a call that raised an exception.

        Args:
            call_id: The framework's id of the call.
            exc: The exception. A cancellation is not a failure.
            response: What the provider sent before it, as in :meth:`end`.
        """
        open_call = self._open.pop(call_id, None)
        if open_call is not None:
            open_call.fail(exc, response)

    def is_open(self, call_id: object) -> bool:
        """Return whether a call has begun and not ended."""
        return call_id in self._open

    def withdraw(self, call_id: object) -> None:
        """Forget a call that was not made after all, for example because its response was in a cache."""
        open_call = self._open.pop(call_id, None)
        if open_call is not None:
            open_call.run.ledger.withdraw(open_call.call)

    def _wait(self, call_id: object, ended: threading.Event, seconds: float) -> None:
        """Wait for the end of a call; without it, the call ends with what is known, and the provider may go on."""
        open_call = self._open.get(call_id)
        if not ended.wait(seconds) and open_call is not None:
            open_call.call.is_cut_short = True
            self.end(call_id)


def mark_as_counted(reading: Reading) -> Reading:
    """Return a reading whose tokens are an estimate: the framework has counted them, and not the provider."""
    counted = frozenset(("input_tokens", "output_tokens", "total_tokens"))
    return reading if reading.usage is None else replace(reading, usage=replace(reading.usage, estimated=counted))


class _OpenCall:
    """A call in progress: an entry of its run's ledger, and the reader of its chunks."""

    def __init__(self, run: RunState, calls: FrameworkCalls, api: str, request: ReadRequest | None) -> None:
        self.run = run
        self._guard = calls.guard
        self.request = request
        self.ended = threading.Event()
        self.call: ProviderCall = run.ledger.begin("framework")
        self.call.framework, self.call.api = calls.name, api
        self._chunks = ItemReader()
        self.call.read = self._read_so_far

    def add_chunk(self, chunk: object) -> None:
        if self._chunks.feed(chunk):
            self.call.note_token(self.run.services.clock(), is_answer=self._chunks.answered)

    def note_token(self, seconds: float | None, *, is_answer: bool) -> None:
        at = self.run.services.clock() if seconds is None else self.call.started_at + seconds
        self.call.note_token(at, is_answer=is_answer)

    def end(self, response: object) -> None:
        with self._guard():
            self._read(response, error=None)
        self.close(self.call.error)

    def fail(self, exc: BaseException, response: object) -> None:
        if isinstance(exc, GeneratorExit) or is_cancellation(exc):
            self.call.note_left(exc, self.run.services.clock())
            self.end(response)
            return
        self.call.fail(exc, self.run.services.clock())
        with self._guard():
            self._read(response if response is not None else exc, error=type(exc).__name__)
        self.close(type(exc).__name__)

    def close(self, error: str) -> None:
        self.call.error = error
        self.call.wait = None
        self.call.end(self.run.services.clock())
        self.ended.set()

    def _read(self, response: object, *, error: str | None) -> None:
        reading = response if isinstance(response, Reading) else read(response)
        usage = reading.usage if reading is not None else None
        has_zeros = usage is not None and not (usage.input_tokens or usage.output_tokens or usage.total_tokens)
        if reading is not None and has_zeros:
            reading = replace(reading, usage=None)  # the provider sent none
        chunks = self._chunks.reading()
        if reading is None or (chunks is not None and (reading.usage is None or chunks.usage is not None)):
            reading = chunks
        if reading is not None:
            known = replace(reading, error=error or reading.error)
            self.call.read = lambda: known
        self._keep_request(reading)

    def _read_so_far(self) -> Reading | None:
        """Read what has arrived of a call whose end the framework has not reported."""
        reading = self._chunks.reading()
        with self._guard():
            self._keep_request(reading)
        return reading

    def _keep_request(self, reading: Reading | None) -> None:
        if self.request is not None and self.run.needs_request(reading):
            self.call.request = self.request()
            self.run.ledger.keep_request(self.call)
