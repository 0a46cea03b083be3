"""What docs/opentelemetry.md shows works as it stands there."""

from __future__ import annotations

import asyncio
import configparser
import re
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI
from opentelemetry.metrics import NoOpMeterProvider

from ldai_integrations import RunRecord, Tracking, track_ai
from ldai_integrations._example_apps.model_server import create_app
from ldai_integrations.devserver import DevServer
from ldai_integrations.opentelemetry import OpenTelemetrySink
from ldai_integrations.testing import Clock, OfflineLaunchDarkly

from ..example_apps.servers import serving_asgi
from ..flags import FLAGS
from .conftest import Telemetry
from .instrumented import instrumentable_openai
from .test_sink import RESPONSE, one_run

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "opentelemetry.md").read_text(encoding="utf-8")
SINK, MASK, PROCESSOR, PLUGIN = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def run(code: str) -> dict[str, Any]:
    """Execute a block as a module of its own."""
    space: dict[str, Any] = {"__name__": "docs"}
    exec(compile(code, "docs/opentelemetry.md", "exec", dont_inherit=True), space)
    return space


@pytest.mark.usefixtures("fresh_process")  # an earlier test may have left a Tracking
def test_both_blocks(no_leaks: None, o200k: None, monkeypatch: pytest.MonkeyPatch, records: list[RunRecord]) -> None:
    """The Tracking reports a run whose tokens are those of the span of an instrumented call."""
    with DevServer(FLAGS) as server, serving_asgi(create_app()) as address, instrumentable_openai():
        monkeypatch.setenv("LDAI_DEV_SERVER", server.url)
        tracking = run(SINK)["tracking"]
        space = run(PROCESSOR)
        client = OpenAI(api_key="none", base_url=f"http://{address}/v1")
        with client, track_ai("chat", tracking=tracking):
            client.chat.completions.create(model="gpt-4.1", messages=[{"role": "user", "content": "Hello?"}])
        tracking.close()
        space["OpenAIInstrumentor"]().uninstrument()
        space["provider"].shutdown()

    assert tracking.stats().diagnostics == {}
    [record] = records
    assert record.usage is not None
    assert record.usage.source == "provider"


def test_the_mask() -> None:
    """The function on the page hides addresses of e-mail."""
    assert isinstance(run(MASK)["sink"], OpenTelemetrySink)
    options = run(MASK.replace("sink = OpenTelemetrySink(", "options = dict("))["options"]
    assert options["mask"]("to a@b.c") == "to (email)"


def test_the_plugin() -> None:
    """The page shows our parts next to LaunchDarkly's plugin, which is not installed here, by their names."""
    lines = [line for line in PLUGIN.splitlines() if line.startswith("from ldai_integrations")]

    assert set(run("\n".join(lines))) > {"Tracking", "OpenTelemetrySink", "UsageSpanProcessor"}


def test_every_attribute_is_on_the_page(tracking: Tracking, telemetry: Telemetry, clock: Clock) -> None:
    """What is written of a run is listed, and so are the metrics."""
    one_run(tracking, clock)
    for exception in (TimeoutError, GeneratorExit, asyncio.CancelledError):
        with pytest.raises(exception), track_ai("bot", tracking=tracking):
            raise exception
    with track_ai("bot", tracking=tracking) as run:
        run.observe(RESPONSE)
        run.evaluate("helpful", 1.0)
    tracking.flush()
    spans = telemetry.exporter.get_finished_spans()
    names = {name for span in spans for name in [*(span.attributes or {}), *(span.events[0].attributes or {})]}

    assert {"gen_ai.request.model", "error.type", "feature_flag.key"} < names
    assert [name for name in names if f"`{name}`" not in PAGE] == []
    assert [name for name in re.findall(r"`(gen_ai\.client\.[a-z_.]+)`", PAGE) if not telemetry.points(name)] == []


def test_metrics_can_be_left_out(launchdarkly: OfflineLaunchDarkly, telemetry: Telemetry) -> None:
    """The provider on the page that measures nothing takes the sink's metrics."""
    sink = OpenTelemetrySink(tracer_provider=telemetry.traces, meter_provider=NoOpMeterProvider())
    with track_ai("bot", tracking=Tracking(launchdarkly.client, sinks=[sink])):
        pass

    assert len(telemetry.spans()) == 1
    assert telemetry.points("gen_ai.client.operation.duration") == []


def test_the_extra() -> None:
    """The extra on the page installs every distribution that the module and its sink import."""
    extras = configparser.ConfigParser(interpolation=None)
    extras.read(ROOT / "setup.cfg", encoding="utf-8")
    installed = re.findall(r"^opentelemetry-\w+", extras["options.extras_require"]["otel"], re.MULTILINE)
    package = ROOT / "ldai_integrations"
    sources = [(package / "opentelemetry.py"), *(package / "sinks").glob("*.py")]
    imported = {
        "opentelemetry-sdk" if name.startswith("opentelemetry.sdk") else "opentelemetry-api"
        for path in sources
        for name in re.findall(r"^ *(?:from|import) (opentelemetry[\w.]*)", path.read_text("utf-8"), re.MULTILINE)
    }

    assert imported == set(installed)
