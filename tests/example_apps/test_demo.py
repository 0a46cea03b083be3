"""The demo as a command, with real processes."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from http.client import HTTPConnection
from io import StringIO
from typing import TYPE_CHECKING, NoReturn

import pytest
from rich.console import Console

from ldai_integrations import cli
from ldai_integrations._example_apps.demo import demonstrate as demo
from ldai_integrations._example_apps.demo import services, show
from ldai_integrations._example_apps.demo.plan import PLAN
from ldai_integrations._example_apps.demo.services import ROOT, ServiceError, Services, local_environ, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ldai_integrations._example_apps.demo.check import Report

    from .conftest import Stage

STATIC = ["http.server", "--bind", "127.0.0.1", "{port}"]  # starts quickly, in the place of the apps
KEYS = {**os.environ, "LAUNCHDARKLY_SDK_KEY": "sdk-none", "OPENAI_API_KEY": "sk-none"}


@pytest.fixture
def console() -> Console:
    """Return a console that stores its text."""
    return Console(file=StringIO(), width=200)


def text_of(console: Console) -> str:
    """Return the printed text."""
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def is_listening(address: str) -> bool:
    """Return whether a server accepts connections."""
    host, _, port = address.partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def test_demo_from_start_to_ctrl_c() -> None:
    """The demo finds no difference, prints addresses and a curl command that work, and stops cleanly on Ctrl-C."""
    environ = {name: value for name, value in os.environ.items() if name != "LAUNCHDARKLY_SDK_KEY"}
    command = [sys.executable, "-m", "ldai_integrations", "demo", "--serve"]
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = []
        for line in process.stdout:
            printed.append(line)
            if "Ctrl-C" in line:
                break
        output = "".join(printed)
        try:
            assert "Everything agrees." in output, output
            addresses = {word.split("/")[2] for word in output.split() if word.startswith("http://")}
            assert len(addresses) == 3
            assert all(map(is_listening, addresses))
            curl = shlex.split(next(line for line in printed if line.startswith("curl")))
            answer = post(curl[2], body=curl[-1])
            assert "data: [DONE]\n\nevent: feedback\n" in answer
        finally:
            process.send_signal(signal.SIGINT)
            time.sleep(0.1)
            process.send_signal(signal.SIGINT)  # somebody is impatient
        assert process.wait(30) == 0
        assert process.stdout.read().strip() == "Stopping."
    assert not any(map(is_listening, addresses))


def post(url: str, body: str) -> str:
    """Send the same request as the curl command."""
    _, _, address, path = url.split("/", 3)
    connection = HTTPConnection(address, timeout=10)
    try:
        connection.request("POST", f"/{path}", body, {"Content-Type": "application/json", "X-User": "ada"})
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def test_difference_makes_the_check_fail(stage: Stage, console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check waits for a missing figure, and then prints a difference."""
    monkeypatch.setattr(demo, "ARRIVAL_SECONDS", 0.1)
    exchanges = stage.send(PLAN[0], apps=["Flask"])
    exchanges[0].run_id = "another"
    differences = demo.check(console, stage.services, exchanges)
    assert any(text.startswith(f"Flask, {PLAN[0].title}: runs is 0, must be 1") for text in differences)
    assert f"{len(differences)} differences." in text_of(console)


@pytest.mark.parametrize("width", [30, 200])
def test_figures_on_a_narrow_terminal(width: int, report: Report) -> None:
    """Every figure can be read, however narrow the terminal is."""
    console = Console(file=StringIO(), width=width)
    show.print_table(console, report)
    text = text_of(console)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for variation, cost in report.costs.items():
        assert text.count(f"${cost:.6f}") == 1
        assert all(name in text for name in variation)


def test_live_services_get_only_possible_steps(stage: Stage, console: Console) -> None:
    """Without a model server, steps that need it are not sent, and the answers are still checked."""
    exchanges = demo.send(console, Services(stage.services.apps))
    assert len(exchanges) == 2 * sum("#" not in (step.question or "") for step in PLAN)
    assert demo.check_live(console, exchanges) == []
    assert "Every answer is as expected." in text_of(console)
    exchanges[0].status = 500
    assert demo.check_live(console, exchanges) == [f"Flask, {PLAN[0].title}: status 500 instead of 200"]


def test_live_services_need_both_keys(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without one of the keys, --live is an error that names it."""
    monkeypatch.setattr(os, "environ", {**KEYS, "LAUNCHDARKLY_SDK_KEY": ""})
    assert cli.main(["demo", "--live"]) == 2
    assert "--live needs LAUNCHDARKLY_SDK_KEY" in capsys.readouterr().err


def test_keys_alone_use_no_paid_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --live, the demo starts its own servers, whatever keys are set."""
    for name in ("FLASK", "FASTAPI"):
        monkeypatch.setattr(services, name, STATIC)
    with running(tmp_path, KEYS) as started:
        assert is_listening(started.dev_server)
        assert is_listening(started.model_server)


@pytest.mark.parametrize("live", [False, True])
def test_settings_of_the_user_are_left_out(live: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The apps get none of the user's settings of the library, which would change the figures."""
    monkeypatch.setattr(services, "FASTAPI", STATIC)
    (tmp_path / "environ.py").write_text(
        "import os, runpy; print(sorted(name for name in os.environ if name.startswith('LDAI_')), flush=True);"
        "runpy.run_module('http.server', run_name='__main__')"
    )
    monkeypatch.setattr(services, "FLASK", ["environ", *STATIC[1:]])
    environ = {**KEYS, "LDAI_CANCELLED_AS": "error", "LDAI_DEV_SERVER": "http://127.0.0.1:9"}
    with running(tmp_path, environ, live=live):
        first = (tmp_path / "flask.log").read_text().splitlines()[0]
    assert first == str([] if live else ["LDAI_DEV_SERVER", "LDAI_FLUSH"])


def test_local_apps_use_local_servers_only() -> None:
    """The user's keys and proxies are not used with the local servers."""
    environ = local_environ({"LAUNCHDARKLY_SDK_KEY": "sdk-1", "PATH": "/bin"}, "127.0.0.1:1", "127.0.0.1:2")
    assert environ == {
        "PATH": "/bin",
        "LDAI_DEV_SERVER": "http://127.0.0.1:1",
        "OPENAI_BASE_URL": "http://127.0.0.1:2/v1",
        "OPENAI_API_KEY": "not-needed",
        "LDAI_FLUSH": "request",
        "no_proxy": "127.0.0.1",
        "NO_PROXY": "127.0.0.1",
    }


def test_error_stops_every_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an error, all processes are stopped."""
    monkeypatch.setattr(services, "FLASK", STATIC)
    monkeypatch.setattr(services, "FASTAPI", STATIC)
    block = running(tmp_path, KEYS, live=True)
    started = block.__enter__()
    assert all(map(is_listening, started.apps.values()))
    assert not block.__exit__(ZeroDivisionError, ZeroDivisionError(), None)
    assert not any(map(is_listening, started.apps.values()))


def test_process_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ignores SIGTERM is killed."""
    ignore = "import runpy, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    (tmp_path / "stubborn.py").write_text(f"{ignore}; runpy.run_module('http.server', run_name='__main__')")
    monkeypatch.setattr(services, "FLASK", ["stubborn", *STATIC[1:]])
    monkeypatch.setattr(services, "FASTAPI", STATIC)
    monkeypatch.setattr(services, "STOP_SECONDS", 0.2)
    with running(tmp_path, KEYS, live=True) as started:
        pass
    assert not is_listening(started.apps["Flask"])


def test_process_that_does_not_start_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error has the name of the process and its log."""
    monkeypatch.setattr(services, "FLASK", ["no_such_module"])
    monkeypatch.setattr(services, "FASTAPI", STATIC)
    with pytest.raises(ServiceError, match=r"(?s)The flask does not answer.*No module named no_such_module"):
        running(tmp_path, KEYS, live=True).__enter__()


@pytest.fixture
def static_apps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the command start simple servers, and restore the signal handlers afterwards."""
    monkeypatch.setattr(services, "FLASK", STATIC)
    monkeypatch.setattr(services, "FASTAPI", STATIC)
    monkeypatch.setattr(os, "environ", KEYS)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_exit_status_after_a_difference(static_apps: None, capsys: pytest.CaptureFixture[str]) -> None:
    """If the apps answer wrongly, the command prints it and fails."""
    assert cli.main(["demo", "--live"]) == 1
    assert "status 501 instead of 200" in capsys.readouterr().out


def test_exit_status_after_a_failed_start(
    static_apps: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """If an app cannot start, the command fails with a message, not with a traceback."""
    monkeypatch.setattr(services, "FASTAPI", ["no_such_module"])
    assert cli.main(["demo", "--live"]) == 1
    assert "The fastapi does not answer" in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_before_the_check(number: int, static_apps: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM or Ctrl-C while requests are sent stops all processes; the exit status is 130."""
    started: list[str] = []

    def send(_: Console, running: Services) -> NoReturn:
        started.extend(running.apps.values())
        os.kill(os.getpid(), number)
        pytest.fail("the signal did not arrive")

    monkeypatch.setattr(demo, "send", send)
    assert cli.main(["demo", "--live"]) == 130
    assert len(started) == 2
    assert not any(map(is_listening, started))
