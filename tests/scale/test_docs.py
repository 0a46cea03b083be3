"""What docs/scale.md shows works as it stands there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ldclient import LDClient

from ldai_integrations import Tracking
from ldai_integrations.delivery._processor import _MAX_YIELD_SECONDS, _SPOOL_BYTES, INBOX_EVENTS
from ldai_integrations.devserver import DevServer

from ..delivery.conftest import complete_runs, send_runs
from .conftest import PREFIX, RedisServer

PAGE = (Path(__file__).parents[2] / "docs" / "scale.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@contextmanager
def running(start: str, monkeypatch: pytest.MonkeyPatch, replaced: dict[str, str]) -> Iterator[Tracking]:
    """Execute the one block that contains a text, with addresses of this machine; gives its tracking."""
    [code] = [block for block in BLOCKS if start in block]
    for old, new in replaced.items():
        assert code.count(old) == 1, old
        code = code.replace(old, new)
    monkeypatch.setenv("LAUNCHDARKLY_SDK_KEY", "sdk-test")
    space: dict[str, object] = {"__name__": "example"}
    exec(compile(code, "docs/scale.md", "exec", dont_inherit=True), space)
    tracking, client = space["tracking"], space["client"]
    assert isinstance(tracking, Tracking)
    assert isinstance(client, LDClient)
    yield tracking
    client.close()


def test_the_relay_example(no_leaks: None, server: DevServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """AI Configs come from the address, and every event goes to it."""
    with running("RELAY =", monkeypatch, {"http://relay.internal:8030": server.url}) as tracking:
        send_runs(tracking, 20)
        assert tracking.flush(60).complete
        assert tracking.stats().connection == "ok"
    assert complete_runs(server) == 20


def test_the_redis_example(
    no_leaks: None, redis_server: RedisServer, relay: LDClient, server: DevServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AI Configs come from Redis, and every event goes to LaunchDarkly, which a dev server stands for."""
    replaced = {
        "redis://redis.internal:6379/0": redis_server.url,
        "ld:shop:production": PREFIX,
        "use_ldd=True,": f"use_ldd=True, events_uri={server.url!r},",
    }
    with running("use_ldd=True", monkeypatch, replaced) as tracking:
        send_runs(tracking, 20)
        assert tracking.flush(60).complete
    assert complete_runs(server) == 20


def test_the_numbers_are_those_of_the_code() -> None:
    """Bounds that the page names are the bounds."""
    assert f"| {INBOX_EVENTS:,} events" in PAGE
    assert f"| {_SPOOL_BYTES // 1_000_000} MB:" in PAGE
    assert f"up to {_MAX_YIELD_SECONDS * 1000:.0f} ms" in PAGE
    assert PAGE.count(f"events_max_pending={INBOX_EVENTS:_},") == len(BLOCKS) == 2
