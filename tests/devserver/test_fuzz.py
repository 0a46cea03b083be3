"""No request body and no query makes the server fail, at once or later."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from ldai_integrations.devserver import DevServer

from .samples import FLAGS

NUMBERS = ["0", "-1", "1", "0.5", "1e999", "-1e999", "9e18", "-9e18", "1e300", "5e-324", "9" * 30, "1" * 5000]
TEXTS = [
    '""',
    '"x"',
    r'"\ud83d"',
    r'"\u0000"',
    '"' + "x" * 3000 + '"',
    '"$ld:ai:tokens:input"',
    '"support-bot"',
    '"chat"',
]
OTHERS = ["true", "null", "[]", "{}", "[[1, 2], {}]", '{"a": {"b": 1e999}}', "[" * 990 + "]" * 990, "NaN", "-Infinity"]
VALUES = [*NUMBERS, *TEXTS, *OTHERS]
EVENT = {
    "kind": '"custom"',
    "key": '"$ld:ai:duration:total"',
    "creationDate": "1800000000000",
    "metricValue": "7",
    "context": '{"kind": "user", "key": "ada"}',
    "data": {
        "runId": '"run"',
        "configKey": '"chat"',
        "variationKey": '"small"',
        "version": "1",
        "modelName": '"gpt-4o"',
    },
}
KEYS = [f'"$ld:ai:{name}"' for name in ("generation:success", "generation:error", "tokens:ttf", "usage:agent-config")]
FAULT = {"path": '"/nowhere"', "status": "503", "count": "1", "delay_ms": "0", "close": "false", "handled": "false"}
NAMES = ["since", "before", "limit", "step_ms", "buckets", "from", "to", "env", "config_key", "run_id", "kind", "key"]
QUERIES = [
    "",
    "0",
    "-1",
    "1",
    "x",
    "1e3",
    "9" * 20,
    "9" * 5000,
    "0" * 19 + "1" + "9" * 30,
    "\u0663",
    "\U0001f600",
    "\0",
]
METRICS = "/api/v2/projects/p/ai-configs/chat/metrics"
SPAN = "env=e&from=1780000000000&to=1788000000000"
FIGURES = [
    *(
        "/dev/monitor?config_key=chat",
        "/dev/monitor?config_key=chat&buckets=200&step_ms=604800000",
        "/dev/runs?config_key=chat",
    ),
    *("/dev/runs?config_key=chat&warnings", "/dev/totals", "/dev/status", "/dev/events", "/dev/faults"),
    *(f"{METRICS}?{SPAN}", f"{METRICS}-by-variation?{SPAN}"),
]


def write(shape: Any, choose: random.Random) -> str:
    """Return a JSON object of this shape with one to three values replaced, left out or doubled."""
    shape = dict(shape)
    for _ in range(choose.randint(1, 3)):
        name = choose.choice(list(shape))
        if isinstance(shape[name], dict) and choose.random() < 0.8:
            shape[name] = write(shape[name], choose)
        elif choose.random() < 0.2:
            del shape[name]
            shape = shape or {"x": "1"}
        else:
            shape[name] = choose.choice([*VALUES, *KEYS])
    return to_json(shape)


def to_json(shape: Any) -> str:
    """Return a JSON object with the values as they are written in the shape."""
    members = (f'"{name}": {to_json(value) if isinstance(value, dict) else value}' for name, value in shape.items())
    return "{" + ", ".join(members) + "}"


def bodies(choose: random.Random, shape: Any) -> Iterator[bytes]:
    """Yield bodies that nearly have the right form, and some that have not."""
    for _ in range(120):
        text = "[" + ", ".join(write(shape, choose) for _ in range(choose.randint(1, 3))) + "]"
        body = text.encode()
        if choose.random() < 0.1:
            position = choose.randrange(len(body))
            body = body[:position] + choose.choice([b"", b"\xff", b"\0", b"]", b'"']) + body[position + 1 :]
        yield body
    for text in VALUES:
        yield text.encode()
        yield f"[{text}]".encode()


def refuse_constant(name: str) -> None:
    """Fail on a constant that JSON does not have."""
    raise AssertionError(f"{name} in an answer")


def check_figures(server: DevServer, raw: httpx.Client) -> None:
    """Check that all figures can be read, by a page and by a test."""
    for path in FIGURES:
        answer = raw.get(path, headers={"Authorization": "api-token"})
        assert answer.status_code == 200, (path, answer.text)
        if path != "/dev/events":  # the events are shown as they were received
            json.loads(answer.text, parse_constant=refuse_constant)
    json.dumps([server.metrics("chat"), server.metrics("chat", by_variation=True), server.totals()], allow_nan=False)
    server.events()


@pytest.mark.parametrize("seed", range(3))
def test_events_of_any_form(server: DevServer, raw: httpx.Client, seed: int) -> None:
    """A payload is stored or refused as the client's mistake, and the figures can be read afterwards."""
    for body in bodies(random.Random(seed), EVENT):
        answer = raw.post("/bulk", content=body)
        assert answer.status_code in (202, 400), (body[:500], answer.text)
    check_figures(server, raw)


def test_each_value_in_each_place(server: DevServer, raw: httpx.Client) -> None:
    """No single value of an event makes the figures unreadable."""
    data = EVENT["data"]
    assert isinstance(data, dict)
    for text in [*VALUES, *KEYS]:
        events = [{**EVENT, name: text} for name in EVENT] + [{**EVENT, "data": {**data, name: text}} for name in data]
        for event in events:
            assert raw.post("/bulk", content=f"[{to_json(event)}]".encode()).status_code in (202, 400)
        check_figures(server, raw)


def test_an_older_database_with_any_values(tmp_path: Path) -> None:
    """A database that an older version wrote with values that no figure can contain can be read."""
    path = tmp_path / "events.db"
    with DevServer(FLAGS, db=path) as server:
        httpx.post(f"{server.url}/bulk", content=f"[{to_json(EVENT)}]", trust_env=False)
    with closing(sqlite3.connect(path)) as connection, connection:
        raw = to_json({**EVENT, "creationDate": "1e999"})
        connection.execute("UPDATE events SET created_ms = 9e999, version = 9e999, raw = ?", (raw,))
        connection.execute("UPDATE runs SET started_ms = 9e999, version = 9e999")
        connection.execute("PRAGMA user_version = 3")
    with DevServer(FLAGS, db=path) as server, httpx.Client(base_url=server.url, trust_env=False) as client:
        check_figures(server, client)
        assert len(server.events()) == 1


def test_other_bodies_of_any_form(server: DevServer, raw: httpx.Client) -> None:
    """A diagnostic, a warning or a list of faults is accepted or refused as the client's mistake."""
    choose = random.Random(7)
    for body in bodies(choose, {"kind": '"diagnostic"', "droppedEvents": "7"}):
        for content in (body, body[1:-1]):
            assert raw.post("/diagnostic", content=content).status_code in (202, 400), content[:500]
    for body in bodies(choose, {"kind": '"variable"', "text": '"The prompt has a variable"'}):
        for content in (body, body[1:-1]):
            assert raw.post("/dev/warnings", content=content).status_code in (204, 400), content[:500]
        json.loads(raw.get("/dev/warnings").text, parse_constant=refuse_constant)
    for body in bodies(choose, FAULT):
        assert raw.put("/dev/faults", content=body).status_code in (200, 400), body[:500]
        raw.put("/dev/faults", content=b"[]")
    check_figures(server, raw)


def test_queries_of_any_form(server: DevServer, raw: httpx.Client) -> None:
    """A query is answered, or refused as the client's mistake."""
    raw.post("/bulk", content=("[" + write(EVENT, random.Random(1)) + "]").encode())
    for path in ("/dev/events", "/dev/runs", "/dev/monitor", METRICS):
        for name in NAMES:
            for value in QUERIES:
                query = {"env": "e", "from": "0", "to": "1", "config_key": "chat", name: value}
                answer = raw.get(path, params=query, headers={"Authorization": "api-token"})
                assert answer.status_code in (200, 400), (path, name, value[:40], answer.text)
