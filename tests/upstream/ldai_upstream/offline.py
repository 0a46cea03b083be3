"""Track without a network, and notice what was left open or bound."""

from __future__ import annotations

import gc
import inspect
import json
import os
from pathlib import Path
from types import MethodType
from typing import Any, NamedTuple, TypeVar, cast
from weakref import WeakValueDictionary

from ldclient import Config, LDClient
from ldclient.integrations import Files
from ldclient.interfaces import EventProcessor

from ldai_integrations import Run, Tracking, track_ai
from ldai_integrations._core.current import get_current
from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.typing import ASGIApp, WSGIApp
from ldai_integrations.usage import warm_up
from ldai_integrations.wsgi import WSGITrackingMiddleware


class Mode(NamedTuple):
    """The config keys of every middleware and of every decorator, the outermost first."""

    middleware: tuple[str | None, ...]
    decorators: tuple[str, ...]


#: What ``LDAI_UPSTREAM`` may say. In ``nested`` runs are joined, and followed in one another, in every way.
MODES = {
    "lazy": Mode((None,), ("handler",)),
    "tracking": Mode(("handler",), ("handler",)),
    "nested": Mode(("request", "request"), ("request", "outer", "handler", "handler")),
}

_VARIATION = {
    "_ldMeta": {"enabled": True, "variationKey": "small", "version": 1, "mode": "completion"},
    "model": {"name": "gpt-4o-mini"},
    "provider": {"name": "OpenAI"},
    "messages": [{"role": "system", "content": "You help customers."}],
}
_FLAG = {"version": 1, "salt": "salt", "on": True, "fallthrough": {"variation": 0}, "offVariation": 0}

T = TypeVar("T")


class Kept(EventProcessor):
    """Keep what an LDClient would send."""

    def __init__(self, _config: Config) -> None:
        self.events: list[Any] = []

    def send_event(self, event: Any) -> None:
        """Keep one event."""
        self.events.append(event)

    def flush(self) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""


class WatchedTracking(Tracking):
    """Remember which test opened a run, until the run is reported."""

    def __init__(self, client: LDClient) -> None:
        super().__init__(client)
        self.opened = 0
        self.lost: list[str] = []
        self._open: dict[int, str] = {}

    def open_run(self, *args: Any, **kwargs: Any) -> Run:
        """Open a run; a known id belongs to a run that was dropped without a report."""
        run = super().open_run(*args, **kwargs)
        self.opened += 1
        if id(run) in self._open:
            self.lost.append(self._open[id(run)])
        self._open[id(run)] = os.environ.get("PYTEST_CURRENT_TEST", "outside tests")
        return run

    def report(self, run: Run, ended_at: float) -> None:
        """Report a run."""
        self._open.pop(id(run))
        super().report(run, ended_at)

    def never_reported(self) -> list[str]:
        """Return the tests whose runs were not reported up to now."""
        gc.collect()
        return [*self.lost, *self._open.values()]


class Instrument:
    """Wrap applications and handlers, and account for the runs in them.

    Args:
        flag_file: Where to write the AI Configs.
        mode: How often to wrap, and with which config keys.
    """

    def __init__(self, flag_file: Path, mode: Mode) -> None:
        keys = {key for key in (*mode.middleware, *mode.decorators) if key is not None}
        flags = {key: {**_FLAG, "key": key, "variations": [_VARIATION]} for key in keys}
        flag_file.write_text(json.dumps({"flags": flags}))
        source = Files.new_data_source(paths=[str(flag_file)])
        self.client = LDClient(Config("offline", update_processor_class=source, event_processor_class=Kept))
        self.tracking = WatchedTracking(self.client)
        warm_up(timeout=30)
        self._mode = mode
        #: For what can be put around an application only once.
        self.options: dict[str, Any] = {"config_key": mode.middleware[0]}
        self._decorated: WeakValueDictionary[int, Any] = WeakValueDictionary()
        self._troubles: dict[str, int] = {}

    def asgi(self, app: ASGIApp) -> ASGIApp:
        """Put the middleware around an ASGI application."""
        for key in reversed(self._mode.middleware):
            app = ASGITrackingMiddleware(app, self.tracking, config_key=key)
        return app

    def wsgi(self, app: WSGIApp) -> WSGIApp:
        """Put the middleware around a WSGI application."""
        for key in reversed(self._mode.middleware):
            app = WSGITrackingMiddleware(app, self.tracking, config_key=key)
        return app

    def handler(self, func: T) -> T:
        """Decorate a handler, once however often it is registered; leave a class, or what cannot be called."""
        if inspect.isclass(func) or not callable(func):
            return func
        if inspect.ismethod(func):  # which is decorated in its class
            return cast(T, MethodType(self.handler(func.__func__), func.__self__))
        decorated = self._decorated.get(id(func))
        if decorated is None:  # while it lives it keeps the handler, and so its id
            decorated = func
            for key in reversed(self._mode.decorators):
                decorated = track_ai(config_key=key, tracking=self.tracking)(decorated)
            self._decorated[id(func)] = self._decorated[id(decorated)] = decorated
        return cast(T, decorated)

    def output(self, content: T) -> T:
        """Return the content of a streamed response as a tracked function would have returned it."""
        return self.handler(lambda: content)()

    def breaches(self, *, last: bool) -> list[str]:
        """Say what has gone wrong since the last call; after the last test, also which tests left runs open."""
        found = []
        if get_current() is not None:
            found.append(f"{get_current()!r} was left bound")
        troubles, self._troubles = self._troubles, dict(self.tracking.stats().troubles)
        if troubles != self._troubles:
            found.append(f"failures of the library: {self._troubles}, before: {troubles}")
        if last:  # a traceback that pytest keeps may hold a response for some tests
            found += [f"a run was left open in {test}" for test in self.tracking.never_reported()]
        return found
