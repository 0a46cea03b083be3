"""Connections on which a provider sends the events of any number of responses: OpenAI's Realtime and Responses APIs."""

from __future__ import annotations

from typing import Any

from .._run.current import get_open_run, note_call_outside
from .._run.observe import observe_events
from .._run.observer import Observer
from .._run.proxy import Proxy
from .._run.request import ProviderRequest
from ._providers import CallKind

_TRANSCRIPTION = CallKind("audio")
# The transcript of what a user said. A model of its own writes it, and OpenAI bills it as well.
_TRANSCRIBED = "conversation.item.input_audio_transcription.completed"
# Events that end what they belong to.
_LAST = ("response.completed", "response.incomplete", "response.failed", "response.done", "error", _TRANSCRIBED)


class _WithMethods(Proxy):
    """A stand-in that is ``self`` in the methods of the object, so that they call and return what is tracked."""

    def __getattr__(self, name: str) -> Any:
        return self._self_bind(getattr(self.__wrapped__, name))


class ConnectionManager(_WithMethods):
    """A manager that opens a connection whose events are read.

    Args:
        inner: The manager of the provider's library.
        kind: What each response on the connection is.
    """

    def __init__(self, inner: object, kind: CallKind) -> None:
        super().__init__(inner)
        self._self_kind = kind

    def __enter__(self) -> object:
        return _Connection(self.__wrapped__.__enter__(), self._self_kind)

    def enter(self) -> object:
        """Open the connection; in an async client, return an awaitable of it."""
        entered = self.__wrapped__.enter()
        return (
            self._self_enter_later(entered) if hasattr(entered, "__await__") else _Connection(entered, self._self_kind)
        )

    async def __aenter__(self) -> object:
        return _Connection(await self.__wrapped__.__aenter__(), self._self_kind)

    async def _self_enter_later(self, entered: Any) -> object:
        return _Connection(await entered, self._self_kind)


class _Connection(_WithMethods):
    """A connection whose events are read. Each response is a call of the run in which it is created.

    All methods that receive events do so through ``parse_event``. A thread that only receives knows no run: its
    responses belong to the run in which the connection was opened.
    """

    def __init__(self, inner: object, kind: CallKind) -> None:
        super().__init__(inner)
        self._self_kind = kind
        self._self_run = get_open_run()
        self._self_open: dict[str, Observer] = {}
        self._self_lanes: dict[str, str] = {}

    def __iter__(self) -> Any:
        return type(self.__wrapped__).__iter__(self)

    def __aiter__(self) -> Any:
        return type(self.__wrapped__).__aiter__(self)

    def parse_event(self, data: Any) -> Any:
        """Parse an event, and read it."""
        event = self.__wrapped__.parse_event(data)
        kind, key = _text_of(event, "type"), self._self_response_of(event)
        if kind == "response.created":
            self._self_begin(key, self._self_kind)
            self._self_lanes[_text_of(event, "stream_id")] = key
        elif kind == _TRANSCRIBED or (kind == "error" and key not in self._self_open and self._self_fails):
            self._self_begin(key, _TRANSCRIPTION if kind == _TRANSCRIBED else self._self_kind)
        events = self._self_open.get(key)
        if events is not None:
            events.on_item(event)
            if kind in _LAST:
                events.on_end(None)
                del self._self_open[key]
        return event

    @property
    def _self_fails(self) -> bool:
        """Whether an error event ends a response. One of the Realtime API is about what the application sent."""
        return self._self_kind.api == "responses"

    def _self_response_of(self, event: Any) -> str:
        """Return the id of the response that an event belongs to, or another key that no response has.

        The Responses API names a response in its first and its last event only. It sends one after the other on each
        lane of the connection.
        """
        kind = _text_of(event, "type")
        response_id = _text_of(event, "response_id") or _text_of(getattr(event, "response", None), "id")
        if not response_id and (kind.startswith("response.") or (kind == "error" and self._self_fails)):
            response_id = self._self_lanes.get(_text_of(event, "stream_id"), "")
        return response_id

    def _self_begin(self, key: str, kind: CallKind) -> None:
        run = get_open_run() or self._self_run
        if run is None or run.finished:
            note_call_outside()
        else:
            call = run.ledger.begin("client", ProviderRequest(kind.api, {}))
            self._self_open[key] = observe_events(run, call)


def _text_of(value: object, name: str) -> str:
    """Return an attribute of an event; an empty text if it is not a text, as openai does not validate events."""
    text = getattr(value, name, None)
    return text if isinstance(text, str) else ""
