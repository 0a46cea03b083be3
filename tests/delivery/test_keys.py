"""A key that cannot work is an error at start, and one that is refused is logged."""

from __future__ import annotations

import gc
import logging
import threading
from typing import Any

import pytest
from ldclient import Config, Context, LDClient
from ldclient.interfaces import UpdateProcessor

from ldai_integrations import ConfigurationError, Settings, Tracking, track_ai
from ldai_integrations.delivery import SpoolingEventProcessor
from ldai_integrations.devserver import DevServer

from ..flags import FLAGS
from ..waiting import eventually
from .conftest import uris

# ldclient leaves the connection of a stream that was refused to the garbage collector.
_FORGOTTEN_STREAM = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def _collect_forgotten_stream() -> None:
    """Close that connection now, because no later test expects the warning."""
    assert eventually(
        lambda: not any(thread.name == "ldclient.datasource.streaming" for thread in threading.enumerate())
    )
    gc.collect()


OTHER_KEYS = [
    ("mob-5a4e7d2c-0000-0000-0000-0123456789ab", "a mobile key"),
    ("api-5a4e7d2c-0000-0000-0000-0123456789ab", "an API access token"),
    ("5a4e7d2c0123456789abcdef", "a client-side ID"),
]


@pytest.mark.parametrize(("key", "what"), OTHER_KEYS)
def test_another_kind_of_key_is_refused_at_start(key: str, what: str) -> None:
    """The error for a mobile key, an API token or a client-side ID names its kind and the remedy."""
    with pytest.raises(ConfigurationError, match=f"LAUNCHDARKLY_SDK_KEY is {what}.*use the SDK key") as refused:
        Tracking.from_env(environ={"LAUNCHDARKLY_SDK_KEY": key})
    assert key not in str(refused.value)


@pytest.mark.parametrize(("key", "what"), OTHER_KEYS)
def test_another_kind_of_key_in_a_client_of_your_own(key: str, what: str, caplog: pytest.LogCaptureFixture) -> None:
    """For a client that exists already it is logged once."""
    client = LDClient(Config(key, offline=True))
    tracking = Tracking(client)
    (warning,) = [record.message for record in caplog.records if what in record.message]
    assert "use the SDK key" in warning
    assert key not in warning
    assert tracking.stats().diagnostics == {"connection": 1}
    client.close()


def test_a_client_that_is_offline(caplog: pytest.LogCaptureFixture) -> None:
    """The log says why a client of the application's own serves defaults only."""
    client = LDClient(Config("sdk-x", offline=True))
    with track_ai(config_key="chat", tracking=Tracking(client)) as run:
        assert not run.config.enabled
    assert "its client was made with offline=True" in caplog.text
    client.close()


@_FORGOTTEN_STREAM
@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key(status: int, server: DevServer, no_leaks: None, caplog: pytest.LogCaptureFixture) -> None:
    """A key that LaunchDarkly refuses is known at start, logged once with the remedy, and reported by stats()."""
    server.inject("/all", status=status, count=None)
    tracking = Tracking.from_env(environ={"LDAI_DEV_SERVER": server.url})
    assert tracking.stats().connection == f"HTTP {status}"
    tracking.close()
    _collect_forgotten_stream()  # the line may be logged on its thread
    (warning,) = [line for line in caplog.messages if f"refused the SDK key (HTTP {status})" in line]
    assert "set LAUNCHDARKLY_SDK_KEY" in warning


@_FORGOTTEN_STREAM
def test_a_key_that_is_refused_to_a_client_of_your_own(
    server: DevServer, no_leaks: None, caplog: pytest.LogCaptureFixture
) -> None:
    """A refusal that comes after the Tracking was made is logged as well."""
    server.inject("/all", status=401, delay=0.5, count=None)
    tracking = Tracking(LDClient(Config("test", diagnostic_opt_out=True, **uris(server.url)), start_wait=0))
    assert eventually(lambda: tracking.stats().connection == "HTTP 401" and bool(tracking.stats().diagnostics))
    tracking.client.close()
    _collect_forgotten_stream()
    assert sum("refused the SDK key (HTTP 401)" in line for line in caplog.messages) == 1


def test_nobody_at_the_address(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """An address where no dev server answers is logged and reported by stats(); each line says how to start one."""
    with DevServer(FLAGS) as gone:
        url = gone.url
    monkeypatch.setenv("LDAI_DEV_SERVER", url)
    tracking = Tracking.from_env(settings=Settings(flush_timeout=0.5))
    assert tracking.stats().connection == "unreachable"
    tracking.client.variation("chat", Context.create("ada"), None)
    tracking.close()
    lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    reached = next(line for line in lines if "could not be reached" in line)
    events = next(line for line in lines if "does not accept events (unreachable)" in line)
    assert all(f"start the dev server (`ldai dev`) at {url}" in line for line in (reached, events))


def test_a_dev_server_that_a_client_does_not_use(
    server: DevServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A client with addresses of its own that nobody answers is not told to start the dev server."""
    with DevServer(FLAGS) as gone:
        url = gone.url
    monkeypatch.setenv("LDAI_DEV_SERVER", server.url)
    processors: list[SpoolingEventProcessor] = []

    def make(config: Config) -> SpoolingEventProcessor:
        processors.append(SpoolingEventProcessor(config))
        return processors[0]

    config = Config("test", event_processor_class=make, diagnostic_opt_out=True, **uris(url))
    tracking = Tracking(LDClient(config, start_wait=0), settings=Settings(flush_timeout=0.5))
    with track_ai("chat", tracking=tracking):
        pass
    tracking.flush()
    processors[0].close(timeout=0.1)  # otherwise the client would try for ten seconds
    tracking.client.close()
    assert "does not accept events (unreachable): it is unavailable; check the network" in caplog.text
    assert "AI Config 'chat' is disabled, because LaunchDarkly is not connected yet: " in caplog.text
    assert "the dev server" not in caplog.text


@_FORGOTTEN_STREAM
@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (401, "it refused the SDK key (HTTP 401); set LAUNCHDARKLY_SDK_KEY"),
        (404, "the server at {} is not a dev server (HTTP 404); set LDAI_DEV_SERVER to the address of `ldai dev`"),
    ],
)
def test_what_a_dev_server_answers(
    status: int, cause: str, server: DevServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each line about a connection that was refused says why, and not that the dev server has to be started."""
    server.inject("/all", status=status, count=None)
    monkeypatch.setenv("LDAI_DEV_SERVER", server.url)
    tracking = Tracking.from_env()
    with track_ai("chat", tracking=tracking):
        pass
    tracking.close()
    _collect_forgotten_stream()
    lines = [line for line in caplog.messages if "not connected" in line]
    assert len(lines) == 2
    assert all(cause.format(server.url) in line and "start the dev server" not in line for line in lines)


class _NeverReady(UpdateProcessor):
    """A data source without flags."""

    def __init__(self, *_args: Any) -> None: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def initialized(self) -> bool:
        return False


def test_a_good_start_is_a_quiet_one(
    server: DevServer, fresh_process: None, no_leaks: None, caplog: pytest.LogCaptureFixture
) -> None:
    """A successful start logs no warning, and suppresses the SDK's warning only for its own client."""
    tracking = Tracking.from_env(environ={"LDAI_DEV_SERVER": server.url})
    assert tracking.stats().connection == "ok"
    tracking.close()
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []

    by_hand = Config("sdk-made-by-hand", update_processor_class=_NeverReady, send_events=False)
    LDClient(by_hand, start_wait=0).close()
    assert any("Initialization timeout" in record.message for record in caplog.records)


def test_ai_configs_from_a_file(client: LDClient) -> None:
    """A connection is ok with AI Configs from a file, although such a source does not report its state."""
    assert Tracking(client).stats().connection == "ok"
