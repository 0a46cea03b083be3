"""Real instrumentations of the openai package, against a model server whose bill is the truth."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI

from ldai_integrations import Tracking, track_ai, wrap_client
from ldai_integrations._example_apps.model_server import create_app
from ldai_integrations.testing import RecordingSink

from ..example_apps.servers import serving_asgi
from .conftest import Telemetry
from .instrumented import instrumentable_openai

OPENLLMETRY, OFFICIAL = "opentelemetry.instrumentation.openai", "opentelemetry.instrumentation.genai.openai"
INSTRUMENTATIONS = {"OpenLLMetry": [OPENLLMETRY], "official": [OFFICIAL], "both": [OPENLLMETRY, OFFICIAL]}
ASKED: dict[str, Any] = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "Where is my parcel?"}]}
STREAMED = {**ASKED, "stream": True, "stream_options": {"include_usage": True}}


@pytest.fixture(scope="module")
def model_server() -> Iterator[str]:
    """Serve a model; gives the address."""
    with serving_asgi(create_app()) as address:
        yield f"http://{address}/v1"


@pytest.fixture
def model(model_server: str, telemetry: Telemetry) -> Iterator[OpenAI]:
    """Give a client whose calls are instrumented."""
    with OpenAI(api_key="none", base_url=model_server) as client:
        yield client


@pytest.fixture(
    scope="module", params=[[OPENLLMETRY], [OFFICIAL], [OPENLLMETRY, OFFICIAL]], ids=["OpenLLMetry", "official", "both"]
)
def telemetry(request: pytest.FixtureRequest) -> Iterator[Telemetry]:
    """Instrument the openai package, once with each instrumentation, and once with all of them."""
    telemetry = Telemetry()
    instrumentors = [
        pytest.importorskip(name, reason="comes with the extra [otel-tests]").OpenAIInstrumentor()
        for name in request.param
    ]
    with instrumentable_openai():
        for instrumentor in instrumentors:
            instrumentor.instrument(tracer_provider=telemetry.traces, meter_provider=telemetry.meters)
        yield telemetry
        for instrumentor in instrumentors:
            instrumentor.uninstrument()


def truth(model: Any) -> tuple[int, int]:
    """Return the tokens on the last line of the bill."""
    line = model._client.get(str(model.base_url.join("/bill"))).json()[-1]
    return line["prompt_tokens"], line["completion_tokens"]


def reported(sink: RecordingSink) -> tuple[int | None, int | None]:
    """Return the exact tokens of the only run."""
    [record] = sink.wait()
    assert record.usage is not None
    assert record.usage.source == "provider"
    assert record.response_model == "gpt-4.1"
    return record.usage.input_tokens, record.usage.output_tokens


def ask(client: Any, observe: Callable[[Any], Any] = lambda response: response) -> str:
    """Ask at once, and return the answer."""
    return str(observe(client.chat.completions.create(**ASKED)).choices[0].message.content)


def ask_for_a_stream(client: Any, observe: Callable[[Any], Any] = lambda stream: stream) -> str:
    """Ask, and return the words that are streamed."""
    chunks = observe(client.chat.completions.create(**STREAMED))
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


@pytest.mark.parametrize("call", [ask, ask_for_a_stream])
@pytest.mark.parametrize("seen", ["", "observed", "wrapped"])
def test_a_call_is_counted_once(
    tracking: Tracking, sink: RecordingSink, model: OpenAI, call: Callable[..., str], seen: str
) -> None:
    """The run's tokens are the bill's, whether the instrumentation alone saw the call or others as well."""
    with track_ai("bot", tracking=tracking) as run:
        client = wrap_client(model) if seen == "wrapped" else model
        said = call(client, run.observe) if seen == "observed" else call(client)

    assert said.startswith("You asked: Where is my parcel?")
    assert reported(sink) == truth(model)


@pytest.mark.parametrize("call", [ask, ask_for_a_stream])
def test_a_handler(tracking: Tracking, sink: RecordingSink, model: OpenAI, call: Callable[..., str]) -> None:
    """A handler that returns the text of an instrumented call is reported with the bill's tokens."""
    track_ai("bot", tracking=tracking)(lambda: call(model))()

    assert reported(sink) == truth(model)


def test_a_streaming_handler(tracking: Tracking, sink: RecordingSink, model: OpenAI) -> None:
    """A generator that passes an instrumented stream on is reported with the bill's tokens."""

    @track_ai("bot", tracking=tracking)
    def handler() -> Iterator[str]:
        for chunk in model.chat.completions.create(**STREAMED):
            yield (chunk.choices[0].delta.content or "") if chunk.choices else ""

    assert "".join(handler())
    assert reported(sink) == truth(model)
    assert sink.records[0].time_to_first_token_ms is None  # a span does not tell it


def test_a_reader_that_stops_at_the_finish_reason(tracking: Tracking, sink: RecordingSink, model: OpenAI) -> None:
    """A handler that stops reading at the finish reason is a success, and its tokens are an estimate."""

    @track_ai("bot", tracking=tracking)
    def handler() -> str:
        words = ""
        for chunk in model.chat.completions.create(**STREAMED):
            words += chunk.choices[0].delta.content or ""
            if chunk.choices[0].finish_reason:
                break
        return words

    assert handler()
    [record] = sink.wait()
    assert (record.outcome, record.calls, record.failed_calls) == ("success", 1, 0)
    # Old versions of OpenLLMetry write the reason only if the stream is read to its end.
    assert record.finish_reasons in (("stop",), ("",))
    assert record.usage is not None
    assert record.usage.estimated >= {"output_tokens"}


def test_an_async_call(tracking: Tracking, sink: RecordingSink, model_server: str, model: OpenAI) -> None:
    """It is the same for an async client."""

    async def main() -> None:
        client = AsyncOpenAI(api_key="none", base_url=model_server)
        async with client, track_ai("bot", tracking=tracking):
            await client.chat.completions.create(**ASKED)

    asyncio.run(main())
    assert reported(sink) == truth(model)


@pytest.mark.parametrize("call", [ask, ask_for_a_stream])
def test_the_tree(tracking: Tracking, model: OpenAI, telemetry: Telemetry, call: Callable[..., str]) -> None:
    """The spans of a call are below the span of its run, and that is the only root."""
    telemetry.exporter.clear()
    track_ai("bot", tracking=tracking)(lambda: call(model))()
    tracking.flush()
    spans = {span.context.span_id: span for span in telemetry.exporter.get_finished_spans()}
    roots = [span for span in spans.values() if span.parent is None]

    assert [span.name for span in roots] == ["chat gpt-4o-mini"]
    assert len(spans) > 1
    assert all(span.parent.span_id in spans for span in spans.values() if span.parent is not None)
