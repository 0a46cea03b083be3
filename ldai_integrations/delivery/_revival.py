"""From the LDClient that a process has, made or inherited, to one that works and is watched."""

from __future__ import annotations

from collections.abc import Callable

from ldclient import LDClient

from .._troubles import Troubles
from ._connection import watch_connection
from ._fork import NO_THREAD_AT_EXIT, hold_events, revive
from ._sdk import is_inherited

Submit = Callable[[Callable[[], None]], object]


def watch_client(client: LDClient, troubles: Troubles, submit: Submit) -> None:
    """Watch the connection of a client; one that this process inherited from its parent is revived before.

    Args:
        client: Whose connection it is.
        troubles: Where it is said if there is none.
        submit: Runs what takes time, off the caller's thread.
    """
    if is_inherited(client):
        begin_revival(client, troubles, submit)
    else:
        _watch(client, troubles)


def begin_revival(client: LDClient, troubles: Troubles, submit: Submit) -> None:
    """Hold the events of an inherited client until it has threads of its own, which are started by ``submit``."""
    hold_events(client, troubles)
    if NO_THREAD_AT_EXIT:  # a child that ends at once would be too late
        _revive(client, troubles)
    else:
        submit(lambda: _revive(client, troubles))


def _revive(client: LDClient, troubles: Troubles) -> None:
    try:
        revive(client)
    except Exception as exc:
        troubles.note(
            "fork",
            "client",
            "This process was forked, and the LDClient that it inherited could not be restarted: its events are "
            "lost. Make the LDClient in each process, or upgrade launchdarkly-server-sdk.",
            exc=exc,
        )
    _watch(client, troubles)


def _watch(client: LDClient, troubles: Troubles) -> None:
    with troubles.guard("connection", "watching"):
        watch_connection(client, troubles)
