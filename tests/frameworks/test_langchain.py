"""LangChain beyond the matrix: content of other formats, answers that cannot be parsed, and streams of events."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from ldai_integrations import track_ai, wrap_client
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink

from ..ledger.provider import IN, OUT, Provider
from .conftest import RecordOf

pytestmark = [pytest.mark.stacks, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def langchain() -> None:
    """Skip if LangChain is not installed."""
    pytest.importorskip("langchain_core")


def _model(error: Exception | None) -> Any:
    """Return a model that sends no usage, or fails."""
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage
    from langchain_core.outputs import ChatGeneration, ChatResult

    class Model(BaseChatModel):
        @property
        def _llm_type(self) -> str:
            return "model"

        def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
            if error is not None:
                raise error
            return ChatResult(generations=[ChatGeneration(message=AIMessage("Hello there"))])

    return Model()


@pytest.mark.parametrize(
    "block",
    [
        {"type": "media", "mime_type": "application/pdf", "file_uri": "gs://bucket/ada.pdf"},
        {"type": "video", "base64": "AA"},
        {"type": "audio", "base64": "AA"},
        {"type": "image", "file_id": "file-1"},
    ],
    ids=str,
)
@pytest.mark.parametrize("error", [None, ConnectionError()], ids=["answered", "failed"])
def test_content_that_cannot_be_converted_is_not_estimated(
    launchdarkly: OfflineLaunchDarkly, runs: RecordingSink, block: dict[str, Any], error: Exception | None
) -> None:
    """Content of another provider's format has unknown input tokens; it is no failure, and its call counts."""
    from langchain_core.messages import HumanMessage

    message = HumanMessage(content=[{"type": "text", "text": "Hi"}, block])

    @track_ai(config_key="chat", tracking=launchdarkly.tracking)
    def handler() -> str:
        try:
            _model(error).invoke([message])
        except ConnectionError:
            return "Sorry"
        return "Done"

    handler()

    record = runs.wait(1)[-1]
    assert (record.calls, record.failed_calls) == (1, int(error is not None))
    assert record.usage is None or record.usage.input_tokens is None
    assert launchdarkly.tracking.stats().diagnostics.get("framework") is None


@pytest.mark.parametrize(("error", "is_billed"), [(ValueError("no JSON"), True), (RuntimeError("no"), False)])
def test_an_answer_that_cannot_be_parsed(
    launchdarkly: OfflineLaunchDarkly, runs: RecordingSink, error: Exception, is_billed: bool
) -> None:
    """LangChain does not pass on an answer that it could not parse, so that the tokens of a run are a lower bound."""

    @track_ai(config_key="chat", tracking=launchdarkly.tracking)
    def handler() -> Any:
        return _model(error).with_fallbacks([_model(None)]).invoke("Hi")

    handler()
    record = runs.wait()[0]
    assert (record.outcome, record.calls, record.failed_calls) == ("success", 2, 1)
    assert record.usage is not None
    assert record.usage.lower_bound is is_billed


def _openai(url: str) -> Any:
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(model="gpt-4o-mini", base_url=f"{url}/v1", api_key="none", max_retries=0, stream_usage=True)


def test_an_answer_that_the_client_cannot_parse_has_the_provider_s_figures(
    record_of: RecordOf, provider: Provider
) -> None:
    """If the answer is too short for a structured output, its tokens count: the client's error has the answer."""
    pytest.importorskip("langchain_openai")
    provider.serve(finish_reason="length")

    class Answer(BaseModel):
        text: str

    async def work() -> None:
        await _openai(provider.url).with_structured_output(Answer).ainvoke("Hi")

    record = record_of(work)
    assert (record.outcome, record.calls, record.failed_calls) == ("error", 1, 1)
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens, record.usage.lower_bound) == (IN, OUT, False)
    assert record.finish_reasons == ("length",)


def test_the_remedy_for_a_stream_without_usage(
    record_of: RecordOf, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    """The log line names an option of the framework, and not one of a client that nobody wraps."""
    pytest.importorskip("langchain_openai")
    provider.serve()

    async def work() -> None:
        model = _openai(provider.url)
        model.stream_usage = False
        assert [chunk async for chunk in model.astream("Hi")]

    record = record_of(work)
    assert record.usage is not None
    assert record.usage.source == "estimate"
    (line,) = [line for line in caplog.messages if "sent no usage" in line]
    assert "LangChain's stream_usage=True" in line
    assert "wrap_client" not in line


def test_a_stream_of_events_has_a_finish_reason(record_of: RecordOf, provider: Provider) -> None:
    """The third version of LangChain's events has the finish reason and the model, as its other streams do."""
    pytest.importorskip("langchain_openai")
    provider.serve()

    async def work() -> None:
        stream = await _openai(provider.url).astream_events("Hi", version="v3")
        await stream.output

    record = record_of(work)
    assert record.finish_reasons == ("stop",)
    assert record.response_model.startswith("gpt-4o-mini")
    assert record.time_to_first_token_ms is not None


def test_a_call_after_one_of_a_wrapped_client_is_another_one(record_of: RecordOf, provider: Provider) -> None:
    """If a client checks the question and LangChain fails to answer it, the run has two calls and is an error."""
    openai = pytest.importorskip("openai")
    pytest.importorskip("langchain_openai")
    provider.serve("guard", tokens=(IN, OUT))
    provider.serve(status=500)

    async def work() -> None:
        with openai.OpenAI(base_url=f"{provider.url}/v1", api_key="none") as client:
            question: Any = [{"role": "user", "content": "Hi"}]
            wrap_client(client).chat.completions.create(model="guard", messages=question)
        await _openai(provider.url).ainvoke("Hi")

    record = record_of(work)
    assert (record.outcome, record.calls, record.failed_calls) == ("error", 2, 1)


def test_an_observed_answer_of_the_cache_is_no_provider_call(
    launchdarkly: OfflineLaunchDarkly, runs: RecordingSink, provider: Provider
) -> None:
    """An answer that LangChain has cached costs nothing, whether it is observed alone, in a list or in a state."""
    pytest.importorskip("langchain_openai")
    from langchain_core.caches import InMemoryCache
    from langchain_core.messages import HumanMessage

    model = _openai(provider.url)
    model.cache = InMemoryCache()
    provider.serve(tokens=(70001, 13337))
    with track_ai(config_key="chat", tracking=launchdarkly.tracking) as run:
        run.observe(model.invoke("Hi"))
    provider.serve(tokens=(20011, 3001))
    with track_ai(config_key="chat", tracking=launchdarkly.tracking) as run:
        run.observe(model.invoke("Hi"))
        run.observe([model.invoke("Hi"), model.invoke("Hi")])
        run.observe({"messages": [HumanMessage("Hi"), model.invoke("Hi"), model.invoke("Where is my parcel?")]})
        run.observe(model.generate([[HumanMessage("Hi")]]))
    with track_ai(config_key="chat", tracking=launchdarkly.tracking) as run:
        run.observe(model.invoke("Hi"))
    paid, both, cached = runs.wait(3)

    assert len(provider.requests) == 2
    assert [record.calls for record in (paid, both, cached)] == [1, 1, 0]
    assert both.usage is not None
    assert (both.usage.input_tokens, both.usage.output_tokens) == (20011, 3001)
    assert (both.usage.source, both.usage.lower_bound) == ("provider", False)
    assert (cached.outcome, cached.usage) == ("discarded", None)
    assert "observe_unknown" not in launchdarkly.tracking.stats().diagnostics


_USAGE = {"prompt_tokens": IN, "completion_tokens": OUT, "total_tokens": IN + OUT}


@pytest.mark.parametrize("is_wrapped", [False, True])
@pytest.mark.parametrize("frame", [{"id": "c", "choices": None, "usage": _USAGE}, "Hello"], ids=["choices", "text"])
def test_an_answer_that_langchain_refuses(
    frame: Any, is_wrapped: bool, record_of: RecordOf, provider: Provider
) -> None:
    """An answer without choices is one failed call, with the tokens that a wrapped client saw, or a lower bound."""
    openai = pytest.importorskip("openai")
    provider.serve(frames=[frame])
    model = _openai(provider.url)
    if is_wrapped:
        client = wrap_client(openai.AsyncOpenAI(base_url=f"{provider.url}/v1", api_key="none", max_retries=0))
        model = model.model_copy(update={"async_client": client.chat.completions})

    record = record_of(lambda: model.ainvoke("Hi"))
    usage = record.usage
    assert (record.outcome, record.calls, record.failed_calls) == ("error", 1, 1)
    assert usage is not None
    if is_wrapped and isinstance(frame, dict):
        assert (usage.input_tokens, usage.output_tokens, usage.lower_bound) == (IN, OUT, False)
    else:
        assert (usage.output_tokens, usage.lower_bound) == (None, True)


@pytest.mark.parametrize("is_wrapped", [False, True])
def test_a_call_that_fails_beside_another_one_does_not_refuse_its_answer(
    is_wrapped: bool, record_of: RecordOf, provider: Provider
) -> None:
    """If one of two calls at the same time fails, the other one has still succeeded, whoever made it."""
    openai = pytest.importorskip("openai")
    provider.serve("bad", hangs_up=True, delay=0.3)
    client = wrap_client(openai.AsyncOpenAI(base_url=f"{provider.url}/v1", api_key="none", max_retries=0))
    question: Any = [{"role": "user", "content": "Hi"}]

    def model(name: str) -> Any:
        found = _openai(provider.url).model_copy(update={"model_name": name})
        return found.model_copy(update={"async_client": client.chat.completions}) if is_wrapped else found

    async def later() -> None:
        await asyncio.sleep(0.05)
        if is_wrapped:
            await model("gpt-4o-mini").ainvoke("Hi")
        else:
            await client.chat.completions.create(model="gpt-4o-mini", messages=question)

    async def work() -> None:
        await asyncio.gather(model("bad").ainvoke("Hi"), later(), return_exceptions=True)

    record = record_of(work)
    assert (record.outcome, record.calls, record.failed_calls) == ("success", 2, 1)
    assert record.usage is not None
    assert record.usage.lower_bound  # the provider may bill the answer that did not arrive
