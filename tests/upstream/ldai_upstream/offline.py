"""The library around applications and handlers, without a network; notice what was left open or bound."""

from __future__ import annotations

import gc
import json
import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldclient import Config, LDClient
from ldclient.integrations import Files
from ldclient.interfaces import EventProcessor

from ldai_integrations import Run, Tracking, track_ai
from ldai_integrations._core.current import get_current
from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.usage import warm_up
from ldai_integrations.wsgi import WSGITrackingMiddleware

from .instrument import Instrument

if TYPE_CHECKING:
    from ldai_integrations.typing import ASGIApp, WSGIApp

    from .modes import Mode

_VARIATION = {
    "_ldMeta": {"enabled": True, "variationKey": "small", "version": 1, "mode": "completion"},
    "model": {"name": "gpt-4o-mini"},
    "provider": {"name": "OpenAI"},
    "messages": [{"role": "system", "content": "You help customers."}],
}
_FLAG = {"version": 1, "salt": "salt", "on": True, "fallthrough": {"variation": 0}, "offVariation": 0}


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


class TrackingInstrument(Instrument):
    """Wrap applications and handlers as a mode says, and account for the runs in them.

    Args:
        flag_file: Where to write the AI Configs.
        mode: How often to wrap, and with which config keys.
    """

    django_middleware = "ldai_integrations.django.TrackingMiddleware"

    def __init__(self, flag_file: Path, mode: Mode) -> None:
        super().__init__()
        keys = {key for key in (*mode.middleware, *mode.decorators, mode.extension) if key is not None}
        flags = {key: {**_FLAG, "key": key, "variations": [_VARIATION]} for key in keys}
        flag_file.write_text(json.dumps({"flags": flags}))
        source = Files.new_data_source(paths=[str(flag_file)])
        self.client = LDClient(Config("offline", update_processor_class=source, event_processor_class=Kept))
        self.tracking = WatchedTracking(self.client)
        warm_up(timeout=30)
        self._mode = mode
        self._diagnostics: dict[str, int] = {}

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

    def decorate(self, func: Any) -> Any:
        """Put ``track_ai`` on a handler."""
        for key in reversed(self._mode.decorators):
            func = track_ai(config_key=key, tracking=self.tracking)(func)
        return func

    def on_flask(self, app: Any) -> None:
        """Put the extension on a Flask application, if the mode says so."""
        if self._mode.extension is not None:
            extension = import_module("ldai_integrations.flask").AITracking
            extension(app, self.tracking, config_key=self._mode.extension)

    def in_django(self, settings: Any) -> None:
        """Have the middleware read Django's settings with ours in them."""
        settings.LDAI = {"tracking": self.tracking, "config_key": self._mode.middleware[0]}
        door: Any = import_module("ldai_integrations.django")
        door.settings = settings

    def breaches(self) -> list[str]:
        """Say what has gone wrong since the last call."""
        found = []
        if get_current() is not None:
            found.append(f"{get_current()!r} was left bound")
        diagnostics, self._diagnostics = self._diagnostics, dict(self.tracking.stats().diagnostics)
        if diagnostics != self._diagnostics:
            found.append(f"failures of the library: {self._diagnostics}, before: {diagnostics}")
        return found

    def left_open(self) -> list[str]:
        """Name the tests whose runs are open, as pytest does, after the last test."""
        return self.tracking.never_reported()

    def summary(self) -> str:
        """Say how much was tracked."""
        return f"{self.tracking.opened} runs were tracked"
