"""Every private name of ldclient that delivery uses; a test watches them, and without them its plain ways are used."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from queue import Full, Queue
from types import SimpleNamespace
from typing import Any

from ldclient import Config, LDClient
from ldclient.interfaces import EventProcessor

_START_SECONDS = 5.0


class SdkChangedError(Exception):
    """Say which private name of ldclient is not what it was."""


class Engine:
    """Turn what an LDClient tells its event processor into LaunchDarkly's events, by the SDK's own rules.

    Contexts seen first, summaries, sampling, debugging and private attributes are the SDK's work. Its dispatcher is
    made with an inbox that tells it to stop, so that its threads end; then it is used as a plain object.
    For one thread at a time, but :meth:`answered`.
    """

    def __init__(self, config: Config) -> None:
        """Make one.

        Raises:
            SdkChangedError: If this ldclient is made differently.
        """
        inbox = _Stop()
        try:
            from ldclient.impl.events import event_processor as sdk
            from ldclient.impl.http import _http_factory

            factory = _http_factory(config)
            self.headers = {
                **factory.base_headers,
                "Content-Type": "application/json",
                "X-LaunchDarkly-Event-Schema": str(_schema_of(sdk)),
            }
            self._new_pool: Callable[[], Any] = lambda: factory.create_pool_manager(1, config.events_uri)
            dispatcher: Any = sdk.EventDispatcher(inbox, config, self._new_pool())
            self._process, self._outbox = dispatcher._process_event, dispatcher._outbox
            self._format, self._seen = dispatcher._formatter.make_output_events, dispatcher._context_keys
            self.answered = dispatcher._handle_response
            self._no_summary = self._outbox.get_payload().summary
            self._outbox.clear()  # it goes on to write into the summary that it gave away
            changed = "" if self._no_summary.is_empty() else "an outbox that is not empty"
            changed = changed or ("" if inbox.stopped.wait(_START_SECONDS) else "how the dispatcher stops")
        except (ImportError, AttributeError, TypeError) as exc:
            changed = str(exc)
        if changed:
            raise SdkChangedError(changed)

    def process(self, event: Any) -> None:
        """Take one event as the client tells it."""
        self._process(event)

    def take(self) -> tuple[list[Any], Any]:
        """Return the events and the summary of all that was taken, still to be formatted, and start anew."""
        payload = self._outbox.get_payload()
        self._outbox.clear()
        return payload.events, payload.summary

    def format(self, events: Iterable[Any], summary: Any = None) -> list[dict[str, Any]]:
        """Format events, and the summary, as LaunchDarkly takes them."""
        return list(self._format(list(events), self._no_summary if summary is None else summary))

    def forget_contexts(self) -> None:
        """Tell LaunchDarkly of every context anew."""
        self._seen.clear()

    def pool(self) -> Any:
        """Return a urllib3 pool manager with the proxy and the certificates of the config."""
        return self._new_pool()


class SdkQueue:
    """Look into the SDK's own event processor, for a client that the user made; knows nothing of any other."""

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
        """Whether the client still has this event processor, and not another since ``LDClient.postfork()``."""
        return processor_of(self._client) is self._processor

    @property
    def is_known(self) -> bool:
        """Whether there is one that can be looked into."""
        return self._inbox is not None and not getattr(self._processor, "_closed", False)

    @property
    def sends_nothing(self) -> bool:
        """Whether the client was told not to send events."""
        return type(self._processor).__name__ == "NullEventProcessor"

    def flush(self, deadline: float) -> bool:
        """Have the SDK flush; a full inbox, which would refuse it, is waited for.

        Returns:
            False if there was not time enough.
        """
        return self._put("flush", None, deadline)

    def wait_until_idle(self, deadline: float) -> bool:
        """Wait until the SDK has worked off its inbox and its posts have ended; False if not in time."""
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
    """Return the client's event processor, a new one after ``client.postfork()``; ``None`` if there is none to see."""
    return getattr(client, "_event_processor", None)


def is_inherited(client: LDClient) -> bool | None:
    """Tell whether the client's threads were left behind in a parent; ``None`` where the SDK does not say."""
    owner: int | None = getattr(client, "_owner_pid", None)
    return None if owner is None else owner != os.getpid()


def take_over(client: LDClient, processor: EventProcessor) -> None:
    """Send an inherited client's events elsewhere until ``postfork()``, which the SDK need not ask for any more."""
    taken: Any = client
    taken._owner_pid, taken._event_processor = os.getpid(), processor


def environment_id_of(client: LDClient) -> str:
    """Return the id of the client's environment, as LaunchDarkly told it; empty where it did not.

    The SDK hands it to hooks, which are called for every evaluation; one attribute is cheaper.
    """
    found = getattr(getattr(client, "_data_system", None), "environment_id", None)
    return found if isinstance(found, str) else ""


def _schema_of(sdk: Any) -> int:
    return getattr(sdk, "CURRENT_EVENT_SCHEMA", 4)


class _Stop:
    """Be an inbox in which a dispatcher finds that it shall stop."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self._asked = False

    def get(self, *_args: Any, **_kwargs: Any) -> Any:
        """Say stop; a dispatcher that did not understand ends here, instead of asking for ever."""
        if self._asked:
            raise SystemExit
        self._asked = True
        return SimpleNamespace(type="stop", param=self.stopped)
