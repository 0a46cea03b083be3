"""Metrics are what LaunchDarkly sends, or an error says what to do."""

from __future__ import annotations

import itertools
import logging
import pickle
import socket
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from email.utils import formatdate
from typing import Any

import pytest

from ldai_integrations import ConfigurationError, LDAIIntegrationError
from ldai_integrations.exceptions import MetricsError
from ldai_integrations.metrics import HOSTS, Metrics, MetricsClient

from .answers import API, FULL, Answer
from .conftest import TOKEN

NOW = datetime(2026, 11, 20, tzinfo=timezone.utc)
NOW_MS = 1_795_132_800_000
DAY_MS = 24 * 3600 * 1000


def ask(client: MetricsClient, *, days: float = 1, **options: Any) -> Metrics:
    """Return the metrics of the days before :data:`NOW`."""
    return client.metrics("support-bot", env="production", start=NOW - timedelta(days=days), end=NOW, **options)


def test_the_request_is_what_launchdarkly_documents(api: API, client: MetricsClient) -> None:
    """Path, milliseconds, environment, token and API version are those of LaunchDarkly's reference."""
    api.will_answer(FULL)
    ask(client)

    assert api.paths == ["/api/v2/projects/shop/ai-configs/support-bot/metrics"]
    assert api.queries == [{"env": "production", "from": str(NOW_MS - DAY_MS), "to": str(NOW_MS)}]
    assert api.headers[0]["authorization"] == TOKEN
    assert api.headers[0]["ld-api-version"] == "20240415"


def test_absent_is_unknown(api: API, client: MetricsClient) -> None:
    """An absent or null field is ``None``, zero is zero, and what is computed from unknowns is unknown."""
    api.will_answer({"thumbsUp": 0, "inputTokens": None, "inputCost": 0.5, "somethingNew": "x"})
    metrics = ask(client)

    assert metrics == Metrics(thumbs_up=0, input_cost=Decimal("0.5"))
    assert (metrics.generations, metrics.error_rate, metrics.mean_duration_ms, metrics.total_cost) == (None,) * 4


def test_fractions_are_tolerated(api: API, client: MetricsClient) -> None:
    """A fractional number of milliseconds, or a rating above one, is accepted."""
    api.will_answer({"durationMs": 1234.6, "timeToFirstTokenMs": 0.4, "satisfactionRating": 1.02, "judgeAccuracy": 1})

    assert ask(client) == Metrics(
        duration_ms=1235, time_to_first_token_ms=0, satisfaction_rating=1.02, judge_accuracy=1.0
    )


def test_what_is_computed() -> None:
    """Rates and means are computed as the Monitoring tab does."""
    metrics = Metrics(generation_success_count=380, generation_error_count=20, duration_ms=600_000)
    assert (metrics.generations, metrics.error_rate, metrics.mean_duration_ms) == (400, 0.05, 1500)
    assert (Metrics(generation_success_count=3).errors, Metrics(generation_success_count=3).error_rate) == (0, 0)
    assert (Metrics(generation_error_count=3).successes, Metrics(generation_success_count=3).successes) == (0, 3)
    assert (Metrics().errors, Metrics().successes) == (None, None)
    assert Metrics(generation_error_count=3).error_rate == 1
    assert Metrics(generation_error_count=0).error_rate is None
    assert Metrics(generation_count=7).generations == 7
    assert Metrics(input_cost=Decimal("0.1"), output_cost=Decimal("0.2")).total_cost == Decimal("0.3")
    assert Metrics(input_cost=Decimal("0.1"), input_tokens=7, total_tokens=7).total_cost == Decimal("0.1")  # embeddings
    assert Metrics(input_cost=Decimal("0.1"), input_tokens=7, total_tokens=12).total_cost is None


def test_by_variation(api: API, client: MetricsClient) -> None:
    """The array of variations is read by key. A variation without a key is a served default."""
    api.will_answer([{"variationKey": "small", "metrics": FULL}, {"metrics": {"thumbsUp": 1}}, {"variationKey": "x"}])
    found = client.metrics_by_variation("support-bot", env="production", start=NOW - timedelta(days=1), end=NOW)

    assert api.paths == ["/api/v2/projects/shop/ai-configs/support-bot/metrics-by-variation"]
    assert [variation.variation_key for variation in found] == ["small", "", "x"]
    assert (found[0].metrics.thumbs_up, found[1].metrics.thumbs_up, found[2].metrics) == (30, 1, Metrics())


def test_long_ranges_are_split(api: API, client: MetricsClient) -> None:
    """More than 100 days take several requests, which touch, do not overlap, and are reported as progress."""
    api.will_answer(*[{"inputTokens": n} for n in (1, 10, 100)])
    progress: list[tuple[int, int]] = []
    total = ask(client, days=250, on_progress=lambda done, of: progress.append((done, of)))

    spans = [(int(query["from"]), int(query["to"])) for query in api.queries]
    assert spans[0][0] == NOW_MS - 250 * DAY_MS
    assert spans[-1][1] == NOW_MS
    assert [end - start for start, end in spans] == [100 * DAY_MS, 100 * DAY_MS, 50 * DAY_MS]
    assert all(before[1] == after[0] for before, after in itertools.pairwise(spans))
    assert total.input_tokens == 111
    assert progress == [(1, 3), (2, 3), (3, 3)]


def test_a_hundred_days_are_one_request(api: API, client: MetricsClient) -> None:
    """The longest range that LaunchDarkly allows is not split."""
    api.will_answer(FULL)
    ask(client, days=100)

    assert len(api.queries) == 1


def test_over_time(api: API, client: MetricsClient) -> None:
    """Time steps are requested one by one, in total or by variation."""
    api.will_answer({"inputTokens": 1}, {}, [{"variationKey": "small", "metrics": {"inputTokens": 2}}], [])
    window: Any = {"env": "production", "start": NOW_MS - 100, "end": NOW_MS, "points": 2}
    totals = client.metrics_over_time("support-bot", **window)
    apart = client.metrics_over_time("support-bot", **window, by_variation=True)

    assert [(point.start_ms - NOW_MS, point.end_ms - NOW_MS) for point in totals] == [(-100, -50), (-50, 0)]
    assert [point.variations for point in totals] == [{None: Metrics(input_tokens=1)}, {None: Metrics()}]
    assert [point.variations for point in apart] == [{"small": Metrics(input_tokens=2)}, {}]


def test_keys_are_quoted(api: API, client: MetricsClient) -> None:
    """A key with unusual characters stays one part of the path."""
    api.will_answer({})
    client.metrics("a/b ?c", env="production", start=NOW_MS - 1, end=NOW_MS)

    assert api.paths == ["/api/v2/projects/shop/ai-configs/a%2Fb%20%3Fc/metrics"]


@pytest.mark.parametrize("header", ["X-Ratelimit-Reset", "X-Ratelimit-Auth-Token-Reset", "Retry-After", "date"])
def test_rate_limits_are_waited_for(header: str, api: API, client: MetricsClient) -> None:
    """After a 429 nothing is requested before the time that LaunchDarkly names."""
    again = time.time() + 2
    value = {"Retry-After": "1", "date": formatdate(again, usegmt=True)}.get(header, str(round(again * 1000)))
    api.will_answer(Answer({"code": "rate_limited"}, 429, {"Retry-After" if header == "date" else header: value}), FULL)
    start = time.time()

    assert ask(client).thumbs_up == 30
    assert time.time() - start >= 0.9
    assert len(api.paths) == 2


def test_the_last_reset_counts(api: API) -> None:
    """Of several limits the longest wait is used. One that is longer than allowed is an error that names it."""
    client = MetricsClient(TOKEN, "shop", base_url=api.url, max_wait=5)
    resets = {"X-Ratelimit-Reset": "1", "Retry-After": "3", "x-ratelimit-auth-token-reset": "9999999999999"}
    api.will_answer(Answer({"message": "slow down"}, 429, resets))

    with pytest.raises(MetricsError, match=r"HTTP 429 \(slow down\): try again in \d+ s") as raised:
        ask(client)
    assert raised.value.status == 429
    assert len(api.paths) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Ratelimit-Reset": "9" * 28},
        {"X-Ratelimit-Reset": "9" * 400},
        {"Retry-After": "9" * 400},
        {"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"},
    ],
)
def test_a_reset_that_nobody_means(headers: dict[str, str], api: API, client: MetricsClient) -> None:
    """A wait of more than a day, in a header that is broken, is a day in the error."""
    api.will_answer(Answer({}, 429, headers))

    with pytest.raises(MetricsError, match="try again in 86400 s"):
        ask(client)


@pytest.mark.parametrize("date", ["Fri, 31 Dec 99999 23:59:59 GMT", "Fri, 31 Dec 0 23:59:59 GMT", "soon", "²"])
def test_a_date_that_is_none(date: str, api: API, client: MetricsClient) -> None:
    """A wait that cannot be read is none."""
    api.will_answer(Answer({}, 429, {"Retry-After": date}), FULL)

    assert ask(client).thumbs_up == 30


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_passing_failures_are_tried_again(status: int, api: API, client: MetricsClient) -> None:
    """A few failures of the server only cost time. A lasting one is an error after five tries."""
    api.will_answer(Answer({}, status), Answer({}, status), FULL)
    assert ask(client).thumbs_up == 30

    api.will_answer(*[Answer({"message": "no"}, status)] * 9)
    with pytest.raises(MetricsError, match=rf"HTTP {status} \(no\)") as raised:
        ask(client)
    assert raised.value.status == status
    assert len(api.paths) == 3 + 5


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (400, "check env"),
        (401, "SDK keys do not work here"),
        (403, "role that may read"),
        (404, "check the keys"),
        (418, "check the address"),
        (302, "check the address"),
    ],
)
def test_refusals_say_what_to_do(status: int, remedy: str, api: API, client: MetricsClient) -> None:
    """A refusal is neither retried nor redirected. Its error has LaunchDarkly's message, the remedy and no token."""
    body = {"code": "x", "message": f"not for {TOKEN}"}
    api.will_answer(Answer(body, status, {"Location": "/elsewhere"}))

    with pytest.raises(LDAIIntegrationError, match=rf"HTTP {status} \(not for …\): .*{remedy}") as raised:
        ask(client)
    assert isinstance(raised.value, MetricsError)
    assert raised.value.status == status
    assert TOKEN not in str(raised.value)
    assert len(api.paths) == 1


HUGE = 10**400


@pytest.mark.parametrize(
    "body",
    [
        *(b"<html>", b"", [], {"inputTokens": "7"}, {"thumbsUp": True}, b'{"durationMs":NaN}'),
        *({"inputTokens": HUGE}, {"inputCost": -HUGE}, {"judgeAccuracy": HUGE}),
    ],
    ids=lambda body: f"{body}"[:30],
)
def test_answers_that_are_no_metrics(body: Any, api: API, client: MetricsClient) -> None:
    """A response that cannot be read is an error that says so."""
    api.will_answer(body)

    with pytest.raises(MetricsError, match=r"not JSON|cannot be read"):
        ask(client)


@pytest.mark.parametrize("body", [{}, ["small"], [{"metrics": 3}]])
def test_answers_that_are_no_variations(body: Any, api: API, client: MetricsClient) -> None:
    """Metrics by variation that cannot be read are an error, too."""
    api.will_answer(body)

    with pytest.raises(MetricsError, match="cannot be read"):
        client.metrics_by_variation("support-bot", env="production", start=NOW_MS - 1, end=NOW_MS)


@pytest.mark.usefixtures("no_backoff")
def test_a_server_that_does_not_answer(api: API) -> None:
    """A hanging server is an error after five timeouts, and the error says so."""
    client = MetricsClient(TOKEN, "shop", base_url=api.url, timeout=0.05)
    api.will_answer(*[Answer({}, delay=0.5)] * 5)

    with pytest.raises(MetricsError, match=r"did not answer within 0.05 s, 5 times: .* https_proxy") as raised:
        ask(client)
    assert raised.value.status is None


@pytest.mark.usefixtures("no_backoff")
def test_headers_that_drip(api: API, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that sends its headers too slowly has not answered in time; what it has sent is not an answer."""
    monkeypatch.setattr("ldai_integrations._http._HEAD_SECONDS", 0.3)
    client = MetricsClient(TOKEN, "shop", base_url=api.url, timeout=0.25)
    headers = {f"X-Header-{number}": "x" for number in range(20)}
    api.will_answer(*[Answer({}, headers=headers, pause=0.05)] * 5)

    with pytest.raises(MetricsError, match=r"did not answer within 0.25 s, 5 times: "):
        ask(client)


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("status", [200, 400, 503])
def test_a_body_without_an_end(status: int, api: API, client: MetricsClient) -> None:
    """An endless body is an error as soon as it is larger than any real one."""
    api.will_answer(*[Answer(itertools.repeat(bytes(100_000)), status) for _ in range(5)])

    with pytest.raises(MetricsError, match=r"it has more than 33,554,432 bytes, .* check the address"):
        ask(client)


def test_a_body_that_drips(api: API) -> None:
    """A body that arrives byte by byte is an error after the timeout."""
    client = MetricsClient(TOKEN, "shop", base_url=api.url, timeout=0.5)

    def drip() -> Iterator[bytes]:
        for _ in range(200):
            time.sleep(0.05)
            yield b" "

    api.will_answer(Answer(drip()))

    begun = time.monotonic()
    with pytest.raises(MetricsError, match=r"or takes longer than 0.5 s"):
        ask(client)
    assert time.monotonic() - begun < 5


@pytest.mark.usefixtures("no_backoff")
def test_a_server_that_is_not_there() -> None:
    """A refused connection is an error with the address and what to check."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(MetricsError, match=f"{url} could not be reached"):
        ask(MetricsClient(TOKEN, "shop", base_url=url))


def test_the_token_is_nowhere(api: API, client: MetricsClient, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a debug log, nor a repr, nor an error with its causes shows the token."""
    api.will_answer(Answer({}, 401))
    with caplog.at_level(logging.DEBUG), pytest.raises(MetricsError) as raised:
        ask(client)

    assert any("GET" in record.getMessage() for record in caplog.records)
    shown = [caplog.text, repr(client), str(client), repr(raised.value), repr(raised.getrepr(style="value"))]
    assert not any(TOKEN in text for text in shown)
    assert repr(client) == f"MetricsClient(project_key='shop', base_url='{api.url}')"


def test_one_client_serves_many_threads(api: API, client: MetricsClient) -> None:
    """A client may be shared by threads."""
    api.will_answer(*[FULL] * 20)
    found: list[Metrics] = []
    threads = [threading.Thread(target=lambda: found.append(ask(client))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(found)) == 1
    assert len(found) == 20


def test_the_hosts_have_names() -> None:
    """LaunchDarkly's instances have names. The commercial one is the default."""
    assert "https://app.launchdarkly.com" in repr(MetricsClient(TOKEN, "shop"))
    assert "https://app.eu.launchdarkly.com" in repr(MetricsClient(TOKEN, "shop", base_url="eu"))
    assert "https://app.launchdarkly.us" in repr(MetricsClient(TOKEN, "shop", base_url="federal"))
    assert set(HOSTS) == {"launchdarkly", "eu", "federal"}


def test_proxies_of_the_environment(api: API, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests go through http_proxy, with its credentials, unless no_proxy names the host."""
    api.will_answer({"thumbsUp": 1}, {"thumbsUp": 2})
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("http_proxy", api.url.replace("//", "//me:p%40ss@"))
    assert ask(MetricsClient(TOKEN, "shop", base_url="http://localhost:1")).thumbs_up == 1
    assert api.headers[0]["proxy-authorization"] == "Basic bWU6cEBzcw=="

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert ask(MetricsClient(TOKEN, "shop", base_url=api.url)).thumbs_up == 2
    assert "proxy-authorization" not in api.headers[1]


@pytest.mark.parametrize("token", ["", " ", None, "api-1\n2", "sdk-0123456789", "mob-0123456789"])
def test_what_is_no_token(token: Any) -> None:
    """A text that cannot be an access token is refused at once, without being shown."""
    with pytest.raises(ConfigurationError, match="api_token") as raised:
        MetricsClient(token, "shop")
    assert "0123456789" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "app.launchdarkly.com",
        "ftp://x",
        "https://",
        "http://ld.example",
        "https://a@b",
        "",
        "http://127.0.0.1:99999",
        "https://[::1",
        "http://[::1].ld.example",
        "http://ld.example[::1]",
    ],
)
def test_addresses_that_cannot_be_meant(url: str) -> None:
    """An address that cannot work, or would show the token to the network, is refused."""
    with pytest.raises(ConfigurationError, match="base_url"):
        MetricsClient(TOKEN, "shop", base_url=url)


@pytest.mark.parametrize("login", ["ada:hunter2", ":hunter2"])
def test_an_address_with_a_password(login: str) -> None:
    """The message says that the address must not have one, and does not show it."""
    with pytest.raises(ConfigurationError, match=r"a user name or a password; .* them: https://ld.example$"):
        MetricsClient(TOKEN, "shop", base_url=f"https://{login}@ld.example")


@pytest.mark.parametrize("options", [{"timeout": 0}, {"timeout": 301}, {"max_wait": -1}, {"project_key": " "}])
def test_options_out_of_range(options: dict[str, Any]) -> None:
    """A value out of its range is refused with its name."""
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        MetricsClient(**{"api_token": TOKEN, "project_key": "shop", **options})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"env": ""}, "env"),
        ({"config_key": ""}, "config_key"),
        ({"start": datetime(2026, 1, 1)}, "without a time zone"),
        ({"start": NOW_MS // 1000}, "not seconds"),
        ({"start": 1.5}, "start"),
        ({"start": True}, "start"),
        ({"start": NOW, "end": NOW}, "end must follow start"),
        ({"start": NOW - timedelta(days=4000), "end": NOW}, "ten years"),
        ({"start": datetime(1, 1, 1, tzinfo=timezone.utc)}, r"start is 0001-01-01 00:00:00\+00:00 and end"),
    ],
)
def test_questions_that_cannot_be_meant(options: dict[str, Any], said: str, client: MetricsClient) -> None:
    """A request that cannot work is refused before it is sent."""
    with pytest.raises(ConfigurationError, match=said):
        client.metrics(**{"config_key": "support-bot", "env": "production", "start": NOW - timedelta(1), **options})


@pytest.mark.parametrize(("points", "days"), [(0, 1), (201, 1), (2, 300)])
def test_steps_out_of_range(points: int, days: int, client: MetricsClient) -> None:
    """A number of steps out of range is refused."""
    with pytest.raises(ConfigurationError, match="points"):
        client.metrics_over_time("support-bot", env="e", start=NOW - timedelta(days), end=NOW, points=points)


def test_values_can_be_kept() -> None:
    """Results are values: comparable, hashable and picklable."""
    metrics = Metrics(input_tokens=1)
    assert pickle.loads(pickle.dumps(metrics)) == metrics
    assert len({metrics, Metrics(input_tokens=1)}) == 1
