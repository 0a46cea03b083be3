"""What was seen of one run while it was open."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..records import Usage
from .bodies import OutputReader, output_of
from .calls import Calls
from .http import is_cancellation
from .output import ModelName, Output
from .overheard import only_overheard

Clock = Callable[[], float]
OnTrouble = Callable[[Exception], None]

# Counting this many characters takes about 1 ms.
_LONG = 16_000
#: How many chunks wait to be read together, and how long one is that does not wait.
MOST_WAITING, LONG_CHUNK = 64, 1_024

_UNREADABLE = "application/octet-stream"


def _ignore(_exc: Exception) -> None:
    return None


def _unread(_item: Any) -> bool:
    return False


class Evidence:
    """Collect what doors, streams and handlers tell about one run; judge nothing.

    Written from whatever thread runs the handler; every write is a single assignment or append.
    """

    __slots__ = (
        "_content_type",
        "_limit",
        "_model_name",
        "_on_trouble",
        "_output",
        "_reader",
        "_said",
        "calls",
        "cancelled",
        "clock",
        "error",
        "first_answer_at",
        "first_token_at",
        "generated",
        "judged_error",
        "kept_chars",
        "last_item_at",
        "no_generation",
        "prompt",
        "said_tools",
        "said_usage",
        "status",
        "waiting",
        "waits",
        "whole",
    )

    def __init__(self, clock: Clock, model_name: ModelName, limit: int, on_trouble: OnTrouble = _ignore) -> None:
        self.cancelled = False
        self.error: BaseException | None = None
        self.status: int | None = None
        self.whole = False
        self.judged_error: bool | None = None
        #: A provider was called or output was made: a 4xx no longer discards the run.
        self.generated = False
        #: The request was for something of ours, such as a vote: the run is discarded.
        self.no_generation = False
        #: How much plain text of the answer is kept, for judges.
        self.kept_chars = 0
        self.prompt: list[dict[str, Any]] | None = None
        self.said_usage: Usage | None = None
        self.said_tools: list[str] = []
        self.calls = Calls()
        self.first_token_at: float | None = None
        #: The first visible text; reasoning and tool calls come before it.
        self.first_answer_at: float | None = None
        #: When the last item passed, or the handler returned what is to pass.
        self.last_item_at: float | None = None
        self.clock = clock
        #: Chunks that are read later, together: it costs a fraction, and they cannot change until then.
        self.waiting: list[Any] = []
        #: The type that all of them have; none before the answer has begun, the time of which must be known.
        self.waits: type[str | bytes] | None = None
        self._model_name = model_name
        self._limit = limit
        self._on_trouble = on_trouble
        self._content_type: str | None = None
        self._reader: OutputReader | None = None
        self._output: Output | None = None
        #: Text that the handler returned; read when the run is accounted for, as it cannot change.
        self._said: str | None = None

    def raised(self, exc: BaseException) -> None:
        """Note an exception; the first one counts."""
        if is_cancellation(exc):
            self.cancelled = True
        elif self.error is None:
            self.error = exc

    def responded(
        self, status: int | None, content_type: str | None, *, whole: bool = False, compressed: bool = False
    ) -> None:
        """Note what the head of the response says, where it is known.

        Args:
            status: The HTTP status.
            content_type: The media type of the body.
            whole: The body is not streamed and has no first token.
            compressed: The body cannot be read as it passes.
        """
        self.status = status if status is not None else self.status
        self.whole = self.whole or whole
        if compressed or (status is not None and status >= 400):  # the page of an error is nobody's answer
            content_type = _UNREADABLE
        self._content_type = content_type if content_type is not None else self._content_type

    def first_token(self) -> None:
        """Stop the time to the first token; only the first call counts."""
        self.generated = True
        if self.first_token_at is None:
            self.first_token_at = self.clock()

    def returned(self) -> None:
        """Note that the handler has returned; a stream that nobody begins ended here."""
        self.last_item_at = self.clock()

    def put_out(self, item: Any) -> None:
        """Take one item of output; runs for every streamed chunk, so it must stay cheap."""
        self.last_item_at = self.clock()
        waiting = self.waiting
        if type(item) is self.waits and len(item) < LONG_CHUNK and len(waiting) < MOST_WAITING:
            waiting.append(item)
            return
        self.settle()
        reader = self._reader or self._begun()
        if self._fed(reader, item) and self.first_answer_at is None and not self.whole:
            self.spoke(reader, self.last_item_at)
            kind = type(item)
            if self.first_answer_at is not None and (kind is str or kind is bytes):
                self.waits = kind

    def _begun(self) -> OutputReader:
        self._reader = OutputReader(
            self._model_name, content_type=self._content_type, limit=self._limit, keep=self.keeps
        )
        return self._reader

    def settle(self) -> None:
        """Read what has waited; the run may be ended, and this released, by another thread meanwhile."""
        waits, reader = self.waits, self._reader
        if self.waiting and waits is not None and reader is not None:
            chunks = waits().join(self.waiting)
            self.waiting.clear()
            self._fed(reader, chunks)

    def _fed(self, reader: OutputReader, item: Any) -> bool:
        try:
            return reader.feed(item)
        except Exception as exc:  # an item that lies about its type must not break the stream it is in
            reader.feed = _unread
            self._on_trouble(exc)
            return False

    def spoke(self, reader: OutputReader, now: float | None = None) -> None:
        """Note an item that carried something, while there has been no visible text before it."""
        now = self.clock() if now is None else now
        self.generated = True
        if self.first_token_at is None:
            self.first_token_at = now
        if reader.answered():
            self.first_answer_at = now

    def take(self, result: Any) -> None:
        """Take the value that a handler returned."""
        body = _body_of(result) if self.status is not None else None
        if body is not None:
            self.whole = True
            self.put_out(body)
        elif type(result) is str:
            self._said = result
        elif self._reader is None:
            self._output = output_of(result, self._model_name)
            self.generated = self.generated or (self._output is not None and self._output.from_provider)

    def outputs(self) -> list[Output]:
        """Return what is known of provider calls, each once; where that is nothing, what the handler itself put out.

        What the handler said about tokens wins over what was overheard.
        """
        seen, own = self.calls.observed(), self.own_output()
        overheard = self.calls.told() if self.said_usage is None else []
        if not seen and own is not None and (own.usage is not None or not overheard):
            seen = [own]
        return [*seen, *only_overheard(overheard, seen)] if overheard else seen

    def read(self) -> list[Output]:
        """Return what we have read ourselves: text and tools of calls that only others saw are not known."""
        own = self.own_output()
        return self.calls.observed() or ([own] if own is not None else [])

    @property
    def may_be_discarded(self) -> bool:
        """Whether the request may have been refused before there was a run; then nobody need ask for its AI Config."""
        refused = self.error is not None or (self.status is not None and self.status >= 400)
        return self.no_generation or (refused and not self.generated)

    @property
    def is_long(self) -> bool:
        """Whether there is more to count than a request should wait for."""
        return sum(output.chars_to_count for output in self.outputs()) > _LONG

    def keeps(self) -> int:
        """Return how much plain text of the answer is kept, in characters."""
        return self.kept_chars

    def answered(self) -> str:
        """Return the text of the model's answers, else of what the handler put out."""
        texts = [output.text() for output in self.read()]
        return "\n\n".join(text for text in texts if text)

    def own_output(self) -> Output | None:
        """Return what the handler itself put out."""
        self.settle()
        if self._reader is not None:
            return self._reader.output()
        if self._said is not None:
            self._output, self._said = output_of(self._said, self._model_name), None
        return self._output

    def release(self) -> None:
        """Forget texts, callables and the exception, whose traceback leads back here, once the run is accounted for."""
        self.calls.release()
        if self._reader is not None:
            self._reader.feed = _unread  # one that nothing was fed to holds itself, and the run
        self.prompt, self._reader, self._output, self._said = None, None, None, None
        self._model_name, self._on_trouble, self.waits = str, _ignore, None
        self.waiting.clear()
        self.error = None


def _body_of(response: Any) -> bytes | None:
    """Return the body of a response that holds it whole: Starlette's, Werkzeug's, Django's."""
    if getattr(response, "is_sequence", False):
        data = response.get_data()
        return data if isinstance(data, bytes) else None
    if getattr(response, "is_rendered", True) is False:  # Django renders it after its view; to ask before is an error
        return None
    bodies = (getattr(response, name, None) for name in ("body", "content"))
    return next((body for body in bodies if isinstance(body, bytes)), None)
