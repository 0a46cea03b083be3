"""What the tests share: flags, a local stand-in for LaunchDarkly, and trackings that leave nothing behind."""

from __future__ import annotations

import copy
import gc
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import certifi
import ldclient
import pytest
import urllib3
from ldclient import Config, LDClient
from ldclient.interfaces import FeatureStore, UpdateProcessor
from ldclient.versioned_data_kind import FEATURES, SEGMENTS

from ldai_integrations import RunRecord, Settings, Tracking, track_ai
from ldai_integrations._diagnostics import Diagnostics
from ldai_integrations.devserver import DevServer
from ldai_integrations.testing import Clock as Clock
from ldai_integrations.testing import Events as Events
from ldai_integrations.testing import recorded_runs
from ldai_integrations.tracking import process
from ldai_integrations.usage import warm_up

from .binding import in_run
from .flags import ASTRAY, FLAGS

# Variables that tests themselves read.
OF_TESTS = {"LDAI_FLAGS_DIR", "LDAI_SCREENSHOTS", "LDAI_SOAK_REQUESTS", "LDAI_UPSTREAM", "LDAI_USAGE_CORPUS"}

Decorate = Callable[[Any], Any]
EndProcess = Callable[[], None]


def failures(tracking: Tracking) -> dict[str, int]:
    """Return the diagnostics of a tracking, without the note that tokens are estimated."""
    return {kind: count for kind, count in tracking.stats().diagnostics.items() if kind != "estimated"}


def complaints(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return the log lines of the library, without the note that tokens are estimated."""
    ours = (record for record in caplog.records if record.name == "ldai_integrations")
    return [record for record in ours if record.__dict__.get("ldai_kind") != "estimated"]


def always_chat(_request: object) -> str:
    """Name the AI Config of every request, so that a middleware tracks it whether a provider call is seen or not."""
    return "chat"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Have two workers more than there are cores: tests also wait for servers, processes and timeouts."""
    return 2 + (os.cpu_count() or 1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the long suites that are folders of their own; a plain ``pytest`` leaves them out."""
    markers = {"exits": "exits", "scale": "server", "typing": "types"}
    for item in items:
        if item.path.parent.parent == Path(__file__).parent and item.path.parent.name in markers:
            item.add_marker(markers[item.path.parent.name])


def _freeze() -> None:
    """Keep what lives as long as the process out of the garbage collector: a test that collects takes milliseconds."""
    gc.collect()
    gc.freeze()


def pytest_collection_finish() -> None:
    """Do so with all that the imports have made."""
    _freeze()


@pytest.fixture(scope="session", autouse=True)
def _own_environment() -> Iterator[None]:
    """Keep what the developer's shell says about LaunchDarkly, settings and proxies out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith(("LAUNCHDARKLY_", "LDAI_")) and name not in OF_TESTS:
                patch.delenv(name)
        patch.setenv("no_proxy", "127.0.0.1,localhost")
        yield


@pytest.fixture(scope="session", autouse=True)
def _few_certificates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let each client load one certificate. To load all of them takes most of the time of creating a client."""
    path = tmp_path_factory.mktemp("certificates") / "one.pem"
    first, end, _others = Path(certifi.where()).read_text(encoding="utf-8").partition("-----END CERTIFICATE-----\n")
    path.write_text(first + end, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(path))
        patch.setattr(certifi, "where", lambda: str(path))  # for httpx with trust_env=False
        yield


@pytest.fixture(scope="session")
def dev_server() -> Iterator[DevServer]:
    """Serve the flags of the tests over HTTP; ``clear()`` it to start from nothing."""
    with DevServer(FLAGS) as server:
        yield server


@pytest.fixture(scope="session")
def flag_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the flags of the tests as a file that ldclient reads, without the one that makes a file unusable."""
    flags = {key: flag for key, flag in FLAGS["flags"].items() if key != "enabled-as-text"}
    path = tmp_path_factory.mktemp("flags") / "flags.json"
    path.write_text(json.dumps({"flags": {**flags, "astray": ASTRAY}}))
    return path


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """Fail a test that leaves a run bound, or a thread of ldclient behind."""
    before = set(threading.enumerate())
    yield
    assert not in_run()
    left = [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("ldclient")]
    if not hasattr(urllib3.HTTPResponse, "shutdown"):  # before version 2.3, the SDK cannot end a read of its stream
        left = [thread for thread in left if thread.name != "ldclient.datasource.streaming"]
    for thread in left:
        thread.join(2)
    assert not any(thread.is_alive() for thread in left)


@pytest.fixture(scope="session")
def o200k() -> None:
    """Have tokens counted exactly, with OpenAI's encoding."""
    warm_up(timeout=30)
    _freeze()


@pytest.fixture
def events() -> Events:
    """Hold what :func:`client` sends."""
    return Events()


class FlagsInMemory(UpdateProcessor):
    """A source of the flags of the tests that reads no file."""

    def __init__(self, _config: Config, store: FeatureStore, ready: threading.Event) -> None:
        self._store, self._ready = store, ready

    def start(self) -> None:
        """Fill the store."""
        flags = {**FLAGS["flags"], ASTRAY["key"]: ASTRAY}
        self._store.init({FEATURES: copy.deepcopy(flags), SEGMENTS: {}})
        self._ready.set()

    def stop(self) -> None:
        """Do nothing."""

    def is_alive(self) -> bool:
        """Return whether it still reads."""
        return False

    def initialized(self) -> bool:
        """Return whether the store has the flags."""
        return self._ready.is_set()


@pytest.fixture
def client(no_leaks: None, events: Events) -> Iterator[LDClient]:
    """Give a real LDClient with the flags of the tests, that sends its events to :func:`events`."""
    config = Config("test", update_processor_class=FlagsInMemory, event_processor_class=lambda _config: events)
    with closing(LDClient(config)) as client:
        yield client


@pytest.fixture
def clock() -> Clock:
    """Give the clock of :func:`tracking`."""
    return Clock()


@pytest.fixture
def tracking(client: LDClient, o200k: None, clock: Clock) -> Iterator[Tracking]:
    """Give a Tracking without a network; what it reports is in :func:`events` and :func:`records`."""
    tracking = Tracking(client, settings=Settings(usage_wait=5), clock=clock)  # also on a busy machine
    yield tracking
    _freeze()  # a run that the test dropped ends here, and not among the records of a later test
    tracking.flush()


@pytest.fixture
def track(tracking: Tracking) -> Decorate:
    """Decorate with the AI Config ``chat``."""
    return track_ai(config_key="chat", tracking=tracking)


@pytest.fixture
def http_tracking(no_leaks: None, o200k: None, dev_server: DevServer) -> Iterator[Tracking]:
    """Give a Tracking over HTTP to :func:`dev_server`, which has forgotten all earlier events."""
    dev_server.clear()
    url = dev_server.url
    config = Config("test", base_uri=url, stream_uri=url, events_uri=url, diagnostic_opt_out=True)
    with closing(LDClient(config)) as client:
        assert client.is_initialized()
        yield Tracking(client)


@pytest.fixture
def records() -> Iterator[list[RunRecord]]:
    """Collect the record of every run that finishes during the test."""
    with recorded_runs() as sink:
        yield sink.records


@pytest.fixture
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[EndProcess]:
    """Have neither a default Tracking nor a shared LDClient, as in a process that has just begun.

    Gives what closes those that the test has made; they are closed at the end in any case.
    """
    monkeypatch.setattr(process, "_trackings", [])
    monkeypatch.setattr(process, "diagnostics", Diagnostics())

    def end() -> None:
        if process.tracking is not None:
            process.tracking.close()
        ldclient._reset_client()

    yield end
    end()
