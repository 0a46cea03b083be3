"""What all commands have in common: arguments, outputs that cannot be written, shell completion, and widths."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from ldai_integrations import __version__, cli
from ldai_integrations.devserver import DevServer

from ..metrics.answers import API, FULL, Answer
from .terminal import ROOT, run_on_a_terminal

COMMAND = [sys.executable, "-m", "ldai_integrations"]
COMMANDS = ("demo", "init", "pull", "dev", "metrics", "doctor", "encodings", "completion")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other pipes")
@pytest.mark.parametrize(
    "arguments",
    [
        *(["--help"], ["metrics", "--help"], ["metrics", "chat"], ["metrics", "chat", "--json"], ["doctor"]),
        *(["demo"], ["encodings", "list"], ["dev", "--port", "0"]),
    ],
)
def test_a_pipe_that_closes_early(arguments: list[str], dev_server: DevServer) -> None:
    """A reader that has read enough, such as ``head -1``, ends the command as SIGPIPE does, without a message."""
    environment = {**os.environ, "LDAI_DEV_SERVER": dev_server.url, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [*COMMAND, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) in ((0, 141) if "--help" in arguments else (141,))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("arguments", [["metrics", "chat"], ["metrics", "chat", "--json"], ["dev", "--port", "0"]])
def test_a_disk_that_is_full(arguments: list[str], dev_server: DevServer) -> None:
    """If the output cannot be written, the message says so, and the status is that of a command that could not run."""
    environment = {**os.environ, "LDAI_DEV_SERVER": dev_server.url, "PYTHONPATH": str(ROOT)}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, *arguments], env=environment, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (
        2,
        "ldai: standard output cannot be written: No space left on device\n",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dev", "--sdk-key", ""], "argument --sdk-key: must not be empty"),
        (["dev", "--configs", ""], "argument --configs: must not be empty"),
        (["dev", "--db", ""], "argument --db: must not be empty"),
        (["init", ""], "argument FILE: must not be empty"),
        (["pull", "chat", "--output", ""], "argument --output: must not be empty"),
        (["pull", "\udcff"], "argument KEY: '\\udcff' is not text in UTF-8"),
        (["metrics", "\udcff"], "argument KEY: '\\udcff' is not text in UTF-8"),
    ],
)
def test_arguments_that_cannot_be_used(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An argument that is empty, such as an unset variable, or not UTF-8 is refused by its name."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)

    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(f"error: {message}\n")


@pytest.mark.parametrize("arguments", [[], ["dev", "--configs", "x", "--port", "70000"]])
def test_wrong_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """With wrong arguments, the command prints the usage and exits with status 2."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)

    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: ldai")


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    """``ldai --version`` prints the version of the package."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])

    assert ended.value.code == 0
    assert capsys.readouterr().out == f"ldai-integrations {__version__}\n"


@pytest.mark.parametrize("command", ["pull", "metrics"])
def test_a_project_that_is_not_utf_8(command: str, api: API, capsys: pytest.CaptureFixture[str]) -> None:
    """Bytes in a variable of the environment that are not UTF-8 are refused by its name."""
    assert cli.main([command, "chat", "--project", "\udcff"]) == 2
    assert "--project or LAUNCHDARKLY_PROJECT_KEY is not text in UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("arguments", [["doctor"], ["doctor", "--help"], ["pull", "--help"]])
def test_an_output_that_is_not_utf_8(arguments: list[str], encoding: str) -> None:
    """A character that the encoding of the output does not have is written with an escape."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "0", "PYTHONIOENCODING": encoding}
    environment = {name: value for name, value in environment.items() if not name.startswith(("LDAI_", "LAUNCHD"))}
    done = subprocess.run([*COMMAND, *arguments], env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0 if "--help" in arguments else 1, b"")
    if arguments == ["doctor"]:
        assert b"\\u2192 " in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such redirection")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_output(closed: str) -> None:
    """If standard output or standard error is closed, the command runs all the same."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", *COMMAND, "--version"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("arguments", [["pull", "chat"], ["metrics", "chat"], ["demo"]])
def test_ctrl_c(arguments: list[str]) -> None:
    """Ctrl-C ends a command that waits, or that is still being imported, with one line and status 130."""
    code = "import os, signal, sys; from ldai_integrations import cli; {}; sys.exit(cli.main(sys.argv[1:]))"
    importing = "sys.meta_path.insert(0, type('Interrupt', (), {'find_spec': lambda *_: signal.raise_signal(2)}))"
    command = [sys.executable, "-c", code.format(importing if arguments == ["demo"] else "0"), *arguments]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "LAUNCHDARKLY_API_HOST": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "LAUNCHDARKLY_ACCESS_TOKEN": "api-secret",
            "LAUNCHDARKLY_PROJECT_KEY": "shop",
            "LAUNCHDARKLY_ENVIRONMENT_KEY": "production",
        }
        environment.pop("LDAI_DEV_SERVER", None)
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            if arguments != ["demo"]:
                with silent.accept()[0] as request:
                    request.recv(1)
                    process.send_signal(signal.SIGINT)
                    process.wait(60)
            output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (130, "", "Stopped.\n")


@pytest.mark.parametrize("command", [[], ["metrics"], ["doctor"], ["demo"]])
def test_help_lists_the_statuses(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The lists of exit statuses in the help, which all commands share or have of their own, are complete."""
    with pytest.raises(SystemExit):
        cli.main([*command, "--help"])
    listed = re.findall(r"^  (\d+)  ", capsys.readouterr().out, re.MULTILINE)
    assert listed == ["0", "1", "2", "130", "141"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_80_columns(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No line of a help is longer than a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])

    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
@pytest.mark.parametrize("no_color", ["", "1"])
def test_the_table_on_a_terminal(no_color: str, dev_server: DevServer) -> None:
    """The table of metrics is as wide as the terminal at most, and has no colours if NO_COLOR is set."""
    environ = {"NO_COLOR": no_color, "COLUMNS": "40", "LDAI_DEV_SERVER": dev_server.url}
    text = run_on_a_terminal(["metrics", "chat", "--by-variation"], environ)
    assert not re.search(r"\x1b\[[\d;]*3\d", text)
    plain = re.sub(r"\x1b\[[\d;]*m", "", text)
    assert "chat" in plain
    assert max(map(len, plain.splitlines())) <= 40


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
@pytest.mark.parametrize("columns", [24, 44])
def test_numbers_on_a_narrow_terminal(columns: int, api: API) -> None:
    """If the terminal is too narrow for the table, each variation is a block, and no number is broken."""
    figures = {**FULL, "inputTokens": 123_456_789, "inputCost": 1234.367068}
    api.will_answer(figures, [{"variationKey": name, "metrics": figures} for name in ("small", "large")])
    text = run_on_a_terminal(["metrics", "chat", "--by-variation"], {"NO_COLOR": "1", "COLUMNS": str(columns)})
    plain = re.sub(r"\x1b\[[\d;]*m", "", text)
    assert max(map(len, plain.splitlines())) <= columns
    assert [plain.count(number) for number in ("123,456,789", "$1,234.367068")] == [3, 3]
    assert [line for line in plain.splitlines() if line in ("all", "small", "large")] == ["all", "small", "large"]


_HOSTILE = "[/red]\x1b]0;x\x07\u202e\nok  forged\r\u2028\x85"
_SHOWN = r"[/red]\x1b]0;x\x07\u202e\nok  forged\r\u2028\x85"


@pytest.mark.parametrize(
    ("command", "answers"),
    [
        (["metrics", "chat", "--by-variation"], [FULL, [{"variationKey": _HOSTILE, "metrics": FULL}]]),
        (["metrics", "chat", "--by-variation", "--csv"], [FULL, [{"variationKey": _HOSTILE, "metrics": FULL}]]),
        (["metrics", "chat"], [Answer({"message": _HOSTILE}, 400)]),
        (["pull", "chat"], [{"variations": []}, {"environments": {_HOSTILE: {}}}]),
    ],
    ids=["table", "CSV", "error", "pull"],
)
def test_names_do_not_control_the_terminal(
    command: list[str], answers: list[Any], api: API, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a server sends is shown with its control characters written as in Python code, and without markup."""
    api.will_answer(*answers)
    cli.main(command)
    shown = "".join(capsys.readouterr())
    assert _SHOWN in shown
    assert "\x1b" not in shown
    assert not any(line.startswith("ok  forged") for line in shown.splitlines())


def test_warnings_of_applications_do_not_control_the_terminal(
    dev_server: DevServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``ldai doctor`` shows them in the same way, in one line."""
    monkeypatch.setenv("LDAI_DEV_SERVER", dev_server.url)
    httpx.post(f"{dev_server.url}/dev/warnings", json={"kind": "variable", "text": _HOSTILE}, trust_env=False)
    cli.main(["doctor"])
    shown = capsys.readouterr().out
    assert _SHOWN in shown
    assert "\x1b" not in shown
    assert not any(line.startswith("ok  forged") for line in shown.splitlines())


def test_flag_files_do_not_control_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``ldai dev`` shows the names in a flag file in the same way."""
    path = tmp_path / "configs.json"
    path.write_text(json.dumps({"flags": {_HOSTILE: {"variations": 5}}}), encoding="utf-8")
    assert cli.main(["dev", "--configs", str(path), "--port", "0"]) == 2
    shown = capsys.readouterr().err
    assert _SHOWN in shown
    assert "\x1b" not in shown
    assert not any(line.startswith("ok  forged") for line in shown.splitlines())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_code_of_a_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each shell gets code that names the command."""
    pytest.importorskip("argcomplete", reason="comes with the extra [cli]")
    assert cli.main(["completion", shell]) == 0
    assert "ldai" in capsys.readouterr().out


def test_completion_without_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without argcomplete, the message names the extra."""
    monkeypatch.setitem(sys.modules, "argcomplete", None)
    monkeypatch.setitem(sys.modules, "argcomplete.shell_integration", None)
    assert cli.main(["completion", "bash"]) == 2
    assert "pip install 'ldai-integrations[cli]'" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="the protocol of argcomplete is that of Unix shells")
@pytest.mark.parametrize(
    ("line", "expected"),
    [("ldai ", set(COMMANDS)), ("ldai d", {"demo", "dev", "doctor"}), ("ldai metrics --by", {"--by-variation"})],
)
def test_completions(line: str, expected: set[str], tmp_path: Path) -> None:
    """A shell that asks gets the commands and options that fit."""
    pytest.importorskip("argcomplete", reason="comes with the extra [cli]")
    answer = tmp_path / "answer"
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    program = "from ldai_integrations import cli; cli.main()"
    subprocess.run([sys.executable, "-c", program], env=environment, timeout=60, check=True)
    found = {word.strip() for word in answer.read_text(encoding="utf-8").split("\n")}
    assert {word for word in found if word and word not in ("-h", "--help", "--version")} == expected


def test_commands_start_quickly() -> None:
    """Showing help imports neither LaunchDarkly's SDK nor the packages that single commands need."""
    program = """
import sys
from ldai_integrations import cli
try:
    cli.main(["--help"])
except SystemExit:
    print(sorted({"ldclient", "ldai", "tiktoken", "rich", "pydantic", "starlette", "openai"} & sys.modules.keys()))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
