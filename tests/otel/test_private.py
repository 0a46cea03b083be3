"""Texts and keys of the LD context are exported on request only, and masked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from ldclient import Context
from openai import OpenAI

from ldai_integrations import ConfigurationError, Tracking, track_ai, wrap_client
from ldai_integrations._example_apps.model_server import create_app
from ldai_integrations.opentelemetry import OpenTelemetrySink
from ldai_integrations.testing import OfflineLaunchDarkly, ai_config

from ..example_apps.servers import serving_asgi
from .conftest import Telemetry
from .test_sink import RESPONSE, SECRET

CONTEXT = Context.create_multi(Context.create("zelda@example.com"), Context.create("acme", "organization"))
Export = Callable[..., Tracking]
CONFIGS = {"bot": ai_config(messages="Be brief.", variation_key="small", version=3)}


@pytest.fixture
def export(telemetry: Telemetry) -> Iterator[Export]:
    """Give a function that makes a Tracking whose sink has options."""
    with ExitStack() as stack:

        def make(**options: Any) -> Tracking:
            sink = OpenTelemetrySink(tracer_provider=telemetry.traces, meter_provider=telemetry.meters, **options)
            return stack.enter_context(OfflineLaunchDarkly(CONFIGS, sinks=[sink])).tracking

        yield make


def one_run(tracking: Tracking) -> None:
    """Ask a question, and observe the answer."""
    with track_ai("bot", tracking=tracking, ld_context=lambda: CONTEXT) as run:
        run.messages(user="Where is my parcel?")
        run.observe(RESPONSE)
    tracking.flush()


def exported(telemetry: Telemetry) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the attributes of the only span, and of its event."""
    [span] = telemetry.spans().values()
    return dict(span.attributes or {}), dict(span.events[0].attributes or {})


def test_texts(export: Export, telemetry: Telemetry) -> None:
    """Each message and each answer has a role and a content, as LaunchDarkly's pages read them."""
    one_run(export(include_texts=True))
    span, event = exported(telemetry)

    assert {name: value for name, value in span.items() if name.startswith(("gen_ai.prompt", "gen_ai.completion"))} == {
        "gen_ai.prompt.0.role": "system",
        "gen_ai.prompt.0.content": "Be brief.",
        "gen_ai.prompt.1.role": "user",
        "gen_ai.prompt.1.content": "Where is my parcel?",
        "gen_ai.completion.0.role": "assistant",
        "gen_ai.completion.0.content": SECRET,
    }
    assert "zelda" not in str((span, event))


def test_texts_of_a_wrapped_client(export: Export, telemetry: Telemetry) -> None:
    """The prompt is the one that the provider got, even if the usage of the call is known."""
    tracking = export(include_texts=True)
    messages: Any = [{"role": "user", "content": "What is this?"}]
    with (
        serving_asgi(create_app()) as address,
        OpenAI(api_key="none", base_url=f"http://{address}/v1") as client,
        track_ai("bot", tracking=tracking),
    ):
        wrap_client(client).chat.completions.create(model="gpt-4.1", messages=messages)
    tracking.flush()
    span, _ = exported(telemetry)

    assert span["gen_ai.prompt.0.content"] == "What is this?"
    assert span["gen_ai.completion.0.content"].startswith("You asked: What is this?")


def test_the_text_of_a_handler(export: Export, telemetry: Telemetry) -> None:
    """If no provider call is known, the handler's own text is the answer."""
    tracking = export(include_texts=True)
    track_ai("bot", tracking=tracking)(lambda: "Hello.")()
    tracking.flush()
    span, _ = exported(telemetry)

    assert span["gen_ai.completion.0.content"] == "Hello."
    assert "gen_ai.prompt.0.content" not in span


def test_context_keys(export: Export, telemetry: Telemetry) -> None:
    """The key of each kind is on the span, and the whole key on the event."""
    one_run(export(include_context_keys=True))
    span, event = exported(telemetry)

    assert span["context.contextKeys.user"] == "zelda@example.com"
    assert span["context.contextKeys.organization"] == "acme"
    assert event["feature_flag.context.id"] == CONTEXT.fully_qualified_key
    assert SECRET not in str((span, event))


def test_everything_is_masked(export: Export, telemetry: Telemetry) -> None:
    """Every text and every key passes through the masking function."""
    one_run(export(include_texts=True, include_context_keys=True, mask=lambda text: f"<{len(text)}>"))
    span, event = exported(telemetry)

    assert span["gen_ai.prompt.1.content"] == "<19>"
    assert span["gen_ai.completion.0.content"] == f"<{len(SECRET)}>"
    assert span["context.contextKeys.user"] == "<17>"
    written = str((span, event))
    assert [text for text in ("brief", "parcel", SECRET, "zelda", "acme") if text in written] == []


def test_a_mask_that_raises(export: Export, telemetry: Telemetry, caplog: pytest.LogCaptureFixture) -> None:
    """If one text cannot be masked, no text is exported. The log names the place, and not the text."""

    def mask(text: str) -> str:
        if text == SECRET:
            raise ValueError(text)
        return text

    tracking = export(include_texts=True, include_context_keys=True, mask=mask)
    with caplog.at_level(logging.WARNING, "ldai_integrations"):
        one_run(tracking)
    span, event = exported(telemetry)

    assert span["gen_ai.usage.total_tokens"] == 28
    assert [name for name in (*span, *event) if "prompt." in name or "completion." in name or "context" in name] == []
    assert tracking.stats().diagnostics == {"sink OpenTelemetrySink": 1}
    assert "ValueError at test_private.py" in caplog.text
    assert SECRET not in caplog.text
    assert telemetry.points("gen_ai.client.operation.duration")


def test_a_mask_that_returns_no_text(export: Export, telemetry: Telemetry) -> None:
    """If the masking function returns no text, nothing is exported."""
    tracking = export(include_texts=True, mask=lambda _text: None)
    one_run(tracking)

    assert "gen_ai.completion.0.content" not in exported(telemetry)[0]
    assert tracking.stats().diagnostics == {"sink OpenTelemetrySink": 1}


def test_a_mask_that_cannot_work() -> None:
    """A mask that is not a function is refused when the sink is created."""
    wrong: Any = "***"
    with pytest.raises(ConfigurationError, match="mask is"):
        OpenTelemetrySink(mask=wrong)


def test_runs_that_are_not_reported(launchdarkly: OfflineLaunchDarkly, export: Export, telemetry: Telemetry) -> None:
    """Nothing of a discarded run, or of a disabled AI Config, is exported."""
    tracking = export(include_texts=True, include_context_keys=True)
    with track_ai("bot", tracking=tracking, ld_context=lambda: CONTEXT) as run:
        run.observe(RESPONSE)
        run.discard()
    launchdarkly.serve("helper", ai_config(enabled=False))
    with track_ai("helper", tracking=tracking, ld_context=lambda: CONTEXT) as run:
        run.observe(RESPONSE)
    tracking.flush()

    assert [dict(span.attributes or {}) for span in telemetry.exporter.get_finished_spans()] == [{}, {}]
