"""What docs/metrics.md and docs/costs.md show works as it stands there."""

from __future__ import annotations

import json
import re
import shlex
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from ldai_integrations import Tracking, cli, run_finished, track_ai
from ldai_integrations._cli.figures import FIGURES, parse_condition
from ldai_integrations._prices import CUSTOM_PARAMETERS
from ldai_integrations.devserver import DevServer
from ldai_integrations.metrics import MetricsClient

from .flags import CHAT, flag, meta, system

DOCS = Path(__file__).parents[1] / "docs"


def page(name: str) -> str:
    """Return the text of a page."""
    return (DOCS / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    """Return the code blocks of a page."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", page(name), re.MULTILINE | re.DOTALL)


def run(code: str) -> dict[str, Any]:
    """Execute a block as a module of its own."""
    space: dict[str, Any] = {"__name__": "docs"}
    exec(compile(code, "docs", "exec", dont_inherit=True), space)
    return space


def test_the_client(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], no_leaks: None, o200k: None
) -> None:
    """The example reads what runs reported; here from a dev server."""
    with DevServer({"flags": {"support-bot": {**CHAT, "key": "support-bot"}}, "segments": {}}) as server:
        tracking = Tracking.from_env(environ={"LDAI_DEV_SERVER": server.url})
        with track_ai(config_key="support-bot", tracking=tracking) as run_:
            run_.add_usage(input_tokens=3, output_tokens=4)
        tracking.close()
        server.wait_for(1, key="$ld:ai:generation:success")
        monkeypatch.setenv("LAUNCHDARKLY_ACCESS_TOKEN", "api-any")
        code = blocks("metrics.md", "python")[0]
        assert code.count('"my-project")') == 1
        space = run(code.replace('"my-project")', f'"my-project", base_url={server.url!r})'))

    assert isinstance(space["client"], MetricsClient)
    total, variation, *points = capsys.readouterr().out.splitlines()
    assert total.startswith("1 0.0 ")
    assert variation == "small None"
    assert [point.split()[1] for point in points] == [*["None"] * 6, "1"]


def test_the_dev_server_knows_every_project_and_environment() -> None:
    """The metrics of an AI Config do not depend on these keys, nor on the token."""
    with DevServer({"flags": {"support-bot": {**CHAT, "key": "support-bot"}}, "segments": {}}) as server:
        client = MetricsClient("api-dev", "some-project", base_url=server.url)
        now = datetime.now(timezone.utc)
        for by_variation, keys in ((False, {None}), (True, set())):
            (point,) = client.metrics_over_time(
                "support-bot", env="some-environment", start=now - timedelta(1), points=1, by_variation=by_variation
            )
            assert point.variations.keys() == keys


def test_the_commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The commands run as they stand, against a dev server."""
    commands = [line for code in blocks("metrics.md", "sh") for line in code.splitlines() if line.startswith("ldai ")]
    assert len(commands) == 2
    with DevServer({"flags": {"support-bot": {**CHAT, "key": "support-bot"}}, "segments": {}}) as server:
        monkeypatch.setenv("LDAI_DEV_SERVER", server.url)
        for command in commands:
            assert cli.main(shlex.split(command)[1:]) == 0
        server.wait_for(1, key="ldai-doctor")
    assert "serves variation 'large', version 3 (rule match premium)" in capsys.readouterr().out


def test_the_conditions() -> None:
    """Every condition on the page is one, and every figure is named there."""
    text = page("metrics.md")
    conditions = re.findall(r'`(?:--fail-if )?"([^"`]+)"`', text)
    assert len(conditions) == 6
    for condition in conditions:
        parse_condition(condition)
    assert [figure.name for figure in FIGURES if f"`{figure.name}`" not in text] == []


def test_the_receiver_and_the_prices(capsys: pytest.CaptureFixture[str], no_leaks: None) -> None:
    """The parameters on the page price a run, and the receiver prints what it cost, by which price."""
    value = json.loads(blocks("costs.md", "json")[0])
    assert set(value["model"]["custom"]) == set(CUSTOM_PARAMETERS.values())
    config = flag("support-bot", {"_ldMeta": meta("v"), **value, "messages": system("Hi.")})
    space = run(blocks("costs.md", "python")[0])
    try:
        with DevServer({"flags": {"support-bot": config}, "segments": {}}) as server:
            tracking = Tracking.from_env(environ={"LDAI_DEV_SERVER": server.url})
            with track_ai(config_key="support-bot", tracking=tracking) as run_:
                run_.add_usage(input_tokens=2_000_000, output_tokens=1_000_000)
            tracking.close()
    finally:
        run_finished.disconnect(space["bill"])

    marked, amount, *more = capsys.readouterr().out.split()
    assert (marked, float(amount), more) == ("exactly", 0.9, ["ai-config", "False"])
