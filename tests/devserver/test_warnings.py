"""Warnings of applications reach the dev server's page, and ``ldai doctor``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime

import httpx
import pytest
from ldclient import Config, LDClient

from ldai_integrations import Tracking, cli, track_ai
from ldai_integrations.devserver import DevServer

from ..conftest import EndProcess
from ..waiting import eventually
from .samples import FLAGS, variation

PROMPT = "You help the customers of {{shop}}."
CHAT = {
    **FLAGS["flags"]["chat"],
    "variations": [variation("small", model={"name": "gpt-4o-mini"}, messages=[{"role": "system", "content": PROMPT}])],
    "fallthrough": {"variation": 0},
    "rules": [],
}
REAL_KEY = "sdk-00000000-1111-2222-3333-444444444444"


@pytest.fixture
def chat() -> Iterator[DevServer]:
    """Serve an AI Config whose prompt has a variable."""
    with DevServer({"flags": {"chat": CHAT}}) as server:
        yield server


def kinds(server: DevServer) -> list[str]:
    """Return the kinds of the warnings on the page, the newest first."""
    before, page, answer = (
        httpx.get(f"{server.url}/dev/{path}", trust_env=False).json() for path in ("warnings", "monitor", "warnings")
    )
    if before != answer:  # a warning has just arrived; the page may have it or not
        return kinds(server)
    assert page["warnings"] == answer["warnings"]
    return [warning["kind"] for warning in answer["warnings"]]


def doctor(server: DevServer, capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, str]]:
    """Return the warnings of applications that ``ldai doctor`` prints, in order."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LDAI_DEV_SERVER", server.url)
        cli.main(["doctor", *arguments, "--json"])
    return [item for item in json.loads(capsys.readouterr().out) if item["about"] == "application"]


def test_a_missing_variable_is_on_the_page(chat: DevServer, capsys: pytest.CaptureFixture[str]) -> None:
    """The log line is shown once, without the prompt; ldai doctor prints it."""
    tracking = Tracking.from_env(environ={"LDAI_DEV_SERVER": chat.url})
    for _ in range(2):
        with track_ai("chat", tracking=tracking) as run:
            assert run.messages()[0]["content"] == "You help the customers of ."
            run.discard()
    assert eventually(lambda: kinds(chat) == ["variable"])
    assert tracking.stats().diagnostics["variable"] == 2
    tracking.close()

    [warning] = httpx.get(f"{chat.url}/dev/warnings", trust_env=False).json()["warnings"]
    assert "a variable {{shop}} that is not given" in warning["text"]
    assert "You help" not in warning["text"]
    found = doctor(chat, capsys)
    assert [item["level"] for item in found] == ["warning"]
    assert found[0]["text"].endswith(warning["text"])
    assert found[0]["remedy"] == "the page Troubleshooting explains 'variable'"


def test_the_doctor_shows_the_warnings_of_one_ai_config(capsys: pytest.CaptureFixture[str]) -> None:
    """With a key, those of all others are left out; the newest comes first, with its time."""
    lines = [
        "The prompt of AI Config 'chat' has a variable {{shop}} that is not given; it is left empty. Add it.",
        "A second Tracking was created, although one is open. Create one. Pass it on.",
        "No provider call was seen in a run of 'other', so its tokens are estimated. Wrap the client.",
        "AI Config 'nightly' is disabled, because there is no such AI Config in this environment; correct the key.",
        "The cost of 'chat' is unknown: its price is wrong",
    ]
    before = datetime.now().replace(microsecond=0)
    with DevServer({"flags": {"chat": CHAT, "other": {**CHAT, "key": "other"}}}) as server:
        for line in lines:
            httpx.post(f"{server.url}/dev/warnings", json={"kind": "price", "text": line}, trust_env=False)
        of_chat, of_all = doctor(server, capsys, "chat"), doctor(server, capsys)

    assert [item["text"].split(": ", 1)[1] for item in of_chat] == [lines[4], lines[1], lines[0]]
    for item in of_chat:
        assert before <= datetime.fromisoformat(item["text"].split(": ")[0]) <= datetime.now()
    assert ["'other'" in item["text"] for item in of_all] == [False, False, True, False, False]


def test_estimated_tokens_are_on_the_page(chat: DevServer) -> None:
    """A run without a provider call says that its tokens are estimated."""
    tracking = Tracking.from_env(environ={"LDAI_DEV_SERVER": chat.url})

    @track_ai("chat", tracking=tracking, variables={"shop": "Knits"})
    def answer() -> Iterator[str]:
        yield "It is on its way."

    assert list(answer())
    assert eventually(lambda: kinds(chat) == ["estimated"])
    tracking.close()


def test_a_dev_server_in_the_place_of_launchdarkly(
    fresh_process: EndProcess, chat: DevServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The key of a LaunchDarkly environment next to LDAI_DEV_SERVER is one warning in a process, without the key."""
    environ = {"LDAI_DEV_SERVER": chat.url, "LAUNCHDARKLY_SDK_KEY": REAL_KEY}
    tracking = Tracking.from_env(environ=environ)
    assert tracking.stats().diagnostics == {"dev_server": 1}
    assert eventually(lambda: kinds(chat) == ["dev_server"])
    tracking.close()
    Tracking.from_env(environ=environ).close()
    [line] = caplog.messages
    assert line.startswith("LDAI_DEV_SERVER is set, so LaunchDarkly is not used, although LAUNCHDARKLY_SDK_KEY has")
    assert REAL_KEY not in line


def test_a_file_that_is_not_used(fresh_process: EndProcess, chat: DevServer, caplog: pytest.LogCaptureFixture) -> None:
    """A dev server comes before a file of AI Configs, which is one warning."""
    environ = {"LDAI_DEV_SERVER": chat.url, "LDAI_CONFIG_FILE": "configs.json"}
    tracking = Tracking.from_env(environ=environ)
    assert tracking.stats().diagnostics == {"config_file": 1}
    tracking.close()
    [line] = caplog.messages
    assert line == (
        "LDAI_DEV_SERVER is set, so the AI Configs of the file in LDAI_CONFIG_FILE are not served. Unset "
        "LDAI_DEV_SERVER to use the file."
    )


@pytest.mark.parametrize("key", ["", "sdk-dev"])
def test_a_key_for_the_dev_server(key: str, chat: DevServer) -> None:
    """A key that is made up for the dev server causes no warning."""
    tracking = Tracking.from_env(environ={"LDAI_DEV_SERVER": chat.url, "LAUNCHDARKLY_SDK_KEY": key})
    assert tracking.stats().diagnostics == {}
    tracking.close()


@pytest.mark.parametrize(("needed", "key"), [("sdk-right", "sdk-right"), ("dev", "")])
def test_a_dev_server_with_a_key(needed: str, key: str) -> None:
    """A dev server that asks for the SDK key of the application gets its warnings."""
    with DevServer({"flags": {"chat": CHAT}}, sdk_key=needed) as server:
        tracking = Tracking.from_env(environ={"LDAI_DEV_SERVER": server.url, "LAUNCHDARKLY_SDK_KEY": key})
        with track_ai("chat", tracking=tracking) as run:
            run.messages()
            run.discard()
        assert eventually(lambda: kinds(server) == ["variable"])
        tracking.close()


def test_a_second_tracking(chat: DevServer, caplog: pytest.LogCaptureFixture) -> None:
    """A second Tracking.from_env() while the first is open is one warning; one after it has closed is none."""
    environ = {"LDAI_DEV_SERVER": chat.url}
    Tracking.from_env(environ=environ).close()
    first = Tracking.from_env(environ=environ)
    assert caplog.messages == []
    second = Tracking.from_env(environ=environ)
    assert [line.split(",")[0] for line in caplog.messages] == ["A second Tracking was created"]
    assert eventually(lambda: kinds(chat) == ["second_tracking"])
    assert [one.stats().diagnostics for one in (first, second)] == [{}, {"second_tracking": 1}]
    for tracking in (first, second):
        tracking.close()


def test_a_second_tracking_of_a_client(caplog: pytest.LogCaptureFixture) -> None:
    """Two Trackings of one client are one warning; two of different clients are none."""
    clients = [LDClient(Config("sdk", offline=True)) for _ in range(2)]
    trackings = [Tracking(client) for client in clients]
    assert caplog.messages == []
    trackings.append(Tracking(clients[0]))
    assert len(caplog.messages) == 1
    for tracking in trackings:
        tracking.close()
    for client in clients:
        client.close()


def test_warnings_are_limited(chat: DevServer) -> None:
    """The server keeps the newest 100 warnings, each once and shortened, until they are cleared."""
    with httpx.Client(base_url=chat.url, trust_env=False) as raw:
        for number in [*range(120), 119]:
            body = {"kind": "test", "text": f"{number} {'x' * 2000}"}
            assert raw.post("/dev/warnings", json=body).status_code == 204
        found = raw.get("/dev/warnings").json()["warnings"]
        assert [warning["text"].split()[0] for warning in found] == [str(number) for number in range(119, 19, -1)]
        assert {len(warning["text"]) for warning in found} == {1000}
        chat.clear()
        assert raw.get("/dev/warnings").json() == {"warnings": []}


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"kind": "a"}', b'{"kind": 1, "text": "a"}', b"[" * 10_000, b"x" * 70_000]
)
def test_other_bodies_are_refused(body: bytes, chat: DevServer) -> None:
    """Anything but a warning is a bad request."""
    answer = httpx.post(f"{chat.url}/dev/warnings", content=body, trust_env=False)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert kinds(chat) == []
