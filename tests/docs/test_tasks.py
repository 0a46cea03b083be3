"""What the pages about streams, scripts, serverless platforms and migrating show works as it stands there."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from itertools import islice
from typing import Any

import celery
import pytest
from flask import Flask, Response
from ldai import AICompletionConfigDefault, LDAIClient
from ldai.tracker import LDAIConfigTracker, TokenUsage
from ldclient import Context, LDClient
from openai import OpenAI, OpenAIError

from ldai_integrations import Run, RunRecord, Settings, Tracking, current_run, track_ai, wrap_client
from ldai_integrations._core.run_tracker import RunTracker
from ldai_integrations.delivery._environment import _SERVERLESS_VARIABLES
from ldai_integrations.devserver import DevServer

from ..conftest import Clock, Decorate, Events
from .conftest import DOCS, ROOT, block, run_block, told

TOLD: dict[str, Any] = {"track_ai": track_ai, "Run": Run}


def test_a_stream(launchdarkly: DevServer, records: list[RunRecord]) -> None:
    """The generator's run ends with its last chunk, and has a first token before that; broken off, it is cancelled."""
    with wrap_client(OpenAI()) as client:
        words = run_block("streams.md", "def words(", **TOLD, client=client)["words"]
        assert len(list(words("Hello?"))) > 1
        [record] = records
        assert record.time_to_first_token_ms is not None
        assert record.time_to_first_token_ms <= record.duration_ms

        broken_off = words("Hello?")
        next(broken_off)
        broken_off.close()
    assert [record.outcome for record in records] == ["success", "cancelled"]
    assert records[1].usage is not None
    assert records[1].usage.output_tokens


def test_a_first_token_that_is_said(track: Decorate, clock: Clock, records: list[RunRecord]) -> None:
    """The first call stops the time to the first token, in a handler that collects its answer."""

    def source() -> Any:
        for part in ("Hel", "lo"):
            clock.advance(30)
            yield part

    names: dict[str, Any] = {"track_ai": lambda config_key: track, "Run": Run, "source": source}
    assert run_block("streams.md", "def whole(", **names)["whole"]() == "Hello"

    assert [(record.time_to_first_token_ms, record.duration_ms) for record in records] == [(30, 60)]


@pytest.mark.parametrize(("as_", "sent"), [("cancelled", []), ("error", ["error"]), ("success", ["success"])])
def test_how_cancelled_runs_count(client: LDClient, events: Events, as_: Any, sent: list[str]) -> None:
    """The setting says whether a run that is broken off is an error, a success or neither; time is told in any case."""
    tracking = Tracking(client, settings=Settings(cancelled_as=as_))

    @track_ai(config_key="chat", tracking=tracking)
    def words() -> Any:
        yield from ("Hel", "lo")

    broken_off = words()
    next(broken_off)
    broken_off.close()
    tracking.flush()

    names = [name for name, _ in events.of_runs()]
    assert [name for name in names if name.startswith("generation:")] == [f"generation:{name}" for name in sent]
    assert "duration:total" in names


def test_an_error_in_a_stream(track: Decorate, records: list[RunRecord]) -> None:
    """The event on the page makes the run an error, though the status was 200; without it, it is a success."""
    events = run_block("streams.md", "event: error")["events"]
    for steps in (2, 1):
        app = Flask("page")

        @app.get("/")
        @track
        def view(steps: int = steps) -> Response:
            return Response(islice(events(), steps), mimetype="text/event-stream")

        answer = app.test_client().get("/")
        assert answer.status_code == 200
        assert answer.text.startswith("data: ")

    assert [record.outcome for record in records] == ["error", "success"]


def test_an_exception_that_is_said(track: Decorate, records: list[RunRecord]) -> None:
    """An exception that the handler keeps makes the run an error."""

    @track
    def handler(run: Run) -> str:
        run.fail(RuntimeError("the model broke"))
        return "sorry"

    assert handler() == "sorry"
    assert [record.outcome for record in records] == ["error"]


def test_a_script(launchdarkly: DevServer) -> None:
    """The script prints its answers, and its end delivers its runs."""
    code = block("scripts.md", "__main__")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )

    assert len(done.stdout.splitlines()) >= 2
    assert launchdarkly.metrics("nightly-report")["generationSuccessCount"] == 2


def test_no_launchdarkly(fresh_process: None, caplog: pytest.LogCaptureFixture) -> None:
    """Where there is nothing to track with, the block is entered, and one line says what can be set."""
    for _ in range(2):
        with track_ai(config_key="nightly-report") as run:
            assert not run.config.enabled

    assert [line.levelname for line in caplog.records if "LAUNCHDARKLY_SDK_KEY" in line.getMessage()] == ["WARNING"]


def test_celery(launchdarkly: DevServer, records: list[RunRecord]) -> None:
    """Each call of the task is a run for the context of its arguments, and each try is one."""
    app = celery.Celery("shop", broker="memory://", backend="cache+memory://")
    app.conf.task_always_eager = True
    with wrap_client(OpenAI()) as client:
        report = run_block("scripts.md", "@app.task", **TOLD, app=app, client=client, Context=Context)["report"]
        assert [report.delay(team).get(timeout=10) for team in ("sales", "support")]
    assert told(records) == [("nightly-report", "success", team) for team in ("sales", "support")]

    @app.task(autoretry_for=(ValueError,), max_retries=1, retry_backoff=False, default_retry_delay=0)  # type: ignore[untyped-decorator]
    @track_ai(config_key="nightly-report")
    def fails() -> None:
        raise ValueError

    fails.delay()
    assert [record.outcome for record in records[2:]] == ["error", "error"]


def test_threads(launchdarkly: DevServer, records: list[RunRecord]) -> None:
    """Calls on threads with a copy of the context add up to one run; a thread without is in no run, a task is in it."""
    with wrap_client(OpenAI()) as client:

        def ask(part: str) -> str:
            run, messages = current_run(), [{"role": "user", "content": part}]
            answer = client.chat.completions.create(model=run.model, messages=messages)  # type: ignore[arg-type]
            return answer.id

        space = run_block("scripts.md", "copy_context", track_ai=track_ai, ask=ask)
        assert all(answer.result() for answer in space["answers"])
        one = client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "sales"}])
    [record] = records
    assert record.usage is not None
    assert one.usage is not None
    assert record.usage.input_tokens == 2 * one.usage.prompt_tokens

    async def main() -> list[bool]:
        async with track_ai(config_key="nightly-report") as run:
            loop = asyncio.get_running_loop()
            found = [await asyncio.to_thread(current_run), await loop.run_in_executor(None, current_run)]

            async def task() -> Run:
                return current_run()

            return [other is run for other in (*found, await asyncio.create_task(task()))]

    assert asyncio.run(main()) == [True, False, True]


def test_serverless(launchdarkly: DevServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the platform the run has arrived when the function has returned."""
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "chat")
    space = run_block("serverless.md", "def handler(event")
    assert space["handler"]({"user": "ada", "question": "Hello?"}, None)["answer"]

    assert space["tracking"].stats().pending == 0
    assert launchdarkly.metrics("support-bot")["generationSuccessCount"] == 1
    assert space["tracking"].flush().complete
    space["client"].close()
    space["tracking"].close()


def test_the_platforms() -> None:
    """Each variable that platforms are known by is on the page, and no other."""
    page = (DOCS / "serverless.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| [^|]+ \| `([A-Z_]+)` \|$", page, re.MULTILINE) == list(_SERVERLESS_VARIABLES)
    assert page.count(f"({Settings().flush_timeout:g} unless told)") == 2


@pytest.mark.parametrize("fails", [False, True])
def test_migrating(client: LDClient, events: Events, launchdarkly: DevServer, fails: bool) -> None:
    """Tracker calls by hand and the decorator send the same events of a run, whether the model answers or not."""
    names = {"ld_context": Context.create("ada"), "question": "Hello?"}
    with OpenAI(max_retries=0, base_url="http://127.0.0.1:9/v1" if fails else None) as openai_client:
        before = run_block(
            "migrating.md",
            "def answer_by_hand",
            replace={'"support-bot"': '"chat"'},
            ai_client=LDAIClient(client),
            openai_client=openai_client,
            AICompletionConfigDefault=AICompletionConfigDefault,
            TokenUsage=TokenUsage,
            time=time,
        )
        tracking = Tracking(client)
        after = run_block(
            "migrating.md",
            "def answer(ld_context",
            replace={'"support-bot"': '"chat"'},
            track_ai=lambda **options: track_ai(**options, tracking=tracking),
            wrap_client=wrap_client,
            openai_client=openai_client,
            Run=Run,
        )
        sent = []
        for answer in (before["answer_by_hand"], after["answer"]):
            if fails:
                with pytest.raises(OpenAIError):
                    answer(**names)
            else:
                assert answer(**names)
            tracking.flush()
            of_runs = sorted((name, 0 if name == "duration:total" else value) for name, value in events.of_runs())
            sent.append([*of_runs, *sorted({str(event.data["variationKey"]) for event in _runs(events)})])
            events.custom.clear()

    assert sent[0] == sent[1]
    assert ("generation:error" if fails else "generation:success", 1) in sent[0]


def _runs(events: Events) -> list[Any]:
    return [event for event in events.custom if isinstance(event.data, dict) and "runId" in event.data]


def test_every_tracker_method_has_its_row() -> None:
    """What a tracker of LaunchDarkly's can do, and ours, is in the table."""
    page = (DOCS / "migrating.md").read_text(encoding="utf-8")
    methods = {name for cls in (LDAIConfigTracker, RunTracker) for name in dir(cls) if name[0] != "_"}
    methods.discard("from_resumption_token")  # makes a tracker

    assert len(methods) > 10
    assert sorted(name for name in methods if f"`{name}`" not in page) == []
