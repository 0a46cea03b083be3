"""LiteLLM beyond the matrix: fallbacks, embeddings, other APIs, caches, and applications that set its callbacks."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from decimal import Decimal
from threading import current_thread
from typing import Any

import pytest

from ldai_integrations import Settings, current_run, track_ai, wrap_client
from ldai_integrations.records import RunRecord
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink, ai_config

from ..ledger.provider import Provider
from .stacks.stack import wait_on_running_loop

pytestmark = [pytest.mark.stacks, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(300)]

MODEL, CLAUDE = "gpt-4o-mini", "claude-3"
TOKENS = (7317, 3863)
MESSAGES = [{"role": "user", "content": "Hi"}]

Serve = Callable[[Callable[[], object]], RunRecord]


@pytest.fixture
def settings() -> Settings:
    """Return settings that wait longer: LiteLLM imports much for its first reports."""
    return Settings(flush="never", judges=None, usage_wait=10)


@pytest.fixture
def litellm() -> Any:
    """Return LiteLLM, if it is installed."""
    return pytest.importorskip("litellm")


@pytest.fixture
def serve(litellm: Any, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> Serve:
    """Return a function that serves a request with a handler and returns the record of its run."""
    del litellm

    def serve(use: Callable[[], object]) -> RunRecord:
        count = len(runs.records)
        with track_ai(config_key="chat", tracking=launchdarkly.tracking):
            use()
        return runs.wait(count + 1)[-1]

    return serve


@pytest.fixture
def options(provider: Provider) -> dict[str, Any]:
    """Return the options of a call to the provider."""
    provider.serve(MODEL, tokens=TOKENS)
    provider.serve(CLAUDE, tokens=TOKENS)
    return {"api_base": f"{provider.url}/v1", "api_key": "none", "max_retries": 0}


def _figures(record: RunRecord) -> tuple[int | None, int | None, str]:
    assert record.usage is not None
    return record.usage.input_tokens, record.usage.output_tokens, record.usage.source


def test_a_fallback_of_the_router_is_a_failed_call_and_another_one(
    litellm: Any, serve: Serve, options: dict[str, Any], provider: Provider
) -> None:
    """A run whose first model fails and whose second one answers has two calls, and the tokens of the second one."""
    provider.serve("broken", status=500)
    models = [
        {"model_name": name, "litellm_params": {"model": f"openai/{model}", **options}}
        for name, model in (("first", "broken"), ("second", MODEL))
    ]
    router = litellm.Router(models, fallbacks=[{"first": ["second"]}], num_retries=0)

    record = serve(lambda: router.completion("first", MESSAGES))

    assert (record.calls, record.failed_calls, record.outcome) == (2, 1, "success")
    assert _figures(record) == (*TOKENS, "provider")


def test_a_retry_under_the_same_id_is_a_failed_call_and_another_one(
    litellm: Any, serve: Serve, options: dict[str, Any], provider: Provider
) -> None:
    """LiteLLM's own retry is a call of its own, although LiteLLM reports no failure and uses the same id."""
    provider.serve("flaky", status=400, errors=1, tokens=TOKENS)

    record = serve(lambda: litellm.completion("openai/flaky", MESSAGES, num_retries=1, **options))

    assert (record.calls, record.failed_calls, record.outcome) == (2, 1, "success")
    assert _figures(record) == (*TOKENS, "provider")


def test_a_stream_that_litellm_counts_itself_is_an_estimate(
    litellm: Any, serve: Serve, options: dict[str, Any]
) -> None:
    """LiteLLM counts the tokens of a stream whose usage was not asked for, so that they are marked as an estimate."""
    record = serve(lambda: list(litellm.completion(f"openai/{MODEL}", MESSAGES, stream=True, **options)))

    assert record.calls == 1
    assert _figures(record)[2] == "estimate"


@pytest.mark.parametrize("plan", [{}, {"tool": "lookup"}, {"words": ("Grüße", " aus Köln")}])
@pytest.mark.parametrize("tokens", [None, TOKENS])
def test_a_stream_of_a_server_that_ignores_the_question_for_its_usage(
    tokens: Any, plan: dict[str, Any], litellm: Any, serve: Serve, options: dict[str, Any], provider: Provider
) -> None:
    """LiteLLM counts the tokens itself then, and does not say so. They are an estimate."""
    provider.serve("other", tokens=tokens, **plan)
    options = {**options, "stream": True, "stream_options": {"include_usage": True}}

    record = serve(lambda: list(litellm.completion("openai/other", MESSAGES, **options)))

    assert record.calls == 1
    assert _figures(record)[2] == ("estimate" if tokens is None else "provider")


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}},
        {"type": "image_url", "image_url": {"url": "http://127.0.0.1:9/photo.png", "detail": "high"}},
    ],
    ids=["audio", "image"],
)
def test_a_stream_after_content_that_litellm_cannot_count(
    part: dict[str, Any], litellm: Any, serve: Serve, options: dict[str, Any], provider: Provider
) -> None:
    """The usage that the server sent is exact, and no image is fetched to compare it."""
    provider.serve("other", tokens=TOKENS)
    options = {**options, "stream": True, "stream_options": {"include_usage": True}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "Hi"}, part]}]

    record = serve(lambda: list(litellm.completion("openai/other", messages, **options)))

    assert _figures(record) == (*TOKENS, "provider")


def test_an_event_loop_counts_no_tokens(
    litellm: Any, serve: Serve, options: dict[str, Any], provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread compares the tokens of a stream with LiteLLM's counter, because a prompt may be long."""
    count, threads = litellm.token_counter, set()

    def count_somewhere(**options: Any) -> object:
        threads.add(current_thread().name)
        return count(**options)

    monkeypatch.setattr(litellm, "token_counter", count_somewhere)
    provider.serve("other", tokens=TOKENS)
    options = {**options, "stream": True, "stream_options": {"include_usage": True}}

    async def ask() -> None:
        async for _ in await litellm.acompletion("openai/other", MESSAGES, **options):
            pass

    record = serve(lambda: wait_on_running_loop(ask()))

    assert _figures(record) == (*TOKENS, "provider")
    assert threads
    assert "event loop" not in threads


def test_a_wrapped_client_asks_for_the_usage_of_a_stream(litellm: Any, serve: Serve, options: dict[str, Any]) -> None:
    """With a client that asks for the usage, a stream is exact, although the handler does not ask."""
    from openai import OpenAI

    made = OpenAI(base_url=options["api_base"], api_key="none")
    client = wrap_client(made, include_usage="always")

    with made:
        record = serve(
            lambda: list(litellm.completion(f"openai/{MODEL}", MESSAGES, stream=True, client=client, **options))
        )

    assert record.calls == 1
    assert _figures(record) == (*TOKENS, "provider")


def test_no_usage_is_unknown_and_not_zero(
    litellm: Any, serve: Serve, options: dict[str, Any], provider: Provider
) -> None:
    """LiteLLM reports zero tokens if the provider reported none; the record has an estimate."""
    provider.serve("silent", tokens=None)

    record = serve(lambda: litellm.completion("openai/silent", MESSAGES, **options))

    tokens_in, tokens_out, source = _figures(record)
    assert source == "estimate"
    assert tokens_in
    assert tokens_out


def test_embeddings(litellm: Any, serve: Serve, options: dict[str, Any]) -> None:
    """Embeddings have an input only, with the provider's figure."""
    record = serve(lambda: litellm.embedding(f"openai/{MODEL}", ["one", "two"], **options))

    assert record.calls == 1
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.total_tokens) == (TOKENS[0], TOKENS[0])


def test_responses(litellm: Any, serve: Serve, options: dict[str, Any], provider: Provider) -> None:
    """A call of the Responses API that LiteLLM translates has the provider's figures."""
    options = {**options, "api_base": provider.url}

    record = serve(lambda: litellm.responses(model=f"anthropic/{CLAUDE}", input="Hi", **options))

    assert (record.calls, *_figures(record)) == (1, *TOKENS, "provider")


def test_a_stream_of_the_responses_api_is_exact(litellm: Any, serve: Serve, options: dict[str, Any]) -> None:
    """Streams of the Responses API have their usage without being asked for it, so that it is no estimate."""
    record = serve(lambda: list(litellm.responses("Hi", f"openai/{MODEL}", stream=True, **options)))

    assert record.calls == 1
    assert _figures(record) == (*TOKENS, "provider")


def test_an_observed_response_of_the_responses_api_counts_once(
    litellm: Any, serve: Serve, options: dict[str, Any]
) -> None:
    """LiteLLM gives a response an id of its own, which contains the provider's; it is the same call."""
    record = serve(lambda: current_run().observe(litellm.responses("Hi", f"openai/{MODEL}", **options)))

    assert record.calls == 1
    assert _figures(record) == (*TOKENS, "provider")


@pytest.mark.parametrize("name", ["rerank", "speech"])
def test_a_call_for_no_text_replaces_no_text(
    name: str, litellm: Any, serve: Serve, options: dict[str, Any], provider: Provider
) -> None:
    """A ranking or speech has no tokens of a text, and does not make up for a completion that failed."""
    uses = {
        "rerank": lambda: litellm.rerank(
            model="cohere/ranker", query="Hi", documents=["one"], api_base=provider.url, api_key="none"
        ),
        "speech": lambda: litellm.speech(model="openai/voice", input="Sorry", voice="alloy", **options),
    }
    provider.serve("broken", status=500)
    provider.serve("ranker", frames=[{"id": "1", "results": [{"index": 0, "relevance_score": 0.5}]}])

    def work() -> None:
        with pytest.raises(litellm.InternalServerError):
            litellm.completion("openai/broken", MESSAGES, **options)
        uses[name]()

    record = serve(work)

    assert (record.outcome, record.calls, record.failed_calls) == ("error", 2, 1)
    assert record.usage is None


def test_anthropic_messages(litellm: Any, serve: Serve, options: dict[str, Any], provider: Provider) -> None:
    """A call of Anthropic's Messages API has the provider's figures."""
    options = {**options, "api_base": provider.url, "max_tokens": 9}

    async def use() -> Any:
        return await litellm.anthropic.messages.acreate(model=f"anthropic/{CLAUDE}", messages=MESSAGES, **options)

    record = serve(lambda: wait_on_running_loop(use()))

    assert (record.calls, *_figures(record)) == (1, *TOKENS, "provider")


def test_a_broken_stream_is_a_failed_call(
    litellm: Any, serve: Serve, options: dict[str, Any], provider: Provider
) -> None:
    """LiteLLM reports the failure of a stream from a thread, which the report of the run waits for."""
    provider.serve("torn", tokens=TOKENS, breaks_after=2)

    def use() -> None:
        with pytest.raises(Exception, match=r"incomplete|closed|Stream"):
            list(litellm.completion("openai/torn", MESSAGES, stream=True, **options))

    record = serve(use)

    assert (record.calls, record.failed_calls, record.outcome) == (1, 1, "error")


@pytest.mark.skipif(importlib.util.find_spec("soundfile") is None, reason="LiteLLM's cache needs soundfile")
def test_an_answer_from_the_cache_is_no_call(
    litellm: Any, serve: Serve, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that LiteLLM's cache answers has no call and no generation."""
    monkeypatch.setattr(litellm, "cache", litellm.Cache())

    records = [serve(lambda: litellm.completion(f"openai/{MODEL}", MESSAGES, **options)) for _ in range(2)]

    assert [(record.calls, record.outcome) for record in records] == [(1, "success"), (0, "discarded")]


def test_an_application_may_set_the_callbacks(
    litellm: Any, serve: Serve, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An application that assigns new lists to LiteLLM's callbacks, as its documentation shows, is still tracked."""
    for name in ("callbacks", "success_callback", "failure_callback"):
        monkeypatch.setattr(litellm, name, [])
    options = {**options, "stream": True, "stream_options": {"include_usage": True}}

    record = serve(lambda: list(litellm.completion(f"openai/{MODEL}", MESSAGES, **options)))

    assert (record.calls, *_figures(record)) == (1, *TOKENS, "provider")


def test_a_result_that_is_observed_too_counts_once(
    litellm: Any, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink, options: dict[str, Any]
) -> None:
    """A response of LiteLLM that the handler passes to ``run.observe`` is one call."""
    with track_ai(config_key="chat", tracking=launchdarkly.tracking) as run:
        run.observe(litellm.completion(f"openai/{MODEL}", MESSAGES, **options))

    record = runs.wait(1)[-1]

    assert (record.calls, *_figures(record)) == (1, *TOKENS, "provider")


@pytest.mark.parametrize("observed", [False, True], ids=["reported", "observed"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("sent", [None, 0.25])
def test_only_a_cost_that_was_sent_replaces_the_prices_of_the_ai_config(
    sent: float | None, stream: bool, observed: bool, litellm: Any, options: dict[str, Any], provider: Provider
) -> None:
    """What LiteLLM computes for a stream is its own list price, so that streams cost as much as whole answers."""
    usage = {"prompt_tokens": 7317, "completion_tokens": 3863, "total_tokens": 11180}
    provider.serve(MODEL, usage=usage if sent is None else {**usage, "cost": sent})
    if stream:
        options = {**options, "stream": True, "stream_options": {"include_usage": True}}
    config = ai_config(MODEL, custom={"costPerInputToken": 0.002, "costPerOutputToken": 0.01})
    settings = Settings(judges=None, usage_wait=10)
    if observed:
        settings = Settings(judges=None, frameworks=())

    with OfflineLaunchDarkly({"priced": config}, settings=settings) as launchdarkly:
        with track_ai(config_key="priced", tracking=launchdarkly.tracking) as run:
            list(run.observe(litellm.completion(f"openai/{MODEL}", MESSAGES, **options)))
        cost = launchdarkly.sink.wait(1)[-1].cost

    assert cost is not None
    expected = (Decimal("53.264"), "ai-config") if sent is None else (Decimal("0.25"), "provider")
    assert (cost.total_cost, cost.price_source) == expected


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_the_responses_api_has_the_prices_of_the_ai_config(stream: bool, litellm: Any, options: dict[str, Any]) -> None:
    """The list price that LiteLLM writes into the last event of a stream is not the provider's."""
    config = ai_config(MODEL, custom={"costPerInputToken": 0.002, "costPerOutputToken": 0.01})

    with OfflineLaunchDarkly({"priced": config}, settings=Settings(judges=None, usage_wait=10)) as launchdarkly:
        with track_ai(config_key="priced", tracking=launchdarkly.tracking) as run:
            list(run.observe(litellm.responses(model=f"openai/{MODEL}", input="Hi", stream=stream, **options)))
        cost = launchdarkly.sink.wait(1)[-1].cost

    assert cost is not None
    assert (cost.total_cost, cost.price_source) == (Decimal("53.264"), "ai-config")


@pytest.mark.parametrize("ends", ["left", "broken"])
def test_an_observed_stream_that_does_not_end_has_an_estimate(
    ends: str, litellm: Any, serve: Serve, options: dict[str, Any], provider: Provider
) -> None:
    """The output of a stream that LiteLLM does not report to its end is estimated if the stream is observed."""
    provider.serve(MODEL, tokens=TOKENS, words=("Hello", " there", "!"), breaks_after=3 if ends == "broken" else None)

    def use() -> None:
        stream = current_run().observe(litellm.completion(f"openai/{MODEL}", MESSAGES, stream=True, **options))
        try:
            for chunk in stream:
                if chunk.choices[0].finish_reason:
                    break
        except Exception:
            assert ends == "broken"

    record = serve(use)

    assert (record.calls, record.failed_calls) == (1, int(ends == "broken"))
    assert record.usage is not None
    assert record.usage.source == "estimate"
    assert record.usage.output_tokens is not None
    assert record.time_to_first_token_ms is not None


@pytest.mark.parametrize("fails_with", ["nothing readable", "status 400", "status 500", "no server"])
def test_a_failure_that_litellm_gives_a_status_of_its_own(
    fails_with: str, litellm: Any, serve: Serve, provider: Provider, options: dict[str, Any]
) -> None:
    """What LiteLLM's exception wraps decides whether the call may be billed, and not the status that LiteLLM chose."""
    first = {**options, "api_base": "http://127.0.0.1:9"} if fails_with == "no server" else options
    if fails_with.startswith("status"):
        provider.serve("bad", status=int(fails_with.split()[1]))
    else:
        provider.serve("bad", body=b'{"id": "1", "usage": {"prompt_tokens": 7')

    def fall_back() -> None:
        with pytest.raises(Exception, match=r"^litellm\."):
            litellm.completion(model="openai/bad", messages=MESSAGES, **first)
        litellm.completion(model=f"openai/{MODEL}", messages=MESSAGES, **options)

    record = serve(fall_back)
    assert (record.calls, record.failed_calls) == (2, 1)
    assert record.usage is not None
    assert record.usage.output_tokens == TOKENS[1]
    assert record.usage.lower_bound is (fails_with == "nothing readable")
