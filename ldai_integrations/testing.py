"""Tools to test the AI runs of an application without a network.

A test serves its own AI Configs and reads the records of the runs. Any test runner will do. For pytest, there is the
fixture ``ldai``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal

from ldclient import Config, LDClient
from ldclient.interfaces import EventProcessor

from ._run.open_runs import open_runs
from ._run.run import Run
from .exceptions import ConfigurationError
from .records import RunRecord
from .settings import Settings
from .signals import run_finished, run_opened
from .tracking import Tracking, process
from .typing import Sink, TokenCounter
from .usage import count_with

__all__ = ["Clock", "Events", "OfflineLaunchDarkly", "RecordingSink", "ai_config", "counting_tokens", "recorded_runs"]

Variation = Mapping[str, Any]


def ai_config(
    model: str = "gpt-4o-mini",
    *,
    messages: str | Sequence[Mapping[str, str]] = (),
    instructions: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    custom: Mapping[str, Any] | None = None,
    provider: str = "OpenAI",
    variation_key: str = "test",
    version: int = 1,
    enabled: bool = True,
    mode: Literal["completion", "agent", "judge"] | None = None,
    tools: Mapping[str, Any] | None = None,
    judgeConfiguration: Mapping[str, Any] | None = None,  # noqa: N803  # LaunchDarkly's own name, as the next ones
    evaluationMetricKey: str | None = None,  # noqa: N803
    outputFormat: Mapping[str, Any] | None = None,  # noqa: N803
) -> dict[str, Any]:
    """Return a variation of an AI Config, in LaunchDarkly's format.

    Args:
        model: Name of the model.
        messages: The prompt, with its ``{{variables}}``: ``{"role": …, "content": …}`` each, or one system message.
        instructions: The instructions of an agent.
        parameters: Parameters of the model, such as ``{"temperature": 0.2}``.
        custom: Custom parameters of the model, such as its prices ``{"costPerInputToken": 1e-6}``.
        provider: Name of the provider.
        variation_key: The key of the variation, as in records and metrics.
        version: The version of the variation.
        enabled: Whether the AI Config is switched on.
        mode: What the AI Config is. By default, one with instructions is an agent, and any other a completion.
        tools: The tools, by their keys.
        judgeConfiguration: The judges that score its runs.
        evaluationMetricKey: The metric of a judge.
        outputFormat: The JSON Schema of the answer.

    Raises:
        ConfigurationError: If there are both messages and instructions.
    """
    if instructions is not None and messages:
        raise ConfigurationError("ai_config was given messages and instructions; an agent has only instructions")
    prompt = [{"role": "system", "content": messages}] if isinstance(messages, str) else [dict(one) for one in messages]
    meta = {"enabled": enabled, "variationKey": variation_key, "version": version}
    further = {
        "tools": tools,
        "judgeConfiguration": judgeConfiguration,
        "evaluationMetricKey": evaluationMetricKey,
        "outputFormat": outputFormat,
    }
    return {
        "_ldMeta": {**meta, "mode": mode or ("completion" if instructions is None else "agent")},
        "model": {"name": model, "parameters": dict(parameters or {}), **({"custom": dict(custom)} if custom else {})},
        "provider": {"name": provider},
        **({"messages": prompt} if instructions is None else {"instructions": instructions}),
        **{name: value for name, value in further.items() if value is not None},
    }


class RecordingSink:
    """A sink that keeps the record of every reported run. Thread-safe.

    Attributes:
        records: The records so far, in order; a test may clear the list.
    """

    def __init__(self) -> None:
        self.records: list[RunRecord] = []
        self._arrived = threading.Condition()

    def emit(self, record: RunRecord) -> None:
        """Take one record."""
        with self._arrived:
            self.records.append(record)
            self._arrived.notify_all()

    def wait(self, count: int = 1, *, timeout: float = 5.0) -> list[RunRecord]:
        """Wait for records, which may come from another thread.

        Args:
            count: How many at least.
            timeout: The longest time to wait, in seconds.

        Returns:
            All records so far.

        Raises:
            AssertionError: If there are fewer after that time. The text says which runs were reported, and which ones
                are still open.
        """
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.records) >= count, timeout):
                came = ", ".join(f"{record.config_key} ({record.outcome})" for record in self.records) or "none"
                problem = f"{count} runs were expected within {timeout:g} s; reported: {came}"
                if unfinished := ", ".join(sorted(run.config_key for run in open_runs())):
                    problem += f"; still open: {unfinished}. Read the response, for example response.text, or close it."
                raise AssertionError(problem)
            return list(self.records)


@dataclass
class Events(EventProcessor):
    """An event processor that keeps what an LDClient would send.

    Attributes:
        custom: The events of ``LDClient.track``, in order, including those of runs.
    """

    custom: list[Any] = field(default_factory=list)

    def send_event(self, event: Any) -> None:
        """Keep the events of ``LDClient.track``."""
        if hasattr(event, "metric_value"):
            self.custom.append(event)

    def flush(self) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""

    def of_runs(self) -> list[tuple[str, Any]]:
        """Return ``(name, metric value)`` of the events of runs, without ``$ld:ai:``, in order."""
        runs = (event for event in self.custom if isinstance(event.data, dict) and "runId" in event.data)
        return [(event.key.removeprefix("$ld:ai:"), event.metric_value) for event in runs]

    def named(self, name: str) -> list[Any]:
        """Return the events with this name, with or without ``$ld:ai:``."""
        return [event for event in self.custom if event.key in (name, f"$ld:ai:{name}")]


@dataclass
class Clock:
    """A clock that only the test moves, for ``Tracking(clock=…)``."""

    seconds: float = 100.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.seconds

    def advance(self, ms: float) -> None:
        """Move the clock by some milliseconds."""
        self.seconds += ms / 1000


class OfflineLaunchDarkly:
    """A LaunchDarkly for tests: a real client and a Tracking that serve the AI Configs of the test without a network.

    ::

        with OfflineLaunchDarkly({"support-bot": ai_config("gpt-4o", messages="You help.")}) as launchdarkly:
            app = create_app(launchdarkly.tracking)

    Inside the block, code without a Tracking of its own uses it too, such as ``@track_ai(config_key=…)``. Only one test
    at a time can use such a block in a process. The client is closed at the end of the block.

    Args:
        configs: A variation for each key of an AI Config; see :func:`ai_config`. Other keys are unknown to
            LaunchDarkly.
        settings: Options. By default there are no flushes on signals and no judges.
        sinks: Further receivers of records, besides :attr:`sink`.
        clock: A monotonic clock in seconds, such as a :class:`Clock`.

    Attributes:
        client: The LDClient.
        tracking: The Tracking, for middlewares and decorators.
        sink: The sink that keeps the records of reported runs.
        events: The events that would have been sent to LaunchDarkly.
    """

    def __init__(
        self,
        configs: Mapping[str, Variation] | None = None,
        *,
        settings: Settings | None = None,
        sinks: Iterable[Sink] = (),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        from ldclient.integrations.test_data import TestData  # and with it boto3, redis and others, if installed

        self._data = TestData.data_source()
        for config_key, config in (configs or {}).items():
            self.serve(config_key, config)
        self.events: Events = Events()
        self.sink: RecordingSink = RecordingSink()
        self.client: LDClient = LDClient(
            Config("offline", update_processor_class=self._data, event_processor_class=lambda _config: self.events)
        )
        settings = settings if settings is not None else Settings(flush="never", judges=None)
        self.tracking: Tracking = Tracking(self.client, settings=settings, sinks=[self.sink, *sinks], clock=clock)
        self._opened = ExitStack()
        self._opened.callback(self.client.close)
        self._opened.callback(self.tracking.close)

    def serve(self, config_key: str, config: Variation, *, users: Mapping[str, Variation] | None = None) -> None:
        """Serve an AI Config from now on, instead of the one that had its key.

        Args:
            config_key: The key of the AI Config.
            config: The variation for all users.
            users: Other variations, by the keys of LD contexts of kind ``user``.

        Raises:
            ConfigurationError: If it is not a variation, for example a whole flag of a flag file.
        """
        others = users or {}
        for variation in (config, *others.values()):
            if not isinstance(variation, Mapping):
                kind = type(variation).__name__
                raise ConfigurationError(
                    f"{config_key!r} was given an object of type {kind}; give a variation, such as ai_config()"
                )
            if "variations" in variation:
                raise ConfigurationError(
                    f"{config_key!r} is a whole flag; give one of its variations, such as flag['variations'][0], or "
                    "serve the flag file with Tracking.from_env(environ={'LDAI_CONFIG_FILE': …})"
                )
        flag = self._data.flag(config_key).clear_targets().variations(config, *others.values()).variation_for_all(0)
        for index, user in enumerate(others, start=1):
            flag.variation_for_user(user, index)
        self._data.update(flag)

    def close(self) -> None:
        """Report the runs that have ended, and close the client. May be called again."""
        self._opened.close()

    def __enter__(self) -> OfflineLaunchDarkly:
        self._opened.enter_context(process.replaced_by(self.tracking))
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


@contextmanager
def recorded_runs() -> Iterator[RecordingSink]:
    """Record every run of the block, of all Trackings, including runs that are not reported.

    A run that was opened before the block, such as one that an earlier test left open, is not recorded.
    """
    sink = RecordingSink()
    # Tests may stop or change the clock, so that the times of runs cannot be compared with the time of the block.
    started: set[float] = set()

    def note(_config_key: str, *, run: Run) -> None:
        started.add(run._state.started_at)

    def keep(_config_key: str, *, record: RunRecord) -> None:
        if record.started_at in started:
            sink.emit(record)

    with run_opened.connected_to(note), run_finished.connected_to(keep):
        yield sink


@contextmanager
def counting_tokens(counter: TokenCounter = lambda text: len(text.split())) -> Iterator[None]:
    """Estimate tokens with a simple counter in the whole process, so that a test can predict them.

    Args:
        counter: Counts the tokens of a text; words by default. Messages, tools and the family of the model add more.
    """
    with count_with(counter):
        yield
