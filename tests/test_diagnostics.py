"""Our own failures are logged once and suppressed; exceptions that are not ours pass."""

from __future__ import annotations

import functools
import json
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

import pytest
from ldclient import Config, Context, LDClient

from ldai_integrations import Settings, Tracking, track_ai
from ldai_integrations._diagnostics import Diagnostics
from ldai_integrations.delivery import safe_context
from ldai_integrations.feedback import Feedback, FeedbackSettings, MemoryStore


class TimeLimitError(Exception):
    """An exception of a time limit, as Celery and RQ raise it from a signal handler."""


class Limit:
    """A time limit in the forms that a signal handler may have."""

    def raise_it(self, *_args: object) -> None:
        """Raise, as a bound method."""
        raise TimeLimitError

    def __call__(self, *_args: object) -> None:
        """Raise, as an object."""
        raise TimeLimitError


def raise_it(*_args: object) -> None:
    """Raise, as a function."""
    raise TimeLimitError


@pytest.fixture
def alarm() -> Iterator[Callable[[Callable[..., None]], None]]:
    """Give a function that has a handler called in 50 ms."""
    before = signal.getsignal(signal.SIGALRM)

    def set_alarm(handler: Callable[..., None]) -> None:
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.05)

    yield set_alarm
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_a_failure_is_logged_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    """An exception in the block is suppressed, logged with its traceback for each subject, and counted each time."""
    diagnostics = Diagnostics()
    for subject in ("a", "a", "b"):
        with diagnostics.guard("sink", subject):
            raise TimeoutError
    assert diagnostics.counts() == {"sink": 3}
    assert [record.__dict__["ldai_subject"] for record in caplog.records] == ["a", "b"]
    assert all(record.exc_info is not None for record in caplog.records)


def test_the_line_of_an_exception(client: LDClient, caplog: pytest.LogCaptureFixture) -> None:
    """The line that a log line names is in the application's function, also if a package that it calls raised."""

    def variables() -> dict[str, object]:
        return dict(json.loads("no JSON"))

    tracking = Tracking(client, settings=Settings(flush="never"))
    with track_ai("chat", tracking=tracking, variables=variables) as run:
        run.discard()
    tracking.close()
    line = variables.__code__.co_firstlineno + 1
    assert f"JSONDecodeError at test_diagnostics.py:{line}" in caplog.text


class Profile(Mapping[str, object]):
    """A mapping that looks up what it contains."""

    def __getitem__(self, name: str) -> object:
        return f"the {name}"

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[str]:
        raise LookupError("no profile of ada@example.org")


class Answer:
    """A response that is parsed when it is read."""

    @property
    def http_response(self) -> object:
        """Fail as pydantic does, which quotes its input."""
        raise ValueError("input_value='The answer'")


def test_the_text_of_an_exception_is_not_logged(client: LDClient, caplog: pytest.LogCaptureFixture) -> None:
    """It may name a user, or quote an answer. The line in the application is logged."""
    tracking = Tracking(client, settings=Settings(flush="never"))
    with track_ai("chat", tracking=tracking, variables=Profile()) as run:
        assert not run.config.enabled
    with track_ai("chat", tracking=tracking) as run:
        run.observe(Answer())
        run.discard()
    tracking.close()
    assert tracking.stats().diagnostics == {"observe": 1, "resolve": 1}
    assert re.search(r"could not be resolved \(LookupError at .+:\d+\)", caplog.text)
    assert re.search(r"observe failed for 'chat' \(ValueError at test_diagnostics.py:\d+\)", caplog.text)
    assert "ada@example.org" not in caplog.text
    assert "The answer" not in caplog.text


def test_many_subjects_of_one_kind(caplog: pytest.LogCaptureFixture) -> None:
    """They do not fill the log, and other problems are logged as before."""
    diagnostics = Diagnostics()
    for number in range(1_000):
        diagnostics.note("content", f"part {number}", "A part %s is not sent.", number)
    diagnostics.note("sink", "mine", "The sink failed.")

    assert len(caplog.records) == 101
    assert caplog.messages[-1] == "The sink failed."
    assert diagnostics.counts() == {"content": 1_000, "sink": 1}


def test_long_texts_are_cut(caplog: pytest.LogCaptureFixture) -> None:
    """A log line has a limited length, whatever it is about."""
    Diagnostics().note("content", "x" * 10_000, "A part of type %r is not sent.", "y" * 10_000)

    [record] = caplog.records
    assert len(record.message) < 600
    assert len(record.__dict__["ldai_subject"]) < 600


def test_control_characters_are_escaped(caplog: pytest.LogCaptureFixture) -> None:
    """A text that strangers may have chosen, such as a key from a path, cannot begin another line of the log."""
    Diagnostics().note("kind", "subject", "Run `ldai doctor %s`.", "x\nERROR: forged \x1b[31m ü")
    assert caplog.messages == ["Run `ldai doctor x\\nERROR: forged \\x1b[31m ü`."]


def test_base_exceptions_pass() -> None:
    """What ends a program or a task is not suppressed."""
    for kind in (KeyboardInterrupt, SystemExit, GeneratorExit):
        with pytest.raises(kind), Diagnostics().guard("sink", "a"):
            raise kind


@pytest.mark.parametrize("handler", [raise_it, Limit(), Limit().raise_it, functools.partial(raise_it, 1)])
def test_a_time_limit_passes(alarm: Callable[[Any], None], handler: Any) -> None:
    """An exception that a signal handler raises inside a guarded block reaches the application."""
    diagnostics = Diagnostics()
    alarm(handler)
    with pytest.raises(TimeLimitError), diagnostics.guard("sink", "a"):
        time.sleep(5)
    assert diagnostics.counts() == {}


def test_celerys_soft_time_limit_passes() -> None:
    """So does the exception of Celery's own handler."""
    pool = pytest.importorskip("billiard.pool", reason="Celery is not installed")
    exceptions = pytest.importorskip("billiard.exceptions")
    before = signal.signal(signal.SIGUSR1, pool.soft_timeout_sighandler)
    try:
        with pytest.raises(exceptions.SoftTimeLimitExceeded), Diagnostics().guard("sink", "a"):
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_time_limit_in_a_value_passes(alarm: Callable[[Any], None]) -> None:
    """A context attribute whose text takes too long does not swallow the application's time limit."""

    class Slow:
        def __str__(self) -> str:
            alarm(raise_it)
            time.sleep(5)
            return ""

    context = Context.builder("ada").set("slow", Slow()).build()
    with pytest.raises(TimeLimitError):
        safe_context(context, Diagnostics())
    assert safe_context(Context.builder("ada").set("day", datetime(2026, 1, 1)).build(), Diagnostics()).get("day")


def test_a_time_limit_in_a_vote_store_passes(alarm: Callable[[Any], None]) -> None:
    """A store of votes that takes too long does not swallow it either."""

    class Slow(MemoryStore):
        def keep(self, run_id: str, kind: str, *, seconds: int) -> str | None:
            alarm(raise_it)
            time.sleep(5)
            return None

    client = LDClient(Config("test", offline=True))
    settings = FeedbackSettings(config_keys={"chat"}, secret="a secret of the tests", store=Slow())
    feedback = Feedback(settings, client.track, Diagnostics())
    token = feedback.token(_tracker(client), Context.create("ada"), anonymous=False, model={})
    with pytest.raises(TimeLimitError):
        feedback.vote({"token": token, "kind": "positive"}, lambda: Context.create("ada"), "")


def _tracker(client: LDClient) -> Any:
    from ldai.client import LDAIClient
    from ldai.models import AICompletionConfigDefault, ModelConfig

    default = AICompletionConfigDefault(enabled=True, model=ModelConfig("gpt-4o"))
    return LDAIClient(client).completion_config("chat", Context.create("ada"), default).create_tracker()
