"""Which stream an event belongs to, if the application observes events or lines of streams one by one."""

from __future__ import annotations

import asyncio
import sys
import threading
from contextlib import AbstractContextManager, suppress
from typing import Any, Literal, Protocol

from ..usage import Reading


class CallReader(Protocol):
    """The reader of one provider call; see :class:`~ldai_integrations._run.observer.Observer`."""

    #: The provider's stream, if the response is one.
    stream: Any

    @property
    def is_complete(self) -> bool:
        """Whether the last event has been noted."""

    @property
    def awaits_usage(self) -> bool:
        """Whether the finish reason has been read, and the usage has not."""

    def waiting_share(self, worker: object) -> float:
        """Return for which share of the longest wait another thread or task than this one may still read on."""

    def on_item(self, item: object) -> object:
        """Read an item or an event."""

    def on_end(self, exc: BaseException | None) -> None:
        """Note the last item, or the exception that came instead of the next one."""


class EventStreams:
    """The streams of a run whose events or lines are observed one by one.

    An event belongs to the stream with the id of its response. One without an id belongs to the stream whose event was
    the last one of the same thread or task, or else to the last one of the run: web frameworks may take each step of a
    generator on another thread. The last event of a stream may be the first one with an id, as in Cohere's chat v1.

    Attributes:
        lock: Whoever finds a stream and has it read an event holds this lock.
    """

    def __init__(self) -> None:
        self.lock: AbstractContextManager[bool] = threading.RLock()
        self.clear()

    def clear(self) -> None:
        """Forget the streams."""
        self._by_id: dict[str, CallReader] = {}
        self._last: dict[object, CallReader] = {}
        self._newest: CallReader | None = None
        # The last event of each thread or task, and what was read of it.
        self._last_event: dict[object, tuple[object, Reading]] = {}
        self._seen_once: set[str] = set()
        # Whether the line ``[DONE]`` was the last one of a stream.
        self._is_done = False
        # The streams without an id: the beginning of the text of each, or ``None`` while it has no output.
        self._unnamed: dict[CallReader, str | None] = {}

    @property
    def open(self) -> CallReader | None:
        """The last stream of this thread or task, if its end has not been noted."""
        own = self._last.get(find_worker())
        return None if own is None or own.is_complete else own

    def is_copy(self, event: object, reading: Reading) -> bool:
        """Return whether an event is the last one of this thread or task again, which two functions have observed.

        It is the same object, or it has the same content in another form, such as the line of a chunk.
        """
        last, before = self._last_event.get(find_worker(), (None, None))
        has_other_form = last.__class__ is not event.__class__ and (reading != Reading() or reading.is_start)
        return before == reading and (last is event or has_other_form)

    def place_of(self, event: Reading, *, is_line: bool) -> CallReader | Literal["new stream", "response", "nowhere"]:
        """Return where an event belongs: to a known stream, to a new one, or to none; or it is a response by itself.

        Args:
            event: What was read of the event.
            is_line: Whether it is a line of Server-Sent Events, which is never a response by itself.
        """
        known = self._find(event, is_line=is_line)
        if event.is_whole and not is_line and not (known and event.ids):  # the last event of a stream may repeat it
            return "response"
        if event.error and not event.ids:
            known = self.open
        if known is not None:
            self._note_content(event, known)
            return known
        # Usage without output tokens is that of an answer that goes on.
        is_input = event.usage is not None and event.usage.output_tokens is None and event.has_output
        is_part = event.is_part or is_input
        has_usage_only = not is_line and not event.ids and event.usage is not None and not is_part
        awaits_usage = bool(event.ids) and event.usage is None  # a later event with the same id may have it
        if (event.finish_reasons and not awaits_usage) or event.error or has_usage_only:
            return "response"
        if self._is_done and is_line and event.usage is not None and not (event.is_start or event.has_output):
            return "nowhere"  # figures that a gateway adds to the stream that has ended
        return "new stream" if event.is_start or event != Reading() else "nowhere"

    def _find(self, event: Reading, *, is_line: bool) -> CallReader | None:
        """Return the known stream that an event belongs to; ``None`` if there is none."""
        if event.is_start:
            return None
        own = self._last.get(find_worker())
        known = next((self._by_id[name] for name in event.ids if name in self._by_id), None)
        if not event.ids:
            known = own if own is not None else self._newest
        if known is not None:
            # Some servers give each response the same id, or none.
            is_over = known.is_complete and not known.awaits_usage
            return None if is_over and event.has_output and not event.is_whole else known
        current = own if own is not None else self._newest
        if current is not None and self._ends(event, current, is_line=is_line):
            return current
        is_response = not is_line and (event.is_whole or bool(event.finish_reasons))
        if own is None or is_response or event.ids[0] in self._seen_once:
            return None
        is_usage = event.usage is not None and not event.has_output and not event.finish_reasons
        may_continue = own.awaits_usage if is_usage else not own.is_complete
        if not may_continue:
            return None
        # An id that comes twice is that of a stream. Some servers give each event another one.
        self._seen_once.add(event.ids[0])
        return own

    def _ends(self, event: Reading, stream: CallReader, *, is_line: bool) -> bool:
        """Return whether an event with an unknown id is the end of a stream without one, and no response by itself."""
        beginning = self._unnamed.get(stream)
        is_last = bool(event.ids and event.finish_reasons) and self._seen_once.isdisjoint(event.ids)
        is_response = event.is_whole and not is_line
        if beginning is None or stream.is_complete or is_response or not is_last:
            return False
        # The end of a stream may repeat the whole answer. Another answer begins differently.
        return event.text.startswith(beginning) or not (event.has_output and event.usage is not None)

    def _note_content(self, event: Reading, stream: CallReader) -> None:
        """Note whether a known stream has output and an id."""
        if event.ids:
            self._unnamed.pop(stream, None)
        elif event.has_output and stream in self._unnamed:
            self._unnamed[stream] = self._unnamed[stream] or event.text

    def add(self, event: Reading, stream: CallReader) -> None:
        """Add a stream, of which this is the first event."""
        self._is_done = False
        self._by_id.update(dict.fromkeys(event.ids, stream))
        if not event.ids:
            self._unnamed[stream] = event.text if event.has_output else None

    def note_event(self, event: object, reading: Reading, stream: CallReader) -> None:
        """Note that this thread or task observes an event of a stream."""
        worker = find_worker()
        self._newest = self._last[worker] = stream
        self._last_event[worker] = event, reading

    def note_failure(self) -> None:
        """Note an exception: the same event may be that of another stream."""
        self._last_event.pop(find_worker(), None)

    def note_done(self) -> None:
        """Note the line ``[DONE]``: what follows does not belong to the stream that has ended, whatever its id is."""
        with self.lock:
            own = self._last.get(find_worker())
            ended = [stream for stream in self._by_id.values() if stream.is_complete]
            if own is not None and not ended:
                own.on_end(None)
                ended = [own]
            ended = [stream for stream in ended if not stream.awaits_usage] or ended
            self._by_id = {name: stream for name, stream in self._by_id.items() if stream not in ended}
            self._last = {worker: stream for worker, stream in self._last.items() if stream not in ended}
            if self._newest in ended:
                self._newest = None
            self._is_done = True


def find_worker() -> object:
    """Return the current task of asyncio or Trio, or else the id of the thread."""
    with suppress(RuntimeError):  # no event loop is running
        task = asyncio.current_task()
        if task is not None:
            return task
    trio: Any = sys.modules.get("trio")
    if trio is not None:
        with suppress(RuntimeError, AttributeError):  # it is not running, or not imported to its end
            trio_task: object = trio.lowlevel.current_task()
            return trio_task
    return threading.get_ident()


def is_at_work(worker: object) -> bool:
    """Return whether a worker that :func:`find_worker` has returned may still be at work, and is not this one.

    Of a thread, nobody knows whether it has ended.
    """
    if worker == find_worker():
        return False
    return isinstance(worker, int) or (isinstance(worker, asyncio.Task) and not worker.done())
