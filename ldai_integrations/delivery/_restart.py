"""The restart of an LDClient that a forked child inherited from its parent.

Threads do not survive a fork, so an inherited client neither receives AI Configs nor sends events. In the child, its
event processor is replaced by one that holds the events, and the first event starts ``LDClient.postfork()`` on a
thread. The flags that the parent had received are served meanwhile. This also works for code that uses the LDClient
itself and opens no run.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from typing import Any

from ldclient import LDClient
from ldclient.interfaces import EventProcessor

from .._diagnostics import Diagnostics
from .._locks import forks
from ._connection import watch_connection
from ._exit import exits
from ._sdk import is_closed, is_inherited, processor_of, replace_processor, without_timeout_warning
from ._threads import start_thread

# The number of events that an LDClient buffers by default.
_MAX_HELD = 10_000

# The time for LDClient.close(), as for our own event processor.
_STOP_SECONDS = 10.0

# Python 3.12.0 to 3.12.2 start no thread after the interpreter has begun to shut down, which is before its exit hooks
# run (python/cpython#113964). A child that ends at once must not need one.
_STARTS_NO_THREAD_AT_EXIT = (3, 12) <= sys.version_info < (3, 12, 3)

# The clients that a child may inherit, with the diagnostics of their applications.
_clients = weakref.WeakKeyDictionary[LDClient, Diagnostics]()
# How many events of a client were lost because its queue was full. The client's next event processor cannot know.
_lost = weakref.WeakKeyDictionary[LDClient, int]()
# For each client whose restart is under way, the event that is set when its held events have been passed on.
_restarts = weakref.WeakKeyDictionary[LDClient, threading.Event]()


def watch_client(client: LDClient, diagnostics: Diagnostics) -> None:
    """Report when LaunchDarkly refuses a client, and restart the client in forked children.

    Args:
        client: The client. If this process inherited it, it is restarted now.
        diagnostics: Where failures are noted.
    """
    _clients[client] = diagnostics
    if not ensure_started(client, diagnostics):
        _watch(client, diagnostics)


def ensure_started(client: LDClient, diagnostics: Diagnostics) -> bool:
    """Start the restart of a client, without waiting for it, if this process is a forked child that inherited it.

    Returns:
        False if the client works in this process.
    """
    with forks.lock:
        if is_inherited(client):  # Python saw no fork (uWSGI), or nothing has watched the client yet
            _lost.pop(client, None)
            replace_processor(client, HeldEvents(client, diagnostics))
        processor = processor_of(client)
    if not isinstance(processor, HeldEvents):
        return False
    processor.restart()
    return True


def wait_for_restart(client: LDClient, timeout: float) -> int | None:
    """Wait for a restart that is under way.

    Returns:
        ``None`` if the client works in this process. Otherwise the number of events that wait for its restart, which
        is 0 in a child that has not used it.
    """
    done = _restarts.get(client)
    if done is not None:
        done.wait(timeout)
    processor = processor_of(client)
    if isinstance(processor, HeldEvents):
        return len(processor)
    return 0 if is_inherited(client) else None


def count_events_lost_by_fork(client: LDClient) -> dict[str, int]:
    """Return how many events were lost because the queue of a restart was full, by reason."""
    lost = _lost.get(client, 0)
    return {"fork": lost} if lost else {}


class HeldEvents(EventProcessor):
    """A queue in place of an inherited client's event processor, until the client has its own again.

    The inherited one would lose the events, and might wait for ever for a lock that a thread of the parent held. The
    first event starts the restart. Thread-safe.
    """

    def __init__(self, client: LDClient, diagnostics: Diagnostics) -> None:
        self._client = client
        self._diagnostics = diagnostics
        self._lock = threading.Lock()
        self._events: list[Any] = []
        self._begun = False
        self._done = threading.Event()

    def __len__(self) -> int:
        return len(self._events)

    def send_event(self, event: Any) -> None:
        """Hold an event, or pass it on if the client has its own event processor by now."""
        with self._lock:
            processor = processor_of(self._client)
            has_room = len(self._events) < _MAX_HELD
            if processor is not self:
                processor.send_event(event)
            elif has_room:
                self._events.append(event)
            else:
                _lost[self._client] = _lost.get(self._client, 0) + 1
        if processor is not self:
            return
        if not has_room:
            self._diagnostics.note(
                "events",
                "fork",
                "LaunchDarkly events are lost (fork): more than %d arrived before the LDClient that this process "
                "inherited was restarted. Create the LDClient after the fork.",
                _MAX_HELD,
            )
        self.restart()

    def restart(self) -> None:
        """Restart the client on a thread, once. It takes some milliseconds and does not wait for LaunchDarkly."""
        with self._lock:
            if self._begun:
                return
            self._begun = True
            _restarts[self._client] = self._done
        exits.arm()
        if _STARTS_NO_THREAD_AT_EXIT or start_thread(self._restart, "ldai-restart") is None:
            self._restart()

    def flush(self) -> None:
        """Do nothing: the events are sent when the client has its own event processor."""

    def stop(self) -> None:
        """Restart the client and stop its own event processor; called by ``LDClient.close()``.

        Without the restart, ``close()`` would wait for ever for a thread of the parent.
        """
        self.restart()
        wait_for_restart(self._client, _STOP_SECONDS)
        processor = processor_of(self._client)
        if processor is not self:
            processor.stop()

    def _restart(self) -> None:
        try:
            with without_timeout_warning():
                self._client.postfork(start_wait=0)
        except Exception as exc:
            self._diagnostics.note(
                "fork",
                "client",
                "This process was forked, and the LDClient that it inherited could not be restarted: its events are "
                "lost. Create the LDClient in each process, or upgrade launchdarkly-server-sdk.",
                exc=exc,
            )
        with self._lock:
            processor = processor_of(self._client)
            if processor is not self:
                for event in self._events:
                    processor.send_event(event)
                self._events.clear()
        self._done.set()
        _restarts.pop(self._client, None)
        _watch(self._client, self._diagnostics)


def _watch(client: LDClient, diagnostics: Diagnostics) -> None:
    with diagnostics.guard("connection", "watching"):
        watch_connection(client, diagnostics)


def _forked() -> None:
    """Hold the events of all inherited clients. An at-fork handler must not wait for a lock or start a thread."""
    _restarts.clear()
    for client, diagnostics in list(_clients.items()):
        if not is_closed(client):
            _lost.pop(client, None)
            replace_processor(client, HeldEvents(client, diagnostics))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
