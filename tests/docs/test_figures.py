"""The code on the pages about figures, delivery and the dev server works, and their statements agree with the code."""

from __future__ import annotations

import ast
import json
import re
from contextlib import suppress
from dataclasses import fields
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from openai import APIConnectionError, OpenAI

from ldai_integrations import RunRecord, Settings, Tracking, Usage, run_finished, track_ai, wrap_client
from ldai_integrations.devserver import DevServer
from ldai_integrations.metrics import MetricsClient
from ldai_integrations.testing import ai_config

from .conftest import DOCS, ROOT, run_block, summaries

PAGE = (DOCS / "figures.md").read_text(encoding="utf-8")


def test_the_receiver(tracking: Tracking, capsys: pytest.CaptureFixture[str]) -> None:
    """The receiver prints outcome, calls and usage of each run."""
    space = run_block("figures.md", "def show(")
    try:
        with track_ai(config_key="support-bot", tracking=tracking) as run:
            run.observe({"object": "chat.completion", "choices": [], "usage": {"prompt_tokens": 3}})
    finally:
        run_finished.disconnect(space["show"])
    assert capsys.readouterr().out.startswith("success 1 0 ")


def test_caught_failures(launchdarkly: DevServer, records: list[RunRecord]) -> None:
    """A caught failure is an error, or a success with the setting on the page."""
    space = run_block("figures.md", "caught_failures=")
    for tracking in (Tracking.from_env(), space["tracking"]):
        with (
            wrap_client(OpenAI(base_url="http://127.0.0.1:9/v1", max_retries=0)) as client,
            track_ai(config_key="support-bot", tracking=tracking) as run,
            suppress(APIConnectionError),
        ):
            client.chat.completions.create(model=run.model, messages=run.messages(user="Hello?"))
        tracking.close()
    assert [(record.outcome, record.failed_calls) for record in records] == [("error", 1), ("success", 1)]


def test_is_error(tracking: Tracking, records: list[RunRecord]) -> None:
    """The function on the page makes a run without an answer an error."""
    assert run_block("figures.md", "is_error=")["chat"]("Hello?") == {"answer": ""}
    assert [record.outcome for record in records] == ["error"]


def test_a_cached_answer(launchdarkly: DevServer, records: list[RunRecord]) -> None:
    """A run that answers from a cache is discarded."""
    space = run_block("figures.md", "run.discard()")
    with space["client"]:
        assert space["answer"]("Hello?") == space["answer"]("Hello?")
    assert summaries(records) == [("support-bot", "success", ""), ("support-bot", "discarded", "")]


@pytest.mark.parametrize("name", [field.name for field in fields(Usage)])
def test_every_field_of_a_usage_is_on_the_page(name: str) -> None:
    """The page explains each field of a usage."""
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("name", [field.name for field in fields(RunRecord)])
def test_every_field_of_a_record_is_on_the_page(name: str) -> None:
    """The table explains each field of a record."""
    assert re.search(rf"^\| [^|]*`{name}`", PAGE, re.MULTILINE)


def test_the_limits_are_those_of_the_code() -> None:
    """The defaults on the page are those of the settings."""
    settings = Settings()
    assert f"({settings.usage_wait:g} by default)" in PAGE
    assert f"({settings.max_body_bytes // 1_000_000} MB by default)" in PAGE
    assert settings.caught_failures == "error"


def test_a_flush(launchdarkly: DevServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A flush without events is complete."""
    run_block("delivery.md", "tracking.flush()")["tracking"].close()
    assert capsys.readouterr().out.endswith(" True\n")


def test_an_own_client(launchdarkly: DevServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The LDClient with our event processor reports what became of its events."""
    monkeypatch.setenv("LAUNCHDARKLY_SDK_KEY", "sdk-test")
    uris = ", ".join(f"{name}={launchdarkly.url!r}" for name in ("base_uri", "stream_uri", "events_uri"))
    replace = {"event_processor_class": f"{uris}, event_processor_class"}
    space = run_block("delivery.md", "event_processor_class=", replace=replace)
    assert space["tracking"].flush().complete
    assert space["tracking"].stats().sent is not None
    space["client"].close()


def test_the_dev_server(
    fresh_process: None, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The flag file on the page is served to the tracking on the page."""
    [flags] = re.findall(r"^```json\n(.*?)^```$", (DOCS / "devserver.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    directory = tmp_path_factory.mktemp("devserver")
    (directory / "configs.json").write_text(flags, encoding="utf-8")
    monkeypatch.chdir(directory)
    assert list(json.loads(flags)["flags"]) == ["support-bot"]
    assert run_block("devserver.md", "with DevServer(")["server"].ai_configs[0].key == "support-bot"


def test_list_prices(fresh_process: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The server on the page computes costs with the prices of the function."""
    configs = {"flagValues": {"support-bot": ai_config("gpt-4o-mini", provider="OpenAI")}}
    (tmp_path / "configs.json").write_text(json.dumps(configs), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    now = datetime.now(timezone.utc)
    with run_block("devserver.md", "def list_prices")["server"] as server:
        tracking = Tracking.from_env(environ={"LDAI_DEV_SERVER": server.url})
        with track_ai(config_key="support-bot", tracking=tracking) as run:
            run.add_usage(input_tokens=1013, output_tokens=77)
        tracking.close()
        window: dict[str, Any] = {"env": "test", "start": now - timedelta(hours=1), "end": now + timedelta(hours=1)}
        metrics = MetricsClient("api-any", "default", base_url=server.url).metrics("support-bot", **window)
    assert (metrics.input_cost, metrics.output_cost) == (1013 * Decimal("1.5e-7"), 77 * Decimal("6e-7"))


def test_every_page_is_linked() -> None:
    """The README and the index link each page."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    pages = sorted(path.name for path in DOCS.glob("*.md") if path.name != "index.md")
    #: The README links the files that these pages include.
    included = {"changelog.md": "CHANGELOG.md", "security.md": "SECURITY.md"}

    assert [name for name in pages if f": {included.get(name, f'docs/{name}')}\n" not in readme] == []
    assert [name for name in pages if f"({name})" not in index] == []


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted(DOCS.glob("*.md"))], ids=lambda page: page.stem)
def test_every_example_handles_a_disabled_ai_config(page: Path) -> None:
    """Each example that calls a model in a run says what happens if LaunchDarkly cannot be reached."""
    blocks = re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    calling = [
        block for block in blocks if "model=run.model" in block or ("run.request(" in block and "track_ai(" in block)
    ]

    assert [block for block in calling if "on_disabled=" not in block and "run.config.enabled" not in block] == []


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted(DOCS.glob("*.md"))], ids=lambda page: page.stem)
def test_every_on_disabled_fits_its_handler(page: Path) -> None:
    """The ``on_disabled`` of each example takes the arguments that the handler is called with."""
    blocks = re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for node in (node for block in blocks for node in ast.walk(ast.parse(block))):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        given = [one.arg for one in node.args.args if one.annotation is None or ast.unparse(one.annotation) != "Run"]
        keywords = [keyword for one in node.decorator_list if isinstance(one, ast.Call) for keyword in one.keywords]
        for keyword in keywords:
            if keyword.arg == "on_disabled" and isinstance(keyword.value, ast.Lambda):
                assert [one.arg for one in keyword.value.args.args] == given, node.name


def test_the_readme_is_short() -> None:
    """The README explains the library in 900 words; the section "More" follows."""
    start, more, _ = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## More\n")

    assert more
    assert len(start.split()) <= 900
