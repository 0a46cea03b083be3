"""``ldai dev`` serves a flag file until a signal, or says why it cannot."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from ldai_integrations import cli
from ldai_integrations.devserver import DevServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

META = {"enabled": True, "variationKey": "brief", "version": 1, "mode": "completion"}
CHAT = {
    "key": "chat",
    "version": 1,
    "on": True,
    "fallthrough": {"variation": 0},
    "variations": [{"_ldMeta": META, "model": {"name": "gpt-4o-mini"}, "provider": {"name": "OpenAI"}, "messages": []}],
}


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    """Write a flag file."""
    path = tmp_path / "flags.json"
    path.write_text(json.dumps({"flags": {"chat": CHAT}}), encoding="utf-8")
    return path


@pytest.fixture
def started(configs: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the command in a separate process."""
    command = [sys.executable, "-m", "ldai_integrations", "dev", "--configs", str(configs), "--port", "0"]
    environment = {**os.environ, "http_proxy": "http://proxy.example:3128", "no_proxy": ""}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_dev_serves_until_a_signal(number: int, started: subprocess.Popen[str], configs: Path) -> None:
    """``ldai dev`` prints its address and AI Configs, logs an edit in one line, and exits with status 0."""
    assert started.stdout
    assert started.stderr
    url = started.stdout.readline().split()[-1]
    introduction = [started.stdout.readline().split() for _ in range(9)]
    assert introduction[0][-1] == f"LDAI_DEV_SERVER={url}"
    assert introduction[1][-1] == f"{url}/"
    assert introduction[5][:3] == ["note", "http_proxy", "is"]
    assert introduction[7] == ["chat", "completion", "brief"]
    assert list(httpx.get(f"{url}/sdk/latest-all", trust_env=False).json()["flags"]) == ["chat"]
    configs.write_text(json.dumps({"flags": {"chat": {**CHAT, "on": False}}}), encoding="utf-8")
    assert started.stdout.readline() == "flags.json: chat changed\n"
    started.send_signal(number)
    assert started.wait(20) == 0
    assert started.stderr.read() == ""


@pytest.mark.parametrize("is_installed", [True, False])
def test_list_prices(is_installed: bool, configs: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variation without prices has the list price of its model, if ``genai-prices`` is installed."""
    if is_installed:
        pytest.importorskip("genai_prices")
    else:
        monkeypatch.setitem(sys.modules, "genai_prices", None)
    found: list[Any] = []

    def end(server: DevServer) -> list[Any]:
        found.append(httpx.get(f"{server.url}/dev/monitor", trust_env=False).json()["configs"][0])
        os.kill(os.getpid(), signal.SIGTERM)
        return []

    monkeypatch.setattr(DevServer, "ai_configs", property(end))
    assert cli.main(["dev", "--configs", str(configs), "--port", "0"]) == 0

    [config] = found
    assert config["prices"] == ({"brief": {"input": 1.5e-7, "output": 6e-7}} if is_installed else {})
    assert config["listPriced"] == (["brief"] if is_installed else [])
    assert ("list prices of genai-prices" in capsys.readouterr().out) == is_installed


def test_dev_in_this_process(
    configs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command can be called from Python, and restores the signal handlers."""
    former = signal.getsignal(signal.SIGTERM)

    def end(_server: DevServer) -> list[Any]:
        os.kill(os.getpid(), signal.SIGTERM)
        return []

    monkeypatch.setattr(DevServer, "ai_configs", property(end))
    monkeypatch.delenv("http_proxy", raising=False)
    assert cli.main(["dev", "--configs", str(configs), "--port", "0", "--db", str(configs.with_suffix(".db"))]) == 0
    assert signal.getsignal(signal.SIGTERM) is former
    output = capsys.readouterr().out
    assert "flags.db" in output
    assert "http_proxy" not in output


def test_a_signal_waits_for_no_lock(configs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal may interrupt the main thread while it holds a lock, so its handler must not set an event."""
    set_event = threading.Event.set

    def set_elsewhere(event: threading.Event) -> None:
        assert threading.current_thread() is not threading.main_thread()
        set_event(event)

    def end(_server: DevServer) -> list[Any]:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Event, "set", set_elsewhere)
            os.kill(os.getpid(), signal.SIGTERM)
        return []

    monkeypatch.setattr(DevServer, "ai_configs", property(end))
    assert cli.main(["dev", "--configs", str(configs), "--port", "0"]) == 0


def failure(capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    """Run the command, which must fail with status 2, and return its message."""
    assert cli.main(["dev", *map(str, arguments)]) == 2
    output, message = capsys.readouterr()
    assert output == ""
    return message


def test_bad_file_is_reported(configs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If a file cannot be served, the message names the file, the flag and the field; the status is 2."""
    configs.write_text(json.dumps({"flags": {"chat": {**CHAT, "version": "1"}}}), encoding="utf-8")
    said = f"ldai: {configs.name}: flag 'chat': version must be an integer, not \"1\"\n"
    assert failure(capsys, "--configs", configs) == said
    configs.write_text("[]", encoding="utf-8")
    assert failure(capsys, "--configs", configs).startswith(f"ldai: {configs.name}: must be an object with ")
    configs.write_text("{", encoding="utf-8")
    assert failure(capsys, "--configs", configs).startswith(f"ldai: {configs.name}: is not JSON: ")
    assert "nowhere.json does not exist; write a file with `ldai init nowhere.json`" in failure(
        capsys, "--configs", "nowhere.json"
    )


def test_taken_port_is_reported(configs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If the port is already in use, the message says what to do."""
    with socket.create_server(("127.0.0.1", 0)) as socket_in_use:
        port = socket_in_use.getsockname()[1]
        message = failure(capsys, "--configs", configs, "--port", port)
    assert message.startswith(f"ldai: 127.0.0.1 port {port}: ")
    assert message.endswith("choose another with --port\n")


def test_other_hosts_are_refused(configs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An address that other machines can reach is refused."""
    assert "'0.0.0.0' is not a loopback address" in failure(capsys, "--configs", configs, "--host", "0.0.0.0")


def test_bad_database_is_reported(configs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If a database cannot be used, the message has its name."""
    assert f"{configs} cannot store the events: file is not a database" in failure(
        capsys, "--configs", configs, "--port", 0, "--db", configs
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no files")
def test_a_full_disk(configs: Path) -> None:
    """While the disk is full, payloads get 503, and one line says so. The server answers other requests."""
    database = configs.with_suffix(".db")
    server = [sys.executable, "-m", "ldai_integrations", "dev", "--configs", str(configs), "--port", "0"]
    command = ["sh", "-c", 'ulimit -f 400; exec "$@"', "sh", *server, "--db", str(database)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().split()[-1]
            events = [{"kind": "custom", "key": "x" * 10_000}]
            answers = [httpx.post(f"{url}/bulk", json=events, trust_env=False) for _ in range(30)]
            flags = httpx.get(f"{url}/sdk/latest-all", trust_env=False)
        finally:
            process.terminate()
        output, errors = process.communicate(timeout=20)
    assert (answers[0].status_code, answers[-1].status_code, flags.status_code) == (202, 503, 200), output + errors
    assert answers[-1].json()["message"].startswith("the database cannot be used: ")
    assert errors == ""
    [line] = [line for line in output.splitlines() if "cannot store" in line]
    assert line.startswith(f"{database} cannot store the events: ")
    assert line.endswith("Free some space. This is logged once.")


def test_missing_extra_is_reported(
    configs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the server's dependencies, the message says what to install."""
    monkeypatch.setitem(sys.modules, "ldai_integrations.devserver", None)
    assert "pip install 'ldai-integrations[dev]'" in failure(capsys, "--configs", configs)
