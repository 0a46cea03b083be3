"""What all commands have in common: pipes that close early, shell completion, and widths."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ldai_integrations import cli
from ldai_integrations.devserver import DevServer

from .terminal import ROOT, run_on_a_terminal

COMMANDS = ("demo", "init", "pull", "dev", "metrics", "doctor", "encodings", "completion")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other pipes")
@pytest.mark.parametrize(
    "arguments", [["--help"], ["metrics", "--help"], ["metrics", "chat"], ["metrics", "chat", "--json"], ["doctor"]]
)
def test_a_pipe_that_closes_early(arguments: list[str], dev_server: DevServer) -> None:
    """A reader that has read enough, such as ``head -1``, causes no traceback and no message."""
    environment = {**os.environ, "LDAI_DEV_SERVER": dev_server.url, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "ldai_integrations", *arguments]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) in (0, 1)


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
