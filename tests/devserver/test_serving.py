"""Real LaunchDarkly clients get their flags from the dev server."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from inspect import signature
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from ldclient import Context
from ldclient.hook import EvaluationSeriesContext, Hook, Metadata

from ..waiting import eventually
from .samples import CHAT, FLAGS, Json, edited

if TYPE_CHECKING:
    import httpx
    from ldclient import LDClient

    from ldai_integrations.devserver import DevServer

    from .conftest import Connect, Serve

ADA = Context.create("ada")
PREMIUM = Context.builder("bob").set("plan", "premium").build()


def served(client: LDClient, context: Context = ADA, key: str = "chat") -> Any:
    """Return the variation that a client serves; ``None`` if it does not know the flag."""
    value = client.variation(key, context, None)
    return value and value["_ldMeta"]["variationKey"]


def changes_of(client: LDClient) -> threading.Event:
    """Return an event that is set at the client's next flag change."""
    seen = threading.Event()
    client.flag_tracker.add_listener(lambda _: seen.set())
    return seen


def unversioned(payload: Json) -> Json:
    """Return the flags of a payload without their versions, which depend on earlier tests."""
    return {key: {**flag, "version": None} for key, flag in payload["flags"].items()}


def test_streaming_client_evaluates_rules(server: DevServer, connect: Connect) -> None:
    """A streaming client is initialised and evaluates targeting rules."""
    client = connect(server)
    assert client.is_initialized()
    assert (served(client), served(client, PREMIUM)) == ("small", "large")


def test_polling_client_gets_the_same(server: DevServer, connect: Connect) -> None:
    """A polling client gets the same flags."""
    client = connect(server, stream=False)
    assert client.is_initialized()
    assert (served(client), served(client, PREMIUM)) == ("small", "large")


def test_newer_protocol_falls_back(server: DevServer, connect: Connect) -> None:
    """A client with the newer flag delivery protocol falls back to the first one."""
    datasystem = pytest.importorskip("ldclient.datasystem", reason="this SDK speaks the first protocol only")
    client = connect(server, datasystem_config=datasystem.default().build())
    assert client.is_initialized()
    assert served(client) == "small"


def test_change_is_pushed(server: DevServer, connect: Connect) -> None:
    """A change reaches every client within a second."""
    clients = [connect(server) for _ in range(3)]
    seen = [changes_of(client) for client in clients]
    server.set_flags(edited(on=False))
    assert all(event.wait(1) for event in seen)
    assert [served(client) for client in clients] == ["disabled"] * 3


def test_deleted_flag_vanishes_and_can_return(server: DevServer, connect: Connect) -> None:
    """A deletion reaches clients, and the flag can return with a higher version."""
    client = connect(server)
    seen = changes_of(client)
    server.set_flags({"flags": {}})
    assert seen.wait(1)
    assert served(client) is None
    seen.clear()
    server.set_flags(FLAGS)
    assert seen.wait(1)
    assert served(client) == "small"


def test_several_changes_arrive_as_one(server: DevServer, connect: Connect) -> None:
    """Changes of several flags are sent together, so that no client gets only some of them."""
    client = connect(server)
    seen = changes_of(client)
    server.set_flags({"flags": {"other": {**CHAT, "key": "other"}}})
    assert seen.wait(1)
    assert (served(client), served(client, key="other")) == (None, "small")


def test_segment_change_is_pushed(server: DevServer, connect: Connect) -> None:
    """A change of a segment changes what its members get."""
    clause = {"attribute": "", "op": "segmentMatch", "values": ["beta"]}
    flags = edited(rules=[{"variation": 2, "clauses": [clause]}])
    server.set_flags({**flags, "segments": {"beta": {"key": "beta", "version": 1, "included": []}}})
    client = connect(server)
    assert served(client) == "small"
    seen = changes_of(client)
    server.set_flags({**flags, "segments": {"beta": {"key": "beta", "version": 1, "included": ["ada"]}}})
    assert seen.wait(1)
    assert served(client) == "large"


@pytest.mark.usefixtures("refusals")
def test_client_finds_the_server_again(server: DevServer, connect: Connect) -> None:
    """A client whose first connection gets 503 connects again."""
    server.inject("/all", status=503)
    assert served(connect(server)) == "small"


def test_environment_id_reaches_hooks(server: DevServer, connect: Connect) -> None:
    """The SDK's hooks receive the dev server's environment id."""

    if "environment_id" not in signature(EvaluationSeriesContext).parameters:
        pytest.skip("this SDK does not tell its hooks")
    found: list[str | None] = []

    class Recorder(Hook):
        @property
        def metadata(self) -> Metadata:
            return Metadata("recorder")

        def before_evaluation(self, series_context: EvaluationSeriesContext, data: Any) -> Any:
            found.append(series_context.environment_id)
            return data

        def after_evaluation(self, series_context: EvaluationSeriesContext, data: Any, detail: Any) -> Any:
            return data

    served(connect(server, hooks=[Recorder()]))
    assert found == ["ldai-dev"]


@pytest.mark.usefixtures("refusals")
def test_wrong_sdk_key_is_refused(serve: Serve, connect: Connect) -> None:
    """A server with an SDK key answers 401 to any other key."""
    server = serve(FLAGS, sdk_key="sdk-right")
    provider = connect(server, sdk_key="sdk-wrong", start_wait=0).data_source_status_provider
    assert eventually(lambda: provider.status.error is not None and provider.status.error.status_code == 401)
    assert connect(server, sdk_key="sdk-right").is_initialized()


def test_poll_is_not_repeated(raw: httpx.Client, server: DevServer) -> None:
    """A poll with the current ETag gets 304 without a body. After a change, it gets the flags."""
    first = raw.get("/sdk/latest-all")
    assert unversioned(first.json()) == unversioned(FLAGS)
    again = raw.get("/sdk/latest-all", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    server.set_flags(edited(on=False))
    assert raw.get("/sdk/latest-all", headers={"If-None-Match": first.headers["ETag"]}).status_code == 200


def test_poll_is_zipped_on_request_only(raw: httpx.Client) -> None:
    """The body is compressed if the client accepts it."""
    with raw.stream("GET", "/sdk/latest-all", headers={"Accept-Encoding": "gzip"}) as answer:
        zipped = b"".join(answer.iter_raw())
    assert answer.headers["Content-Encoding"] == "gzip"
    assert unversioned(json.loads(gzip.decompress(zipped))) == unversioned(FLAGS)
    assert "Content-Encoding" not in raw.get("/sdk/latest-all", headers={"Accept-Encoding": "identity"}).headers


def test_stream_is_chunked_and_says_put_first(raw: httpx.Client) -> None:
    """The stream consists of chunked server-sent events and begins with all flags."""
    with raw.stream("GET", "/all") as answer:
        lines = answer.iter_lines()
        assert next(lines) == "event: put"
        assert unversioned(json.loads(next(lines).removeprefix("data: "))["data"]) == unversioned(FLAGS)
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert answer.headers["X-LD-EnvID"] == "ldai-dev"


def test_versions_only_grow(raw: httpx.Client, server: DevServer) -> None:
    """Each change increases the version, even if the file has the same or a lower one."""
    versions = []
    for on in (False, True, False):
        server.set_flags(edited(on=on, version=1))
        versions.append(raw.get("/sdk/latest-all").json()["flags"]["chat"]["version"])
    server.set_flags(edited(on=False, version=1))
    versions.append(raw.get("/sdk/latest-all").json()["flags"]["chat"]["version"])
    assert versions[0] < versions[1] < versions[2] == versions[3]


def test_abrupt_disconnects_are_forgotten(server: DevServer) -> None:
    """Streams of clients that disconnect are closed; others continue."""
    address = urlsplit(server.url)
    sockets = [socket.create_connection((address.hostname, address.port)) for _ in range(20)]
    for connection in sockets:
        connection.sendall(b"GET /all HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with connection.makefile("rb") as answer:
            while answer.readline() != b"event: put\n":
                pass
    assert server.status()["streams"] >= 20
    for connection in sockets:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
    assert eventually(lambda: server.status()["streams"] == 0)


def test_comments_during_silence(raw: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream without changes sends comments."""
    monkeypatch.setattr("ldai_integrations.devserver._flags.HEARTBEAT_SECONDS", 0.01)
    with raw.stream("GET", "/all") as answer:
        lines = list(islice(answer.iter_lines(), 6))
    assert lines[0] == "event: put"
    assert lines[2:] == ["", ":", "", ":"]
