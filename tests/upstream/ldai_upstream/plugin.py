"""A pytest plugin for a framework's own suite: ``pytest -p ldai_upstream.plugin``.

``LDAI_UPSTREAM=lazy`` puts the middleware around every application without a config key, ``tracking`` with one,
``nested`` puts all of it there more than once, and ``extension`` puts it inside Flask's; in each, every endpoint is
decorated. ``bare`` does the same with an empty middleware and an empty decorator. A test that leaves a run open or
bound, or makes the library fail, is an error.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

from .frameworks import instrument_all
from .instrument import Instrument
from .modes import make_instrument


def pytest_configure(config: pytest.Config) -> None:
    """Change the frameworks before any test module is imported."""
    try:
        instrument = make_instrument(os.environ.get("LDAI_UPSTREAM", ""))
    except ValueError as exc:
        raise pytest.UsageError(str(exc)) from None
    instrument_all(instrument)
    config.pluginmanager.register(_Watch(instrument))


class _Watch:
    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        self._failed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember the tests that failed: pytest keeps their tracebacks, and with them what they left open."""
        if report.failed:
            self._failed.add(report.nodeid)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, nextitem: pytest.Item | None) -> Generator[None, None, None]:
        """Fail the test that made the library break a promise."""
        yield
        breaches = self._instrument.breaches()
        if nextitem is None:
            breaches += [f"a run was left open in {test}" for test in self._left_open()]
        if breaches:
            pytest.fail("; ".join(breaches), pytrace=False)

    def _left_open(self) -> list[str]:
        return [test for test in self._instrument.left_open() if test.rpartition(" ")[0] not in self._failed]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say how much was tracked; with pytest-xdist the workers do it, and nobody hears them."""
        terminalreporter.write_line(self._instrument.summary())
