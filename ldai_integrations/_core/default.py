"""The tracking of code that was given none: a bare decorator in an application without one of our doors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import ldclient

from .._diagnostics import Diagnostics
from .._locks import ForkSafeLock
from ..delivery import NOT_CONFIGURED
from ..exceptions import LDAIIntegrationError, TrackingNotConfiguredError
from .tracking import Tracking


class DefaultTracking:
    """Make one Tracking for the process when first asked: of LaunchDarkly's shared client, else of the environment.

    Thread-safe. Where there is nothing to make it of, that is logged once, and asked again next time.
    """

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._tracking: Tracking | None = None
        self._diagnostics = Diagnostics()

    @property
    def made(self) -> Tracking | None:
        """The Tracking if it has been made; asking costs nothing."""
        return self._tracking

    def make(self) -> Tracking | None:
        """Return the Tracking; the first call may wait some seconds for LaunchDarkly."""
        with self._lock:
            if self._tracking is None:
                try:
                    self._tracking = self._of_shared_client() or Tracking.from_env()
                except TrackingNotConfiguredError:
                    self._diagnostics.note("configuration", "", "Runs are not tracked. %s", NOT_CONFIGURED)
                except LDAIIntegrationError as exc:
                    self._diagnostics.note("configuration", str(exc), "Runs are not tracked: %s", exc)
            return self._tracking

    @contextmanager
    def replaced_by(self, tracking: Tracking) -> Iterator[None]:
        """Have another in its place meanwhile; for tests."""
        with self._lock:
            former, self._tracking = self._tracking, tracking
        try:
            yield
        finally:
            with self._lock:
                self._tracking = former

    def _of_shared_client(self) -> Tracking | None:
        """Return a Tracking of the client that ``ldclient.set_config`` made, the way LaunchDarkly's guide shows."""
        try:
            client = ldclient.get()
        except Exception:  # what ldclient.get raises before set_config, a bare Exception
            return None
        return Tracking(client)


#: The process has one LaunchDarkly client in ``ldclient``; this is its counterpart.
default_tracking = DefaultTracking()
