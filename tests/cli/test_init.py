"""``ldai init``, the sample that ``ldai dev`` serves without a file, and the behaviour of the whole command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ldai_integrations import __version__, cli, track_ai
from ldai_integrations.devserver import DevServer
from ldai_integrations.tracking import Tracking


def test_init_writes_a_file_that_can_be_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is served without a warning, and its AI Configs are enabled."""
    monkeypatch.chdir(tmp_path)

    assert cli.main(["init"]) == 0

    assert capsys.readouterr().out == "ldai: wrote configs.json. Serve it: ldai dev --configs configs.json\n"
    with DevServer(Path("configs.json")) as server:
        assert [(config.key, config.mode) for config in server.ai_configs] == [
            ("support-bot", "completion"),
            ("research-agent", "agent"),
        ]
        tracking = Tracking.from_env(environ={"LDAI_DEV_SERVER": server.url})
        with track_ai(config_key="support-bot", tracking=tracking) as run:
            assert run.config.enabled
            assert run.messages()
            run.discard()
        tracking.close()


def test_init_keeps_a_file_that_exists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file is never overwritten."""
    path = tmp_path / "mine.json"
    path.write_text("{}", encoding="utf-8")

    assert cli.main(["init", str(path)]) == 2

    assert capsys.readouterr().err == f"ldai: {path} exists; give another name, or remove it\n"
    assert path.read_text(encoding="utf-8") == "{}"


def test_dev_without_a_file_serves_the_sample(tmp_path: Path) -> None:
    """``ldai dev`` works in an empty folder."""
    command = [sys.executable, "-m", "ldai_integrations", "dev", "--port", "0"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(8)]
        process.terminate()
        assert process.wait(20) == 0
    assert any("a sample" in line for line in lines)
    assert any(line.split()[:2] == ["support-bot", "completion"] for line in lines)


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    """``ldai --version`` prints the version of the package."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])

    assert ended.value.code == 0
    assert capsys.readouterr().out == f"ldai-integrations {__version__}\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other pipes")
def test_a_pipe_that_closes_early() -> None:
    """A reader that has read enough, such as ``head``, causes no traceback."""
    command = [sys.executable, "-m", "ldai_integrations", "encodings", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
