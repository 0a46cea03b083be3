"""The private parts of ldclient that this package uses; tests watch each of them.

The version bound of ``launchdarkly-server-sdk`` in ``setup.cfg`` belongs to this module.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from queue import Full, Queue
from types import SimpleNamespace
from typing import Any

from ldclient import Config, LDClient
from ldclient.interfaces import EventProcessor

_START_SECONDS = 5.0


class SdkChangedError(Exception):
    """A private name of ldclient that is missing or works differently."""


class Engine:
    """The SDK's own rules for turning what an LDClient sends to its event processor into LaunchDarkly's events.

    The SDK handles new contexts, summaries, sampling, debugging and private attributes. Its dispatcher is created with
    an inbox that tells it to stop, so that its threads end. Then it is used as a plain object, by one thread at a
    time. Only :attr:`handle_response` may be called from any thread.

    Raises:
        SdkChangedError: If this version of ldclient works differently.
    """

    def __init__(self, config: Config) -> None:
        inbox = _StoppingInbox()
        try:
            from ldclient.impl.events import event_processor as sdk
            from ldclient.impl.http import _http_factory

            factory = _http_factory(config)
            self.headers = {
                **factory.base_headers,
                "Content-Type": "application/json",
                "X-LaunchDarkly-Event-Schema": str(getattr(sdk, "CURRENT_EVENT_SCHEMA", 4)),
            }
            #: Returns a urllib3 pool manager with the proxy and the certificates of the config.
            self.make_pool: Callable[[], Any] = lambda: factory.create_pool_manager(1, config.events_uri)
            dispatcher: Any = sdk.EventDispatcher(inbox, config, self.make_pool())
            #: Takes the response to an accepted post.
            self.handle_response: Callable[[Any], None] = dispatcher._handle_response
            self._process, self._outbox = dispatcher._process_event, dispatcher._outbox
            self._format, self._seen = dispatcher._formatter.make_output_events, dispatcher._context_keys
            self._no_summary = self._outbox.get_payload().summary
            self._outbox.clear()  # otherwise it continues to write into the summary that it returned
            if not self._no_summary.is_empty():
                raise SdkChangedError("an outbox that is not empty")
            if not inbox.stopped.wait(_START_SECONDS):
                raise SdkChangedError("how the dispatcher stops")
        except (ImportError, AttributeError, TypeError) as exc:
            raise SdkChangedError(str(exc)) from exc

    def process(self, event: Any) -> None:
        """Process one event of the client."""
        self._process(event)

    def take(self) -> tuple[list[Any], Any]:
        """Return the processed events and their summary, not formatted yet, and start again with none."""
        payload = self._outbox.get_payload()
        self._outbox.clear()
        return payload.events, payload.summary

    def format(self, events: Iterable[Any], summary: Any = None) -> list[dict[str, Any]]:
        """Format events and a summary as LaunchDarkly expects them."""
        return list(self._format(list(events), self._no_summary if summary is None else summary))

    def forget_contexts(self) -> None:
        """Send every context again when it is used next."""
        self._seen.clear()


class SdkQueue:
    """The queue of the SDK's own event processor, in a client that the user made; empty for any other processor."""

    def __init__(self, client: LDClient) -> None:
        self._client = client
        self._processor = processor_of(client)
        inbox = getattr(self._processor, "_inbox", None)
        can_sync = callable(getattr(self._processor, "_wait_until_inactive", None))
        self._inbox: Queue[Any] | None = inbox if isinstance(inbox, Queue) and can_sync else None
        self.waiting: deque[Any] = deque() if self._inbox is None else self._inbox.queue
        self.capacity = 0 if self._inbox is None else self._inbox.maxsize

    @property
    def is_current(self) -> bool:
        """Whether this is still the client's event processor; ``LDClient.postfork()`` replaces it."""
        return processor_of(self._client) is self._processor

    @property
    def is_known(self) -> bool:
        """Whether this is the SDK's event processor, and open."""
        return self._inbox is not None and not is_closed(self._client)

    @property
    def sends_nothing(self) -> bool:
        """Whether the client was configured to send no events."""
        return type(self._processor).__name__ == "NullEventProcessor"

    def flush(self, deadline: float) -> bool:
        """Have the SDK flush, after a wait for room in its inbox; return False if there was none in time."""
        return self._put("flush", None, deadline)

    def wait_until_idle(self, deadline: float) -> bool:
        """Wait until the SDK has processed its inbox and its posts have ended; return False if that takes too long."""
        idle = threading.Event()
        return self._put("test_sync", idle, deadline) and idle.wait(max(0.0, deadline - time.monotonic()))

    def _put(self, kind: str, param: Any, deadline: float) -> bool:
        assert self._inbox is not None
        try:
            self._inbox.put(SimpleNamespace(type=kind, param=param), timeout=max(0.0, deadline - time.monotonic()))
        except Full:
            return False
        return True


def processor_of(client: LDClient) -> Any:
    """Return the client's event processor, a new one after ``client.postfork()``; ``None`` if it cannot be seen."""
    return getattr(client, "_event_processor", None)


def is_closed(client: LDClient) -> bool:
    """Return whether the client's event processor is closed, as far as that can be seen."""
    return bool(getattr(processor_of(client), "_closed", False))


def is_inherited(client: LDClient) -> bool:
    """Return whether the client was made, or last restarted, in a parent of this process."""
    return bool(getattr(client, "_owner_pid", os.getpid()) != os.getpid())


def replace_processor(client: LDClient, processor: EventProcessor) -> None:
    """Send an inherited client's events elsewhere until ``postfork()``, and stop the SDK's warning about the fork."""
    private: Any = client
    private._owner_pid, private._event_processor = os.getpid(), processor


def environment_id_of(client: LDClient) -> str:
    """Return the id of the client's environment if LaunchDarkly sent one.

    The SDK also passes it to hooks, but it calls these for every evaluation.
    """
    found = getattr(getattr(client, "_data_system", None), "environment_id", None)
    return found if isinstance(found, str) else ""


def stream_address_of(client: LDClient) -> str:
    """Return the address from which a client gets its flags; empty if it cannot be seen."""
    found = getattr(getattr(client, "_config", None), "stream_base_uri", None)
    return found if isinstance(found, str) else ""


@contextmanager
def without_timeout_warning() -> Iterator[None]:
    """Suppress the SDK's warning that a client is not connected yet when it is made without waiting for it."""
    log = logging.getLogger("ldclient.util")
    log.addFilter(_is_not_timeout)
    try:
        yield
    finally:
        log.removeFilter(_is_not_timeout)


def _is_not_timeout(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Initialization timeout exceeded")


class _StoppingInbox:
    """An inbox in which a dispatcher finds only the message that it must stop."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self._asked = False

    def get(self, *_args: Any, **_kwargs: Any) -> Any:
        """Return the message. End the thread of a dispatcher that did not understand it and asks again."""
        if self._asked:
            raise SystemExit
        self._asked = True
        return SimpleNamespace(type="stop", param=self.stopped)
