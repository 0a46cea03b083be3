"""A pytest plugin for a framework's own suite: ``pytest -p ldai_upstream.plugin``.

``LDAI_UPSTREAM=lazy`` puts the middleware around every application without a config key, ``tracking`` with one, and
``nested`` puts all of it there more than once; in each, every endpoint is decorated. A test that leaves a run open or
bound, or makes the library fail, is an error.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from .frameworks import instrument_all
from .offline import MODES, Instrument


def pytest_configure(config: pytest.Config) -> None:
    """Change the frameworks before any test module is imported."""
    mode = os.environ.get("LDAI_UPSTREAM", "")
    if mode not in MODES:
        raise pytest.UsageError(f"LDAI_UPSTREAM is {mode!r}; set it to one of {', '.join(MODES)}")
    with tempfile.TemporaryDirectory() as directory:
        instrument = Instrument(Path(directory, "flags.json"), MODES[mode])
    instrument_all(instrument)
    config.pluginmanager.register(_Watch(instrument))


class _Watch:
    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, nextitem: pytest.Item | None) -> Generator[None, None, None]:
        """Fail the test that made the library break a promise."""
        yield
        breaches = self._instrument.breaches(last=nextitem is None)
        if breaches:
            pytest.fail("; ".join(breaches), pytrace=False)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say how much was tracked; with pytest-xdist the workers do it, and nobody hears them."""
        terminalreporter.write_line(f"{self._instrument.tracking.opened} runs were tracked")
