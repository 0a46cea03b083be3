"""From the LDClient that a process has, made or inherited, to one that works and is watched."""

from __future__ import annotations

from collections.abc import Callable

from ldclient import LDClient

from .._diagnostics import Diagnostics
from ._connection import watch_connection
from ._fork import NO_THREAD_AT_EXIT, hold_events, revive
from ._sdk import is_inherited

Submit = Callable[[Callable[[], None]], object]


def watch_client(client: LDClient, diagnostics: Diagnostics, submit: Submit) -> None:
    """Watch the connection of a client; one that this process inherited from its parent is revived before.

    Args:
        client: Whose connection it is.
        diagnostics: Where it is said if there is none.
        submit: Runs what takes time, off the caller's thread.
    """
    if is_inherited(client):
        begin_revival(client, diagnostics, submit)
    else:
        _watch(client, diagnostics)


def begin_revival(client: LDClient, diagnostics: Diagnostics, submit: Submit) -> None:
    """Hold the events of an inherited client until it has threads of its own, which are started by ``submit``."""
    hold_events(client, diagnostics)
    if NO_THREAD_AT_EXIT:  # a child that ends at once would be too late
        _revive(client, diagnostics)
    else:
        submit(lambda: _revive(client, diagnostics))


def _revive(client: LDClient, diagnostics: Diagnostics) -> None:
    try:
        revive(client)
    except Exception as exc:
        diagnostics.note(
            "fork",
            "client",
            "This process was forked, and the LDClient that it inherited could not be restarted: its events are "
            "lost. Make the LDClient in each process, or upgrade launchdarkly-server-sdk.",
            exc=exc,
        )
    _watch(client, diagnostics)


def _watch(client: LDClient, diagnostics: Diagnostics) -> None:
    with diagnostics.guard("connection", "watching"):
        watch_connection(client, diagnostics)
