"""The application-wide object that creates and connects the services."""

from __future__ import annotations

import os
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import ldclient
from ldclient import LDClient

from ._diagnostics import Diagnostics
from ._launchdarkly.client import TrackingClient
from ._launchdarkly.configs import Configs
from ._locks import ForkSafeLock, forks, no_fork
from ._run.background import call_off_loop, is_on_event_loop
from ._run.context import Services, get_current
from ._run.graph import get_graph
from ._run.lifetime import Flushing, Start
from ._run.report import Reporter
from .costs import Costs
from .delivery import (
    DevWarnings,
    client_from_env,
    connection_of,
    delivery_of,
    not_configured,
    note_ignored,
    watch_client,
    watch_dev_server,
)
from .exceptions import ConfigurationError, LDAIIntegrationError, TrackingNotConfiguredError
from .feedback import Feedback
from .frameworks import connect, connected
from .judges import Judges
from .records import FlushReport, Stats
from .settings import Settings, find_mistakes
from .sinks import LaunchDarklySink
from .typing import Sink
from .usage import warm_up

__all__ = ["Tracking"]

# The time to load an encoding; it takes a second at most.
_LOAD_SECONDS = 30.0


class Tracking:
    """The LaunchDarkly client, settings and sinks of an application.

    Create one for each application and pass it to a middleware or a decorator. Thread-safe.

    Args:
        client: Your LDClient. The library never closes it.
        settings: Options; the defaults suit most applications.
        sinks: Further receivers of the records of reported runs, besides LaunchDarkly.
        clock: A monotonic clock in seconds, for tests.

    Attributes:
        client: Your LDClient.
        settings: The options.
        ld_client: A client with the interface of LDClient that knows the runs; pass it to ``LDAIClient``.

    Raises:
        ConfigurationError: If ``client`` is not an LDClient, ``sinks`` is not a list, or a sink has no ``emit``.
    """

    def __init__(
        self,
        client: LDClient,
        *,
        settings: Settings | None = None,
        sinks: Iterable[Sink] = (),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if not hasattr(client, "variation_detail") or not hasattr(client, "track"):
            raise ConfigurationError(
                f"client is of type {type(client).__name__}; give an ldclient.LDClient, or use Tracking.from_env()"
            )
        self.client = client
        self.settings: Settings = _settings_from(settings)
        sinks = _sinks_from(sinks)
        self._diagnostics = diagnostics = Diagnostics()
        for variable, remedy in find_mistakes(self.settings):
            diagnostics.note("variable_name", variable, "The variable %s has no effect: %s.", variable, remedy)
        self._owns_client = False
        self._dev_warnings: DevWarnings | None = None
        self._delivery = delivery_of(client, diagnostics)
        self._flushing = Flushing(self.settings, diagnostics, client, self._delivery)
        watch_client(client, diagnostics)  # before the AI SDK, which sends an event
        self.ld_client: TrackingClient = TrackingClient(
            client, self._delivery, diagnostics, self._flushing.ensure_started, get_current, get_graph
        )
        configs = Configs(self.ld_client, diagnostics)
        judges = Judges(self.settings.judges, diagnostics, configs.judge_config)
        self._flushing.judges = judges
        launchdarkly = LaunchDarklySink(
            cancelled_as=self.settings.cancelled_as, report_estimates=self.settings.report_estimates
        )
        self._reporter = Reporter(diagnostics, self._flushing, (launchdarkly, *sinks))
        feedback = self.settings.feedback
        self._services = Services(
            settings=self.settings,
            clock=clock,
            diagnostics=diagnostics,
            ld_client=self.ld_client,
            configs=configs,
            judges=judges,
            feedback=Feedback(feedback, self.ld_client.send, diagnostics) if feedback is not None else None,
            costs=Costs(diagnostics) if self.settings.costs else None,
            flushing=self._flushing,
            reporter=self._reporter,
            start=Start(),
        )
        self._flushing.watch_exit()
        warm_up(timeout=_LOAD_SECONDS if forks.are_silent else None)
        connect(self.settings.frameworks, process.diagnostics)
        process.add(self)

    @classmethod
    def from_env(
        cls, *, settings: Settings | None = None, sinks: Iterable[Sink] = (), environ: Mapping[str, str] | None = None
    ) -> Tracking:
        """Create a Tracking and its LDClient from the environment, and wait for AI Configs.

        The wait ends after ``settings.start_wait`` seconds, or when LaunchDarkly refuses the key. On an event loop,
        this does not wait; the first runs do.

        ``LAUNCHDARKLY_SDK_KEY`` connects to LaunchDarkly, ``LDAI_DEV_SERVER`` (an address) to the dev server, and
        ``LDAI_CONFIG_FILE`` reads AI Configs from a file. If several are set, the dev server is used; it receives the
        key. The process keeps the Tracking until it is closed.

        Args:
            settings: Options; the defaults suit most applications.
            sinks: Further receivers of records, besides LaunchDarkly.
            environ: Read instead of ``os.environ`` to find LaunchDarkly.

        Raises:
            TrackingNotConfiguredError: If none of the variables is set.
            ConfigurationError: If one of them has a value that cannot work.
        """
        tracking = cls._connect(environ, settings, sinks)
        tracking._services.start.wait()
        return tracking

    @classmethod
    def _connect(
        cls, environ: Mapping[str, str] | None = None, settings: Settings | None = None, sinks: Iterable[Sink] = ()
    ) -> Tracking:
        """Create a Tracking and its LDClient from the environment, without waiting."""
        settings, sinks = _settings_from(settings), _sinks_from(sinks)  # an error here must leave no client behind
        environ = os.environ if environ is None else environ
        tracking = cls(client_from_env(environ, process.diagnostics), settings=settings, sinks=sinks)
        tracking._owns_client = True
        tracking._dev_warnings = watch_dev_server(environ)
        note_ignored(environ, process.diagnostics)  # once, however many Trackings there are
        process.check_owners(tracking)
        process.keep(tracking)  # its client goes on until it is closed
        tracking._services.start.begin(tracking.client, tracking._diagnostics, tracking.settings.start_wait)
        return tracking

    def __repr__(self) -> str:
        return f"<Tracking, {self._reporter.runs} runs, LaunchDarkly {connection_of(self.client)}>"

    def flush(self, timeout: float | None = None) -> FlushReport:
        """Send everything that is buffered, and wait until it has arrived or is lost.

        It first waits for runs that are being reported and for evaluations in progress, each for half of the remaining
        time. Concurrent calls share the work. On an event loop it does not wait: use :meth:`aflush` there.

        Args:
            timeout: The longest time to wait, in seconds; ``settings.flush_timeout`` by default.

        Returns:
            What was sent, what still waits, and what was lost.
        """
        if is_on_event_loop():
            self._diagnostics.note(
                "flush_on_loop", "flush", "flush() was called on an event loop and does not wait; await aflush() there."
            )
            return self._flushing.flush(0.0)
        return self._flushing.flush(timeout)

    async def aflush(self, timeout: float | None = None) -> FlushReport:
        """Do the same as :meth:`flush` from a coroutine, without blocking its event loop."""
        return await call_off_loop(lambda: self._flushing.flush(timeout))

    def close(self) -> FlushReport:
        """Flush, and close the LDClient if :meth:`from_env` created it. May be called again.

        Each of the two takes at most ``settings.flush_timeout`` seconds.
        """
        self._flushing.open_runs.tracks_requests = False
        process.discard(self)
        if self._dev_warnings is not None:
            self._dev_warnings.close()
        if not self._owns_client or self._flushing.is_forked:
            report = self._flushing.flush()
            self._services.judges.close()
            self._flushing.worker.end()
            return report
        self._flushing.worker.join(self.settings.flush_timeout)
        self._services.judges.join(self.settings.flush_timeout / 2)
        self._services.judges.close()
        self._flushing.worker.end()
        return self._delivery.close(self.settings.flush_timeout)

    def stats(self) -> Stats:
        """Return what has happened since start: runs, events sent, pending and lost, and failures of the library."""
        sent, pending, dropped = self._delivery.counts()
        return Stats(
            runs=self._reporter.runs,
            sent=sent,
            pending=pending,
            dropped=dropped,
            connection=connection_of(self.client),
            endpoint=self._delivery.endpoint(),
            frameworks=connected(self.settings.frameworks),
            diagnostics=dict(
                Counter(self._diagnostics.counts())
                + Counter(self._delivery.diagnostics())
                + Counter(process.diagnostics.counts())
            ),
        )


class _Process:
    """The open Trackings of this process. The first one serves code that has none of its own. Thread-safe."""

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._trackings: list[weakref.ref[Tracking]] = []
        # Those that the application may not keep itself.
        self._kept: list[Tracking] = []
        #: Failures that belong to no Tracking.
        self.diagnostics: Diagnostics = Diagnostics()

    @property
    def tracking(self) -> Tracking | None:
        """The first open Tracking. Reading it is cheap."""
        return next(self._open(), None)

    def add(self, tracking: Tracking) -> None:
        """Add a Tracking that was created."""
        if any(other.client is tracking.client for other in self._open()):
            _note_second(tracking, "its client belongs to another one")
        self._trackings.append(weakref.ref(tracking, self._forget))

    def keep(self, tracking: Tracking) -> None:
        """Keep a Tracking until it is closed, whether or not the application does."""
        self._kept.append(tracking)

    def check_owners(self, tracking: Tracking) -> None:
        """Warn if another open Tracking has created a client as well."""
        if any(other._owns_client and other is not tracking for other in self._open()):
            _note_second(
                tracking, "Tracking.from_env(), or a run without a Tracking, has connected this process before"
            )

    def _open(self) -> Iterator[Tracking]:
        return (tracking for reference in self._trackings if (tracking := reference()) is not None)

    def discard(self, tracking: Tracking) -> None:
        """Remove a Tracking that was closed."""
        self._trackings = [reference for reference in self._trackings if reference() not in (tracking, None)]
        self._kept = [other for other in self._kept if other is not tracking]

    def _forget(self, reference: weakref.ref[Tracking]) -> None:
        self._trackings = [other for other in self._trackings if other is not reference]

    def make_tracking(self) -> Tracking | None:
        """Return the first Tracking; create one from LaunchDarkly's shared client or from the environment if needed.

        It does not wait for AI Configs. If no Tracking can be created, this is logged once, and the next call tries
        again.
        """
        with self._lock:
            if self.tracking is None:
                try:
                    self._of_shared_client() or Tracking._connect()
                except TrackingNotConfiguredError as exc:
                    self.diagnostics.note("configuration", "", "Runs are not tracked. %s", exc)
                except LDAIIntegrationError as exc:
                    self.diagnostics.note("configuration", str(exc), "Runs are not tracked: %s", exc)
            return self.tracking

    @contextmanager
    def replaced_by(self, tracking: Tracking) -> Iterator[None]:
        """Use another Tracking inside of a ``with`` block; for tests."""
        with self._lock:
            former, self._trackings = self._trackings, [weakref.ref(tracking)]
        try:
            yield
        finally:
            with self._lock:
                self._trackings = former

    def _of_shared_client(self) -> Tracking | None:
        """Return a Tracking of the client that ``ldclient.set_config`` created, as LaunchDarkly's guide shows."""
        try:
            with no_fork:  # it takes a lock of the SDK
                client = ldclient.get()
        except Exception:  # what ldclient.get raises before set_config: a bare Exception
            return None
        tracking = Tracking(client)
        self.keep(tracking)
        return tracking


def _note_second(tracking: Tracking, reason: str) -> None:
    tracking._diagnostics.note(
        "second_tracking",
        "",
        "A second Tracking was created, although %s. Its runs are counted separately. Create one Tracking for the "
        "process, before its first run, and pass it to every middleware and decorator.",
        reason,
    )


#: The Trackings of this process.
process: _Process = _Process()


def services_of(tracking: Tracking) -> Services:
    """Return what the runs of a Tracking share; for middlewares and decorators."""
    return tracking._services


def _settings_from(settings: object) -> Settings:
    if settings is None:
        return Settings()
    if not isinstance(settings, Settings):
        raise ConfigurationError(f"settings is of type {type(settings).__name__}; give Settings(flush_timeout=…)")
    return settings


def _sinks_from(sinks: object) -> tuple[Sink, ...]:
    if not isinstance(sinks, Iterable) or callable(getattr(sinks, "emit", None)):
        kind = type(sinks).__name__
        raise ConfigurationError(f"sinks is of type {kind}; give a list, such as sinks=[{kind}(…)]")
    return tuple(sinks)


def check_tracking(tracking: object) -> None:
    """Refuse, at set-up, a value that is not a Tracking.

    Raises:
        ConfigurationError: If it is neither a Tracking nor ``None``.
    """
    if tracking is not None and not isinstance(tracking, Tracking):
        kind = type(tracking).__name__
        raise ConfigurationError(
            f"tracking is of type {kind}; give a Tracking, such as Tracking.from_env(settings=Settings(…))"
        )


def process_tracking(tracking: Tracking | None = None) -> Tracking:
    """Return the given Tracking; without one, that of the process.

    Raises:
        ConfigurationError: If it is not a Tracking.
        TrackingNotConfiguredError: If none is given and none can be created.
    """
    check_tracking(tracking)
    found = tracking if tracking is not None else process.make_tracking()
    if found is None:
        raise TrackingNotConfiguredError(not_configured())
    found._services.start.wait()
    return found
