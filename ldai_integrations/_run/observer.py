"""The reader of one provider call: of its whole response, or of its stream while the application reads that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from .._diagnostics import raise_if_from_signal
from ..usage import Reading, StreamReader, extract, read
from .body import (
    MOST_PARSED,
    BodyReader,
    ItemReader,
    WithoutUsage,
    is_stream_type,
    json_in,
)
from .events import find_worker
from .failures import is_cancellation, may_be_billed, may_be_billed_as
from .kinds import (
    add_billing,
    add_metered,
    add_tier,
    body_of,
    has_body,
    is_botocore_body,
    is_finished,
    is_http_response,
    is_model,
    is_stream,
    is_unreadable_response,
    may_be_whole,
    must_stay,
    raw_response_of,
    reading_of_stream,
    tier_of,
    track_body,
)
from .ledger import ProviderCall
from .proxy import Proxy
from .rest import aread_rests, read_rests
from .state import RunState
from .stream import StreamHooks, track_stream

# To read an entry of a list takes about 25 µs, as long as to count this many characters. A longer list is read later.
_LONG_LIST, _CHARS_OF_ENTRY = 100, 400


def note_failure(run: RunState, call: ProviderCall, exc: BaseException) -> None:
    """Note the exception of a call, and the usage of the response that the exception carries."""
    now = run.services.clock()
    if is_cancellation(exc) or may_be_billed(exc):
        run.ledger.keep_request(call)  # the provider may answer it, and bill it
    else:
        call.request = None  # it was refused, or never sent
    if is_cancellation(exc):
        call.note_left(exc, now)
        return
    run.ledger.remember_failure(exc)
    reading = read(exc)
    if reading is not None and reading.usage is not None:  # the provider answered; only the parsing failed
        call.read = lambda: replace(reading, error=type(exc).__name__)
    call.fail(exc, now)


def _hide_usage(chunk: Any) -> bool:
    """Make a chunk of openai what it is without ``include_usage``; return whether there is no such chunk then."""
    if getattr(chunk, "usage", None) is not None:
        return bool(getattr(chunk, "choices", None) == [])
    getattr(chunk, "model_fields_set", set()).discard("usage")  # which OpenAI sends as null
    return False


class Observer(StreamHooks):
    """The hooks that read one provider call."""

    def __init__(self, run: RunState, call: ProviderCall) -> None:
        self._run = run
        self._ledger = run.ledger
        self._call = call
        self._clock = run.services.clock
        self._reader: ItemReader | BodyReader | StreamReader | None = None
        # Whether the last answer of the stream has ended, and the thread or task that read its finish reason.
        self._is_finished = False
        self._worker: object = None
        # Whether the provider has accepted the request. Some streams send it when their first item is read.
        self._has_begun = False
        # The service tier, if it is not part of the response itself.
        self._tier = ""
        #: The provider's stream, if the response is one.
        self.stream: object = None
        # Whether the response is an event of a stream whose events are observed one by one.
        self._is_event = False

    def take(self, response: object) -> object:
        """Read a response, now or while it passes; return what the caller gets, and remember it."""
        observed = self._take(response)
        if not self._is_event:  # there may be many, and dicts would be kept alive
            self._ledger.remember(observed)
        return observed

    def _take(self, response: object) -> object:
        kind = self._call.form = response.__class__
        if is_model(kind):  # type: ignore[arg-type]  # mypy: a class may be unhashable
            self._take_whole(response)
            return response
        if isinstance(response, dict):
            return self._take_dict(response)
        if is_botocore_body(response):
            return self._take_body(response, {})
        raw = raw_response_of(response)
        if raw is not None:
            self._take_http(raw)
            return response
        if is_unreadable_response(kind):
            self._take_unreadable(response)
            return response
        http = getattr(response, "response", None)
        if is_stream(kind) and not (may_be_whole(kind) and is_finished(response)):
            if is_http_response(http):
                if self._ledger.knows(http):  # parsed from a raw response that is being read
                    self._ledger.withdraw(self._call)
                    return response
                if not self._call.hides_usage and must_stay(kind):
                    self._take_http(http)
                    return response
                self.response, self._has_begun = http, True
            return self._take_stream(response)
        self._take_whole(response)
        return response

    @property
    def is_complete(self) -> bool:
        """Whether the last event has been noted."""
        return self._call.ended_at is not None

    @property
    def awaits_usage(self) -> bool:
        """Whether the finish reason has been read, and the usage has not."""
        return self._reader is not None and self._reader.awaits_usage

    # Streams

    def on_item(self, item: Any) -> object:
        """Read an item; return whether the caller must not see it."""
        call, reader = self._call, self._reader
        call.has_item = True
        if reader is None:
            return False
        try:
            has_delta = reader.feed(item)
            if reader.is_finished and not self._is_finished:
                call.finished_at, self._worker = self._clock(), find_worker()
            self._is_finished = reader.is_finished  # no longer, if another answer begins
            call.rest = self if reader.awaits_usage else None  # the last text may come with the finish reason
            is_hidden = call.hides_usage and _hide_usage(item)
            if not has_delta:
                return is_hidden
            if call.first_answer_at is None:
                call.note_token(self._clock(), is_answer=reader.answered)
                if isinstance(reader, ItemReader):
                    self._reader = reader.fastest
        except Exception as exc:  # an item that cannot be read must not break its stream
            self._fail_to_read(exc)
        return False

    def waiting_share(self, worker: object) -> float:
        """Return for which share of the longest wait another thread or task than this one may still read on.

        It is 0 if nobody does: a loop that was left has dropped its iterator. It is one half if the stream is its own
        iterator, which does not show whether a loop was left. Otherwise, it is 1.
        """
        iterator = self.iterator() if self.iterator is not None else None
        is_over = isinstance(self._worker, asyncio.Task) and self._worker.done()
        if iterator is None or is_over or self._worker in (None, worker):
            return 0.0
        return 0.5 if issubclass(type(iterator), Proxy) else 1.0

    def on_end(self, exc: BaseException | None) -> None:
        """Note the end of the stream."""
        self._call.rest = None  # nothing more can be read of it
        if exc is None:
            self._note_if_unknown()
            if self._call.source == "observed" and not self._call.has_item and self._overlaps_others():
                self._ledger.withdraw(self._call)  # it selects items of another stream, and there was none
            self._call.end(self._clock())
        elif is_cancellation(exc):
            self._call.note_left(exc, self._clock())
        else:
            self._ledger.remember_failure(exc)
            has_begun = self._has_begun or self._call.has_item
            self._call.fail(exc, self._clock(), has_begun=has_begun)

    def on_left(self, exc: BaseException | None) -> None:
        """Note that the consumer left the stream. The exception is its own: the steps of the stream note theirs."""
        self.on_end(exc if exc is not None and is_cancellation(exc) else GeneratorExit())

    def on_enter(self, entered: object) -> object:
        """Take the stream that a manager gives: its request starts when it is entered."""
        if self._ledger.knows(entered):
            return entered
        self._has_begun = True
        return self.take(entered)

    def on_enter_failed(self, exc: BaseException) -> None:
        """Note that the request failed, which starts when the manager is entered."""
        note_failure(self._run, self._call, exc)

    def read_rest(self) -> None:
        """Read the usage that the provider sends after the finish reason, for a limited time."""
        if self._call.rest is not None:
            read_rests(self._run.services, self._ledger, self._call)

    async def aread_rest(self, exc: BaseException | None = None) -> None:
        """Read the usage that the provider sends after the finish reason, for a limited time."""
        if self._call.rest is not None and exc is None:  # nothing follows an exception or the end of the stream
            await aread_rests(self._run.services, self._ledger, self._call)

    def _take_stream(self, stream: object) -> object:
        self.read_items(stream)
        return track_stream(stream, self)

    def read_items(self, stream: object = None) -> None:
        """Read the items that :meth:`on_item` is given."""
        self.stream, reader = stream, ItemReader()
        http: Any = self.response
        headers = http.headers if is_http_response(http) else {}
        self._read_with(reader, lambda: add_billing(reading_of_stream(reader, stream), headers))

    def read_lines(self) -> None:
        """Read the lines of Server-Sent Events or JSON that :meth:`on_item` is given."""
        reader = StreamReader()
        self._read_with(reader, lambda: reader.reading() if reader.recognised else None)

    # Whole responses and bytes

    def _take_dict(self, response: dict[Any, object]) -> object:
        """Take what boto3 returns: a dict with a stream, or with a body that can be read once, in it."""
        self._tier, self._has_begun = tier_of(response), True
        for name in ("stream", "body"):
            value = response.get(name)
            if is_botocore_body(value):
                return {**response, name: self._take_body(value, response)}
            if value is not None and is_stream(value.__class__):
                return {**response, name: self._take_stream(value)}
        self._take_whole(response)
        return response

    def _take_whole(self, response: object) -> None:
        if type(response) in (list, tuple) and self._take_long_list(tuple(cast("list[object]", response))):
            return
        reading, call = read(response), self._call
        if reading is None and call.source != "client":
            self._ledger.withdraw(call)
            self.note_unknown(response)
            return
        if call.source == "observed" and reading is not None and type(response) is not list:
            self._is_event = self._take_event(response, reading)
        if not self._is_event:
            self._take_reading(reading)

    def take_text(self, text: str | bytes, reading: Reading, *, is_line: bool) -> None:
        """Take a line of Server-Sent Events or of JSON."""
        if not self._take_event(text, reading, is_line=is_line):
            if is_line and reading.has_output:  # a stream of one event
                self._call.note_token(self._clock(), is_answer=bool(reading.text))
            self._take_reading(reading)

    def _take_reading(self, reading: Reading | None) -> None:
        call = self._call
        call.is_whole = True
        call.read = lambda: reading
        call.end(self._clock())
        if self._run.needs_request(reading):
            chars = len(reading.text) + len(reading.reasoning) if reading is not None else 0
            call.measure = lambda: chars
            self._ledger.keep_request(call)
        else:
            call.request = None

    def _take_event(self, event: object, reading: Reading, *, is_line: bool = False) -> bool:
        """Take an event of a stream whose events are observed one by one; return whether it is one."""
        streams = self._ledger.events
        with streams.lock:
            stream = "nowhere" if streams.is_copy(event, reading) else streams.place_of(reading, is_line=is_line)
            if stream == "response":
                return False
            if stream == "new stream":
                if reading.is_start and streams.open is not None:
                    self._note_mixed()
                self.read_lines() if isinstance(event, (str, bytes)) else self.read_items()
                streams.add(reading, self)
                stream = self
            else:
                self._ledger.withdraw(self._call)
            if stream != "nowhere":
                streams.note_event(event, reading, stream)
                stream.on_item(event)
                if reading.finish_reasons:
                    stream.on_end(None)
        return True

    def _take_long_list(self, entries: tuple[object, ...]) -> bool:
        """Have a long list of responses or events read when the run is reported; return whether it is one."""
        if len(entries) <= _LONG_LIST or read(entries[:_LONG_LIST]) is None:
            return False
        self._take_later(lambda: read(entries), len(entries) * _CHARS_OF_ENTRY)
        return True

    def take_document(self, text: str | bytes) -> bool:
        """Take the value of a JSON document, which is not a line of a stream; return whether it is JSON."""
        if len(text) > MOST_PARSED:
            self._call.is_whole = True
            self._take_later(lambda: read(json_in(text)), len(text))
            return True
        document = json_in(text)
        if document is not None:
            self._take_whole(document)
        return document is not None

    def _take_later(self, reading: Callable[[], Reading | None], chars: int) -> None:
        """Have something read when the run is reported, which takes as long as to count so many characters."""
        self._call.read, self._call.measure = reading, lambda: chars
        self._call.end(self._clock())
        self._ledger.keep_request(self._call)

    def _take_body(self, body: Any, response: Mapping[str, Any]) -> object:
        """Take a body that can be read once: the caller gets another one, which reads from it."""
        reader = self._body_reader(str(response.get("contentType") or "application/json"), "")
        metered = extract({"ResponseMetadata": response.get("ResponseMetadata")})  # the headers of InvokeModel
        self._read_with(reader, lambda: add_metered(reader.reading(), metered))
        return track_body(body, self)

    def _take_http(self, http: Any) -> None:
        """Take an HTTP response whose bytes are read as they pass, now if they are there already."""
        self._ledger.remember(http)
        self._has_begun = http.status_code < 400
        if not self._has_begun:  # the body says what is wrong, in any format
            self.note_error_status(http.status_code)
            return
        headers = http.headers
        content_type = str(headers.get("content-type") or "application/json")
        if has_body(http):
            reader = BodyReader(content_type, limit=len(http.content))
            self._read_with(reader, lambda: self._known_in(http, add_billing(reader.reading(), headers)))
            self.on_item(http.content)
            self._call.end(self._clock())
            return
        if not hasattr(http.__class__, "iter_bytes"):  # a stream of requests
            self._take_unreadable(http)
            return
        encoding = headers.get("content-encoding") or ""
        reader = self._body_reader(content_type, encoding)
        self._read_with(
            reader,
            lambda: self._known_in(http, add_billing(self._reading_of_body(reader, http, content_type), headers)),
        )
        self.stream = http.stream
        http.stream = track_stream(http.stream, self)
        if self._call.hides_usage and is_stream_type(content_type) and not encoding:
            http.stream = WithoutUsage(http.stream)

    def _known_in(self, http: object, reading: Reading | None) -> Reading | None:
        """Return what is known of an HTTP response; say that nothing is."""
        if reading is None and self._call.source == "observed" and not self._call.error:
            self.note_unknown(http)
        return reading

    def _take_unreadable(self, http: Any) -> None:
        """Take an HTTP response of whose body nothing can be read: it is a failed call, or none."""
        status = getattr(http, "status", None) or http.status_code
        if status >= 400:
            self.note_error_status(status)
        else:
            self._ledger.withdraw(self._call)
            self.note_unknown(http)

    def note_error_status(self, status: int) -> None:
        """Note that the response has the status of an error."""
        self._call.error = str(status)
        self._call.is_cut_short = may_be_billed_as(self._call.error)
        self._call.end(self._clock())  # nobody needs the body

    def _reading_of_body(self, reader: BodyReader, http: Any, content_type: str) -> Reading | None:
        """Return what a body contains that was read in parts. A long one is read if the response has kept it."""
        if not reader.is_too_long:
            return reader.reading()
        body = body_of(http)
        if body is not None:
            document = BodyReader(content_type, limit=len(body))
            document.feed(body)
            return document.reading()
        self._call.is_too_long = True
        services, key = self._run.services, self._run.config_key
        services.diagnostics.note(
            "too_long",
            f"{key}: provider",
            "A provider's response in a run of %r is longer than %d bytes and is read in parts, so the usage in it is "
            "unknown. Read it as a whole, or set a higher Settings(max_body_bytes=…).",
            key,
            services.settings.max_body_bytes,
        )
        return Reading()

    def _body_reader(self, content_type: str, content_encoding: str) -> BodyReader:
        services = self._run.services
        reader = BodyReader(content_type, content_encoding, limit=services.settings.max_body_bytes)
        if reader.is_undecodable:
            services.diagnostics.note(
                "encoding",
                f"provider: {content_encoding}",
                "A provider's response with Content-Encoding %s cannot be decoded, so the usage in it is unknown. Give "
                "the client the header Accept-Encoding: gzip.",
                content_encoding,
            )
        return reader

    def _read_with(self, reader: ItemReader | BodyReader | StreamReader, reading: Callable[[], Reading | None]) -> None:
        self._reader = reader
        self._call.read = lambda: add_tier(reading(), self._tier)
        self._call.is_stream = not isinstance(reader, BodyReader) or reader.is_stream
        self._call.measure = lambda: reader.size
        self._ledger.keep_request(self._call)

    def _note_mixed(self) -> None:
        key = self._run.config_key
        self._run.services.diagnostics.note(
            "observe_mixed",
            key,
            "run.observe() was given the first event of a stream in a run of %r while another stream had not ended. If "
            "the events of several streams come in turn, and have no ids, their tokens are a lower bound. Give "
            "run.observe() each stream itself, for example response.iter_lines().",
            key,
        )

    def _note_if_unknown(self) -> None:
        """Say that a stream is not in the format of any provider, unless other calls took place while it was read."""
        call, reader = self._call, self._reader
        is_new = call.source == "observed" and call.ended_at is None
        if (
            is_new
            and isinstance(reader, ItemReader)
            and reader.reading() is not None
            and not (reader.recognised or self._overlaps_others())
        ):
            self.note_unknown(self.stream)

    def _overlaps_others(self) -> bool:
        """Return whether other calls took place while this one was in progress."""
        return any(one.overlaps(self._call) for one in self._ledger if one is not self._call)

    def note_unknown(self, response: object) -> None:
        """Say that an object is not in the format of any provider."""
        name, key = type(response).__name__, self._run.config_key
        self._run.services.diagnostics.note(
            "observe_unknown",
            f"{key}: {name}",
            "run.observe() was given an object of type %s that is not in the format of any provider, in a run of %r; "
            "it is not counted. Give it the provider's response or stream: of an HTTP response, what json() returns, "
            "or its lines.",
            name,
            key,
        )

    def _fail_to_read(self, exc: Exception) -> None:
        raise_if_from_signal(exc)
        self._reader = None
        key = self._run.config_key
        self._run.services.diagnostics.note(
            "output", key, "A response of %r cannot be read; its tokens stay unknown.", key, exc=exc
        )
