"""The metrics of the dev server are the figures that real trackers sent."""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from ldai.tracker import FeedbackKind
from ldclient import Context

from ldai_integrations import RunRecord, Tracking, track_ai
from ldai_integrations.devserver import DevServer
from ldai_integrations.exceptions import MetricsError
from ldai_integrations.metrics import Metrics, MetricsClient

from ..flags import flag, meta, system

ADA = Context.builder("ada").set("plan", "premium").build()
PATH = "/api/v2/projects/default/ai-configs/chat/metrics"
USAGE = {"choices": [{"message": {"content": "Hi."}}], "usage": {"prompt_tokens": 30, "completion_tokens": 7}}


@pytest.fixture
def client(dev_server: DevServer) -> MetricsClient:
    """Give a client of the dev server."""
    return MetricsClient("api-any", "default", base_url=dev_server.url)


@pytest.fixture
def window() -> dict[str, Any]:
    """Return the time range of the last hour and the next."""
    now = datetime.now(timezone.utc)
    return {"env": "test", "start": now - timedelta(hours=1), "end": now + timedelta(hours=1)}


def stream(_question: str) -> Any:
    """Answer in chunks, the usage last."""
    for word in ("Hel", "lo"):
        yield {"choices": [{"delta": {"content": word}}]}
    yield {"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 2, "total_tokens": 14}}


def send_traffic(tracking: Tracking, server: DevServer) -> None:
    """Track twelve runs of two variations with streams, errors and votes, and wait until their events have arrived."""
    for number in range(12):
        ld_context = ADA if number % 3 == 0 else Context.create("bob")
        with track_ai(config_key="chat", tracking=tracking, ld_context=lambda found=ld_context: found) as run:
            if number % 4 == 3:
                run.fail(TimeoutError())
            elif number % 2:
                assert len(list(run.observe(stream("Hello?")))) == 3
            else:
                run.observe(USAGE)
        if number % 5 == 0:
            kind = FeedbackKind.Positive if number else FeedbackKind.Negative
            run.tracker.track_feedback({"kind": kind})
    assert tracking.flush().complete
    server.wait_for(12, key="$ld:ai:duration:total", config_key="chat")


def figures(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Compute the fields from raw events, in another way than the server does."""
    sums: Counter[str] = Counter()
    for event in events:
        sums[event["key"].removeprefix("$ld:ai:")] += event["metricValue"]
    firsts = [event["metricValue"] for event in events if event["key"] == "$ld:ai:tokens:ttf"]
    votes = sums["feedback:user:positive"] + sums["feedback:user:negative"]
    return {
        "input_tokens": sums["tokens:input"],
        "output_tokens": sums["tokens:output"],
        "total_tokens": sums["tokens:total"],
        "generation_success_count": sums["generation:success"],
        "generation_error_count": sums["generation:error"] or None,
        "generation_count": sums["generation:success"] + sums["generation:error"],
        "thumbs_up": sums["feedback:user:positive"] or None,
        "thumbs_down": sums["feedback:user:negative"] or None,
        "satisfaction_rating": sums["feedback:user:positive"] / votes if votes else None,
        "duration_ms": sums["duration:total"],
        "duration_count": sum(event["key"] == "$ld:ai:duration:total" for event in events),
        "time_to_first_token_ms": round(sum(firsts) / len(firsts)) if firsts else None,
    }


def test_figures_equal_the_raw_events(
    http_tracking: Tracking,
    dev_server: DevServer,
    records: list[RunRecord],
    client: MetricsClient,
    window: dict[str, Any],
) -> None:
    """Every figure, in total and by variation, equals that of the raw events and of the records."""
    send_traffic(http_tracking, dev_server)
    assert len(records) == 12
    events = dev_server.events(kind="custom", config_key="chat")

    total = client.metrics("chat", **window)
    assert total == Metrics(**figures(events))
    assert total.generations == 12
    assert total.error_rate == 3 / 12
    assert total.input_tokens == sum(r.usage.input_tokens or 0 for r in records if r.usage is not None)
    assert total.duration_ms == sum(record.duration_ms for record in records)

    by_variation = client.metrics_by_variation("chat", **window)
    assert [variation.variation_key for variation in by_variation] == ["large", "small"]
    for variation in by_variation:
        own = [event for event in events if event["data"]["variationKey"] == variation.variation_key]
        assert variation.metrics == Metrics(**figures(own))


def test_split_ranges_add_up(http_tracking: Tracking, dev_server: DevServer, client: MetricsClient) -> None:
    """A range of a year is requested in parts and has the figures of the raw events."""
    send_traffic(http_tracking, dev_server)
    now = datetime.now(timezone.utc)
    parts: list[tuple[int, int]] = []
    total = client.metrics(
        "chat",
        env="test",
        start=now - timedelta(days=364),
        end=now + timedelta(days=1),
        on_progress=lambda *step: parts.append(step),
    )

    assert parts[-1] == (4, 4)
    assert total == Metrics(**figures(dev_server.events(kind="custom", config_key="chat")))


def test_steps_add_up(
    http_tracking: Tracking, dev_server: DevServer, client: MetricsClient, window: dict[str, Any]
) -> None:
    """The time steps contain each event once."""
    send_traffic(http_tracking, dev_server)
    points = client.metrics_over_time("chat", **window, points=7, by_variation=True)

    found = [metrics.generations or 0 for point in points for metrics in point.variations.values()]
    assert sum(found) == 12
    assert len(points) == 7


def test_costs_are_those_of_the_records(records: list[RunRecord], no_leaks: None, window: dict[str, Any]) -> None:
    """The costs that the dev server computes equal the sum of the costs in the records."""
    priced = {"name": "gpt-4o-mini", "custom": {"costPerInputToken": 1.5e-7, "costPerOutputToken": 6e-7}}
    config = flag("chat", {"_ldMeta": meta("v"), "model": priced, "messages": system("Hi.")})
    with DevServer({"flags": {"chat": config}, "segments": {}}) as server:
        tracking = Tracking.from_env(environ={"LDAI_DEV_SERVER": server.url})
        send_traffic(tracking, server)
        found = MetricsClient("api-any", "default", base_url=server.url).metrics("chat", **window)
        tracking.close()

    assert found.input_cost == sum(record.input_cost or 0 for record in records)
    assert found.output_cost == sum(record.output_cost or 0 for record in records)
    assert found.total_cost


@pytest.mark.usefixtures("no_backoff")
def test_a_server_that_fails_for_a_while(dev_server: DevServer, client: MetricsClient, window: dict[str, Any]) -> None:
    """Temporary errors, lost connections and rate limits only cost time."""
    dev_server.clear()
    dev_server.inject(PATH, status=503)
    dev_server.inject(PATH, close=True)
    dev_server.inject(PATH, status=429)

    assert client.metrics("chat", **window) == Metrics()


@pytest.mark.usefixtures("no_backoff")
def test_a_server_that_hangs_up_for_good(dev_server: DevServer, client: MetricsClient, window: dict[str, Any]) -> None:
    """A connection that is lost each time is an error after five tries."""
    dev_server.clear()
    dev_server.inject(PATH, close=True, count=5)

    with pytest.raises(MetricsError, match=r"could not be reached .*start the dev server") as raised:
        client.metrics("chat", **window)
    assert raised.value.status is None
    assert client.metrics("chat", **window) == Metrics()


def test_what_the_dev_server_refuses(dev_server: DevServer, client: MetricsClient, window: dict[str, Any]) -> None:
    """An unknown AI Config is an error with the remedy, as with LaunchDarkly."""
    with pytest.raises(
        MetricsError, match=r"HTTP 404 .*known: .*chat.*check the keys of the AI Config and the project$"
    ):
        client.metrics("nobody", **window)


def test_the_end_is_now_unless_told(http_tracking: Tracking, dev_server: DevServer, client: MetricsClient) -> None:
    """Without an end, the range lasts until now."""
    send_traffic(http_tracking, dev_server)
    time.sleep(0.01)

    assert client.metrics("chat", env="test", start=datetime.now(timezone.utc) - timedelta(minutes=5)).generations == 12
