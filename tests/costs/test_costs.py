"""The cost of a run comes from the AI Config's own prices or else from the list. An unknown cost stays unknown."""

from __future__ import annotations

import builtins
import json
import sys
import tracemalloc
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import date, datetime, timezone
from decimal import Decimal
from types import MappingProxyType, SimpleNamespace
from typing import Any

import genai_prices
import pytest
from genai_prices import data_snapshot
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    Tier,
    TieredPrices,
)

from ldai_integrations import ConfigurationError, RunRecord, Settings, Tracking, Usage, track_ai
from ldai_integrations._diagnostics import Diagnostics
from ldai_integrations.costs import Costs, PricedCall
from ldai_integrations.records import Cost
from ldai_integrations.testing import OfflineLaunchDarkly, ai_config

NOON = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
VERSION = f"genai-prices {genai_prices.__version__}"
PRICES = {"costPerInputToken": 1e-6, "costPerOutputToken": 4e-6, "costPerCachedInputToken": 2.5e-7}


@pytest.fixture
def served() -> Iterator[Any]:
    """Give a function that serves one AI Config with a model, and returns its Tracking."""
    with ExitStack() as stack:

        def tracking(model: Any, provider: str = "OpenAI", **settings: Any) -> Tracking:
            launchdarkly = stack.enter_context(OfflineLaunchDarkly(settings=Settings(**settings)))
            launchdarkly.serve("bot", ai_config(provider=provider) | {"model": model})
            return launchdarkly.tracking

        yield tracking


def run(tracking: Tracking, usage: Usage | None = None) -> None:
    """Track one run with this usage."""
    with track_ai(config_key="bot", tracking=tracking) as run:
        run.add_usage(usage if usage is not None else Usage(input_tokens=1000, output_tokens=100))


def test_the_price_list(served: Any, records: list[RunRecord]) -> None:
    """The price of a known model comes from the list, which is named with its version."""
    run(served({"name": "gpt-4o-mini"}))

    assert records[0].cost == Cost(
        input_cost=Decimal("0.00015"), output_cost=Decimal("0.00006"), price_source=VERSION, estimated=False
    )
    assert (records[0].input_cost, records[0].output_cost) == (Decimal("0.00015"), Decimal("0.00006"))


def test_the_ai_configs_own_prices_win(served: Any, records: list[RunRecord]) -> None:
    """Prices among the model's custom parameters are used in place of the list's, cached tokens at their own."""
    run(served({"name": "gpt-4o-mini", "custom": PRICES}), Usage(1000, 100, cached_input_tokens=400))

    assert records[0].cost == Cost(
        input_cost=Decimal("0.0007"), output_cost=Decimal("0.0004"), price_source="ai-config", price_date=None
    )
    assert records[0].cost.total_cost == Decimal("0.0011")


def test_one_price_is_not_two(served: Any, records: list[RunRecord]) -> None:
    """If the AI Config has a price for one side only, the cost of the other is unknown, and the total a lower bound."""
    run(served({"name": "gpt-4o-mini", "custom": {"costPerInputToken": 1}}))

    assert (records[0].input_cost, records[0].output_cost) == (Decimal(1000), None)
    assert records[0].cost is not None
    assert (records[0].cost.total_cost, records[0].cost.lower_bound) == (Decimal(1000), True)


def test_free_is_not_unknown(served: Any, records: list[RunRecord]) -> None:
    """A price of zero is a cost of zero."""
    run(served({"name": "own-model", "custom": {"costPerInputToken": 0, "costPerOutputToken": 0}}))

    assert (records[0].input_cost, records[0].output_cost) == (Decimal(0), Decimal(0))


@pytest.mark.parametrize(("model", "provider"), [("own-model", "OpenAI"), ("gpt-4o-mini", "Our gateway"), ("", "")])
def test_unknown_stays_unknown(model: str, provider: str, served: Any, records: list[RunRecord]) -> None:
    """A model or a provider without a price has no cost."""
    run(served({"name": model}, provider))

    assert (records[0].cost, records[0].input_cost, records[0].output_cost) == (None, None, None)


def test_usage_that_is_unknown(served: Any, records: list[RunRecord]) -> None:
    """Unknown usage has no cost."""
    tracking = served({"name": "gpt-4o-mini"})
    with pytest.raises(ZeroDivisionError), track_ai(config_key="bot", tracking=tracking):
        _ = 1 / 0

    assert (records[0].usage, records[0].cost) == (None, None)


def test_estimates_are_marked(served: Any, records: list[RunRecord], o200k: None) -> None:
    """A cost of estimated tokens is marked."""
    track_ai(config_key="bot", tracking=served({"name": "gpt-4o-mini"}))(lambda: "Hello there.")()

    assert records[0].cost is not None
    assert records[0].cost.estimated


def test_what_user_code_said_is_priced(served: Any, records: list[RunRecord]) -> None:
    """The tokens that user code tracks determine the cost."""
    from ldai.tracker import TokenUsage

    with track_ai(config_key="bot", tracking=served({"name": "gpt-4o-mini"})) as run:
        run.add_usage(input_tokens=1, output_tokens=1)
        run.tracker.track_tokens(TokenUsage(total=2_000_000, input=1_000_000, output=1_000_000))

    assert (records[0].input_cost, records[0].output_cost) == (Decimal("0.15"), Decimal("0.6"))


@pytest.mark.parametrize("output", [100, 0])
def test_what_user_code_repeats_changes_nothing(output: int, served: Any, records: list[RunRecord]) -> None:
    """User code that tracks the tokens of the provider does not hide what is known about the call."""
    from ldai.tracker import TokenUsage

    usage = {"prompt_tokens": 1000, "completion_tokens": output, "total_tokens": 1000 + output}
    answer = {"model": "gpt-4.1", "service_tier": "priority", "choices": [], "usage": usage}
    for tracks in (False, True):
        with track_ai(config_key="bot", tracking=served({"name": "gpt-4.1"})) as run:
            run.observe({**answer, "usage": {**usage, "prompt_tokens_details": {"cached_tokens": 800}}})
            if tracks:
                run.tracker.track_tokens(TokenUsage(total=1000 + output, input=1000, output=output))

    measured, tracked = records
    assert measured.cost is not None
    assert (tracked.cost, tracked.usage) == (measured.cost, measured.usage)


def test_costs_may_be_unwanted(served: Any, records: list[RunRecord]) -> None:
    """With ``costs=False`` no cost is computed."""
    run(served({"name": "gpt-4o-mini", "custom": PRICES}, costs=False))

    assert records[0].cost is None
    with pytest.raises(ConfigurationError, match=r"Settings\.costs is 'yes'; use True or False"):
        Settings(costs="yes")  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", ["0.1", -1, True, [1], float("inf")])
def test_prices_that_are_none(wrong: Any, served: Any, records: list[RunRecord], caplog: Any) -> None:
    """A price that cannot be right makes the cost unknown, and is logged once with the remedy."""
    tracking = served({"name": "gpt-4o-mini", "custom": {**PRICES, "costPerOutputToken": wrong}})
    run(tracking)
    run(tracking)

    assert [record.cost for record in records] == [None, None]
    assert tracking.stats().diagnostics == {"price": 2}
    [line] = [record.getMessage() for record in caplog.records if record.name == "ldai_integrations"]
    assert line.startswith("The cost of 'bot' is unknown: its model's costPerOutputToken must be USD per token")


def test_without_the_package(served: Any, records: list[RunRecord], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, AI Configs' own prices work, and other costs are unknown."""
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    tracking = served({"name": "gpt-4o-mini", "custom": PRICES})
    run(tracking)
    run(served({"name": "gpt-4o-mini"}))

    assert [record.input_cost for record in records] == [Decimal("0.001"), None]
    assert tracking.stats().diagnostics == {}


def test_a_package_that_does_not_work(
    served: Any, records: list[RunRecord], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A package that fails on import makes costs unknown and breaks nothing else."""
    imported = builtins.__import__

    def broken(name: str, *args: Any, **options: Any) -> Any:
        if name == "genai_prices":
            raise RuntimeError("broken")
        return imported(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", broken)
    tracking = served({"name": "gpt-4o-mini"})
    run(tracking)

    assert records[0].cost is None
    assert tracking.stats().diagnostics == {"price list": 1}


def cost(
    usage: Usage,
    model: str = "tiny",
    provider: str = "acme",
    *,
    costs: Costs | None = None,
    at: datetime = NOON,
    custom: Mapping[str, Any] = MappingProxyType({}),
    answered_by: str = "",
    service_tier: str = "",
    called: str = "",
) -> Cost | None:
    """Return the cost of a call."""
    costs = Costs(Diagnostics()) if costs is None else costs
    return costs.of(
        [PricedCall(usage, answered_by, service_tier, requested_model=called)],
        config_key="bot",
        model_name=model,
        provider_name=provider,
        get_custom=custom.get,
        started_at=at.timestamp(),
    )


def test_a_list_that_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception during the lookup of a price is counted, and the cost is unknown."""
    costs = Costs(diagnostics := Diagnostics())
    monkeypatch.setattr(data_snapshot, "get_snapshot", lambda: 1 / 0)

    assert cost(Usage(1, 1), costs=costs) is None
    assert diagnostics.counts() == {"cost": 1}


@contextmanager
def price_list(prices: Any) -> Iterator[None]:
    """Replace the package's list by one of a single model, as its updates do."""
    model = ModelInfo(id="tiny", match=ClauseEquals(equals="tiny"), prices=prices)
    provider = Provider(id="acme", name="Acme", api_pattern="acme", models=[model])
    data_snapshot.set_custom_snapshot(data_snapshot.DataSnapshot(providers=[provider], from_auto_update=False))
    try:
        yield
    finally:
        data_snapshot.set_custom_snapshot(None)


@pytest.mark.parametrize(
    ("usage", "input_cost"),
    [
        (Usage(input_tokens=10), 10),
        (Usage(input_tokens=10, cached_input_tokens=4), Decimal("6.4")),
        (Usage(input_tokens=10, cached_input_tokens=4, cache_write_input_tokens=3), Decimal("9.4")),
        (Usage(input_tokens=10, cached_input_tokens=40, cache_write_input_tokens=3), 1),
        (Usage(input_tokens=0), 0),
        (Usage(output_tokens=1), None),
    ],
)
def test_each_input_token_is_priced_once(usage: Usage, input_cost: Any) -> None:
    """Tokens read from a cache, written to one, and others each have their price, and add up to the input."""
    per_token = {"input": "1", "output": "3", "cache_read": "0.1", "cache_write": "2"}
    prices = ModelPrice(**{f"{side}_mtok": Decimal(usd) * 1_000_000 for side, usd in per_token.items()})
    with price_list(prices):
        found = cost(usage)
    assert found is not None
    assert found.input_cost == input_cost


CLAUDE: Any = {"input_tokens": 1003, "output_tokens": 507, "cache_read_input_tokens": 20011}
WRITTEN: Any = {"ephemeral_5m_input_tokens": 4001, "ephemeral_1h_input_tokens": 3002}
WITH_AUDIO: Any = {"promptTokenCount": 10001, "candidatesTokenCount": 156, "totalTokenCount": 10157}
CONVERSED: Any = {
    "inputTokens": 1003,
    "outputTokens": 507,
    "cacheReadInputTokens": 20011,
    "cacheWriteInputTokens": 7003,
}
SPOKEN = {"audio_tokens": 2003, "cached_tokens": 3001, "cached_tokens_details": {"audio_tokens": 1001}}


def by_modality(audio: int, text: int) -> list[dict[str, object]]:
    """Return tokens by modality, as Gemini lists them."""
    return [{"modality": "AUDIO", "tokenCount": audio}, {"modality": "TEXT", "tokenCount": text}]


@pytest.mark.parametrize(
    ("model", "provider", "body", "counts"),
    [
        pytest.param(
            "claude-sonnet-4-5",
            "anthropic",
            {"type": "message", "content": [], "usage": {**CLAUDE, "cache_creation": WRITTEN}},
            {"input": 28017, "output": 507, "cache_read": 20011, "cache_write": 7003, "cache_write_1h": 3002},
            id="kept for an hour",
        ),
        pytest.param(
            "claude-sonnet-4-5",
            "anthropic",
            {
                "object": "chat.completion",
                "choices": [{"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
                "usage": {
                    "prompt_tokens": 28017,
                    "completion_tokens": 507,
                    "total_tokens": 28524,
                    "prompt_tokens_details": {"cached_tokens": 20011, "cache_creation_token_details": WRITTEN},
                    "cache_creation_input_tokens": 7003,
                },
            },
            {"input": 28017, "output": 507, "cache_read": 20011, "cache_write": 7003, "cache_write_1h": 3002},
            id="kept for an hour, through LiteLLM",
        ),
        pytest.param(
            "anthropic.claude-haiku-4-5-20251001-v1:0",
            "aws",
            {
                "output": {"message": {"role": "assistant", "content": [{"text": "Hi"}]}},
                "stopReason": "end_turn",
                "usage": {
                    **CONVERSED,
                    "totalTokens": 28524,
                    "cacheDetails": [{"ttl": "5m", "inputTokens": 4001}, {"ttl": "1h", "inputTokens": 3002}],
                },
            },
            {"input": 28017, "output": 507, "cache_read": 20011, "cache_write": 7003, "cache_write_1h": 3002},
            id="kept for an hour, of Bedrock",
        ),
        pytest.param(
            "gemini-2.5-flash",
            "google",
            {
                "candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}],
                "usageMetadata": {
                    **WITH_AUDIO,
                    "cachedContentTokenCount": 3001,
                    "promptTokensDetails": by_modality(5001, 5000),
                    "cacheTokensDetails": by_modality(1001, 2000),
                },
            },
            {"input": 10001, "output": 156, "cache_read": 3001, "input_audio": 5001, "cache_audio_read": 1001},
            id="audio of Gemini",
        ),
        pytest.param(
            "gpt-realtime",
            "openai",
            {"usage": {"input_tokens": 5003, "output_tokens": 11, "total_tokens": 5014, "input_token_details": SPOKEN}},
            {
                "input": 5003,
                "output": 11,
                "cache_read": 3001,
                "input_audio": 2003,
                "cache_audio_read": 1001,
                "cache_image_read": 0,
                "input_image": 0,
            },
            id="audio of a realtime connection",
        ),
    ],
)
def test_each_cached_token_has_the_price_of_its_kind(
    model: str, provider: str, body: Any, counts: Mapping[str, int], served: Any, records: list[RunRecord]
) -> None:
    """Tokens of a cache cost what the price list says: more if they are kept for an hour, or are audio."""
    usage = genai_prices.Usage(**{f"{kind}_tokens": count for kind, count in counts.items()})
    price = genai_prices.calc_price(usage, model, provider_id=provider)
    with track_ai(config_key="bot", tracking=served({"name": model}, provider)) as run:
        run.observe(body)

    assert records[0].cost is not None
    assert (records[0].cost.total_cost, records[0].cost.lower_bound) == (price.total_price, False)


def test_audio_that_is_billed_by_the_hour(served: Any, records: list[RunRecord]) -> None:
    """Mistral counts audio in seconds as well, which have no price here: the cost of the tokens is a lower bound."""
    usage = {"prompt_tokens": 4, "completion_tokens": 635, "total_tokens": 1014, "prompt_audio_seconds": 30}
    with track_ai(config_key="bot", tracking=served({"name": "voxtral-small-latest"}, "Mistral")) as run:
        run.observe({"object": "chat.completion", "model": "voxtral-small-latest", "choices": [], "usage": usage})

    assert records[0].usage is not None
    assert (records[0].usage.input_tokens, records[0].usage.input_audio_tokens) == (379, 375)
    assert records[0].cost is not None
    assert records[0].cost.lower_bound


def test_a_written_cache_without_a_price() -> None:
    """Tokens that are written to a cache may cost more than others, so their cost without a price is a lower bound."""
    custom = {"costPerInputToken": 2, "costPerOutputToken": 1}
    found = cost(Usage(10, 1, cache_write_input_tokens=4), custom=custom)
    assert found is not None
    assert (found.input_cost, found.lower_bound) == (Decimal(20), True)


def test_a_cache_without_a_price() -> None:
    """Tokens of a cache without a price of its own cost as much as other input tokens."""
    custom = {"costPerInputToken": 2}
    found = cost(Usage(input_tokens=10, cached_input_tokens=4), custom=custom)
    assert found is not None
    assert (found.input_cost, found.output_cost) == (Decimal(20), None)
    assert cost(Usage(output_tokens=4), custom=custom) is None


def test_the_list_is_read_as_its_package_reads_it() -> None:
    """For every model of the list, cached and other tokens cost what the package itself computes."""
    costs, compared = Costs(Diagnostics()), 0
    for provider in data_snapshot.get_snapshot().providers:
        for model in provider.models:
            for size in (1_000, 300_000):
                usage = genai_prices.Usage(input_tokens=size, cache_read_tokens=size // 2, output_tokens=100)
                ours = cost(Usage(size, 100, cached_input_tokens=size // 2), model.id, provider.id, costs=costs)
                try:
                    found = genai_prices.calc_price(
                        usage, model.id, provider_id=provider.id, genai_request_timestamp=NOON
                    )
                except LookupError:
                    assert ours is None
                    continue
                assert ours is None or ours.input_cost in (None, found.input_price), model.id
                assert ours is None or ours.output_cost in (None, found.output_price), model.id
                compared += ours is not None and ours.input_cost is not None
    assert compared > 1000


@pytest.mark.parametrize("provider", ["OpenAI", "openai", ""])
def test_providers_by_any_usual_name(provider: str) -> None:
    """LaunchDarkly's names of providers are understood. Without one, the name of the model decides."""
    found = cost(Usage(input_tokens=1_000_000), "gpt-4o-mini", provider)
    assert found is not None
    assert found.input_cost == Decimal("0.15")


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("claude-sonnet-4-0", "Anthropic"),
        ("anthropic.claude-3-5-sonnet-20240620-v1:0", "Bedrock"),
        ("gpt-4o-mini", "Azure"),
        ("gemini-2.5-pro", "Gemini"),
        ("mistral-large-latest", "Mistral"),
        ("command-r", "Cohere"),
    ],
)
def test_providers_of_launchdarkly(model: str, provider: str) -> None:
    """Models of the providers in LaunchDarkly's list have prices."""
    assert cost(Usage(1, 1), model, provider) is not None


def test_prices_change_with_time_and_size() -> None:
    """The price of the day is used, with the day it began. Above a threshold all tokens cost the higher price."""
    tiers = TieredPrices(base=Decimal(10), tiers=[Tier(start=100, price=Decimal(20))])
    before = ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(2))
    after = ModelPrice(input_mtok=tiers, output_mtok=Decimal(30))
    from_november = StartDateConstraint(start_date=date(2026, 11, 1))
    october = datetime(2026, 10, 31, tzinfo=timezone.utc)
    with price_list([ConditionalPrice(prices=before), ConditionalPrice(from_november, prices=after)]):
        costs = Costs(Diagnostics())
        old = cost(Usage(5, 1), at=october, costs=costs)
        new, large = (cost(Usage(size, 1), costs=costs) for size in (100, 101))

    assert old is not None
    assert new is not None
    assert large is not None
    assert (old.input_cost, old.output_cost, old.price_date) == (Decimal("0.000005"), Decimal("0.000002"), None)
    assert (new.input_cost, new.output_cost, new.price_date) == (
        Decimal("0.001"),
        Decimal("0.00003"),
        date(2026, 11, 1),
    )
    assert large.input_cost == 101 * Decimal("0.00002")


def test_each_reported_call_has_its_own_price(served: Any, records: list[RunRecord]) -> None:
    """Two calls below the size from which a model costs more cost less than one call of their sum."""
    with track_ai(config_key="bot", tracking=served({"name": "claude-sonnet-4-5"}, "Anthropic")) as run:
        run.add_usage(input_tokens=150_013, output_tokens=77)
        run.add_usage(input_tokens=150_017, output_tokens=79)

    assert records[0].usage == Usage(300_030, 156, 300_186)
    assert (records[0].input_cost, records[0].output_cost) == (Decimal("0.90009"), Decimal("0.00234"))


def test_an_updated_list_is_used() -> None:
    """An application that updates the package's list gets the new prices, with the day of the update."""
    with price_list(ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(2))):
        costs = Costs(Diagnostics())
        assert cost(Usage(1, 1), "gpt-4o-mini", "openai", costs=costs) is None
        snapshot = data_snapshot._bundled_snapshot()
        updated = data_snapshot.DataSnapshot(providers=snapshot.providers, from_auto_update=True, timestamp=NOON)
        data_snapshot.set_custom_snapshot(updated)
        found = cost(Usage(1, 1), "gpt-4o-mini", "openai", costs=costs)

    assert found is not None
    assert found.price_date == NOON.date()


def test_the_model_that_answered_decides() -> None:
    """A call has the price of the model that answered. One that is not in the list has that of the called model."""
    tokens = Usage(1_000_000, 0, 1_000_000)
    found = [
        cost(tokens, "gpt-4o", "openai", answered_by=answered, called=called)
        for answered, called in [
            ("gpt-4o-mini-2024-07-18", ""),
            ("our-deployment", "gpt-4o"),
            ("our-deployment", "gpt-4o-mini"),
            ("", ""),
            ("our-deployment", ""),
        ]
    ]

    assert [one and one.input_cost for one in found] == [
        *(Decimal(price) for price in ("0.15", "2.5", "0.15", "2.5")),
        None,
    ]


@pytest.mark.parametrize("answered_by", ["", "claude-sonnet-4-5-20250929"])
@pytest.mark.parametrize("profile", ["anthropic.", "us.anthropic.", "global.anthropic."])
def test_the_called_inference_profile_decides(profile: str, answered_by: str) -> None:
    """Bedrock charges more for a region than for any place: the called name says it, and not that of the answer."""
    model = "anthropic.claude-sonnet-4-5-20250929-v1:0"
    called = model.replace("anthropic.", profile)
    found = cost(Usage(1_000_000, 0, 1_000_000), model, "aws", answered_by=answered_by, called=called)

    assert found is not None
    assert found.input_cost == (3 if profile == "global.anthropic." else Decimal("3.3"))


@pytest.mark.parametrize("profile", ["us.anthropic.", "global.anthropic."])
def test_the_configured_inference_profile_decides(profile: str) -> None:
    """If no request was seen, the name in the AI Config says what the answer does not."""
    configured = f"{profile}claude-sonnet-4-5-20250929-v1:0"
    found = cost(Usage(1_000_000, 0, 1_000_000), configured, "aws", answered_by="claude-sonnet-4-5-20250929")

    assert found is not None
    assert found.input_cost == (3 if profile == "global.anthropic." else Decimal("3.3"))


@pytest.mark.parametrize(
    ("configured", "called", "answered_by", "is_configured"),
    [
        ("gpt-4o", "", "", True),
        ("gpt-4o", "", "gpt-4o-2024-08-06", True),
        ("gpt-4o", "openai/gpt-4o", "openai/gpt-4o", True),
        ("our-deployment", "our-deployment", "gpt-4o-2024-08-06", True),
        ("mistral-large-latest", "", "mistral-large-2411", True),
        ("claude-3-5-sonnet", "us.anthropic.claude-3-5-sonnet-20240620-v1:0", "", True),
        ("llama3.2", "", "llama3.2:latest", True),
        ("gpt-4o", "", "gpt-4o-mini", False),
        ("gpt-4", "", "gpt-4.1", False),
        ("claude-opus-4", "", "claude-opus-4-1-20250805", False),
        ("gpt-4o-2024-08-06", "", "gpt-4o-2024-11-20", False),
        ("gpt-4o", "claude-sonnet-4-5", "", False),
        ("gpt-4o", "", "claude-sonnet-4-5", False),
        ("gpt-4o", "text-embedding-3-small", "text-embedding-3-small", False),
    ],
)
def test_the_prices_of_the_ai_config_are_those_of_its_model(
    configured: str, called: str, answered_by: str, is_configured: bool
) -> None:
    """A call of another model than the configured one does not have the prices of the AI Config."""
    tokens = Usage(1000, 100, 1100)
    found = cost(tokens, configured, "our gateway", custom=PRICES, answered_by=answered_by, called=called)

    assert (found is not None and found.price_source == "ai-config") is is_configured


def test_a_fallback_has_no_price_of_the_ai_config(served: Any, records: list[RunRecord]) -> None:
    """If another model answers as well, the cost of the run is that of the configured model, as a lower bound."""
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    with track_ai(config_key="bot", tracking=served({"name": "gpt-4o", "custom": PRICES}, "our gateway")) as run:
        for number, model in enumerate(("gpt-4o-2024-08-06", "claude-sonnet-4-5")):
            run.observe({"id": f"chatcmpl-{number}", "model": model, "choices": [], "usage": usage})

    found = records[0].cost
    assert found is not None
    assert (found.total_cost, found.lower_bound) == (Decimal("0.0014"), True)


@pytest.mark.parametrize(
    ("tier", "input_cost"), [("", "2"), ("default", "2"), ("priority", "3.5"), ("flex", None), ("scale", None)]
)
def test_the_service_tier_decides(tier: str, input_cost: str | None) -> None:
    """A call has the price of the tier that served it. A tier that is not in the list has no price."""
    found = cost(Usage(1_000_000, 0, 1_000_000), "gpt-4.1", "openai", service_tier=tier)

    assert (found and found.input_cost) == (None if input_cost is None else Decimal(input_cost))


def test_audio_and_images_have_prices_of_their_own() -> None:
    """Tokens of audio and images are priced apart. Without a price of their own, the cost is a lower bound."""
    per_token = {"input": "1", "output": "3", "input_audio": "5", "output_audio": "7", "input_image": "11"}
    prices = ModelPrice(**{f"{side}_mtok": Decimal(usd) * 1_000_000 for side, usd in per_token.items()})
    spoken = Usage(10, 4, 14, input_audio_tokens=2, input_image_tokens=3, output_audio_tokens=1)
    with price_list(prices):
        known, unknown = cost(spoken), cost(Usage(10, 4, 14, output_image_tokens=1))

    assert known is not None
    assert unknown is not None
    assert (known.input_cost, known.output_cost, known.lower_bound) == (
        Decimal(5 + 2 * 5 + 3 * 11),
        Decimal(3 * 3 + 7),
        False,
    )
    assert (unknown.input_cost, unknown.output_cost, unknown.lower_bound) == (Decimal(10), Decimal(12), True)


@pytest.mark.parametrize("further", ["requests_kcount", "input_video_mtok", "output_video_mtok"])
def test_what_is_not_counted_makes_a_lower_bound(further: str) -> None:
    """A model with a price for each request or for video may cost more than its tokens say."""
    prices = ModelPrice(input_mtok=Decimal(1_000_000), output_mtok=Decimal(2_000_000), **{further: Decimal(12)})
    with price_list(prices):
        found = cost(Usage(10, 4, 14))

    assert found is not None
    assert (found.total_cost, found.lower_bound) == (Decimal(18), True)


def test_a_call_without_a_price_makes_a_lower_bound() -> None:
    """The cost of a run is at least that of the calls that have one."""
    calls = [PricedCall(Usage(1000, 100, 1100)), PricedCall(None)]
    names = {"config_key": "bot", "model_name": "gpt-4o-mini", "provider_name": "openai"}
    found = Costs(Diagnostics()).of(calls, **names, get_custom=lambda _: None, started_at=NOON.timestamp())

    assert found is not None
    assert (found.total_cost, found.lower_bound) == (Decimal("0.00021"), True)


def test_embeddings_have_no_output() -> None:
    """A call without output has its whole cost."""
    found = cost(Usage(1_000_000, None, 1_000_000), "text-embedding-3-small", "openai")

    assert found is not None
    assert (found.total_cost, found.lower_bound) == (Decimal("0.02"), False)


@pytest.mark.parametrize(
    ("usage", "reported"),
    [
        ({"cost": 0.00195}, "0.00195"),
        ({"cost": 0}, "0"),
        ({"cost": 0.0001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.002}}, "0.0021"),
        ({"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": None}}, None),
        ({"cost": {"total_cost": 0.005, "request_cost": 0.005}}, "0.005"),
        ({"estimated_cost": 0.0007}, "0.0007"),
        ({"cost_in_usd_ticks": 37756000}, "0.0037756"),
    ],
    ids=["OpenRouter", "free", "own key", "own key, unknown", "Perplexity", "DeepInfra", "xAI"],
)
def test_a_reported_cost_wins(
    usage: dict[str, Any], reported: str | None, served: Any, records: list[RunRecord]
) -> None:
    """The cost in a response is the cost of the call, whatever the AI Config and the list say."""
    counts: dict[str, Any] = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    priced: dict[str, Any] = {**counts, **usage}
    with track_ai(config_key="bot", tracking=served({"name": "gpt-4o-mini", "custom": PRICES})) as run:
        run.observe({"id": "gen-1", "choices": [{"message": {"content": "Hi"}}], "usage": priced})
        run.observe({"id": "gen-2", "choices": [{"message": {"content": "Hi"}}], "usage": counts})

    found = records[0].cost
    assert found is not None
    assert not found.lower_bound
    if reported is None:
        assert (found.reported_cost, found.total_cost, found.price_source) == (None, Decimal("0.0028"), "ai-config")
    else:
        assert (found.reported_cost, found.input_cost) == (Decimal(reported), Decimal("0.001"))
        assert found.price_source == "provider, ai-config"
        assert found.total_cost == Decimal(reported) + Decimal("0.0014")


@pytest.mark.parametrize(
    ("gateway", "reported"),
    [
        ({"cost": "0.000056", "marketCost": "0.000056"}, "0.000056"),
        ({"cost": "0", "marketCost": "0.1"}, None),
        ({}, None),
    ],
    ids=["charged", "own key", "unknown"],
)
@pytest.mark.parametrize("api", ["messages", "responses", "messages, streamed"])
def test_the_cost_of_vercel(
    gateway: dict[str, Any], reported: str | None, api: str, served: Any, records: list[RunRecord]
) -> None:
    """Vercel's AI Gateway names the cost beside the usage in the APIs of Anthropic and OpenAI's Responses."""
    usage = {"input_tokens": 1000, "output_tokens": 100}
    message = {"id": "gen_1", "type": "message", "content": [{"type": "text", "text": "Hi"}], "usage": usage}
    responses: dict[str, Any] = {
        "messages": {**message, "provider_metadata": {"gateway": gateway}},
        "responses": {
            "id": "gen_1",
            "object": "response",
            "output": [],
            "usage": usage,
            "providerMetadata": {"gateway": gateway},
        },
        "messages, streamed": [
            {"type": "message_start", "message": {**message, "content": []}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn"},
                "usage": {"output_tokens": 100},
                "provider_metadata": {"gateway": gateway},
            },
            {"type": "message_stop"},
        ],
    }
    with track_ai(config_key="bot", tracking=served({"name": "gpt-4o-mini", "custom": PRICES})) as run:
        response = responses[api]
        list(run.observe(iter(response))) if isinstance(response, list) else run.observe(response)

    found = records[0].cost
    assert found is not None
    assert found.reported_cost == (None if reported is None else Decimal(reported))
    assert (found.price_source == "provider") is (reported is not None)


class Message:
    """A message of protobuf, whose fields read as zero if they are not set."""

    DESCRIPTOR = SimpleNamespace(
        fields_by_name={
            "prompt_tokens": SimpleNamespace(has_presence=False),
            "completion_tokens": SimpleNamespace(has_presence=False),
            "total_tokens": SimpleNamespace(has_presence=False),
            "cost_in_usd_ticks": SimpleNamespace(has_presence=True),
        }
    )

    def __init__(self, **fields: int) -> None:
        self._fields = fields

    def __getattr__(self, name: str) -> int:
        if name not in self.DESCRIPTOR.fields_by_name:
            raise AttributeError(name)
        return self._fields.get(name, 0)

    def HasField(self, name: str) -> bool:  # noqa: N802
        """Return whether a field is set."""
        return name in self._fields


@pytest.mark.parametrize(
    ("sent", "total_cost", "source"),
    [
        ({}, "0.009041", "ai-config"),
        ({"cost_in_usd_ticks": 0}, "0", "provider"),
        ({"cost_in_usd_ticks": 123_450_000}, "0.012345", "provider"),
    ],
)
def test_a_field_of_protobuf_that_is_not_set_is_unknown(
    sent: dict[str, int], total_cost: str, source: str, served: Any, records: list[RunRecord]
) -> None:
    """A cost that xAI's package has not received is not a cost of zero."""
    counts = {"prompt_tokens": 7317, "completion_tokens": 431, "total_tokens": 7748}
    answer = SimpleNamespace(id="x-1", content="Hi", usage=Message(**counts, **sent))
    with track_ai(config_key="bot", tracking=served({"name": "our-model", "custom": PRICES})) as run:
        run.observe(answer)

    cost = records[0].cost
    assert cost is not None
    assert (cost.total_cost, cost.price_source) == (Decimal(total_cost), source)
    assert records[0].usage == Usage(7317, 431, 7748)


def test_the_response_names_model_and_tier(served: Any, records: list[RunRecord]) -> None:
    """Model, tier and the kinds of tokens are read from the response."""
    usage = {"prompt_tokens": 1_000_000, "completion_tokens": 0, "total_tokens": 1_000_000}
    answer = {"id": "c-1", "model": "gpt-4.1-2025-04-14", "service_tier": "priority", "choices": [], "usage": usage}
    with track_ai(config_key="bot", tracking=served({"name": "gpt-4o-mini"})) as run:
        run.observe(answer)

    assert records[0].input_cost == Decimal("3.5")


def streamed(model: str, tokens: int, **usage: Any) -> list[str]:
    """Return a completion as the lines of a stream."""
    about = {"id": f"chatcmpl-{tokens}", "object": "chat.completion.chunk", "model": model}
    counts = {"prompt_tokens": tokens, "completion_tokens": 100, "total_tokens": tokens + 100, **usage}
    chunks: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": {"content": "Hi"}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": counts},
    ]
    return [f"data: {json.dumps({**about, **chunk})}\n\n" for chunk in chunks]


@pytest.mark.parametrize(
    ("provider", "lines", "total_cost", "lower_bound"),
    [
        ("OpenRouter", [*streamed("m", 1013, cost=0.0123), *streamed("m", 2013, cost=0.0456)], "0.0579", False),
        ("OpenAI", [*streamed("gpt-4o", 1013), *streamed("gpt-4o-mini", 2013)], "0.00389445", False),
        (
            "Anthropic",
            [*streamed("claude-sonnet-4-5", 150_013), *streamed("claude-sonnet-4-5", 150_017)],
            "0.90309",
            False,
        ),
        ("OpenAI", [*streamed("gpt-4o", 1013), *streamed("gpt-4o-mini", 2013)[:2]], "0.0035325", True),
    ],
    ids=["reported costs", "models", "sizes", "no usage"],
)
def test_each_answer_that_a_handler_passes_on_has_its_own_price(
    provider: str, lines: list[str], total_cost: str, lower_bound: bool, served: Any, records: list[RunRecord]
) -> None:
    """If no call was seen, the answers in the output are priced one by one, like calls."""
    tracking = served({"name": "gpt-4o"}, provider)
    assert list(track_ai(config_key="bot", tracking=tracking)(lambda: iter(lines))()) == lines

    cost = records[0].cost
    assert cost is not None
    assert (cost.total_cost, cost.lower_bound) == (Decimal(total_cost), lower_bound)


GEMINI: dict[str, Any] = {
    "candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 1_000_000, "candidatesTokenCount": 0, "totalTokenCount": 1_000_000},
}


def with_traffic(kind: str) -> dict[str, Any]:
    """Return an answer of Vertex, which names how its capacity is paid."""
    return {**GEMINI, "usageMetadata": {**GEMINI["usageMetadata"], "trafficType": kind}}


STANDARD, PRIORITY = ({"x-gemini-service-tier": tier} for tier in ("standard", "priority"))
CONVERSE: dict[str, Any] = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Hi"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 1_000_000, "outputTokens": 0, "totalTokens": 1_000_000},
}


@pytest.mark.parametrize(
    ("model", "provider", "answer", "input_cost"),
    [
        ("gemini-2.5-flash", "google", {**GEMINI, "sdk_http_response": {"headers": {}}}, "0.3"),
        ("gemini-2.5-flash", "google", {**GEMINI, "sdk_http_response": {"headers": STANDARD}}, "0.3"),
        ("gemini-2.5-flash", "google", {**GEMINI, "sdk_http_response": {"headers": PRIORITY}}, None),
        ("gemini-2.5-flash", "google", with_traffic("ON_DEMAND"), "0.3"),
        ("gemini-2.5-flash", "google", with_traffic("PROVISIONED_THROUGHPUT"), None),
        ("amazon.nova-lite-v1:0", "aws", {**CONVERSE, "serviceTier": {"type": "default"}}, "0.06"),
        ("amazon.nova-lite-v1:0", "aws", {**CONVERSE, "serviceTier": {"type": "flex"}}, None),
        ("amazon.nova-lite-v1:0", "aws", {**CONVERSE, "performanceConfig": {"latency": "standard"}}, "0.06"),
        ("amazon.nova-lite-v1:0", "aws", {**CONVERSE, "performanceConfig": {"latency": "optimized"}}, None),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_the_tiers_of_google_and_bedrock(
    model: str,
    provider: str,
    answer: dict[str, Any],
    input_cost: str | None,
    streamed: bool,
    served: Any,
    records: list[RunRecord],
) -> None:
    """Gemini names the tier in a header, and Bedrock beside the usage. A tier that is not in the list has no price."""
    parts = [answer]
    if streamed and provider == "aws":
        named = {name: value for name, value in answer.items() if name not in ("output", "stopReason")}
        parts = [
            {"messageStart": {"role": "assistant"}},
            {"messageStop": {"stopReason": "end_turn"}},
            {"metadata": named},
        ]
    with track_ai(config_key="bot", tracking=served({"name": model}, provider)) as run:
        list(run.observe(iter(parts))) if streamed else run.observe(answer)

    assert records[0].input_cost == (None if input_cost is None else Decimal(input_cost))


@pytest.mark.parametrize(("tool_tokens", "input_cost"), [(901, "0.24989250"), (9001, "0.520035")])
def test_what_a_tool_puts_into_the_prompt_is_input(
    tool_tokens: int, input_cost: str, served: Any, records: list[RunRecord]
) -> None:
    """Google bills the pages that Gemini reads, and the results of its code, as input, also for the size of a call."""
    usage = {"promptTokenCount": 199_013, "candidatesTokenCount": 77, "toolUsePromptTokenCount": tool_tokens}
    answer = {**GEMINI, "usageMetadata": {**usage, "totalTokenCount": 199_013 + 77 + tool_tokens}}
    with track_ai(config_key="bot", tracking=served({"name": "gemini-2.5-pro"}, "google")) as run:
        run.observe(answer)

    cost = records[0].cost
    assert cost is not None
    assert (cost.input_cost, cost.lower_bound) == (Decimal(input_cost), False)


CHAT_TOKENS = {"prompt_tokens": 7317, "completion_tokens": 3863, "total_tokens": 11180}
TOKENS = {"input_tokens": 7317, "output_tokens": 3863, "total_tokens": 11180}


def ran(name: str) -> dict[str, Any]:
    """Return the use of a tool that Anthropic runs."""
    return {"type": "server_tool_use", "id": "s", "name": name, "input": {}}


SEARCHED: dict[str, Any] = {
    "anthropic": {"type": "message", "content": [], "usage": {**TOKENS, "server_tool_use": {"web_search_requests": 3}}},
    "anthropic, in one country": {"type": "message", "content": [], "usage": {**TOKENS, "inference_geo": "us"}},
    "openai": {"object": "response", "id": "r", "output": [{"type": "web_search_call"}], "usage": TOKENS},
    "gemini": {
        "candidates": [{"content": {"parts": []}, "groundingMetadata": {"webSearchQueries": ["news"]}}],
        "usageMetadata": {"promptTokenCount": 7317, "candidatesTokenCount": 3863, "totalTokenCount": 11180},
    },
    "openai, image": {"object": "response", "id": "r", "output": [{"type": "image_generation_call"}], "usage": TOKENS},
    "openai, chat": {
        "choices": [{"message": {"content": "Hi", "annotations": [{"type": "url_citation"}]}, "finish_reason": "stop"}],
        "usage": CHAT_TOKENS,
    },
    "gemini, maps": {
        "candidates": [{"content": {"parts": []}, "groundingMetadata": {"groundingChunks": [{"maps": {}}]}}],
        "usageMetadata": {"promptTokenCount": 7317, "candidatesTokenCount": 3863, "totalTokenCount": 11180},
    },
    "mistral": {"object": "conversation.response", "usage": {**CHAT_TOKENS, "connectors": {"web_search": 1}}},
    "anthropic, code": {"type": "message", "content": [ran("bash_code_execution")], "usage": TOKENS},
    "openai, code": {
        **{"object": "response", "id": "r", "usage": TOKENS},
        "output": [{"type": "shell_call", "environment": {"type": "container_reference", "container_id": "c"}}],
    },
    "perplexity": {"choices": [], "usage": {**CHAT_TOKENS, "num_search_queries": 1}},
}
PLAIN: dict[str, Any] = {
    "anthropic": {"type": "message", "content": [], "usage": {**TOKENS, "server_tool_use": {"web_search_requests": 0}}},
    "anthropic, anywhere": {"type": "message", "content": [], "usage": {**TOKENS, "inference_geo": "global"}},
    "openai": {"object": "response", "id": "r", "output": [{"type": "function_call"}], "usage": TOKENS},
    "openai, chat": {
        "choices": [{"message": {"content": "Hi", "annotations": []}, "finish_reason": "stop"}],
        "usage": CHAT_TOKENS,
    },
    "mistral": {"object": "conversation.response", "usage": {**CHAT_TOKENS, "connectors": None}},
    "anthropic, a fetch": {"type": "message", "content": [ran("web_fetch")], "usage": TOKENS},
    "anthropic, own code": {
        **{"type": "message", "usage": TOKENS},
        "content": [{**ran("code_execution"), "type": "tool_use"}],
    },
    "openai, own code": {
        **{"object": "response", "id": "r", "usage": TOKENS},
        "output": [{"type": "shell_call", "environment": {"type": "local"}}],
    },
}


@pytest.mark.parametrize("answer", [*SEARCHED.values(), *PLAIN.values()], ids=[*SEARCHED, *(f"no {x}" for x in PLAIN)])
def test_what_costs_more_than_the_tokens(answer: Any, served: Any, records: list[RunRecord]) -> None:
    """A search, code that the provider ran, or the choice of a country costs more: the cost is a lower bound."""
    with track_ai(config_key="bot", tracking=served({"name": "our-model", "custom": PRICES})) as run:
        run.observe(answer)

    record = records[0]
    assert record.cost is not None
    assert record.usage is not None
    assert (record.cost.lower_bound, record.usage.lower_bound) == (answer in SEARCHED.values(), False)


@pytest.mark.parametrize("streamed", [False, True])
def test_cohere_bills_fewer_tokens_than_it_reports(served: Any, records: list[RunRecord], streamed: bool) -> None:
    """Cohere adds a preamble to the prompt: the record has its tokens, and the cost is that of the billed ones."""
    usage = {
        "tokens": {"input_tokens": 968, "output_tokens": 20},
        "billed_units": {"input_tokens": 62, "output_tokens": 20},
    }
    message = {"role": "assistant", "content": [{"type": "text", "text": "Hi"}]}
    answer: Any = {"id": "c-1", "finish_reason": "COMPLETE", "message": message, "usage": usage}
    events = [
        {"type": "message-start", "id": "c-1", "delta": {"message": {"role": "assistant", "content": []}}},
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hi"}}}},
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": usage}},
    ]
    with track_ai(config_key="bot", tracking=served({"name": "command-a", "custom": PRICES})) as run:
        list(run.observe(iter(events))) if streamed else run.observe(answer)

    assert records[0].usage is not None
    assert (records[0].usage.input_tokens, records[0].usage.output_tokens) == (968, 20)
    assert records[0].input_cost == 62 * Decimal(str(PRICES["costPerInputToken"]))


RENDERED = {
    **{"input_tokens": 53, "output_tokens": 1_057, "total_tokens": 1_110, "cached_tokens": 11},
    **{
        "input_tokens_details": {"image_tokens": 0, "text_tokens": 53},
        "output_tokens_details": {"image_tokens": 1_057},
    },
}
DRAWN = {
    "input_tokens": 211,
    "output_tokens": 3_001,
    "reasoning_tokens": 503,
    "total_tokens": 3_212,
    "model": "gpt-4.1",
}
NOTHING = dict.fromkeys(("input_tokens", "output_tokens", "total_tokens"), 0)
OWN = {"input_tokens": 731, "output_tokens": 97, "total_tokens": 828}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("more", "usage", "total_cost", "lower_bound"),
    [
        ({"tool_usage": {"image_gen": NOTHING, "web_search": {"num_requests": 0}}}, Usage(731, 97, 828), None, False),
        ({"tool_usage": {"image_gen": NOTHING, "web_search": {"num_requests": 3}}}, Usage(731, 97, 828), None, True),
        (
            {"tool_usage": {"image_gen": RENDERED, "web_search": {"num_requests": 0}}},
            Usage(784, 1_154, 1_938, cached_input_tokens=11, output_image_tokens=1_057),
            None,
            True,
        ),
        (
            {"output": [{"type": "image_generation_call", "svg_usage": DRAWN}]},
            Usage(942, 3_098, 4_040, reasoning_tokens=503),
            "0.0272275",
            True,
        ),
    ],
    ids=["no tool", "a search", "an image", "a drawing"],
)
def test_other_models_that_openai_used(
    more: dict[str, Any],
    usage: Usage,
    total_cost: str | None,
    lower_bound: bool,
    streamed: bool,
    served: Any,
    records: list[RunRecord],
) -> None:
    """The tokens of a tool's model count, and have a price if the model is named. A search costs more than tokens."""
    about = {"object": "response", "id": "r-1", "model": "gpt-4o", "output": []}
    answer: Any = {**about, "status": "completed", "usage": OWN, **more}
    events = [
        {"type": "response.created", "response": {**about, "status": "in_progress"}},
        {"type": "response.output_text.delta", "delta": "Hi"},
        {"type": "response.completed", "response": answer},
    ]
    with track_ai(config_key="bot", tracking=served({"name": "gpt-4o"})) as run:
        list(run.observe(iter(events))) if streamed else run.observe(answer)

    cost = records[0].cost
    assert records[0].usage == usage
    assert cost is not None
    assert (cost.total_cost, cost.lower_bound) == (Decimal(total_cost or "0.0027975"), lower_bound)


def test_a_drawing_of_openai_has_two_models(served: Any, records: list[RunRecord]) -> None:
    """An image that a second model draws has the tokens of both."""
    answer = {"created": 1, "data": [{"b64_json": "iV"}], "usage": RENDERED, "svg_usage": DRAWN}
    with track_ai(config_key="bot", tracking=served({"name": "our-model", "custom": PRICES})) as run:
        run.observe(answer)

    record = records[0]
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens, record.usage.total_tokens) == (264, 4_058, 4_322)
    assert record.cost is not None
    assert record.cost.lower_bound


def passes(*parts: tuple[int, int, str], **more: int) -> dict[str, Any]:
    """Return a usage of Anthropic that lists passes: input, output and model, which is empty if it is not named."""
    listed = [
        {"type": "message", "input_tokens": given, "output_tokens": made, **({"model": model} if model else {})}
        for given, made, model in parts
    ]
    return {"input_tokens": parts[-1][0], "output_tokens": parts[-1][1], "iterations": listed, **more}


SONNET, OPUS = "claude-sonnet-4-5-20250929", "claude-opus-4-1"


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("usage", "tokens", "total_cost", "lower_bound"),
    [
        (passes((180_013, 507, ""), (30_017, 1_013, "")), (210_030, 1_520), "0.652890", False),
        (passes((201, 89, ""), (823, 1_612, OPUS), (211, 442, "")), (1_235, 2_143), "0.142446", False),
        (passes((310, 41, OPUS), (300, 50, "claude-sonnet-4-5")), (610, 91), "0.009375", False),
        (passes((310, 41, "a-new-model"), (300, 50, SONNET)), (610, 91), "0.00165", True),
        (passes((310, 41, OPUS), (300, 50, ""), input_tokens=700), (700, 91), "0.003465", False),
    ],
    ids=["a compaction", "an advisor", "a fallback", "no price", "no sum"],
)
def test_each_pass_of_anthropic_has_its_own_price(
    usage: dict[str, Any],
    tokens: tuple[int, int],
    total_cost: str,
    lower_bound: bool,
    streamed: bool,
    served: Any,
    records: list[RunRecord],
) -> None:
    """A pass of a call costs what its model charges for a request of its size."""
    content = [{"type": "text", "text": "Hi"}]
    answer: Any = {"type": "message", "id": "m-1", "model": SONNET, "content": content, "usage": usage}
    answer["stop_reason"] = "end_turn"
    events = [
        {"type": "message_start", "message": {"id": "m-1", "model": SONNET, "usage": {"input_tokens": 201}}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage},
        {"type": "message_stop"},
    ]
    with track_ai(config_key="bot", tracking=served({"name": "claude-sonnet-4-5"}, "Anthropic")) as run:
        list(run.observe(iter(events))) if streamed else run.observe(answer)

    record = records[0]
    assert record.usage == Usage(*tokens, sum(tokens))
    assert record.cost is not None
    assert (record.cost.total_cost, record.cost.lower_bound) == (Decimal(total_cost), lower_bound)


def kinds(usage: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return a usage whose passes are of these kinds."""
    listed = [{**one, "type": name} for one, name in zip(usage["iterations"], names, strict=True)]
    return {**usage, "iterations": listed}


ANSWER, LAST = "message", "fallback_message"


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("hops", "usage", "tokens", "total_cost", "lower_bound"),
    [
        (1, {"input_tokens": 300, "output_tokens": 50}, (300, 50), "0.00165", (True, True)),
        (1, kinds(passes((300, 50, "")), ANSWER), (300, 50), "0.00165", (True, True)),
        (1, kinds(passes((311, 17, ""), (300, 50, "")), ANSWER, ANSWER), (611, 67), "0.002838", (True, True)),
        (1, kinds(passes((310, 41, OPUS), (300, 50, SONNET)), ANSWER, LAST), (610, 91), "0.009375", (False, False)),
        (1, kinds(passes((310, 41, ""), (300, 50, SONNET)), ANSWER, LAST), (610, 91), "0.00165", (False, True)),
        (2, kinds(passes((310, 41, OPUS), (300, 50, SONNET)), ANSWER, LAST), (610, 91), "0.009375", (True, True)),
    ],
    ids=["no passes", "one pass", "a loop", "all passes", "a pass without a model", "one hop is missing"],
)
def test_a_model_that_declined_is_billed_too(
    hops: int,
    usage: dict[str, Any],
    tokens: tuple[int, int],
    total_cost: str,
    lower_bound: tuple[bool, bool],
    streamed: bool,
    served: Any,
    records: list[RunRecord],
) -> None:
    """If Anthropic's client leaves out the tokens of a model that declined, the others are a lower bound."""
    block = {"type": "fallback", "from": {"model": OPUS}, "to": {"model": SONNET}}
    content = [*hops * [block], {"type": "text", "text": "Hi"}]
    answer: Any = {"type": "message", "id": "m-1", "model": SONNET, "content": content, "usage": usage}
    answer["stop_reason"] = "end_turn"
    events = [
        {"type": "message_start", "message": {"id": "m-1", "model": OPUS, "usage": {"input_tokens": 201}}},
        *({"type": "content_block_start", "index": index, "content_block": one} for index, one in enumerate(content)),
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage},
        {"type": "message_stop"},
    ]
    with track_ai(config_key="bot", tracking=served({"name": "claude-sonnet-4-5"}, "Anthropic")) as run:
        list(run.observe(iter(events))) if streamed else run.observe(answer)

    record = records[0]
    assert record.usage == Usage(*tokens, sum(tokens), lower_bound=lower_bound[0])
    assert record.cost is not None
    assert (record.cost.total_cost, record.cost.lower_bound) == (Decimal(total_cost), lower_bound[1])


def test_a_pass_of_another_model_has_no_price_of_the_ai_config(served: Any, records: list[RunRecord]) -> None:
    """The AI Config's prices are those of its model, and not those of an advisor."""
    usage = passes((823, 1_612, "an-advisor"), (211, 442, ""))
    with track_ai(config_key="bot", tracking=served({"name": "our-model", "custom": PRICES})) as run:
        run.observe({"type": "message", "id": "m-1", "model": "our-model", "content": [], "usage": usage})

    cost = records[0].cost
    assert cost is not None
    assert (cost.total_cost, cost.lower_bound) == (Decimal("0.001979"), True)


def test_memory_is_bounded() -> None:
    """However many models are asked for, few are remembered."""
    costs = Costs(Diagnostics())
    assert cost(Usage(1, 1), "gpt-4o-mini", "openai", costs=costs)
    tracemalloc.start()
    try:
        for number in range(3_000):
            cost(Usage(1, 1), f"model {number}", "acme", costs=costs)
        grown = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert grown < 1_000_000
