"""Servers whose applications use the newer SDK: however a run ends, it arrives once; skipped without the SDK."""

from __future__ import annotations

import http.client
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ldai_integrations.devserver import DevServer

from ..exits.test_servers import ask, serve
from ..flags import flag, meta, system

pytest.importorskip("launchdarkly_ai_server", reason="comes with the extra [agentcontrol], on Python 3.12 or later")
pytestmark = pytest.mark.server

_GPT = {"model": {"name": "gpt-4o-mini"}, "provider": {"name": "OpenAI"}, "messages": system("Be brief.")}
_JUDGES = {"judges": [{"key": "relevance", "samplingRate": 1.0}]}
_GRAPH = {"_ldMeta": {"enabled": True, "variationKey": "first", "version": 1}, "root": "triage"}
FLAGS = {
    "flags": {
        "chat": flag("chat", {"_ldMeta": meta("small"), **_GPT}),
        "judged": flag("judged", {"_ldMeta": meta("small"), **_GPT, "judgeConfiguration": _JUDGES}),
        "relevance": flag(
            "relevance",
            {"_ldMeta": meta("strict", mode="judge"), **_GPT, "evaluationMetricKey": "$ld:ai:judge:relevance"},
        ),
        "triage": flag("triage", {"_ldMeta": meta("first"), **_GPT}),
        "answer": flag("answer", {"_ldMeta": meta("first"), **_GPT}),
        "flow": flag("flow", {**_GRAPH, "edges": {"triage": [{"key": "answer"}]}}),
    }
}
_APPS = "tests.agentcontrol.applications"
_GUNICORN = ["gunicorn", "--bind", "fd://{fd}", "--log-level", "warning"]
SERVERS = {
    "uvicorn": ["uvicorn", "--fd", "{fd}", "--log-level", "warning", f"{_APPS}:asgi"],
    "gunicorn": [*_GUNICORN, f"{_APPS}:wsgi"],
    "gunicorn, preloaded": [*_GUNICORN, "--workers", "2", "--preload", f"{_APPS}:wsgi"],
}
TIMES = 3


@pytest.fixture(scope="module")
def launchdarkly() -> Iterator[DevServer]:
    """Serve AI Configs with a provider, which the SDK needs, and a graph."""
    with DevServer(FLAGS) as server:
        yield server


def leave(address: tuple[str, int]) -> None:
    """Ask for an endless stream, and leave after the first text."""
    connection = http.client.HTTPConnection(*address, timeout=30)
    with closing(connection):
        connection.request("GET", "/stream/endless", headers={"Connection": "close"})
        assert connection.getresponse().read(6) == b"Hello "


def runs_of(dev_server: DevServer) -> Counter[tuple[str, str]]:
    """Count the runs by AI Config and outcome. A run that was reported twice fails this."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for event in dev_server.events():
        if event["kind"] == "custom" and "runId" in (event["data"] if isinstance(event["data"], dict) else {}):
            runs.setdefault(event["data"]["runId"], []).append(event)
    found: Counter[tuple[str, str]] = Counter()
    for events in runs.values():
        names = [event["key"].removeprefix("$ld:ai:") for event in events]
        once = [name for name in names if not name.startswith("graph:node")]
        assert len(once) == len(set(once)), names
        [config_key] = {event["data"]["configKey"] for event in events}
        values = {name: event["metricValue"] for name, event in zip(names, events, strict=True)}
        assert "duration:total" in names or "graph:duration:total" in names, names
        outcome = next((name for name in names if name.startswith(("generation:", "graph:invocation"))), "cancelled")
        if outcome == "generation:success":
            assert [values[f"tokens:{name}"] for name in ("input", "output", "total")] == [7317, 3863, 11180]
        found[config_key, outcome.rpartition(":")[2]] += 1
    return found


@pytest.mark.parametrize("server", SERVERS)
def test_every_run_arrives_once(server: str, launchdarkly: DevServer, tmp_path: Path) -> None:
    """Calls, streams, errors, clients that leave, judges and graphs arrive once, also at SIGTERM."""
    with (
        serve(SERVERS[server], launchdarkly, tmp_path, OTEL_SDK_DISABLED="true") as (program, address),
        ThreadPoolExecutor(1) as pool,
    ):
        for _ in range(TIMES):
            assert ask(address, "/invoke/hello") == "Hello"
            assert ask(address, "/stream/hello") == "Hello Hello "
            assert "Hello" not in ask(address, "/invoke/fail")
            leave(address)
            assert ask(address, "/judged/hello") == "Hello"
            assert ask(address, "/graph/hello") == "Hello"
        late = pool.submit(ask, address, "/invoke/wait")
        program.await_ready()
        status = program.end(signal.SIGTERM)
        assert late.result() == "Hello"

    assert status in (0, -signal.SIGTERM), program.log()
    assert runs_of(launchdarkly) == {
        ("chat", "success"): 2 * TIMES + 1,
        ("chat", "error"): TIMES,
        ("chat", "cancelled"): TIMES,
        ("judged", "success"): TIMES,
        ("relevance", "success"): TIMES,
        ("flow", "invocation_success"): TIMES,
        ("triage", "success"): TIMES,
        ("answer", "success"): TIMES,
    }, program.log()
    scores = [event for event in launchdarkly.events() if event.get("key") == "$ld:ai:judge:relevance"]
    assert [event["metricValue"] for event in scores] == [0.75] * TIMES


#: What is asked for before SIGTERM: a part of the answer, and the runs. The client leaves the endless stream.
LATE = {
    "/invoke/wait": ("Hello", {("chat", "success"): 1}),
    "/stream/wait": ("Hello Hello ", {("chat", "success"): 1}),
    "/invoke/wait-and-fail": ("Internal Server Error", {("chat", "error"): 1}),
    "/stream/endless": ("", {("chat", "cancelled"): 1}),
    "/judged/wait": ("Hello", {("judged", "success"): 1, ("relevance", "success"): 1}),
    "/graph/wait": (
        "Hello",
        {("flow", "invocation_success"): 1, ("triage", "success"): 1, ("answer", "success"): 1},
    ),
}


@pytest.mark.parametrize("path", LATE)
@pytest.mark.parametrize("server", SERVERS)
def test_a_run_that_is_open_at_sigterm(server: str, path: str, launchdarkly: DevServer, tmp_path: Path) -> None:
    """A request that is being answered at SIGTERM is answered, or left by its client, and its runs arrive once."""
    expected, runs = LATE[path]
    with (
        serve(SERVERS[server], launchdarkly, tmp_path, OTEL_SDK_DISABLED="true") as (program, address),
        closing(http.client.HTTPConnection(*address, timeout=30)) as connection,
    ):
        connection.request("GET", path, headers={"Connection": "close"})
        if path == "/stream/endless":
            response = connection.getresponse()
            assert response.read(6) == b"Hello "
            program.send(signal.SIGTERM)
            response.close()
            connection.close()
        else:
            program.await_ready()
            program.send(signal.SIGTERM)
            assert expected in connection.getresponse().read().decode()
        status = program.end()

    assert status in (0, -signal.SIGTERM), program.log()
    assert runs_of(launchdarkly) == runs, program.log()
