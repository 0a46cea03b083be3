"""The library around applications and handlers, without a network; notice what was left open or bound."""

from __future__ import annotations

import gc
import json
import os
from contextvars import Context
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldclient import Config, LDClient
from ldclient.integrations import Files
from ldclient.interfaces import EventProcessor

from ldai_integrations import Run, Tracking, current_run, run_opened, track_ai
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
# These are no failures: handlers call no model, so that tokens are estimated, and nobody tells who the visitors are.
_ADVICE = ("estimated", "no_call", "one_time_contexts")


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


class OpenRuns:
    """A memory of the runs that are open, and of the tests that opened them."""

    def __init__(self) -> None:
        self.opened = 0
        self._open: list[tuple[Run, str]] = []
        run_opened.connect(self._remember)

    def _remember(self, _config_key: str, *, run: Run) -> None:
        self.opened += 1
        self._open = [(other, test) for other, test in self._open if not other.finished]
        self._open.append((run, os.environ.get("PYTEST_CURRENT_TEST", "outside tests")))

    def tests(self) -> list[str]:
        """Return the tests whose runs have not ended up to now."""
        gc.collect()
        return [test for run, test in self._open if not run.finished]


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
        self.tracking = Tracking(self.client)
        self._runs = OpenRuns()
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
        integration: Any = import_module("ldai_integrations.django")
        integration.settings = settings

    def breaches(self) -> list[str]:
        """Say what has gone wrong since the last call."""
        found = []
        key = current_run().config_key
        if key != Context().run(current_run).config_key:
            found.append(f"a run of {key!r} was left bound")
        failures = {kind: count for kind, count in self.tracking.stats().diagnostics.items() if kind not in _ADVICE}
        diagnostics, self._diagnostics = self._diagnostics, failures
        if diagnostics != self._diagnostics:
            found.append(f"failures of the library: {self._diagnostics}, before: {diagnostics}")
        return found

    def left_open(self) -> list[str]:
        """Name the tests whose runs are open, as pytest does, after the last test."""
        return self._runs.tests()

    def summary(self) -> str:
        """Say how much was tracked."""
        return f"{self._runs.opened} runs were tracked"
