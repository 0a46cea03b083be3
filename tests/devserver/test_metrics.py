"""The metrics equal the figures that real trackers tracked. Paths and names are those of LaunchDarkly."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from ldai import LDAIClient
from ldai.providers.types import JudgeResult
from ldai.tracker import FeedbackKind, TokenUsage
from ldclient import Context

from ldai_integrations.devserver import DevServer

from .samples import FLAGS, edited

if TYPE_CHECKING:
    from ldai.tracker import LDAIConfigTracker

    from .conftest import Connect

ADA = Context.create("ada")
BOB = Context.builder("bob").set("plan", "premium").build()
PATH = "/api/v2/projects/default/ai-configs/chat/metrics"
TOKEN = {"Authorization": "api-token"}
DAY_MS = 24 * 3600 * 1000
SOME_MS = 1_780_000_000_000

SMALL = {
    "inputTokens": 30,
    "outputTokens": 12,
    "totalTokens": 42,
    "generationSuccessCount": 2,
    "generationErrorCount": 1,
    "generationCount": 3,
    "durationMs": 1500,
    "durationCount": 3,
    "timeToFirstTokenMs": 150,
    "thumbsUp": 2,
    "thumbsDown": 1,
    "satisfactionRating": 2 / 3,
}
LARGE = {
    "generationSuccessCount": 1,
    "generationCount": 1,
    "durationMs": 2000,
    "durationCount": 1,
    "judgeRelevance": 0.75,
}
DEFAULT = {"generationSuccessCount": 1, "generationCount": 1}
TOTAL = {
    **SMALL,
    "generationSuccessCount": 4,
    "generationCount": 5,
    "durationMs": 3500,
    "durationCount": 4,
    "judgeRelevance": 0.75,
}


def track_everything(client: LDAIClient) -> None:
    """Track four runs: three of one variation, and one of another, which a rule serves."""

    def run(ld_context: Context) -> LDAIConfigTracker:
        tracker: LDAIConfigTracker = client.completion_config("chat", ld_context).create_tracker()
        return tracker

    first, second, third = run(ADA), run(ADA), run(ADA)
    first.track_tokens(TokenUsage(total=25, input=20, output=5))
    second.track_tokens(TokenUsage(total=17, input=10, output=7))
    for tracker, first_token in ((first, 100), (second, 200)):
        tracker.track_duration(500)
        tracker.track_time_to_first_token(first_token)
        tracker.track_success()
        tracker.track_feedback({"kind": FeedbackKind.Positive})
    third.track_duration(500)
    third.track_error()
    third.track_feedback({"kind": FeedbackKind.Negative})
    large = run(BOB)
    large.track_duration(2000)
    large.track_success()
    for score in (0.5, 1.0):
        result = JudgeResult(success=True, sampled=True, score=score, metric_key="$ld:ai:judge:relevance")
        large.track_judge_result(result)


@pytest.fixture
def tracked(server: DevServer, connect: Connect, raw: httpx.Client) -> DevServer:
    """Return the server when all events of these runs have arrived."""
    client = connect(server)
    track_everything(LDAIClient(client))
    client.flush()
    server.wait_for(20, config_key="chat")
    # The AI SDK sends no variation key if the caller's default was served.
    data = {"runId": "r", "configKey": "chat", "version": 1, "modelName": "", "providerName": ""}
    event = {"kind": "custom", "creationDate": int(time.time() * 1000), "data": data, "metricValue": 1}
    raw.post("/bulk", json=[{**event, "key": "$ld:ai:generation:success"}, {**event, "key": "$ld:ai:tool_call"}])
    return server


def window(**values: Any) -> dict[str, Any]:
    """Build a query for the last day."""
    now = int(time.time() * 1000)
    return {"env": "test", "from": now - DAY_MS, "to": now + 1000, **values}


def test_metrics_equal_what_was_tracked(tracked: DevServer) -> None:
    """Every figure equals what was tracked. Figures without events are absent."""
    assert tracked.metrics("chat") == TOTAL
    assert tracked.metrics("unknown") == {}


def test_metrics_by_variation(tracked: DevServer) -> None:
    """Each variation has its own metrics, and so have runs that got the caller's default."""
    assert tracked.metrics("chat", by_variation=True) == [
        {"variationKey": "", "metrics": DEFAULT},
        {"variationKey": "large", "metrics": LARGE},
        {"variationKey": "small", "metrics": SMALL},
    ]


def test_milliseconds_are_whole(raw: httpx.Client, server: DevServer) -> None:
    """Durations are rounded, because LaunchDarkly's own client accepts no fractions."""
    event = {"kind": "custom", "data": {"configKey": "chat"}}
    values = {"$ld:ai:duration:total": (1.5, 2.25), "$ld:ai:tokens:ttf": (1, 2.4)}
    raw.post("/bulk", json=[{**event, "key": key, "metricValue": n} for key, pair in values.items() for n in pair])
    assert server.metrics("chat") == {"durationMs": 4, "durationCount": 2, "timeToFirstTokenMs": 2}


def test_rest_paths_answer_the_same(tracked: DevServer, raw: httpx.Client) -> None:
    """LaunchDarkly's two REST paths return these metrics, the second as an array."""
    assert raw.get(PATH, params=window(), headers=TOKEN).json() == TOTAL
    by_variation = raw.get(f"{PATH}-by-variation", params=window(), headers=TOKEN).json()
    assert by_variation == tracked.metrics("chat", by_variation=True)


def test_window_includes_its_start_and_excludes_its_end(server: DevServer, raw: httpx.Client) -> None:
    """Events count from the start of the time range to the last millisecond before its end."""
    event = {"kind": "custom", "key": "$ld:ai:generation:success", "data": {"configKey": "chat"}, "metricValue": 1}
    raw.post(
        "/bulk",
        json=[{**event, "creationDate": time_ms} for time_ms in (SOME_MS - 1, SOME_MS, SOME_MS + 999, SOME_MS + 1000)],
    )
    answer = raw.get(PATH, params={"env": "test", "from": SOME_MS, "to": SOME_MS + 1000}, headers=TOKEN)
    assert answer.json() == {"generationSuccessCount": 2, "generationCount": 2}
    assert server.metrics("chat")["generationCount"] == 4


@pytest.mark.parametrize(
    ("query", "headers", "status", "code"),
    [
        ({}, {}, 401, "unauthorized"),
        ({}, {"Authorization": "sdk-key"}, 401, "unauthorized"),
        ({"env": ""}, TOKEN, 400, "invalid_request"),
        ({"from": "yesterday"}, TOKEN, 400, "invalid_request"),
        ({"to": ""}, TOKEN, 400, "invalid_request"),
        ({"from": 2, "to": 1}, TOKEN, 400, "invalid_request"),
        ({"from": SOME_MS, "to": SOME_MS + 100 * DAY_MS + 1}, TOKEN, 400, "invalid_request"),
        ({"from": 2**70, "to": 2**70}, TOKEN, 400, "invalid_request"),
        ({"contextKey": "ada"}, TOKEN, 400, "invalid_request"),
    ],
)
def test_wrong_requests_are_refused(
    query: dict[str, Any], headers: dict[str, str], status: int, code: str, raw: httpx.Client
) -> None:
    """A request that LaunchDarkly refuses is refused with the same code."""
    for path in (PATH, f"{PATH}-by-variation"):
        answer = raw.get(path, params=window(**query), headers=headers)
        assert answer.status_code == status
        assert answer.json().keys() == {"code", "message"}
        assert answer.json()["code"] == code


@pytest.mark.parametrize("key", [None, 7, ["own"], {"own": 1}])
def test_events_without_a_key_have_no_figures(key: Any, server: DevServer, raw: httpx.Client) -> None:
    """An event whose key is no text is stored, and does not count. The figures of the others are still served."""
    event = {"kind": "custom", "creationDate": SOME_MS, "data": {"configKey": "chat"}, "metricValue": 1}
    raw.post("/bulk", json=[{**event, "key": key}, {**event, "key": "own"}])
    assert server.status()["events"] == 2
    answer = raw.get("/dev/figures/chat", params=window(**{"from": SOME_MS, "to": SOME_MS + 1}), headers=TOKEN)
    assert [figures["scores"] for figures in answer.json()] == [{"own": 1}] * 2


def test_times_in_seconds(tracked: DevServer, raw: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    """A time range in seconds is refused with what to give, in the answer and in the log of the server."""
    now = int(time.time())
    for path in (PATH, f"{PATH}-by-variation"):
        answer = raw.get(path, params={"env": "test", "from": now - 24 * 3600, "to": now}, headers=TOKEN)
        assert answer.status_code == 400
        assert answer.json()["message"] == "from and to are in seconds; give milliseconds: multiply by 1000"
    assert "gives its time range in seconds. Give milliseconds" in caplog.text


def test_unknown_ai_config_is_not_found(raw: httpx.Client) -> None:
    """An AI Config that is neither served nor named by an event is not found. One without events has no metrics."""
    answer = raw.get(PATH.replace("chat", "nobody"), params=window(), headers=TOKEN)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert raw.get(PATH, params=window(), headers=TOKEN).json() == {}
    assert raw.get(f"{PATH}-by-variation", params=window(), headers=TOKEN).json() == []


def test_range_of_a_hundred_days_is_allowed(raw: httpx.Client) -> None:
    """The longest time range of LaunchDarkly is accepted."""
    answer = raw.get(PATH, params={"env": "test", "from": SOME_MS, "to": SOME_MS + 100 * DAY_MS}, headers=TOKEN)
    assert answer.status_code == 200


def priced(**prices: Any) -> dict[str, Any]:
    """Return the sample flags with prices for these variations."""
    variations = []
    for value in FLAGS["flags"]["chat"]["variations"]:
        key = value["_ldMeta"]["variationKey"]
        variations.append({**value, "model": {"name": "m", "custom": prices[key]}} if key in prices else value)
    return edited(variations=variations)


SMALL_PRICES = {"costPerInputToken": 1e-6, "costPerOutputToken": 4e-6}


def test_costs_are_tokens_times_prices(tracked: DevServer, raw: httpx.Client) -> None:
    """Costs are tokens multiplied by the prices in the custom parameters of the model."""
    tracked.set_flags(priced(small=SMALL_PRICES))
    money = {"inputCost": 0.00003, "outputCost": 0.000048}

    assert tracked.metrics("chat") == {**TOTAL, **money}
    assert tracked.metrics("chat", by_variation=True)[2] == {"variationKey": "small", "metrics": {**SMALL, **money}}
    assert tracked.metrics("chat", by_variation=True)[1] == {"variationKey": "large", "metrics": LARGE}
    assert raw.get(PATH, params=window(), headers=TOKEN).json() == {**TOTAL, **money}


def test_tokens_without_a_price_make_the_total_unknown(tracked: DevServer, raw: httpx.Client) -> None:
    """If tokens of another variation have no price, the total cost is absent. A price may be zero."""
    data = {"configKey": "chat", "variationKey": "large"}
    event = {"kind": "custom", "creationDate": 1, "data": data, "key": "$ld:ai:tokens:input", "metricValue": 100}
    raw.post("/bulk", json=[event])
    tracked.set_flags(priced(small=SMALL_PRICES))
    assert "inputCost" not in tracked.metrics("chat")
    assert tracked.metrics("chat")["outputCost"] == 0.000048

    tracked.set_flags(priced(small=SMALL_PRICES, large={"costPerInputToken": 0}))
    assert tracked.metrics("chat")["inputCost"] == 0.00003


def test_list_prices() -> None:
    """A price list is asked for variations without prices; a price in the AI Config comes first."""
    asked: list[tuple[str, str]] = []

    def look_up(model_name: str, provider_name: str) -> dict[str, Decimal]:
        asked.append((model_name, provider_name))
        return {"input": Decimal("0.001")}

    data = [{"configKey": "chat", "variationKey": key} for key in ("small", "large")]
    tokens = {"kind": "custom", "creationDate": 1, "metricValue": 10}
    events = [{**tokens, "data": one, "key": f"$ld:ai:tokens:{side}"} for one in data for side in ("input", "output")]
    with DevServer(priced(small=SMALL_PRICES), list_prices=look_up) as server:
        assert httpx.post(f"{server.url}/bulk", json=events, trust_env=False).status_code == 202
        large, small = (one["metrics"] for one in server.metrics("chat", by_variation=True))
        assert (small["inputCost"], small["outputCost"]) == (0.00001, 0.00004)
        assert (large["inputCost"], "outputCost" in large) == (0.01, False)
        configs = httpx.get(f"{server.url}/dev/monitor", trust_env=False).json()["configs"]
        [config] = [one for one in configs if one["configKey"] == "chat"]
        assert (config["prices"]["large"], config["listPriced"]) == ({"input": 0.001}, ["large"])
    assert asked


@pytest.mark.parametrize("price", ["0.1", -1, True, None])
def test_values_that_are_not_prices(price: Any, tracked: DevServer) -> None:
    """A value that is not a price is ignored."""
    tracked.set_flags(priced(small={"costPerInputToken": price}))
    assert tracked.metrics("chat") == TOTAL
