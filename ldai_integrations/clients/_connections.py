"""Connections on which a provider sends the events of any number of responses: OpenAI's Realtime API."""

from __future__ import annotations

from types import MethodType
from typing import Any

from .._run.observe import ObservedEvents, observe_events
from .._run.proxy import Proxy
from .._run.request import ProviderRequest
from ._calls import run_of_call
from ._providers import CallKind

_RESPONSE = CallKind("realtime")


class _WithMethods(Proxy):
    """A stand-in whose methods call each other, and return ``self``, as those of the stand-in."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.__wrapped__, name)
        if type(value) is MethodType and value.__self__ is self.__wrapped__:
            return MethodType(value.__func__, self)
        return value


class ConnectionManager(_WithMethods):
    """A manager that opens a connection whose events are read."""

    def __enter__(self) -> object:
        return _Connection(self.__wrapped__.__enter__())

    def enter(self) -> object:
        """Open the connection; in an async client, return an awaitable of it."""
        entered = self.__wrapped__.enter()
        return _enter_later(entered) if hasattr(entered, "__await__") else _Connection(entered)

    async def __aenter__(self) -> object:
        return _Connection(await self.__wrapped__.__aenter__())


async def _enter_later(entered: Any) -> object:
    return _Connection(await entered)


class _Connection(_WithMethods):
    """A connection whose events are read. Each response is a call of the run in which it is created.

    All methods that receive events do so through ``parse_event``.
    """

    def __init__(self, inner: object) -> None:
        super().__init__(inner)
        self._self_open: dict[str, ObservedEvents] = {}

    def __iter__(self) -> Any:
        return type(self.__wrapped__).__iter__(self)

    def __aiter__(self) -> Any:
        return type(self.__wrapped__).__aiter__(self)

    def parse_event(self, data: Any) -> Any:
        """Parse an event, and read it."""
        event = self.__wrapped__.parse_event(data)
        kind, response = getattr(event, "type", ""), getattr(event, "response", None)
        response_id = getattr(event, "response_id", None) or getattr(response, "id", None)
        if response_id is None:
            return event
        if kind == "response.created":
            run = run_of_call(_RESPONSE)
            if run is not None:
                self._self_open[response_id] = observe_events(
                    run, run.ledger.begin("client", ProviderRequest(_RESPONSE.api, {}))
                )
        events = self._self_open.get(response_id)
        if events is not None:
            events.on_item(event)
            if kind == "response.done":
                events.on_end(None)
                del self._self_open[response_id]
        return event
