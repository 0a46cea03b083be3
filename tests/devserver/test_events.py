"""Events of real LaunchDarkly clients arrive once, as they were sent."""

from __future__ import annotations

import gzip
import json
import logging
import sqlite3
import sys
import threading
import time
import uuid
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import urllib3
from ldai import LDAIClient
from ldclient import Context

from ldai_integrations.devserver import DevServer
from ldai_integrations.exceptions import ConfigurationError
from ldai_integrations.feedback import SQLiteStore

from ..waiting import eventually
from .samples import FLAGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Connect

MAX_BYTES = 32 * 2**20

ZIPPED = gzip.compress(b"[]", mtime=0)
ADA = Context.builder("ada").name("Ada").build()


def custom(key: str = "$ld:ai:generation:success", **data: Any) -> dict[str, Any]:
    """Build one event as an SDK sends it."""
    return {"kind": "custom", "key": key, "creationDate": 1795458469850, "data": data, "metricValue": 1}


@pytest.mark.parametrize("zipped", [False, True])
def test_tracked_events_arrive(zipped: bool, server: DevServer, connect: Connect) -> None:
    """Events of the AI SDK arrive with their run id, with and without compression."""
    client = connect(server, enable_event_compression=zipped)
    tracker = LDAIClient(client).completion_config("chat", ADA).create_tracker()
    tracker.track_duration(812)
    tracker.track_success()
    client.flush()
    duration, success = server.wait_for(2, config_key="chat")
    assert (duration["key"], duration["metricValue"]) == ("$ld:ai:duration:total", 812)
    assert success["data"]["variationKey"] == "small"
    assert success["context"]["name"] == "Ada"
    assert server.events(run_id=success["data"]["runId"]) == [duration, success]
    assert {event["kind"] for event in server.events()} == {"index", "custom", "summary"}


def test_retry_of_an_unanswered_payload_counts_once(server: DevServer, connect: Connect) -> None:
    """A payload that the SDK sends again because the answer was lost is stored once."""
    client = connect(server)
    server.inject("/bulk", close=True, handled=True)
    client.track("bought", ADA)
    client.flush()
    assert eventually(lambda: server.status()["duplicatePayloads"] == 1)
    assert len(server.events(key="bought")) == 1
    assert server.status()["payloads"] == 1


def test_retry_after_503_arrives(server: DevServer, connect: Connect) -> None:
    """The SDK sends a payload again after a 503, and it is stored once."""
    client = connect(server)
    server.inject("/bulk", status=503)
    client.track("bought", ADA)
    client.flush()
    assert len(server.wait_for(1, key="bought")) == 1
    assert server.status()["duplicatePayloads"] == 0


def test_401_ends_the_events_of_a_client(server: DevServer, connect: Connect) -> None:
    """After one 401, a client never sends events again, as with LaunchDarkly."""
    given_up = threading.Event()
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: given_up.set()  # type: ignore[method-assign]
    logging.getLogger("ldclient.util").addHandler(handler)
    client = connect(server)
    server.inject("/bulk", status=401)
    client.track("lost", ADA)
    client.flush()
    assert given_up.wait(2)
    logging.getLogger("ldclient.util").removeHandler(handler)
    time.sleep(0.5)  # the SDK logs the message before it stops
    client.track("never sent", ADA)
    client.close()
    assert server.events() == []


def test_wrong_key_stores_nothing() -> None:
    """Events with another SDK key get 401 and are not stored. The answer contains neither key."""
    with DevServer(FLAGS, sdk_key="sdk-right") as server, httpx.Client(base_url=server.url, trust_env=False) as client:
        refused = client.post("/bulk", json=[custom()], headers={"Authorization": "sdk-wrong"})
        assert refused.status_code == 401
        assert "sdk-" not in refused.text
        assert server.events() == []
        accepted = client.post("/bulk", json=[custom()], headers={"Authorization": "sdk-right"})
        assert (accepted.status_code, accepted.content) == (202, b"")
        assert "Date" in accepted.headers
        assert len(server.events()) == 1


@pytest.mark.parametrize("key", ["", " "])
def test_an_empty_key_is_refused(key: str) -> None:
    """A server whose key is empty, as that of an unset variable, would protect nothing. It does not start."""
    with pytest.raises(ConfigurationError, match="sdk_key is empty"):
        DevServer(FLAGS, sdk_key=key)


@pytest.mark.parametrize("key", ["sdk-1\r\n", "sdk 1", "clé"])
def test_a_key_that_no_sdk_sends_is_refused(key: str) -> None:
    """A server with a key that cannot be in a header would refuse every application. It does not start."""
    with pytest.raises(ConfigurationError, match="sdk_key has characters that no SDK sends"):
        DevServer(FLAGS, sdk_key=key)


@pytest.mark.parametrize("name", [":memory:", "file:events.db?mode=ro"])
def test_a_database_that_is_no_file_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite takes some names for a database in memory, or for a URI. They leave no file behind."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="which SQLite takes for no file"):
        DevServer(FLAGS, db=Path(name))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("DELETE", "/dev/events", None),
        ("PUT", "/dev/faults", [{"path": "/bulk", "status": 500}]),
        ("POST", "/dev/warnings", {"kind": "variable", "text": "forged"}),
    ],
)
def test_changes_need_the_key(method: str, path: str, body: object) -> None:
    """A server with an SDK key lets nobody else delete events, set faults or add warnings."""
    with DevServer(FLAGS, sdk_key="sdk-right") as server, httpx.Client(base_url=server.url, trust_env=False) as client:
        client.post("/bulk", json=[custom()], headers={"Authorization": "sdk-right"})
        for headers in ({}, {"Authorization": "sdk-wrong"}):
            assert client.request(method, path, json=body, headers=headers).status_code == 401
        assert len(client.get("/dev/events").json()["events"]) == 1
        assert client.get("/dev/faults").json() == client.get("/dev/warnings").json()["warnings"] == []
        assert client.request(method, path, json=body, headers={"Authorization": "sdk-right"}).is_success


def test_dropped_events_are_reported(server: DevServer, connect: Connect, raw: httpx.Client) -> None:
    """The numbers of dropped events in diagnostics are added up. Other diagnostics are accepted, too."""
    connect(server, diagnostic_opt_out=False)
    for report in ({"kind": "diagnostic", "droppedEvents": 3}, {"kind": "diagnostic", "droppedEvents": 4}, ["odd"]):
        assert raw.post("/diagnostic", json=report).status_code == 202
    assert server.status()["droppedEvents"] == 7
    assert raw.post("/diagnostic", json={"kind": "diagnostic", "droppedEvents": 10**400}).status_code == 202
    assert raw.get("/dev/status").json()["droppedEvents"] == 7


@pytest.mark.parametrize("body", [b"{", b"[" * 100_000, b'{"droppedEvents": NaN}', b'{"x": 1e999}', b"\xff"])
def test_diagnostic_that_is_not_json_is_refused(body: bytes, raw: httpx.Client) -> None:
    """A diagnostic that is not valid JSON, is nested too deeply, or contains a number that is not finite gets 400."""
    assert raw.post("/diagnostic", content=body).status_code == 400


def test_unknown_kinds_and_keys_are_kept(server: DevServer, raw: httpx.Client) -> None:
    """Events with unknown kinds, keys and fields, and with old context keys, are stored as received."""
    events = [
        {"kind": "novelty", "anything": [1, {"deep": None}]},
        {"kind": "custom", "key": "$ld:ai:new", "contextKeys": {"user": "ada"}, "data": "chat", "metricValue": "x"},
        {"kind": "custom", "key": "k", "data": {"runId": "r\ud83d", "configKey": "chat", "nested": {"é": "ü"}}},
        custom(runId={"odd": 1}, configKey="chat", version=2),
    ]
    assert raw.post("/bulk", content=json.dumps([*events, 3, None])).status_code == 202
    assert server.events() == events
    assert len(server.events(kind="custom", config_key="chat")) == 2
    assert raw.get("/dev/events").json()["events"] == events


@pytest.mark.parametrize("body", [b"{", b'{"kind": "custom"}', b"", b'[{"metricValue": NaN}]', b"[" * 5000])
def test_payload_that_is_no_array_is_refused(
    body: bytes, server: DevServer, raw: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    """A payload that is not a JSON array gets 400, which the SDK tolerates, and one warning."""
    assert raw.post("/bulk", content=body).status_code == 400
    assert server.status()["refusedPayloads"] == 1
    (line,) = [record for record in caplog.records if record.name == "ldai_integrations.devserver"]
    assert "not a JSON array of events" in line.getMessage()


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        *((b"plain", "gzip"), (ZIPPED[:-9], "gzip"), (ZIPPED + b"junk", "gzip"), (b"[]", "br")),
        (gzip.compress(b"", mtime=0) * 1000 + ZIPPED, "gzip"),
    ],
    ids=["no gzip", "cut", "junk after it", "brotli", "many members"],
)
def test_body_that_cannot_be_unzipped_is_refused(body: bytes, encoding: str, raw: httpx.Client) -> None:
    """A body without the encoding in its header gets 400."""
    assert raw.post("/bulk", content=body, headers={"Content-Encoding": encoding}).status_code == 400


def test_a_gzip_body_of_several_members_is_read(server: DevServer, raw: httpx.Client) -> None:
    """The content of a gzip body is that of all its members."""
    body = gzip.compress(b'[{"kind":') + gzip.compress(b"") + gzip.compress(b'"custom"}]')
    assert raw.post("/bulk", content=body, headers={"Content-Encoding": "gzip"}).status_code == 202
    assert server.events() == [{"kind": "custom"}]


def test_ten_megabytes_are_accepted(server: DevServer, raw: httpx.Client) -> None:
    """A compressed payload of more than 10 MB is accepted."""
    event = {"kind": "custom", "key": "big", "data": {"text": "x" * 2**20}}
    body = gzip.compress(json.dumps([event] * 11).encode(), compresslevel=1)
    assert raw.post("/bulk", content=body, headers={"Content-Encoding": "gzip"}).status_code == 202
    assert server.status()["events"] == 11


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_oversized_body_gets_no_answer(encoding: str, server: DevServer, raw: httpx.Client) -> None:
    """For a body over 32 MiB, such as a gzip bomb, the server closes the connection. It never answers 413."""
    body = bytes(MAX_BYTES + 1)
    body = gzip.compress(body, compresslevel=1) if encoding == "gzip" else body
    with pytest.raises(httpx.TransportError):
        raw.post("/bulk", content=body, headers={"Content-Encoding": encoding})
    assert raw.post("/bulk", json=[custom()]).status_code == 202
    status = server.status()
    if not hasattr(urllib3.HTTPResponse, "shutdown"):  # clients of other tests cannot close their streams at once
        status["streams"] = 0
    assert status == {
        "streams": 0,
        "events": 1,
        "payloads": 1,
        "duplicatePayloads": 0,
        "refusedPayloads": 1,
        "droppedEvents": 0,
    }


def test_client_that_disconnects(server: DevServer, raw: httpx.Client) -> None:
    """If a client disconnects during a payload, nothing of it is stored."""

    def half() -> Iterator[bytes]:
        yield b'[{"kind": "custom"'
        raise InterruptedError

    with pytest.raises(InterruptedError):
        raw.post("/bulk", content=half())
    assert raw.post("/bulk", json=[custom()]).status_code == 202
    assert server.status()["events"] == 1


def test_waiting_ends(server: DevServer, raw: httpx.Client) -> None:
    """Waiting returns the events, or an error with the number of events that have arrived."""
    raw.post("/bulk", json=[custom(configKey="chat"), custom("other")])
    assert len(server.wait_for(lambda events: any(event["key"] == "other" for event in events))) == 2
    with pytest.raises(
        TimeoutError, match=r"3 events with {'config_key': 'chat'} did not arrive .* 1 have arrived, 2 of"
    ):
        server.wait_for(3, timeout=0.01, config_key="chat")
    with pytest.raises(TimeoutError, match="the expected events with any content"):
        server.wait_for(lambda events: False, timeout=0.01)


def test_unknown_filter_is_refused(server: DevServer) -> None:
    """An unknown filter is an error."""
    with pytest.raises(TypeError, match="cannot be filtered by configkey, only by kind, key, config_key, run_id"):
        server.events(configkey="chat")


def test_events_can_be_read_over_http(raw: httpx.Client, server: DevServer) -> None:
    """Events are listed oldest first, with filters and in pages, and can be deleted."""
    events = [custom(runId=str(number), configKey="chat") for number in range(5)]
    raw.post("/bulk", json=events)
    page = raw.get("/dev/events", params={"limit": 2, "config_key": "chat"}).json()
    assert page["events"] == events[:2]
    rest = raw.get("/dev/events", params={"since": page["last"]}).json()
    assert rest["events"] == events[2:]
    assert raw.get("/dev/events", params={"since": rest["last"]}).json() == {"events": [], "last": rest["last"]}
    assert raw.get("/dev/events", params={"run_id": "3"}).json()["events"] == [events[3]]
    for wrong in ("x", "-1", str(10**23), "9" * 5000):
        assert raw.get("/dev/events", params={"since": wrong}).status_code == 400
    assert raw.get("/dev/events", params={"limit": -1}).json()["events"] == []
    assert raw.delete("/dev/events", params={"key": "k"}).status_code == 400
    assert len(server.events()) == 5
    assert raw.delete("/dev/events").status_code == 204
    assert server.events() == []


def test_totals_count_and_sum(raw: httpx.Client, server: DevServer) -> None:
    """Totals have count and sum per AI Config, variation and key."""
    tokens = [{**custom("$ld:ai:tokens:input", configKey="chat", variationKey="v"), "metricValue": n} for n in (5, 7)]
    raw.post("/bulk", json=[*tokens, custom("$ld:ai:usage:completion-config")])
    expected = [
        {"configKey": None, "variationKey": "", "key": "$ld:ai:usage:completion-config", "count": 1, "sum": 1},
        {"configKey": "chat", "variationKey": "v", "key": "$ld:ai:tokens:input", "count": 2, "sum": 12},
    ]
    assert server.totals() == expected
    assert raw.get("/dev/totals").json() == {"totals": expected}


def test_database_outlives_the_server(tmp_path: Path) -> None:
    """Events in a file can be read by the next server and by any SQLite client. A retry is still a duplicate."""
    path = tmp_path / "events.db"
    payload = {"headers": {"X-LaunchDarkly-Payload-ID": str(uuid.uuid4())}, "json": [custom(configKey="chat")]}
    for duplicates in (0, 1):
        with DevServer(FLAGS, db=path) as server:
            httpx.post(f"{server.url}/bulk", trust_env=False, **payload)  # type: ignore[arg-type]
            assert server.status()["duplicatePayloads"] == duplicates
            assert server.events() == [custom(configKey="chat")]
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT kind, key, config_key, variation_key, metric_value FROM events").fetchall()
    connection.close()
    assert rows == [("custom", "$ld:ai:generation:success", "chat", "", 1)]


def test_foreign_database_is_refused(tmp_path: Path) -> None:
    """A file that is not a database, or that a newer version wrote, is not changed."""
    text, other = tmp_path / "notes.txt", tmp_path / "other.db"
    text.write_text("no database" * 100)
    connection = sqlite3.connect(other)
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(sqlite3.DatabaseError, match="not a database"), DevServer(FLAGS, db=text):
        pass
    with pytest.raises(sqlite3.DatabaseError, match="its schema has version 7"), DevServer(FLAGS, db=other):
        pass


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    """A file with tables that are not the server's, such as one of votes, is refused and not changed."""
    path = tmp_path / "votes.db"
    SQLiteStore(str(path))
    before = path.read_bytes()
    with pytest.raises(sqlite3.DatabaseError, match="another program has made it"), DevServer(FLAGS, db=path):
        pass
    assert path.read_bytes() == before


def post_event(server: DevServer) -> int:
    """Post an event and return the status."""
    return httpx.post(f"{server.url}/bulk", json=[custom()], trust_env=False, timeout=20).status_code


def test_a_locked_database(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """While another program has locked the file, events get 503, and a line of the log says so."""
    path = tmp_path / "events.db"
    with DevServer(FLAGS, db=path) as server, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert post_event(server) == 503
        other.execute("COMMIT")
        assert post_event(server) == 202
    assert "database is locked. They get HTTP 503" in caplog.text
    assert "Close the program that has locked the file. This is logged once." in caplog.text


@pytest.mark.skipif(sys.platform == "win32", reason="Windows deletes no open files")
def test_a_deleted_database(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """After the file was deleted, or replaced by another, events get 503, and a line of the log says so."""
    path = tmp_path / "events.db"
    with DevServer(FLAGS, db=path) as server:
        assert post_event(server) == 202
        path.unlink()
        assert post_event(server) == 503
        path.touch()
        assert post_event(server) == 503
        assert server.status()["events"] == 1
    assert caplog.text.count("the file was deleted or replaced") == 1
    assert "Start the server again. This is logged once." in caplog.text


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other permissions")
def test_only_the_user_reads_a_new_database(tmp_path: Path) -> None:
    """A new database, and each file that SQLite writes beside it, can be read by its user only."""
    with DevServer(FLAGS, db=tmp_path / "events.db") as server:
        httpx.post(f"{server.url}/bulk", json=[custom(configKey="chat")], trust_env=False)
        modes = {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("events.db", "events.db-wal", "events.db-shm"), "0o600")


def test_a_database_with_code_is_refused(tmp_path: Path) -> None:
    """A database with triggers or views, which could change events or never end, is an error at the start."""
    path = tmp_path / "events.db"
    with DevServer(FLAGS, db=path):
        pass
    connection = sqlite3.connect(path)
    connection.execute("CREATE TRIGGER lose AFTER INSERT ON events BEGIN DELETE FROM events; END")
    connection.close()
    with pytest.raises(sqlite3.DatabaseError, match="it has triggers or views"), DevServer(FLAGS, db=path):
        pass
