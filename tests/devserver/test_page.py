"""The data of the page agrees with the events."""

from __future__ import annotations

import json
import math
import re
import sqlite3
import time
from contextlib import closing
from itertools import count
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from ldai import LDAIClient
from ldclient import Context

from ldai_integrations.devserver import DevServer
from ldai_integrations.devserver import _figures as figures
from ldai_integrations.devserver import _page as page
from ldai_integrations.devserver import _runs as runs
from ldai_integrations.devserver._events import EventStore

from ..waiting import eventually
from .samples import FLAGS, edited

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .conftest import Connect

Json = dict[str, Any]

MINUTE = 60_000
RUNS = 50  # the maximum in the data of the page
DURATION, FIRST_TOKEN = "$ld:ai:duration:total", "$ld:ai:tokens:ttf"
SUCCESS, ERROR = "$ld:ai:generation:success", "$ld:ai:generation:error"
SCORE = "$ld:ai:judge:relevance"
_numbers = count()


def event(key: str, value: float, *, run_id: str = "", age_ms: int = 0, variation_key: str = "small") -> Json:
    """Build an event of the AI Config ``chat``; without a run id, it gets a new one."""
    data = {"runId": run_id or f"run-{next(_numbers)}", "configKey": "chat", "version": 1, "modelName": "gpt-4o-mini"}
    if variation_key:
        data["variationKey"] = variation_key
    created = int(time.time() * 1000) - age_ms
    return {"kind": "custom", "key": key, "creationDate": created, "data": data, "metricValue": value}


def monitor(raw: httpx.Client, **query: Any) -> Json:
    """Return the data of the page."""
    answer = raw.get("/dev/monitor", params=query)
    assert answer.status_code == 200
    news: Json = answer.json()
    return news


def sums(news: Json, variation_key: str) -> dict[str, list[float]]:
    """Return the sums of a variation's cells: by event key, the number of values and their sum."""
    found: dict[str, list[float]] = {}
    for cell in news["cells"]:
        if cell["variationKey"] == variation_key:
            for key, pair in cell["values"].items():
                found[key] = [one + other for one, other in zip(found.get(key, [0, 0]), pair, strict=True)]
    return found


def times(news: Json, key: str) -> list[float]:
    """Return all values of the times, sorted."""
    pairs = [pair for cell in news["cells"] for pair in cell["times"].get(key, [])]
    return sorted(value for value, number in pairs for _ in range(number))


def config(news: Json, key: str = "chat") -> Json:
    """Return the data of an AI Config."""
    [found] = [one for one in news["configs"] if one["configKey"] == key]
    return dict(found)


def test_figures_are_those_of_the_metrics(server: DevServer, raw: httpx.Client) -> None:
    """Counts and sums of all cells equal the metrics of each variation."""
    events = [
        event(key, value, variation_key=variation, age_ms=age)
        for number, variation in enumerate(("small", "large", "small", ""))
        for age in (0, 5 * MINUTE, 50 * MINUTE)
        for key, value in ((DURATION, 100.5 + number), (SUCCESS, 1), (SCORE, number / 10), ("$ld:ai:tokens:input", 7))
    ]
    raw.post("/bulk", json=events)
    news = monitor(raw, config_key="chat")
    expected = {row["variationKey"]: row["metrics"] for row in server.metrics("chat", by_variation=True)}
    for variation_key, metrics in expected.items():
        found = sums(news, variation_key)
        assert found[SUCCESS][1] == metrics["generationSuccessCount"]
        assert found["$ld:ai:tokens:input"][1] == metrics["inputTokens"]
        assert round(found[DURATION][1]) == metrics["durationMs"]
        assert found[SCORE][1] / found[SCORE][0] == pytest.approx(metrics["judgeRelevance"])
    assert {cell["variationKey"] for cell in news["cells"]} == set(expected)


def test_times_have_three_digits(raw: httpx.Client) -> None:
    """A cell contains every time, rounded to three digits, so that percentiles are exact to three digits."""
    values = [0, 0.4, 7, 999, 1004, 1005.1, 9994, 12345, 99949, 123_456, 1_234_567]
    raw.post("/bulk", json=[event(key, value) for key in (DURATION, FIRST_TOKEN) for value in values])
    news = monitor(raw, config_key="chat")
    expected = [0, 0, 7, 999, 1000, 1010, 9990, 12300, 99900, 123_000, 1_235_000]
    assert times(news, DURATION) == times(news, FIRST_TOKEN) == expected


def test_only_the_range_counts(raw: httpx.Client) -> None:
    """Events before the first bucket are not included. Each event is in the bucket of its creation time."""
    raw.post("/bulk", json=[event(SUCCESS, 1, age_ms=age * MINUTE) for age in (0, 9, 30)])
    news = monitor(raw, config_key="chat", step_ms=MINUTE, buckets=20)
    assert sums(news, "small") == {SUCCESS: [2, 2]}
    assert news["firstBucket"] + 19 == pytest.approx(time.time() * 1000 // MINUTE, abs=1)
    first, last = (cell["bucket"] for cell in news["cells"])
    assert last - first in (8, 9, 10)


def test_data_since_a_cursor(raw: httpx.Client) -> None:
    """With a cursor, the data contains only the buckets and runs that have changed, each as a whole."""
    raw.post("/bulk", json=[event(SUCCESS, 1, run_id="old", age_ms=30 * MINUTE), event(SUCCESS, 1, run_id="new")])
    before = monitor(raw, config_key="chat")
    assert (before["complete"], len(before["cells"])) == (True, 2)
    raw.post("/bulk", json=[event("$ld:ai:feedback:user:positive", 1, run_id="old", age_ms=30 * MINUTE)])
    news = monitor(raw, config_key="chat", since=before["cursor"])
    [cell], [run] = news["cells"], news["runs"]
    assert (news["complete"], cell["values"][SUCCESS], run["runId"]) == (False, [1, 1], "old")
    assert run["values"]["$ld:ai:feedback:user:positive"] == [1, 1]
    nothing = monitor(raw, config_key="chat", since=news["cursor"])
    assert (nothing["cursor"], nothing["cells"], nothing["runs"]) == (news["cursor"], [], [])


@pytest.mark.parametrize("cursor", ["", "x", "era.1", "é.²", "."])
def test_unknown_cursor(cursor: str, raw: httpx.Client) -> None:
    """With a cursor of another server, or without one, the data is complete."""
    raw.post("/bulk", json=[event(SUCCESS, 1)])
    assert monitor(raw, config_key="chat", since=cursor)["complete"]


def test_deletion_makes_cursors_unknown(raw: httpx.Client) -> None:
    """After all events are deleted, a former cursor is unknown, although ids are used again."""
    raw.post("/bulk", json=[event(SUCCESS, 1)])
    before = monitor(raw, config_key="chat")
    raw.delete("/dev/events")
    raw.post("/bulk", json=[event(ERROR, 1)])
    after = monitor(raw, config_key="chat", since=before["cursor"])
    assert (after["complete"], sums(after, "small"), len(after["runs"])) == (True, {ERROR: [1, 1]}, 1)


def test_cursor_with_an_unknown_number(raw: httpx.Client) -> None:
    """A cursor with an unknown number is unknown, even if the number is very long."""
    raw.post("/bulk", json=[event(SUCCESS, 1)])
    era, number = monitor(raw, config_key="chat")["cursor"].split(".")
    for wrong in ("9" * 5000, str(int(number) + 1), "-1", "", "x"):
        assert monitor(raw, config_key="chat", since=f"{era}.{wrong}")["complete"]


def test_first_ai_config_is_shown(server: DevServer, raw: httpx.Client) -> None:
    """If a page is open before the first event, it shows the AI Config of the first run."""
    with raw.stream("GET", "/dev/monitor/live", timeout=30) as answer:
        live = messages(answer)
        assert next(live)["configKey"] == "chat"
        first = event(SUCCESS, 1)
        first["data"]["configKey"] = "other"
        raw.post("/bulk", json=[first])
        news = next(one for one in live if one["runs"])
        assert (news["configKey"], news["complete"]) == ("other", True)


def test_newest_ai_config_is_the_default(raw: httpx.Client) -> None:
    """Without a config key, the page shows the AI Config with the newest event, or none."""
    other = event(SUCCESS, 1)
    other["data"]["configKey"] = "other"
    raw.post("/bulk", json=[event(SUCCESS, 1), other])
    news = monitor(raw)
    assert (news["configKey"], [one["configKey"] for one in news["configs"]]) == ("other", ["chat", "other"])
    assert config(news, "other")["mode"] is None
    with (
        DevServer({"flagValues": {"plain": 1}}) as empty,
        httpx.Client(base_url=empty.url, trust_env=False) as client,
    ):
        assert monitor(client)["configKey"] == ""


@pytest.mark.parametrize(
    ("path", "query"),
    [
        *(("/dev/monitor", query) for query in ({"step_ms": "x"}, {"step_ms": 1}, {"buckets": 0}, {"buckets": 201})),
        *(("/dev/monitor", query) for query in ({"step_ms": "9" * 5000}, {"buckets": "-1"}, {"buckets": "²"})),
        ("/dev/monitor/live", {"buckets": "all"}),
        ("/dev/runs", {"config_key": "chat", "limit": 501}),
        ("/dev/runs", {"config_key": "chat", "before": "now"}),
    ],
)
def test_wrong_numbers_are_refused(path: str, query: Json, raw: httpx.Client) -> None:
    """A query with a wrong or too large number gets 400 with an explanation."""
    answer = raw.get(path, params=query)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert "must be a whole number" in answer.json()["message"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({}, "config_key is required"),
        ({"config_key": "chat", "warning": 1}, "'warning' is unknown; see /openapi.json"),
    ],
)
def test_wrong_queries_of_runs_are_refused(query: Json, message: str, raw: httpx.Client) -> None:
    """A list of runs needs the key of an AI Config, and takes no other parameters than those that it knows."""
    answer = raw.get("/dev/runs", params=query)
    assert (answer.status_code, answer.json()["message"]) == (400, message)


def test_malformed_events_do_no_harm(raw: httpx.Client) -> None:
    """Events with wrong dates and with ids of wrong types do not break the page. An id that is no text is no run."""
    odd = [event(DURATION, 1), event(DURATION, 2)]
    odd[0]["creationDate"], odd[1]["data"]["runId"] = "yesterday", {"a": [1]}
    events = [*odd, event(SUCCESS, 1, run_id="\ud800"), event("own", -1)]
    assert raw.post("/bulk", content=json.dumps(events)).status_code == 202
    news = monitor(raw, config_key="chat")
    found = [pair for cell in news["cells"] for pair in cell["values"].values()]
    assert [1, 1] in found
    assert [1, -1] in found
    assert len(raw.get("/dev/runs", params={"config_key": "chat"}).json()["runs"]) == 2


# Pairs of metric values whose sum is not a number that SQLite or JSON can carry.
OUT_OF_RANGE = [("9e18", "9e18"), ("-9000000000000000000", "-9000000000000000000"), ("1e999", "-1e999"), ("1e300", "1")]


def assert_all_figures_are_readable(server: DevServer, raw: httpx.Client) -> None:
    """Read every figure that is computed from metric values."""
    now = int(time.time() * 1000)
    window: dict[str, str | int] = {"env": "test", "from": now - MINUTE * 60, "to": now + MINUTE}
    path = "/api/v2/projects/default/ai-configs/chat/metrics"
    for url in (path, f"{path}-by-variation"):
        assert raw.get(url, params=window, headers={"Authorization": "api"}).status_code == 200
    assert monitor(raw, config_key="chat")["configKey"] == "chat"
    assert raw.get("/dev/runs", params={"config_key": "chat"}).status_code == 200
    assert raw.get("/dev/totals").status_code == 200
    assert server.metrics("chat")["inputTokens"] == 7


@pytest.mark.parametrize("values", OUT_OF_RANGE)
def test_metric_values_out_of_range_are_refused(
    values: tuple[str, str], server: DevServer, raw: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    """A metric value that no figure can contain is refused with a warning; the event is stored without it."""
    keys = DURATION, SUCCESS, SCORE, "$ld:ai:tokens:ttf"
    events = [event(key, 4711) for key in keys for _ in values]
    body = json.dumps([*events, event("$ld:ai:tokens:input", 7)])
    for value in values * len(keys):
        body = body.replace("4711", value, 1)
    assert raw.post("/bulk", content=body).status_code == 202
    [line] = [line for line in caplog.messages if "Refused the metric value" in line]
    assert f"{float(values[0]):g} of an event '{DURATION}'" in line
    assert_all_figures_are_readable(server, raw)
    assert len(server.events()) == 9


@pytest.mark.parametrize("values", OUT_OF_RANGE)
def test_metric_values_out_of_range_in_an_older_database(values: tuple[str, str], tmp_path: Path) -> None:
    """A database that an older version wrote with such values can be read."""
    path = tmp_path / "events.db"
    with DevServer(FLAGS, db=path) as server:
        events = [event(key, 1) for key in (DURATION, SUCCESS, SCORE, "$ld:ai:tokens:ttf") for _ in values]
        httpx.post(f"{server.url}/bulk", json=[*events, event("$ld:ai:tokens:input", 7)], trust_env=False)
    with closing(sqlite3.connect(path)) as connection, connection:
        for number, value in enumerate(values):
            statement = "UPDATE events SET metric_value = ? WHERE key != '$ld:ai:tokens:input' AND id % 2 = ?"
            connection.execute(statement, (float(value), number))
        connection.execute("PRAGMA user_version = 2")
    with DevServer(FLAGS, db=path) as server, httpx.Client(base_url=server.url, trust_env=False) as client:
        assert_all_figures_are_readable(server, client)


NOT_NEGATIVE = [DURATION, *(f"$ld:ai:tokens:{name}" for name in ("ttf", "input", "output", "total"))]


@pytest.mark.parametrize("key", [*NOT_NEGATIVE, "$ld:ai:graph:duration:total", "$ld:ai:graph:total_tokens"])
def test_times_and_tokens_are_not_negative(
    key: str, server: DevServer, raw: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    """A negative time or number of tokens is refused with a warning; a score may be negative."""
    raw.post("/bulk", json=[event(key, -5), event(key, 3), event(SCORE, -1)])
    [line] = [line for line in caplog.messages if "Refused the metric value" in line]
    assert f"Refused the metric value -5 of an event '{key}', because it is not between 0 and 2**53" in line
    assert sums(monitor(raw, config_key="chat"), "small") == {key: [1, 3], SCORE: [1, -1]}
    assert len(server.events()) == 3


def test_negative_times_in_an_older_database(tmp_path: Path) -> None:
    """Negative times and tokens in a database that an older version wrote do not count any more."""
    path = tmp_path / "events.db"
    with DevServer(FLAGS, db=path) as server:
        events = [event(key, value) for key in NOT_NEGATIVE for value in (-5, 3)]
        httpx.post(f"{server.url}/bulk", json=events, trust_env=False)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE events SET metric_value = -5 WHERE metric_value IS NULL")
        connection.execute("PRAGMA user_version = 5")
    with DevServer(FLAGS, db=path) as server:
        figures = server.metrics("chat")
        names = "durationMs", "timeToFirstTokenMs", "inputTokens", "outputTokens", "totalTokens"
        assert [figures[name] for name in names] == [3] * len(names)


def test_many_large_values_do_not_overflow(server: DevServer, raw: httpx.Client) -> None:
    """The sum of many values at the upper bound is still a number."""
    raw.post("/bulk", json=[event(DURATION, 2**53) for _ in range(1100)])
    assert server.metrics("chat")["durationMs"] == 1100 * 2**53
    assert sums(monitor(raw, config_key="chat"), "small")[DURATION] == [1100, 1100 * 2**53]


def test_number_of_keys_is_limited(raw: httpx.Client) -> None:
    """An application that creates a key for each event does not slow the page down."""
    raw.post("/bulk", json=[event(f"invented {number}", 1) for number in range(300)])
    [cell] = monitor(raw, config_key="chat")["cells"]
    assert len(cell["values"]) == 64


def test_runs_come_in_pages(raw: httpx.Client) -> None:
    """Each run is listed once, in pages, with its figures. The run with the newest event comes first."""
    for number in range(7):
        raw.post("/bulk", json=[event(SUCCESS, 1, run_id=f"r{number}"), event(DURATION, number, run_id=f"r{number}")])
    raw.post("/bulk", json=[event("$ld:ai:feedback:user:negative", 1, run_id="r2")])
    seen: list[Json] = []
    while True:
        before = {"before": seen[-1]["lastId"]} if seen else {}
        found = raw.get("/dev/runs", params={"config_key": "chat", "limit": 3, **before}).json()["runs"]
        if not found:
            break
        seen += found
    assert [run["runId"] for run in seen] == ["r2", "r6", "r5", "r4", "r3", "r1", "r0"]
    assert seen[0]["values"] == {DURATION: [1, 2], SUCCESS: [1, 1], "$ld:ai:feedback:user:negative": [1, 1]}
    assert (seen[0]["variationKey"], seen[0]["modelName"], seen[0]["successes"]) == ("small", "gpt-4o-mini", 1)


def test_runs_with_warnings(raw: httpx.Client) -> None:
    """Runs that got a default are counted, and can be listed separately. Runs without an outcome a minute after their
    start are counted only, because a cancelled run is normal. A run that has just begun is not one of them."""
    raw.post(
        "/bulk",
        json=[
            event(DURATION, 1, run_id="cancelled", age_ms=2 * MINUTE),
            event(DURATION, 1, run_id="running"),
            event(SUCCESS, 1, run_id="default", variation_key=""),
            event(ERROR, 1, run_id="failed", age_ms=2 * MINUTE),
            event(DURATION, 1, run_id="late", age_ms=2 * MINUTE),
        ],
    )
    raw.post("/bulk", json=[event(SUCCESS, 1, run_id="late")])
    chat = config(monitor(raw, config_key="chat"))
    assert (chat["runs"], chat["withoutOutcome"], chat["defaults"]) == (5, 1, 1)
    listed = raw.get("/dev/runs", params={"config_key": "chat", "warnings": 1}).json()["runs"]
    assert [run["runId"] for run in listed] == ["default"]


def test_events_of_own_metrics_do_not_make_a_run(raw: httpx.Client) -> None:
    """A run that was discarded may have sent an event of an own metric. It is not a run without an outcome."""
    raw.post("/bulk", json=[event("purchase", 9.5, run_id="discarded", age_ms=2 * MINUTE)])
    raw.post("/bulk", json=[event("purchase", 3, run_id="r"), event(SUCCESS, 1, run_id="r")])
    raw.post("/bulk", json=[event("refund", 1, run_id="r")])

    news = monitor(raw, config_key="chat")
    assert (config(news)["runs"], config(news)["withoutOutcome"]) == (1, 0)
    assert [(run["runId"], sorted(run["values"])) for run in news["runs"]] == [("r", [SUCCESS, "purchase", "refund"])]
    assert sums(news, "small")["purchase"] == [2, 12.5]


@pytest.mark.parametrize(("duration", "earlier"), [(6_223, 6_223), (0, 0), (-5, 0), (2**52, 0)])
def test_the_start_of_a_run(duration: int, earlier: int, raw: httpx.Client) -> None:
    """A run sends its events at its end. It started before that, by its duration."""
    sent = [event(SUCCESS, 1, run_id="r"), event("$ld:ai:duration:total", duration, run_id="r")]
    raw.post("/bulk", json=sent)
    [run] = monitor(raw, config_key="chat")["runs"]
    end = sent[0]["creationDate"] if not earlier else sent[1]["creationDate"]
    assert run["startedMs"] == end - earlier


def test_a_run_of_a_graph(server: DevServer, raw: httpx.Client) -> None:
    """A run of an agent graph, as the newer SDK reports it, has an outcome and a duration."""
    keys = {"graph:node": 1, "graph:duration:total": 812, "graph:invocation_success": 1, "graph:total_tokens": 11180}
    raw.post("/bulk", json=[event(f"$ld:ai:{key}", value, run_id="graph") for key, value in keys.items()])
    raw.post("/bulk", json=[event("$ld:ai:graph:invocation_failure", 1, run_id="failed", age_ms=2 * MINUTE)])

    data = monitor(raw, config_key="chat")
    assert {run["runId"]: (run["successes"], run["errors"]) for run in data["runs"]} == {
        "graph": (1, 0),
        "failed": (0, 1),
    }
    assert config(data)["withoutOutcome"] == 0
    assert any("$ld:ai:graph:duration:total" in cell["times"] for cell in data["cells"])


def test_a_graph_without_run_ids(raw: httpx.Client) -> None:
    """The AI SDK sends events about graphs without a run id and a config key; they count for the graph's key."""
    sent = event("$ld:ai:graph:total_tokens", 11180)
    data = {"graphKey": "flow", "variationKey": "first", "version": 1}
    raw.post("/bulk", json=[{**sent, "data": data}])

    [cell] = monitor(raw, config_key="flow")["cells"]
    assert cell["values"] == {"$ld:ai:graph:total_tokens": [1, 11180]}


def test_the_tree_of_a_run(raw: httpx.Client) -> None:
    """The runs around a run and in it are listed, also if events name each other as parents."""

    def nested(run_id: str, parent: str) -> Json:
        found = event(SUCCESS, 1, run_id=run_id)
        return {**found, "data": {**found["data"], "parentRunId": parent}}

    raw.post("/bulk", json=[event(SUCCESS, 1, run_id="root"), nested("one", "root"), nested("two", "root")])
    raw.post("/bulk", json=[nested("leaf", "two"), nested("egg", "hen"), nested("hen", "egg"), nested("lost", "gone")])
    raw.post("/bulk", json=[event(DURATION, 1, run_id="one")])

    def tree(run_id: str) -> dict[str, str | None]:
        runs = raw.get("/dev/runs/tree", params={"run_id": run_id}).json()["runs"]
        assert all(run["successes"] == 1 for run in runs)
        return {run["runId"]: run["parentRunId"] for run in runs}

    whole = {"root": None, "one": "root", "two": "root", "leaf": "two"}
    assert [tree(run_id) for run_id in whole] == [whole] * 4
    assert tree("egg") == tree("hen") == {"egg": "hen", "hen": "egg"}
    assert tree("lost") == {"lost": "gone"}
    assert tree("unknown") == {}


def test_the_tree_of_many_runs(raw: httpx.Client) -> None:
    """Of a very long chain of runs, the nearest ones are listed."""
    chain = [event(SUCCESS, 1, run_id="0")]
    for number in range(1, 1000):
        found = event(SUCCESS, 1, run_id=str(number))
        chain.append({**found, "data": {**found["data"], "parentRunId": str(number - 1)}})
    raw.post("/bulk", json=chain)

    found = raw.get("/dev/runs/tree", params={"run_id": "999"}).json()["runs"]
    assert {run["runId"] for run in found} == {str(number) for number in range(800, 1000)}


def test_wrong_mode_is_a_problem(server: DevServer, connect: Connect, raw: httpx.Client) -> None:
    """If an agent is read as a completion, which the SDK does silently, the page gets a problem. Problems of the flag
    file are listed, too."""
    metas = [{"enabled": True, "variationKey": name, "version": 1, "mode": "agent"} for name in "abc"]
    rest: dict[str, Any] = {"model": {"name": "m"}, "provider": {"name": "p"}, "messages": []}
    server.set_flags(edited(variations=[{"_ldMeta": meta, **rest} for meta in metas]))
    client = connect(server)
    ai_client = LDAIClient(client)
    ai_client.agent_config("chat", Context.create("ada"))
    client.flush()
    server.wait_for(1, key="$ld:ai:usage:agent-config")
    faulty = config(monitor(raw))["problems"]
    assert len(faulty) == 3
    assert all("in the mode 'agent', SDKs read instructions" in problem for problem in faulty)
    ai_client.completion_config("chat", Context.create("ada"))
    client.flush()
    server.wait_for(1, key="$ld:ai:usage:completion-config")
    *_, mismatch = config(monitor(raw))["problems"]
    assert mismatch.startswith("Read with the wrong mode: completion_config() was called (1 so far)")


def test_prices_are_those_of_the_flags(server: DevServer, raw: httpx.Client) -> None:
    """The prices are those of the flags that are served now."""
    custom = {"costPerInputToken": 1.5e-7, "costPerOutputToken": 6e-7}
    small = {**FLAGS["flags"]["chat"]["variations"][1], "model": {"name": "m", "custom": custom}}
    assert config(monitor(raw))["prices"] == {}
    server.set_flags(edited(variations=[FLAGS["flags"]["chat"]["variations"][0], small, small]))
    assert config(monitor(raw))["prices"] == {"small": {"input": 1.5e-7, "output": 6e-7}}


def messages(answer: httpx.Response) -> Iterator[Json]:
    """Read server-sent events."""
    for line in answer.iter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def test_live_stream_sends_changes(raw: httpx.Client) -> None:
    """A live stream begins with all data, then sends changes, and continues from a cursor."""
    raw.post("/bulk", json=[event(SUCCESS, 1, run_id="first")])
    with raw.stream("GET", "/dev/monitor/live", timeout=30) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        live = messages(answer)
        everything = next(live)
        assert (everything["complete"], everything["configKey"]) == (True, "chat")
        raw.post("/bulk", json=[event(SUCCESS, 1, run_id="second")])
        news = next(one for one in live if one["runs"])
        assert (news["complete"], [run["runId"] for run in news["runs"]]) == (False, ["second"])
    raw.post("/bulk", json=[event(SUCCESS, 1, run_id="third")])
    headers = {"Last-Event-ID": news["cursor"]}
    with raw.stream("GET", "/dev/monitor/live", params={"config_key": "chat"}, headers=headers, timeout=30) as answer:
        after = next(messages(answer))
    assert (after["complete"], [run["runId"] for run in after["runs"]]) == (False, ["third"])


def test_live_stream_sends_heartbeats(raw: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without events, the live stream sends data again, because a run may get a warning by time alone."""
    monkeypatch.setattr(page, "HEARTBEAT_SECONDS", 0.0)
    with raw.stream("GET", "/dev/monitor/live", timeout=30) as answer:
        live = messages(answer)
        assert next(live)["complete"]
        assert next(live)["configs"]


def test_live_ends_with_the_server() -> None:
    """An open page does not prevent the server from stopping."""
    with httpx.Client(trust_env=False, timeout=30) as client:
        with DevServer(FLAGS) as server:
            answer = client.send(client.build_request("GET", f"{server.url}/dev/monitor/live"), stream=True)
            live = messages(answer)
            assert "cursor" in next(live)
        assert list(live) == []
        answer.close()


def test_more_runs_than_the_data_contains(raw: httpx.Client) -> None:
    """If there are more new runs than the data contains, it says so."""
    first = monitor(raw, config_key="chat")
    raw.post("/bulk", json=[event(SUCCESS, 1) for _ in range(RUNS)])
    news = monitor(raw, config_key="chat", since=first["cursor"])
    assert (first["allRuns"], news["allRuns"], len(news["runs"])) == (True, False, RUNS)


def test_no_statement_reads_every_event(tmp_path: Path) -> None:
    """The statements for the page use an index, or read new events only."""
    constants = [*vars(figures).values(), *vars(runs).values()]
    statements = [text for text in constants if isinstance(text, str) and "FROM" in text and "SELECT" in text]
    plans = {}
    with closing(EventStore(tmp_path / "events.db")) as events:
        for statement in (text.replace("{condition}", "") for text in statements):
            values = dict.fromkeys(re.findall(r":(\w+)", statement), 1)
            plan = events.select(f"EXPLAIN QUERY PLAN {statement}", **values)
            plans[statement] = " ".join(str(row[-1]) for row in plan)
    assert len(plans) > 5
    assert {statement: plan for statement, plan in plans.items() if "SCAN events" in plan} == {}
    assert sum("runs_to_warn_of" in plan for plan in plans.values()) == 2
    assert sum("events_of_reads" in plan for plan in plans.values()) == 1


@pytest.mark.parametrize("path", ["/", "/static/main.js", "/dev/monitor", "/dev/events", "/nothing"])
def test_security_headers(path: str, raw: httpx.Client) -> None:
    """Every answer forbids inline scripts, other sites, frames and MIME sniffing."""
    headers = raw.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'" in policy
    assert "unsafe" not in policy
    assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-cache")


def test_files_of_the_page(raw: httpx.Client) -> None:
    """The files of the page have the right types. The chart library comes with its licence."""
    html = raw.get("/").text
    assert "<script>" not in html
    for name, kind in {"main.js": "javascript", "page.css": "css", "uPlot.iife.min.js": "javascript"}.items():
        answer = raw.get(f"/static/{name}")
        assert f'"/static/{name}"' in html
        assert (answer.status_code, kind in answer.headers["content-type"]) == (200, True)
    assert "MIT" in raw.get("/static/uPlot.LICENSE.txt").text
    assert raw.get("/static/../_page.py").status_code == raw.get("/static/%2e%2e/_page.py").status_code == 404


def test_database_of_an_older_version_is_brought_up_to_date(tmp_path: Path) -> None:
    """A database of a version without the page is upgraded, and its runs are listed."""
    path = tmp_path / "events.db"
    with DevServer(FLAGS, db=path) as server:
        old = [event(SUCCESS, 1, run_id="old"), event(DURATION, 5, run_id="old")]
        httpx.post(f"{server.url}/bulk", json=old, trust_env=False)
    connection = sqlite3.connect(path)
    connection.executescript(
        "DROP TABLE runs; DROP INDEX events_in_time; DROP INDEX events_of_reads; PRAGMA user_version = 1;"
        "CREATE INDEX events_by_config ON events (config_key, created_ms);"
    )
    connection.close()
    with DevServer(FLAGS, db=path) as server, httpx.Client(base_url=server.url, trust_env=False) as client:
        client.post("/bulk", json=[event(ERROR, 1, run_id="new")])
        assert eventually(lambda: server.status()["events"] == 3)
        listed = {run["runId"]: (run["successes"], run["errors"]) for run in monitor(client)["runs"]}
        assert listed == {"old": (1, 0), "new": (0, 1)}
        assert math.isclose(sums(monitor(client), "small")[DURATION][1], 5)
