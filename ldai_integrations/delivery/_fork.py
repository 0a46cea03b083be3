"""Notice that this process is a forked child, and bring an inherited LDClient back to life in it."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from typing import Any

from ldclient import LDClient
from ldclient.interfaces import EventProcessor

from .._diagnostics import Diagnostics
from ._sdk import is_inherited, processor_of, take_over

# What one LDClient buffers by default.
_MAX_HELD = 10_000

#: Python 3.12.0 to 3.12.2 start no thread once the interpreter has begun to end, which is before they run any hook
#: (python/cpython#113964).
NO_THREAD_AT_EXIT = (3, 12) <= sys.version_info < (3, 12, 3)


class _Forks:
    """Count the forks behind this process; every run reads ``count``, so that reading it must cost next to nothing."""

    #: Whether Python is not told of a fork, and a thread that is at work then blocks the child for ever.
    are_silent = False

    def __init__(self) -> None:
        self.count = 0
        self.lock = threading.RLock()

    def forked(self) -> None:
        """Note, in a child, that it is one; its parent may have held the lock."""
        self.count += 1
        self.lock = threading.RLock()


class _UwsgiForks(_Forks):
    """Tell processes apart by their ids: uWSGI forks without running Python's at-fork handlers, or taking its lock."""

    are_silent = True
    count = property(lambda _self: os.getpid(), lambda _self, _count: None)


#: An at-fork handler cannot be taken back, and a fork concerns the whole process: hence one for all trackings.
forks = _UwsgiForks() if "uwsgi" in sys.modules else _Forks()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forks.forked)

# Events that there was no room for; a client's own processor, which it has later, does not know of them.
_lost = weakref.WeakKeyDictionary[LDClient, int]()

#: What ``forks.count`` never is.
NO_PROCESS = -1


def hold_events(client: LDClient, diagnostics: Diagnostics) -> None:
    """Hold what an inherited client is told from now on, unless somebody holds it or has revived the client."""
    with forks.lock:
        if is_inherited(client) is not False:
            _lost.pop(client, None)
            take_over(client, _HeldEvents(client, diagnostics))


def lost_by_fork(client: LDClient) -> dict[str, int]:
    """Return how many events were lost because the client was not revived in time; by reason, as other losses are."""
    lost = _lost.get(client, 0)
    return {"fork": lost} if lost else {}


def revive(client: LDClient) -> None:
    """Start the threads of a client whose events are held; once, however many share it.

    Flags that the parent had received are served meanwhile. It takes some milliseconds of CPU and never waits for
    LaunchDarkly.
    """
    with forks.lock:
        held = processor_of(client)
        if isinstance(held, _HeldEvents):
            client.postfork(start_wait=0)
            held.release()


class _HeldEvents(EventProcessor):
    """Take the place of an inherited client's event processor until the client has its own; thread-safe.

    What is sent to the inherited one is lost, and might wait for ever for a lock that a thread of the parent held.
    """

    def __init__(self, client: LDClient, diagnostics: Diagnostics) -> None:
        self._client = client
        self._diagnostics = diagnostics
        self._lock = threading.Lock()
        self._events: list[Any] = []

    def send_event(self, event: Any) -> None:
        """Hold an event; send it on where the client has got its own processor meanwhile."""
        with self._lock:
            processor = processor_of(self._client)
            if processor is not self:
                processor.send_event(event)
                return
            if len(self._events) < _MAX_HELD:
                self._events.append(event)
                return
            _lost[self._client] = _lost.get(self._client, 0) + 1
        self._diagnostics.note(
            "events",
            "fork",
            "LaunchDarkly events are lost (fork): more than %d came before the LDClient that this process inherited "
            "was restarted; make the LDClient after the fork.",
            _MAX_HELD,
        )

    def release(self) -> None:
        """Send what was held, in order."""
        with self._lock:
            processor = processor_of(self._client)
            for event in self._events:
                processor.send_event(event)

    def flush(self) -> None:
        """Do nothing: what is held is sent when there is somebody to take it."""

    def stop(self) -> None:
        """Do nothing."""
