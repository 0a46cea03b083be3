"""The pages for the first ten minutes, and those about logging and defaults, say what happens."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from ldai_integrations import RunRecord, Settings, track_ai
from ldai_integrations._example_apps.model_server import create_app
from ldai_integrations.cli import main
from ldai_integrations.devserver import DevServer
from ldai_integrations.testing import Clock, OfflineLaunchDarkly, ai_config

from ..conftest import EndProcess
from ..example_apps.servers import serving_asgi
from .conftest import DOCS, run_block, summaries


def test_the_quickstart(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    fresh_process: EndProcess,
    o200k: None,
    records: list[RunRecord],
) -> None:
    """The application answers two users with the AI Configs that ``ldai init`` writes, and the figures arrive."""
    monkeypatch.chdir(tmp_path)
    assert main(["init"]) == 0
    with DevServer(tmp_path / "configs.json") as dev_server, serving_asgi(create_app()) as model_server:
        monkeypatch.setenv("LDAI_DEV_SERVER", dev_server.url)
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://{model_server}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        space = run_block("quickstart.md", "app = Flask")
        with space["client"]:
            for user in ("ada", "bob"):
                answer = space["app"].test_client().post("/chat", json={"question": "?"}, headers={"X-User": user})
                assert answer.status_code == 200
        assert space["tracking"].flush().complete
        fresh_process()
        metrics = dev_server.metrics("support-bot")

    assert summaries(records) == [("support-bot", "success", "ada"), ("support-bot", "success", "bob")]
    assert [record.variation_key for record in records] == ["friendly", "concise"]
    assert metrics["generationSuccessCount"] == 2


def test_a_quiet_log(caplog: pytest.LogCaptureFixture) -> None:
    """The filter on the page hides the lines that it names, and no others."""
    logger = logging.getLogger("ldai_integrations")
    run_block("logging.md", "addFilter")
    try:
        logger.warning("hidden", extra={"ldai_kind": "estimated"})
        logger.warning("shown", extra={"ldai_kind": "sink"})
        logger.warning("shown, too")
    finally:
        logger.filters.clear()

    assert [record.getMessage() for record in caplog.records] == ["shown", "shown, too"]


def test_a_line_for_each_run(launchdarkly: DevServer, caplog: pytest.LogCaptureFixture) -> None:
    """The sink on the page writes a line with the attributes that the page names."""
    caplog.set_level(logging.INFO)
    tracking = run_block("logging.md", "LogSink()")["tracking"]
    with track_ai(config_key="support-bot", tracking=tracking) as run:
        run.add_usage(input_tokens=200, output_tokens=14)
    tracking.close()
    [line] = [record for record in caplog.records if record.name == "ldai_integrations.runs"]
    page = (DOCS / "logging.md").read_text(encoding="utf-8")

    assert line.getMessage().startswith("support-bot success in ")
    assert line.getMessage().endswith(" ms, 214 tokens")
    attributes = [name for name in line.__dict__ if name.startswith("ldai_")]
    assert len(attributes) > 5
    assert [name for name in attributes if f"`{name}`" not in page] == []


def test_a_sink_of_your_own(
    launchdarkly: DevServer, records: list[RunRecord], capsys: pytest.CaptureFixture[str]
) -> None:
    """The sink on the page prints slow runs, and LaunchDarkly gets all runs."""
    space, clock = run_block("logging.md", "class SlowRuns"), Clock()
    space["tracking"].close()
    with OfflineLaunchDarkly({"support-bot": ai_config()}, clock=clock, sinks=[space["SlowRuns"]()]) as offline:
        for milliseconds in (9_000, 11_000):
            with track_ai(config_key="support-bot") as run:
                run.add_usage(input_tokens=1)
                clock.advance(milliseconds)
        assert len(offline.sink.wait(2)) == 2

    assert capsys.readouterr().out == f"support-bot took 11000 ms ({records[1].run_id})\n"


def test_the_defaults_are_those_of_the_code() -> None:
    """The page says what the settings do without a change."""
    settings = Settings()
    page = (DOCS / "defaults.md").read_text(encoding="utf-8")

    assert not [name for name in os.environ if name.startswith("LDAI_") and name[5:].lower() in dir(settings)]
    assert settings.report_estimates
    assert settings.costs
    assert settings.cancelled_as == "cancelled"
    assert settings.caught_failures == "error"
    assert settings.feedback is None
    assert settings.judges is not None
    assert settings.flush == "auto"
    assert settings.flush_timeout == 5
    assert f"for at most {settings.start_wait:g} seconds | `LDAI_START_WAIT`" in page
    assert list(settings.error_statuses) == list(range(500, 600))
