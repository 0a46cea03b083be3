"""The dev server as an object: start it, send it requests, read what has arrived, stop it."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import sqlite3
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.staticfiles import StaticFiles

from .._files import is_locked, is_memory_or_uri
from ..exceptions import ConfigurationError
from ._api import inspection, metrics
from ._checks import AIConfig, Payload, Problem, check_mapping, list_ai_configs
from ._events import DELETED, Event, EventStore
from ._faults import FaultInjector, make_fault
from ._flag_file import FlagFile
from ._flags import FlagStore
from ._http import BodyTooLargeError, HangUp, LoopbackGuard, SecurityHeaders, error, is_loopback
from ._json import Json
from ._metrics import compute_metrics, compute_metrics_by_variation
from ._page import STATIC, page
from ._prices import ListPrices
from ._sdk import sdk
from ._stores import Stores
from ._thread import ServerThread

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

logger = logging.getLogger("ldai_integrations.devserver")


class DevServer:
    """A local stand-in for LaunchDarkly that runs in its own threads during a ``with`` block.

    Use :attr:`url` for all three URIs of an SDK's ``Config`` (``base_uri``, ``stream_uri``, ``events_uri``). The SDK
    uses a lower-case ``http_proxy`` even for 127.0.0.1. If that variable is set, set ``no_proxy=127.0.0.1``
    (lower-case) as well.

    The flags are read at once. The port and the database are opened in the ``with`` block. Any thread may call the
    methods, but only in this block. An object can be entered once.

    Args:
        configs: A flag file, whose edits are followed while the server runs, or the content of one.
        db: SQLite file for the events; ``None`` keeps them in memory.
        host: The loopback address to listen on.
        port: The port to listen on; 0 takes a free one.
        sdk_key: The only accepted SDK key; ``None`` accepts any.
        list_prices: A price list for variations without prices: it takes the names of a model and of its provider,
            and returns USD per token for ``"input"`` and ``"output"``, as far as they are known.

    Raises:
        FlagFileError: The flags cannot be served. The message names each flag and field.
        ConfigurationError: No SDK can send the SDK key, or the database is not a file.
        ValueError: The host is not a loopback address.
    """

    def __init__(
        self,
        configs: Path | Mapping[str, Any],
        *,
        db: Path | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        sdk_key: str | None = None,
        list_prices: ListPrices | None = None,
    ) -> None:
        if not is_loopback(f"[{host}]" if ":" in host else host):
            raise ValueError(
                f"host {host!r} is not a loopback address: other machines must not reach this server, use 127.0.0.1"
            )
        if sdk_key is not None and not sdk_key.strip():
            raise ConfigurationError("sdk_key is empty; give the key that applications must send, or None for any key")
        if sdk_key is not None and not re.fullmatch("[!-~]+", sdk_key):
            raise ConfigurationError("sdk_key has characters that no SDK sends; use ASCII without spaces")
        if db is not None and is_memory_or_uri(db):
            raise ConfigurationError(
                f"db is {str(db)!r}, which SQLite takes for no file; give a path, or leave it out for memory"
            )
        self._file: FlagFile | None = None
        if isinstance(configs, Path):
            self._file = FlagFile(configs)
            payload, problems = self._file.load()
        else:
            payload, problems = check_mapping(configs)
        _log_problems(problems)
        self._flags = FlagStore(payload)
        self._address = (host, port)
        self._db = db
        self._sdk_key = sdk_key
        self._list_prices = list_prices

    @property
    def url(self) -> str:
        """Return the address, without a slash at the end."""
        host, port = self._address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def ai_configs(self) -> list[AIConfig]:
        """Return the AI Configs being served."""
        return list_ai_configs(self._flags.payload["flags"])

    def __enter__(self) -> DevServer:
        """Start the server.

        Raises:
            OSError: The port is already in use.
            sqlite3.Error: The database cannot be opened.
        """
        with contextlib.ExitStack() as opened:
            family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
            listener = opened.enter_context(socket.create_server(self._address, family=family))
            # asyncio does this for sockets of its own only. Without it, each small response takes 40 ms.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
            self._address = listener.getsockname()[:2]
            events = opened.enter_context(contextlib.closing(EventStore(self._db)))
            self._stores = Stores(self._flags, events, sdk_key=self._sdk_key, list_prices=self._list_prices)
            self._thread = ServerThread(listener, stop=self._end_responses)
            self._thread.start(self._build_app())
            opened.callback(self._thread.stop)
            if self._file is not None:
                opened.enter_context(self._file.follow(self._serve))
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop the server, end open streams, and close the database."""
        self._opened.close()

    def events(self, **filters: str | None) -> list[Event]:
        """Return the received events as the SDK sent them, oldest first.

        Args:
            filters: The values of ``kind``, ``key`` (such as ``$ld:ai:duration:total``), ``config_key`` or ``run_id``.
        """
        return self._stores.events.events(filters)

    def wait_for(
        self, condition: int | Callable[[list[Event]], bool], timeout: float = 5.0, **filters: str | None
    ) -> list[Event]:
        """Wait for events to arrive.

        Args:
            condition: The minimum number of events, or a predicate on the list of them.
            timeout: Seconds.
            filters: As for :meth:`events`.

        Returns:
            The events.

        Raises:
            TimeoutError: They did not arrive in time.
        """
        events = self._stores.events

        def met() -> bool:
            return (
                events.count(filters) >= condition if isinstance(condition, int) else condition(self.events(**filters))
            )

        if not events.wait_until(met, timeout):
            wanted = f"{condition} events" if isinstance(condition, int) else "the expected events"
            raise TimeoutError(
                f"{wanted} with {filters or 'any content'} did not arrive within {timeout} s:"
                f" {events.count(filters)} have arrived, {events.count({})} of any kind"
            )
        return self.events(**filters)

    def metrics(self, config_key: str, by_variation: bool = False) -> Any:
        """Return LaunchDarkly's metrics of an AI Config over all received events.

        Args:
            config_key: Key of the AI Config.
            by_variation: Return a list of ``{"variationKey", "metrics"}`` instead of one object.
        """
        selection = self._stores.select(config_key)
        return compute_metrics_by_variation(selection) if by_variation else compute_metrics(selection)

    def totals(self) -> list[Json]:
        """Return count and sum of the custom events, per AI Config, variation and event key."""
        return self._stores.events.totals()

    def status(self) -> dict[str, int]:
        """Return the numbers of open streams, events, payloads, duplicate and refused payloads, and dropped events.

        Dropped events are those that SDKs report as dropped.
        """
        return self._stores.status()

    def set_flags(self, configs: Mapping[str, Any]) -> None:
        """Serve other flags, and send them to every SDK. An edit of the flag file replaces them again.

        Args:
            configs: The complete content of a flag file.

        Raises:
            FlagFileError: An SDK would reject these flags. The former flags are still served.
        """
        self._serve(*check_mapping(configs))

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
        """Make the next requests for a path fail.

        Args:
            path: Such as ``/bulk`` or ``/all``.
            status: Answer with this status.
            count: The number of requests; ``None`` for all until :meth:`clear`.
            delay: Wait this many seconds first. With a delay alone, the request then gets its usual answer.
            close: Close the connection instead of answering.
            handled: Handle the request first, so that only its answer is lost.

        Raises:
            ValueError: A value is out of range, or two values contradict each other.
        """
        fault = {"path": path, "status": status, "count": count, "close": close, "handled": handled}
        self._stores.faults.add(make_fault({**fault, "delay_ms": delay * 1000}))

    def clear(self) -> None:
        """Delete all events, losses, faults and warnings; the flags stay."""
        self._stores.clear()

    def _build_app(self) -> ASGIApp:
        stores, hang_up = self._stores, HangUp(self._thread.abort)

        logged: set[str] = set()

        async def answer_database_error(_request: Request, failure: sqlite3.Error) -> Response:
            if str(failure) not in logged:
                logged.add(str(failure))
                logger.error(
                    "%s cannot store the events: %s. They get HTTP 503, after which an SDK sends them once more. %s"
                    " This is logged once.",
                    self._db or "The memory",
                    failure,
                    _advise(failure),
                )
            return error(503, f"the database cannot be used: {failure}")

        async def close_connection(_request: Request, _failure: Exception) -> Response:
            return hang_up

        app = FastAPI(
            title="The dev server of ldai-integrations",
            version="1",
            docs_url=None,
            redoc_url=None,
            # The traces and metrics of an application in this process are not about this server.
            telemetry={"tracing": False, "metrics": False, "logs": False},
            # include_router() would build each of them again, when the first request arrives.
            routes=[*sdk.routes, *metrics.routes, *inspection.routes, *page.routes],
            exception_handlers={
                HTTPException: _answer_http_error,
                RequestValidationError: _answer_wrong_query,
                BodyTooLargeError: close_connection,
                ClientDisconnect: close_connection,
                sqlite3.Error: answer_database_error,
            },
        )
        app.state.stores = stores
        app.mount("/static", StaticFiles(directory=STATIC))
        return LoopbackGuard(
            FaultInjector(SecurityHeaders(app), faults=stores.faults, hang_up=hang_up, stopping=stores.stopping)
        )

    def _end_responses(self) -> None:
        self._stores.stopping.set()
        self._flags.close()

    def _serve(self, payload: Payload, problems: list[Problem]) -> list[str]:
        """Serve other flags; return what has changed, in words."""
        _log_problems(problems)
        return self._thread.call(self._flags.replace, payload)


def _advise(failure: sqlite3.Error) -> str:
    """Return what to do about a database that cannot be used."""
    if is_locked(failure):
        return "Close the program that has locked the file."
    if str(failure) == DELETED:
        return "Start the server again."
    return "Free some space."


async def _answer_http_error(request: Request, failure: HTTPException) -> Response:
    """Answer in LaunchDarkly's format. To errors of Starlette itself, such as an unknown path, add the path."""
    is_of_starlette = failure.detail == HTTPStatus(failure.status_code).phrase
    path = f": {request.method} {request.url.path}" if is_of_starlette else ""
    answer = error(failure.status_code, f"{failure.detail}{path}")
    answer.headers.update(failure.headers or {})
    return answer


async def _answer_wrong_query(_request: Request, failure: RequestValidationError) -> Response:
    """Answer a query with a value that is missing, unknown or out of range."""
    detail = failure.errors()[0]
    name = detail["loc"][-1]
    match detail["type"]:
        case "missing" | "string_too_short":
            return error(400, f"{name} is required")
        case "extra_forbidden":
            return error(400, f"{name!r:.100} is unknown; see /openapi.json")
    return error(400, f"{name} must be a whole number. {detail['msg']}")  # no other type has values that are wrong


def _log_problems(problems: list[Problem]) -> None:
    for problem in problems:
        logger.warning("warning: %s (served anyway)", problem)
