"""The application's one object: opens runs, resolves their AI Configs, reports them, sees that events arrive."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from .._diagnostics import Diagnostics
from ..costs import Costs
from ..delivery import (
    client_from_env,
    connection_of,
    delivery_of,
    ensure_started,
    exits,
    forks,
    is_serverless,
    report_connection,
    watch_client,
)
from ..exceptions import ConfigurationError
from ..feedback import Feedback
from ..judges import Judges
from ..records import FlushReport, Stats
from ..sinks import LaunchDarklySink
from ..usage import warm_up
from .contexts import Contexts
from .current import Frame
from .off_loop import off_loop, on_event_loop
from .open_runs import OpenRuns
from .reporter import Reporter
from .resolver import AIConfig, Resolver
from .run import Run
from .run_spec import RunSpec
from .settings import Settings
from .worker import Worker

if TYPE_CHECKING:
    from ldclient import Context, LDClient

    from ..typing import Sink

_NO_VARIABLES: Mapping[str, Any] = {}
# To load an encoding: it takes a second at most.
_LOAD_SECONDS = 30.0


class Tracking:
    """Hold what an application's AI runs share: the LaunchDarkly client, the settings and the sinks.

    Make one per application and hand it to a door or a decorator. Thread-safe.

    Args:
        client: Your LDClient; it is never closed by us.
        settings: Options; the defaults suit most applications.
        sinks: More places for the records of reported runs, besides LaunchDarkly.
        clock: A monotonic clock in seconds; tests may pass their own.

    Raises:
        ConfigurationError: If ``client`` is not an LDClient or a sink has no ``emit``.
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
                f"client is a {type(client).__name__}; give an ldclient.LDClient, or use Tracking.from_env()"
            )
        self.client = client
        self.settings = settings if settings is not None else Settings()
        self.clock = clock
        self.diagnostics = Diagnostics()
        self.contexts = Contexts(self.diagnostics)
        self.costs = Costs(self.diagnostics) if self.settings.costs else None
        asked = self.settings.feedback
        self.feedback = Feedback(asked, client, self.diagnostics) if asked is not None else None
        self._delivery = delivery_of(client, self.diagnostics)
        self._worker, self._open_runs = Worker(self.diagnostics), OpenRuns()
        self._forks = forks.count
        watch_client(client, self.diagnostics)  # before the AI SDK, which sends an event when made
        self._resolver = Resolver(client, self._delivery, self.diagnostics)
        self.judges = Judges(self.settings.judges, self.diagnostics, self._resolver.judge_config)
        self._reporter = Reporter(self, (self._launchdarkly_sink(), *sinks))
        self._owns_client = False
        when = self.settings.flush
        #: Whether each request that had a run is followed by a flush; also when the process has been told to end.
        self.flushes_requests = when == "request" or (when == "auto" and is_serverless())
        self._watch_end()
        warm_up(timeout=_LOAD_SECONDS if forks.are_silent else None)

    @classmethod
    def from_env(
        cls,
        *,
        settings: Settings | None = None,
        sinks: Iterable[Sink] = (),
        start_wait: float = 5.0,
        environ: Mapping[str, str] | None = None,
    ) -> Tracking:
        """Make a Tracking, and its LDClient, from the environment.

        ``LAUNCHDARKLY_SDK_KEY`` connects to LaunchDarkly, ``LDAI_DEV_SERVER`` (an address) to the dev server and
        ``LDAI_CONFIG_FILE`` reads AI Configs from a file. The dev server wins where it is set, and is sent the key.

        Args:
            settings: Options; the defaults suit most applications.
            sinks: More places for records, besides LaunchDarkly.
            start_wait: Seconds to wait at most for AI Configs to arrive; a refused key is known at once.
            environ: What to read instead of ``os.environ``.

        Raises:
            TrackingNotConfiguredError: If none of the variables is set.
            ConfigurationError: If one of them is set to something that cannot work.
        """
        settings = settings if settings is not None else Settings()
        tracking = cls(client_from_env(environ), settings=settings, sinks=sinks)
        tracking._owns_client = True
        report_connection(tracking.client, tracking.diagnostics, timeout=start_wait)
        return tracking

    def open_run(
        self,
        frame: Frame,
        spec: RunSpec,
        *,
        variables: Mapping[str, Any] = _NO_VARIABLES,
        ld_context: Context | None = None,
        outer: Run | None = None,
    ) -> Run:
        """Open a run in a frame; whoever opens it finishes it, at the latest the frame."""
        if self._forks != forks.count:
            self.wake()
        if ld_context is None and frame.is_anonymous:
            ld_context = frame.ld_context
        run = Run(frame, spec, variables=variables, ld_context=ld_context, outer=outer)
        frame.open_runs.add(run)
        self._open_runs.add(run)
        frame.had_runs = True
        if frame.offer is not None:
            frame.offer.consider(run)
        self._reporter.opened(run)
        return run

    def resolve(self, run: Run) -> AIConfig:
        """Resolve the AI Config of a run, once per request, config key, context and set of variables."""
        spec, ld_context = run.spec, run.ld_context
        cache = run.frame.resolved.setdefault((spec.config_key, spec.mode, ld_context.fully_qualified_key), [])
        for variables, config in cache:
            if variables == run.variables:
                return config
        config = self._resolver.resolve(
            spec.config_key, ld_context, mode=spec.mode, default=spec.default, variables=run.variables
        )
        cache.append((run.variables, config))
        return config

    def draw_judges(self, run: Run, config: AIConfig) -> None:
        """Draw the judges that are to judge a run; only then is the text of its answer kept."""
        if run.frame.judging or config.judge_configuration is None:
            return
        with self.diagnostics.guard("judge_config", run.config_key):
            run.judged_by = self.judges.draw(config)
            run.evidence.kept_chars = self.judges.max_chars + 1 if run.judged_by else 0

    def report(self, run: Run, ended_at: float) -> None:
        """Account for a finished run and hand the record to the sinks.

        That is done on a thread of ours, wherever it can wait.
        """
        if run.forks != forks.count:
            return  # opened before a fork: it is the parent's
        report = partial(self._reporter.report, run, ended_at)
        if not (self._reporter.can_wait(run) and self._worker.submit(report)):
            report()
        self._open_runs.discard(run)  # not before: a flush at the process's end waits for it
        if self.flushes_requests and not (run.frame.is_request or run.frame.open_runs):
            with self.diagnostics.guard("flush", run.config_key):
                self.flush_events(0.0 if on_event_loop() else None)

    def wake(self) -> None:
        """Begin anew in a forked child, off the caller's thread; in any other process there is nothing to do.

        The threads of the client, and ours, are the parent's, and so are its runs. Events are held until the client
        has threads of its own.
        """
        with forks.lock:
            if self._forks == forks.count:
                return
            self._worker, self._open_runs = Worker(self.diagnostics), OpenRuns()
            ensure_started(self.client, self.diagnostics)
            self._forks = forks.count
        self._watch_end()

    def _watch_end(self) -> None:
        exits.watch(self, seconds=0.0 if self.settings.flush == "never" else self.settings.flush_timeout)

    def abandon_open_runs(self) -> None:
        """End the runs that nobody is left to go on with, when the process ends; one flush follows them all."""
        self.flushes_requests = False
        self._open_runs.abandon()

    def expect_end(self) -> None:
        """Flush after each request from now on, unless the settings say never: the process has been told to end."""
        self.flushes_requests = self.settings.flush != "never"

    def flush_at_end(self, seconds: float) -> None:
        """Flush before the process ends, unless the settings say never."""
        if self.settings.flush != "never":
            self._flush(seconds)

    def give_up(self) -> None:
        """Count what there was no time for: the process ends."""
        self.judges.close()

    def wait_for_open_runs(self, timeout: float) -> bool:
        """Wait until the runs that are open now have ended; not on an event loop, whose tasks must end them.

        Args:
            timeout: Seconds to wait at most; not at all in a forked child, where they are the parent's.
        """
        return self._forks != forks.count or self._open_runs.wait(timeout)

    def flush(self, timeout: float | None = None) -> FlushReport:
        """Send all that is buffered and wait until it has arrived or is lost.

        Callers at the same time share the work. On an event loop it does not wait: use :meth:`aflush` there.

        Runs that are being reported and evaluations that go on are waited for first, each for half of what is left.

        Args:
            timeout: Seconds to wait at most; ``settings.flush_timeout`` unless told.

        Returns:
            What was sent, what still waits, and what was lost.
        """
        if on_event_loop():
            self.diagnostics.note(
                "flush_on_loop", "flush", "flush() was called on an event loop and does not wait; await aflush() there."
            )
            return self._delivery.flush(0)
        return self._flush(timeout)

    async def aflush(self, timeout: float | None = None) -> FlushReport:
        """Do the same as :meth:`flush` from a coroutine, without blocking its event loop."""
        return await off_loop(lambda: self._flush(timeout))

    def close(self) -> FlushReport:
        """Flush, and close the LDClient if it was made by :meth:`from_env`; may be called again.

        Waits, ``settings.flush_timeout`` seconds at most for each of the two, wherever it is called.
        """
        if not self._owns_client or self._forks != forks.count:
            report = self._flush(None)
            self.judges.close()
            return report
        self._worker.join(self.settings.flush_timeout)
        self.judges.join(self.settings.flush_timeout / 2)
        self.judges.close()
        return self._delivery.close(self.settings.flush_timeout)

    def stats(self) -> Stats:
        """Return what has happened since start: runs, events sent, pending and lost, and diagnostics of ours."""
        sent, pending, dropped = self._delivery.counts()
        return Stats(
            runs=self._reporter.runs,
            sent=sent,
            pending=pending,
            dropped=dropped,
            connection=connection_of(self.client),
            endpoint=self._delivery.endpoint(),
            diagnostics=dict(Counter(self.diagnostics.counts()) + Counter(self._delivery.diagnostics())),
        )

    def _flush(self, timeout: float | None) -> FlushReport:
        seconds = self.settings.flush_timeout if timeout is None else timeout
        deadline = time.monotonic() + seconds
        if self._forks == forks.count:
            self._worker.join(seconds / 2)
            self.judges.join(max(0.0, deadline - time.monotonic()) / 2)  # the rest is for what they have said
        return self.flush_events(max(0.0, deadline - time.monotonic()))

    def flush_events(self, timeout: float | None = None) -> FlushReport:
        """Send what is buffered without waiting for judges, as no request does; not for an event loop."""
        seconds = self.settings.flush_timeout if timeout is None else timeout
        deadline = time.monotonic() + seconds
        if self._forks == forks.count:  # otherwise the worker is the parent's
            self._worker.join(seconds / 2)  # it may be with a receiver of the application's that hangs
        return self._delivery.flush(max(0.0, deadline - time.monotonic()))

    def _launchdarkly_sink(self) -> LaunchDarklySink:
        settings = self.settings
        return LaunchDarklySink(cancelled_as=settings.cancelled_as, report_estimates=settings.report_estimates)
