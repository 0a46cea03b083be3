"""A call of another provider than the configured one has the price of that provider."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from importlib import import_module
from typing import Any

import anthropic
import openai
import pytest

from ldai_integrations import Run, RunRecord, track_ai, wrap_client
from ldai_integrations.testing import OfflineLaunchDarkly, ai_config

CLAUDE, GPT = "claude-3-5-sonnet-20241022", "gpt-4o"
OPENAI, GATEWAY, AZURE = "https://api.openai.com/v1", "https://gateway.example.com/v1", "https://shop.openai.azure.com"


def answer(request: Any) -> dict[str, Any]:
    """Return an answer in the format of the path, with 1,000 and 100 tokens."""
    if request.url.path.endswith("/messages"):
        message = {"id": "m-1", "type": "message", "role": "assistant", "model": CLAUDE, "stop_reason": "end_turn"}
        usage = {"input_tokens": 1000, "output_tokens": 100}
        return {**message, "content": [{"type": "text", "text": "Hi"}], "usage": usage}
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi"}}
    model = CLAUDE if b"claude" in request.read() else GPT
    return {"id": "c", "object": "chat.completion", "created": 1, "model": model, "choices": [choice], "usage": usage}


def make(package: Any, **options: Any) -> Any:
    """Make the client of a provider's package, with an HTTP client that answers every request itself."""
    http: Any = import_module(package.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0])  # httpx or httpx2
    transport = http.MockTransport(lambda request: http.Response(200, json=answer(request)))
    kind = package.OpenAI if package is openai else package.Anthropic
    return kind(api_key="none", http_client=http.Client(transport=transport), **options)


@pytest.fixture
def launchdarkly() -> Iterator[OfflineLaunchDarkly]:
    """Serve AI Configs."""
    with OfflineLaunchDarkly() as launchdarkly:
        yield launchdarkly


def use_request(run: Run, client: Any) -> None:
    """Call the configured model with ``run.request``."""
    run.request(client, user="Hello").send()


def use_client(run: Run, client: Any) -> None:
    """Call the configured model with a wrapped client."""
    wrap_client(client).chat.completions.create(model=run.model, messages=run.messages(user="Hello"))


@pytest.mark.parametrize("ask", [use_request, use_client])
@pytest.mark.parametrize(
    ("url", "cost"),
    [(OPENAI, None), (GATEWAY, Decimal("0.0045")), (AZURE, Decimal("0.0045"))],
    ids=["own", "gateway", "azure"],
)
def test_the_client_of_another_provider(
    launchdarkly: OfflineLaunchDarkly,
    records: list[RunRecord],
    caplog: pytest.LogCaptureFixture,
    url: str,
    cost: Decimal | None,
    ask: Callable[[Run, Any], None],
) -> None:
    """If its server is the provider's own, one log line says so, and the configured provider's price is not used.

    A gateway may pass the call on to the configured provider.
    """
    launchdarkly.serve("bot", ai_config(CLAUDE, provider="Anthropic"))

    for _ in range(2):
        with track_ai("bot", tracking=launchdarkly.tracking) as run:
            ask(run, make(openai, base_url=url))

    text = "The provider of AI Config 'bot' is 'Anthropic', but its model was called at openai."
    assert [record.cost and record.cost.total_cost for record in records] == [cost, cost]
    assert caplog.text.count(text) == (cost is None)
    assert launchdarkly.tracking.stats().diagnostics.get("provider", 0) == (2 if cost is None else 0)


@pytest.mark.parametrize("provider", ["OpenAI", "openai", "", "AzureOpenAI"])
def test_the_client_of_the_configured_provider(
    launchdarkly: OfflineLaunchDarkly, caplog: pytest.LogCaptureFixture, provider: str
) -> None:
    """Nothing is logged, however the provider is written."""
    launchdarkly.serve("bot", ai_config(GPT, provider=provider))

    with track_ai("bot", tracking=launchdarkly.tracking) as run:
        use_request(run, make(openai))

    assert not caplog.records


@pytest.mark.parametrize(("provider", "cost"), [("OpenAI", None), ("Gemini", Decimal("0.0045"))])
def test_a_fallback_of_a_gateway_has_a_price_if_the_configured_provider_sells_its_model(
    launchdarkly: OfflineLaunchDarkly, records: list[RunRecord], provider: str, cost: Decimal | None
) -> None:
    """Google sells Claude too, and OpenAI does not."""
    launchdarkly.serve("bot", ai_config("gpt-4o", provider=provider))

    with track_ai("bot", tracking=launchdarkly.tracking) as run:
        client = wrap_client(make(openai, base_url=GATEWAY))
        client.chat.completions.create(model=CLAUDE, messages=run.messages(user="Hello"))

    assert [record.cost and record.cost.total_cost for record in records] == [cost]


@pytest.mark.parametrize(
    ("provider", "cost"), [("OpenAI", Decimal("0.0035")), ("our gateway", None), ("", Decimal("0.0035"))]
)
def test_a_gateway_has_the_price_of_the_provider_that_is_configured(
    launchdarkly: OfflineLaunchDarkly,
    records: list[RunRecord],
    caplog: pytest.LogCaptureFixture,
    provider: str,
    cost: Decimal | None,
) -> None:
    """The name in the AI Config decides, or without one that of the model. An unknown cost is not logged."""
    launchdarkly.serve("bot", ai_config(GPT, provider=provider))

    with track_ai("bot", tracking=launchdarkly.tracking) as run:
        use_request(run, make(openai, base_url=GATEWAY))

    assert [record.cost and record.cost.total_cost for record in records] == [cost]
    assert not caplog.records


@pytest.mark.filterwarnings("ignore:The model .* is deprecated:DeprecationWarning")
def test_a_fallback_through_a_gateway(
    launchdarkly: OfflineLaunchDarkly, records: list[RunRecord], caplog: pytest.LogCaptureFixture
) -> None:
    """The configured provider has no price for the model of another one, which is not logged."""
    launchdarkly.serve("bot", ai_config(GPT, provider="OpenAI"))

    with track_ai("bot", tracking=launchdarkly.tracking) as run:
        run.request(make(anthropic, base_url=GATEWAY), user="Hello", model=CLAUDE).send()

    assert [(record.calls, record.cost) for record in records] == [(1, None)]
    assert not caplog.records


@pytest.mark.filterwarnings("ignore:The model .* is deprecated:DeprecationWarning")
def test_a_fallback_to_to_another_provider(
    launchdarkly: OfflineLaunchDarkly, records: list[RunRecord], caplog: pytest.LogCaptureFixture
) -> None:
    """A call that names another model has the price of its provider, and nothing is logged."""
    launchdarkly.serve("bot", ai_config(GPT, provider="OpenAI"))

    with track_ai("bot", tracking=launchdarkly.tracking) as run:
        run.request(make(anthropic), user="Hello", model=CLAUDE).send()

    assert [record.cost and record.cost.total_cost for record in records] == [Decimal("0.0045")]
    assert not caplog.records
