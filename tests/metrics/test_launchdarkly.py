"""The examples of LaunchDarkly's reference and its own client agree with ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from ldclient import Context

from ldai_integrations import Tracking, track_ai
from ldai_integrations.devserver import DevServer
from ldai_integrations.metrics import Metrics, MetricsClient

from .answers import API
from .conftest import TOKEN

PUBLISHED = {path.stem: json.loads(path.read_text()) for path in (Path(__file__).parent / "published").glob("*.json")}
NOW = datetime.now(timezone.utc)
WINDOW: dict[str, Any] = {"env": "test", "start": NOW - timedelta(hours=1), "end": NOW + timedelta(hours=1)}
USAGE = {"choices": [{"message": {"content": "Hi."}}], "usage": {"prompt_tokens": 30, "completion_tokens": 7}}


def test_the_published_metrics(api: API, client: MetricsClient) -> None:
    """All sixteen fields of the response in LaunchDarkly's reference are read, money with its exact digits."""
    api.will_answer(PUBLISHED["metrics"])

    assert client.metrics("support-bot", **WINDOW) == Metrics(
        input_tokens=0,
        output_tokens=6,
        total_tokens=1,
        generation_count=5,
        generation_success_count=5,
        generation_error_count=2,
        thumbs_up=7,
        thumbs_down=9,
        duration_ms=3,
        time_to_first_token_ms=2,
        satisfaction_rating=0.4145608,
        input_cost=Decimal("7.386281948385884"),
        output_cost=Decimal("1.2315135367772556"),
        judge_accuracy=0.10246457,
        judge_relevance=0.14894159,
        judge_toxicity=0.6846853,
    )


def test_the_published_metrics_by_variation(api: API, client: MetricsClient) -> None:
    """The metrics by variation are read as well."""
    api.will_answer(PUBLISHED["metrics"], PUBLISHED["metrics-by-variation"])
    total = client.metrics("support-bot", **WINDOW)
    (variation,) = client.metrics_by_variation("support-bot", **WINDOW)

    assert (variation.variation_key, variation.metrics) == ("string", total)


def test_everything_may_be_null(api: API, client: MetricsClient) -> None:
    """Null for a field, for the metrics of a variation or for the list means unknown."""
    nothing = dict.fromkeys(PUBLISHED["metrics"])
    api.will_answer(nothing, None, [{"variationKey": "small", "metrics": None}, {"variationKey": None}])

    assert client.metrics("support-bot", **WINDOW) == Metrics()
    assert client.metrics_by_variation("support-bot", **WINDOW) == []
    found = client.metrics_by_variation("support-bot", **WINDOW)
    assert [(variation.variation_key, variation.metrics) for variation in found] == [
        ("small", Metrics()),
        ("", Metrics()),
    ]


@contextmanager
def official(url: str) -> Iterator[Any]:
    """Give LaunchDarkly's own, generated client if it is installed."""
    launchdarkly_api = pytest.importorskip("launchdarkly_api", reason="the extra [rest-tests] is not installed")
    settings = launchdarkly_api.Configuration(host=url, api_key={"ApiKey": TOKEN})
    with launchdarkly_api.ApiClient(settings) as connection:
        yield launchdarkly_api.AgentControlApi(connection)


def told(metrics: Metrics) -> dict[str, Any]:
    """Return the fields that have a value in LaunchDarkly's client."""
    ours = ("approximate", "duration_count")
    fields = {name: value for name, value in asdict(metrics).items() if name not in ours and value is not None}
    return {name: float(value) if isinstance(value, Decimal) else value for name, value in fields.items()}


def milliseconds(window: dict[str, Any]) -> tuple[int, int, str]:
    """Return the time range in the form of LaunchDarkly's client."""
    return (round(window["start"].timestamp() * 1000), round(window["end"].timestamp() * 1000), window["env"])


def test_the_official_client_reads_the_published_answers_alike(api: API, client: MetricsClient) -> None:
    """LaunchDarkly's client and ours send the same request and read the same from the published responses."""
    api.will_answer(*[PUBLISHED["metrics"]] * 2, *[PUBLISHED["metrics-by-variation"]] * 2)
    with official(api.url) as witness:
        theirs = witness.get_ai_config_metrics("shop", "support-bot", *milliseconds(WINDOW))
        ours = client.metrics("support-bot", **WINDOW)
        (their_variation,) = witness.get_ai_config_metrics_by_variation("shop", "support-bot", *milliseconds(WINDOW))
        (our_variation,) = client.metrics_by_variation("support-bot", **WINDOW)

    assert told(ours) == theirs.model_dump(exclude_none=True)
    assert (our_variation.variation_key, told(our_variation.metrics)) == (
        their_variation.variation_key,
        their_variation.metrics.model_dump(exclude_none=True),
    )
    assert api.paths[0] == api.paths[1]
    assert api.paths[2] == api.paths[3]
    assert api.queries[0] == api.queries[1] == api.queries[2] == api.queries[3]
    assert all(headers["authorization"] == TOKEN for headers in api.headers)


def test_the_official_client_reads_the_dev_server(dev_server: DevServer, http_tracking: Tracking) -> None:
    """LaunchDarkly's own client reads real runs from the dev server, as ours does."""
    for key in ("ada", "bob", "ada"):
        with track_ai(
            config_key="chat", tracking=http_tracking, ld_context=lambda found=key: Context.create(found)
        ) as run:
            run.observe(USAGE)
    assert http_tracking.flush().complete
    dev_server.wait_for(3, key="$ld:ai:duration:total", config_key="chat")
    client = MetricsClient(TOKEN, "default", base_url=dev_server.url)
    with official(dev_server.url) as witness:
        theirs = witness.get_ai_config_metrics("default", "chat", *milliseconds(WINDOW))
        by_variation = witness.get_ai_config_metrics_by_variation("default", "chat", *milliseconds(WINDOW))

    assert theirs.generation_success_count == 3
    assert (theirs.input_tokens, theirs.output_tokens) == (90, 21)
    assert told(client.metrics("chat", **WINDOW)) == theirs.model_dump(exclude_none=True)
    assert {one.variation_key: told(one.metrics) for one in client.metrics_by_variation("chat", **WINDOW)} == {
        one.variation_key: one.metrics.model_dump(exclude_none=True) for one in by_variation
    }
