"""AI Configs come from a Redis that the Relay Proxy fills, in daemon mode, and no event is lost."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from ldclient import LDClient
from ldclient.feature_store import CacheConfig

from ldai_integrations import Tracking, track_ai
from ldai_integrations.devserver import DevServer

from ..delivery.conftest import CONTEXT, complete_runs, send_runs
from ..exits.process import arrived, start
from ..flags import CHAT, FLAGS
from ..waiting import eventually
from .conftest import RUNS, WORKERS, Connect, RedisServer, daemon


def model_of(tracking: Tracking, config_key: str = "chat") -> str:
    """Return the name of the model that a run is served."""
    with track_ai(config_key=config_key, tracking=tracking, ld_context=lambda: CONTEXT) as run:
        return run.model


def test_daemon_mode(connect: Connect, redis_server: RedisServer, relay: LDClient, server: DevServer) -> None:
    """AI Configs are served without a connection to LaunchDarkly, and each event of each run arrives once."""
    tracking = Tracking(connect(**daemon(redis_server.url, server.url)))
    assert tracking.stats().connection == "ok"
    send_runs(tracking, 500)
    report = tracking.flush(60)

    assert (report.pending, report.dropped) == (0, 0)
    assert complete_runs(server) == 500
    assert tracking.stats().diagnostics == {}
    assert {event["data"]["modelName"] for event in server.events(key="$ld:ai:generation:success")} == {"gpt-4o-mini"}


def test_changes_arrive(connect: Connect, redis_server: RedisServer, relay: LDClient, server: DevServer) -> None:
    """A change of an AI Config is served as soon as the worker's cache of it has expired."""
    tracking = Tracking(connect(**daemon(redis_server.url, server.url, caching=CacheConfig(expiration=0.05))))
    assert model_of(tracking) == "gpt-4o-mini"
    changed = copy.deepcopy(CHAT)
    changed["variations"][0]["model"]["name"] = "gpt-5"
    server.set_flags({"flags": {**FLAGS["flags"], "chat": {**changed, "version": 2}}, "segments": {}})

    assert eventually(lambda: model_of(tracking) == "gpt-5")


@pytest.mark.parametrize(("name", "processes"), [("separate", WORKERS), ("preforked", WORKERS + 1)])
def test_several_workers(
    redis_server: RedisServer, relay: LDClient, server: DevServer, tmp_path: Path, name: str, processes: int
) -> None:
    """Of several processes, begun by themselves or forked from one that has a client, every run arrives, once."""
    with start(["tests.scale.workers", name], server, tmp_path, REDIS=redis_server.url) as program:
        assert program.end() == 0, program.log()
        made = program.made()

    assert len(set(made)) == processes * RUNS
    assert sorted(arrived(server)) == sorted(made)
    events = server.events(key="$ld:ai:generation:success")
    assert {event["data"]["variationKey"] for event in events} == {"small"}


def test_redis_is_gone(
    connect: Connect, redis_server: RedisServer, relay: LDClient, server: DevServer, caplog: pytest.LogCaptureFixture
) -> None:
    """What a worker has cached is served on; else the default, with a word in the log, and no exception."""
    cached = Tracking(connect(**daemon(redis_server.url, server.url, caching=CacheConfig(expiration=3600))))
    uncached = Tracking(connect(**daemon(redis_server.url, server.url, caching=CacheConfig.disabled())))
    assert model_of(cached) == model_of(uncached) == "gpt-4o-mini"
    redis_server.end()

    assert model_of(cached) == "gpt-4o-mini"
    assert model_of(uncached) == ""
    assert any("AI Config 'chat' is disabled, because" in line for line in caplog.messages)
    assert cached.flush(60).complete
    assert uncached.flush(60).complete
