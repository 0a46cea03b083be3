"""The dev server as an object: start it, feed it, look into it, stop it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._ai_configs import AIConfig, ai_configs
from ._app import application
from ._events import Event, EventStore
from ._faults import Fault
from ._flag_file import FlagFile
from ._flags import FlagStore, Payload, load_mapping
from ._guard import is_loopback
from ._metrics import metrics, metrics_by_variation
from ._prices import token_prices
from ._problems import FlagFileError, Problem
from ._responses import HangUp
from ._stores import Stores
from ._streams import FlagStreams
from ._thread import ServerThread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

logger = logging.getLogger("ldai_integrations.devserver")


class DevServer:
    """Be LaunchDarkly for this machine, in threads of its own, between ``with`` and its end.

    All three URIs of an SDK's ``Config`` (``base_uri``, ``stream_uri``, ``events_uri``) are :attr:`url`. The SDK obeys
    a lower-case ``http_proxy`` even for 127.0.0.1: where one is set, set ``no_proxy=127.0.0.1`` (lower-case) as well.

    The methods may be called from any thread, in the ``with`` block only. One object serves once.
    """

    def __init__(
        self,
        configs: Path | Mapping[str, Any],
        *,
        db: Path | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        sdk_key: str | None = None,
    ) -> None:
        """Read the flags; nothing is opened before the ``with`` block.

        Args:
            configs: A flag file, followed while the server runs, or the content of one.
            db: SQLite file for the events; ``None`` keeps them in memory.
            host: The loopback address to listen on.
            port: The port to listen on; 0 lets the system choose.
            sdk_key: The only SDK key to accept; ``None`` accepts any.

        Raises:
            FlagFileError: The flags cannot be served; its text names each flag and field.
            ValueError: The host is not a loopback address.
        """
        if not is_loopback(f"[{host}]" if ":" in host else host):
            raise ValueError(
                f"host {host!r} is not a loopback address: nobody else may reach this server, use 127.0.0.1"
            )
        self._file: FlagFile | None = None
        if isinstance(configs, Path):
            self._file = FlagFile(configs)
            payload, problems = self._file.load()
        else:
            payload, problems = load_mapping(configs)
        _warn(problems)
        self._flags = FlagStore(payload)
        self._address = (host, port)
        self._db = db
        self._sdk_key = sdk_key

    @property
    def url(self) -> str:
        """Tell the address, without a slash at its end."""
        host, port = self._address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def ai_configs(self) -> list[AIConfig]:
        """List the AI Configs being served."""
        return ai_configs(self._flags.payload["flags"])

    def __enter__(self) -> DevServer:
        """Serve.

        Raises:
            OSError: The port is taken.
            sqlite3.Error: The database cannot be opened.
        """
        with contextlib.ExitStack() as opened:
            family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
            listener = opened.enter_context(socket.create_server(self._address, family=family))
            # asyncio does so only for sockets it made itself; without it each small answer takes 40 ms.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
            self._address = listener.getsockname()[:2]
            events = opened.enter_context(contextlib.closing(EventStore(self._db)))
            self._stores = Stores(self._flags, FlagStreams(self._flags), events)
            self._stopping = asyncio.Event()
            self._thread = ServerThread(listener, stop=self._end_waiting)
            hang_up = HangUp(self._thread.abort)
            self._thread.start(
                application(self._stores, hang_up=hang_up, stopping=self._stopping, sdk_key=self._sdk_key)
            )
            opened.callback(self._thread.stop)
            if self._file is not None:
                opened.enter_context(self._file.followed(self._reload))
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop, open streams included, and close the database."""
        self._opened.close()

    def events(self, **filters: str | None) -> list[Event]:
        """Return the events received, oldest first, each as the SDK wrote it.

        Args:
            filters: What ``kind``, ``key`` (such as ``$ld:ai:duration:total``), ``config_key`` or ``run_id`` must be.
        """
        return self._stores.events.events(filters)

    def wait_for(
        self, condition: int | Callable[[list[Event]], bool], timeout: float = 5.0, **filters: str | None
    ) -> list[Event]:
        """Wait for events to arrive.

        Args:
            condition: How many events at least, or a predicate on the list of them.
            timeout: Seconds.
            filters: Which events, as for :meth:`events`.

        Returns:
            The events.

        Raises:
            TimeoutError: They did not come.
        """
        events = self._stores.events

        def met() -> bool:
            return (
                events.count(filters) >= condition if isinstance(condition, int) else condition(self.events(**filters))
            )

        if not events.wait_until(met, timeout):
            wanted = f"{condition} events" if isinstance(condition, int) else "the events asked for"
            raise TimeoutError(
                f"{wanted} with {filters or 'any content'} did not come within {timeout} s:"
                f" {events.count(filters)} are there, {events.count({})} of any kind"
            )
        return self.events(**filters)

    def metrics(self, config_key: str, by_variation: bool = False) -> Any:
        """Return LaunchDarkly's metrics of an AI Config over all events at hand.

        Args:
            config_key: Key of the AI Config.
            by_variation: Ask for a list of ``{"variationKey", "metrics"}`` in place of one object.
        """
        prices = token_prices(self._flags.payload["flags"].get(config_key))
        return (metrics_by_variation if by_variation else metrics)(self._stores.events, config_key, prices=prices)

    def totals(self) -> list[dict[str, Any]]:
        """Count and sum the custom events, per AI Config, variation and event key."""
        return self._stores.events.totals()

    def status(self) -> dict[str, int]:
        """Count streams, events, payloads, duplicate and refused payloads, and events that SDKs report as dropped."""
        return self._stores.status()

    def set_flags(self, configs: Mapping[str, Any]) -> None:
        """Serve other flags, and push what changed to every SDK. The flag file wins again when it is edited.

        Args:
            configs: As in a flag file, complete.

        Raises:
            FlagFileError: An SDK would reject these flags; the former ones are kept.
        """
        payload, problems = load_mapping(configs)
        _warn(problems)
        self._thread.call(self._serve, payload)

    def inject(
        self,
        path: str,
        *,
        status: int | None = None,
        count: int | None = 1,
        delay: float = 0.0,
        close: bool = False,
        handled: bool = False,
    ) -> None:
        """Let the next requests for a path go wrong.

        Args:
            path: Such as ``/bulk`` or ``/all``.
            status: Answer with this status.
            count: For so many requests; ``None`` for all until :meth:`clear`.
            delay: Wait so many seconds first; alone, the request is then served as ever.
            close: Hang up instead of answering.
            handled: Do the work first, so that only the answer is lost.

        Raises:
            ValueError: A value is out of range, or two contradict each other.
        """
        self._stores.faults.add(Fault(path, status, count, delay * 1000, close, handled))

    def clear(self) -> None:
        """Forget all events, losses and faults; the flags stay."""
        self._stores.clear()

    def _end_waiting(self) -> None:
        self._stopping.set()
        self._stores.streams.close()

    def _serve(self, payload: Payload) -> list[str]:
        changes = self._flags.replace(payload)
        self._stores.streams.publish(changes)
        return [f"{change.key} {'changed' if change.item else 'deleted'}" for change in changes]

    def _reload(self, file: FlagFile, content: bytes | None) -> None:
        """Serve an edited flag file, if it can be served."""
        try:
            payload, problems = file.parse(content)
        except FlagFileError as refusal:
            logger.error("%s: edit refused, the last good version stays:\n%s", file.path.name, refusal)
            return
        _warn(problems)
        if changed := self._thread.call(self._serve, payload):
            logger.info("%s: %s", file.path.name, ", ".join(changed))


def _warn(problems: list[Problem]) -> None:
    for problem in problems:
        logger.warning("%s", problem)
