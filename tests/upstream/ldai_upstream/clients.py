"""A pytest plugin for the own suite of openai or anthropic: ``pytest -p ldai_upstream.clients``.

Each client that a test makes is a wrapped one. ``LDAI_UPSTREAM=outside`` does no more, and ``inside`` runs each test in
a run of its own. ``bare`` changes nothing: the control.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Generator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from ldai_integrations import ConfigurationError, wrap_client

from .modes import Mode
from .offline import TrackingInstrument

_BASES = [
    (package, name)
    for package in ("openai._base_client", "anthropic._base_client")
    for name in ("SyncAPIClient", "AsyncAPIClient")
]


def pytest_configure(config: pytest.Config) -> None:
    """Change the clients before any test module is imported."""
    mode = os.environ.get("LDAI_UPSTREAM", "")
    if mode not in ("bare", "outside", "inside"):
        raise pytest.UsageError(f"LDAI_UPSTREAM is {mode!r}; set it to bare, outside or inside")
    if mode == "bare":
        return
    for package, name in _BASES:
        try:
            base = getattr(import_module(package), name)
        except ImportError:
            continue
        base.__new__ = _make_wrapped
    if mode == "inside":
        with tempfile.TemporaryDirectory() as directory:
            instrument = TrackingInstrument(Path(directory, "flags.json"), Mode((None,), ("handler",)))
        config.pluginmanager.register(_Runs(instrument))


def _make_wrapped(kind: Any, *args: Any, **kwargs: Any) -> Any:
    """Make a client; wrap it if a test makes it, and not the package itself."""
    client = object.__new__(kind)
    if not str(sys._getframe(1).f_globals.get("__name__")).startswith("tests."):
        return client
    client.__init__(*args, **kwargs)  # Python does so for instances of the class only
    try:
        return wrap_client(client, include_usage=True)
    except ConfigurationError:  # a client of no model
        return client


class _Runs:
    def __init__(self, instrument: TrackingInstrument) -> None:
        self._instrument = instrument

    @pytest.hookimpl(tryfirst=True)
    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Put each test in a run."""
        if isinstance(item, pytest.Function):
            item.obj = self._instrument.decorate(item.obj)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self) -> Generator[None, None, None]:
        """Fail the test that made the library break a promise."""
        yield
        breaches = self._instrument.breaches()
        if breaches:
            pytest.fail("; ".join(breaches), pytrace=False)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say how much was tracked."""
        terminalreporter.write_line(self._instrument.summary())
