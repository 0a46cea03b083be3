"""The cost of an event: ``LDClient.track`` with our event processor, against the event processor of the SDK."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from typing import Any

from ldclient import Config, Context, LDClient

from ldai_integrations.delivery import SpoolingEventProcessor

from ._measure import Contestant, Figure, interleaved, ratio
from ._receiver import Faults, receiving

_EVENTS, _ROUNDS = 5_000, 15
_CONTEXT = Context.create("ada")
_DATA = {"runId": "r", "configKey": "c", "version": 1, "modelName": "gpt-4o-mini", "providerName": "OpenAI"}


def figures() -> list[Figure]:
    """Measure the time of the caller, and the CPU time of the process until every event is delivered."""
    with ExitStack() as opened:
        url = opened.enter_context(receiving(Faults()))
        clients = {
            name: opened.enter_context(closing(LDClient(Config("benchmark", event_processor_class=kind, **_uris(url)))))
            for name, kind in {"sdk": None, "ours": SpoolingEventProcessor}.items()
        }
        callers = interleaved({name: _caller(client) for name, client in clients.items()}, rounds=_ROUNDS)
        totals = interleaved({name: _total(client) for name, client in clients.items()}, rounds=_ROUNDS)
    return [
        Figure(what="event / with the SDK's processor, caller", value=ratio(callers, "ours", "sdk"), note="CPU time"),
        Figure(
            what="event / with the SDK's processor, process",
            value=ratio(totals, "ours", "sdk"),
            note="CPU time of all threads",
        ),
    ]


def _caller(client: LDClient) -> Contestant:
    def contestant() -> float:
        begun = time.thread_time()
        for _ in range(_EVENTS):
            client.track("event", _CONTEXT, _DATA, 1)
        seconds = time.thread_time() - begun
        _settle(client)
        return seconds / _EVENTS

    return contestant


def _total(client: LDClient) -> Contestant:
    def contestant() -> float:
        begun = time.process_time()
        for _ in range(_EVENTS):
            client.track("event", _CONTEXT, _DATA, 1)
        _settle(client)
        return (time.process_time() - begun) / _EVENTS

    return contestant


def _settle(client: LDClient) -> None:
    client.flush()
    time.sleep(0.5)


def _uris(url: str) -> dict[str, Any]:
    return {"base_uri": url, "stream_uri": url, "events_uri": url}
