"""Only programs and pages of this machine get an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import httpx

    from ldai_integrations.devserver import DevServer

PATHS = [
    *("/dev/events", "/dev/status", "/dev/monitor", "/dev/monitor/live", "/dev/runs"),
    *("/all", "/sdk/latest-all", "/api/v2/projects/p/ai-configs/chat/metrics"),
    *("/", "/static/main.js"),
]
FOREIGN_HOSTS = [
    "evil.example",
    "evil.example:8765",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "192.168.0.10",
    "0.0.0.0",
    "evil@127.0.0.1",
    "127.0.0.1/evil",
    "127.0.0.1:port",
    "[::2]:80",
    "[::1",
    "[::1].evil.example",
    "evil.example[::1]",
    "[::1]evil.example:8765",
    "2130706433",
    "",
]


@pytest.mark.parametrize("path", PATHS)
def test_every_path_is_guarded(path: str, raw: httpx.Client) -> None:
    """No path answers a request with a foreign host name, which a page with DNS rebinding sends."""
    answer = raw.get(path, headers={"Host": "evil.example"})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_foreign_host_is_refused(host: str, raw: httpx.Client) -> None:
    """A Host header that is not a loopback name or address gets 403 with an explanation."""
    answer = raw.get("/dev/status", headers={"Host": host})
    assert answer.status_code == 403
    assert "loopback" in answer.json()["message"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8765", "127.0.0.1", "127.0.0.2:1", "[::1]:8765"])
def test_loopback_host_is_answered(host: str, raw: httpx.Client) -> None:
    """Loopback names and addresses are accepted with any port, which may be that of a tunnel."""
    assert raw.get("/dev/status", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:1", "null", "", "https://{host}"])
def test_foreign_origin_is_refused(origin: str, raw: httpx.Client, server: DevServer) -> None:
    """A page of another origin, even on another port of this machine, can neither post nor delete events."""
    host = server.url.removeprefix("http://")
    headers = {"Origin": origin.format(host=host)}
    raw.post("/bulk", json=[{"kind": "custom"}])
    assert raw.post("/bulk", json=[{"kind": "custom"}], headers=headers).status_code == 403
    assert raw.delete("/dev/events", headers=headers).status_code == 403
    assert raw.put("/dev/faults", json=[], headers=headers).status_code == 403
    assert len(server.events()) == 1


def test_a_second_origin_is_refused(raw: httpx.Client, server: DevServer) -> None:
    """A request with two Origin headers is not one of the server's own pages."""
    for second in ("http://evil.example", server.url):
        answer = raw.delete("/dev/events", headers=[("Origin", server.url), ("Origin", second)])
        assert answer.status_code == 403


def test_own_origin_is_answered_without_cors(raw: httpx.Client, server: DevServer) -> None:
    """The server's own pages are accepted, and no answer allows other origins."""
    answer = raw.delete("/dev/events", headers={"Origin": server.url})
    assert answer.status_code == 204
    assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/nothing", 404, "not_found"), ("POST", "/all", 405, "method_not_allowed")],
)
def test_unknown_paths_are_reported(method: str, path: str, status: int, code: str, raw: httpx.Client) -> None:
    """An unknown path or method gets an error in LaunchDarkly's format."""
    answer = raw.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert path in answer.json()["message"]
