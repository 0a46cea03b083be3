"""``ldai init``, and the sample that ``ldai dev`` serves without a file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ldai_integrations import cli, track_ai
from ldai_integrations.devserver import DevServer
from ldai_integrations.tracking import Tracking


def test_init_writes_a_file_that_can_be_served(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The file is served without a warning, and its AI Configs are enabled; an editor finds its schema beside it."""
    monkeypatch.chdir(tmp_path)

    assert cli.main(["init"]) == 0

    assert capsys.readouterr().out == (
        "ldai: wrote configs.json and configs.schema.json. Serve it: ldai dev --configs configs.json\n"
    )
    written = json.loads(Path("configs.json").read_text(encoding="utf-8"))
    schema = json.loads(Path(written["$schema"]).read_text(encoding="utf-8"))
    assert "support-bot" in written["flags"]
    assert schema["$defs"]["Variation"]["required"] == ["_ldMeta"]
    assert caplog.messages == []
    with DevServer(Path("configs.json")) as server:
        assert [(config.key, config.mode) for config in server.ai_configs] == [
            ("support-bot", "completion"),
            ("nightly-report", "completion"),
            ("relevance-judge", "judge"),
            ("research-agent", "agent"),
        ]
        tracking = Tracking.from_env(environ={"LDAI_DEV_SERVER": server.url})
        with track_ai(config_key="support-bot", tracking=tracking) as run:
            assert run.config.enabled
            assert run.messages()
            run.discard()
        tracking.close()


def test_the_file_needs_no_server(tmp_path: Path) -> None:
    """An application reads the same file, with its comments, from LDAI_CONFIG_FILE."""
    path = tmp_path / "configs.json"
    assert cli.main(["init", str(path)]) == 0
    tracking = Tracking.from_env(environ={"LDAI_CONFIG_FILE": str(path)})
    with track_ai(config_key="research-agent", mode="agent", tracking=tracking) as run:
        assert run.model == "claude-sonnet-5"
        run.discard()
    tracking.close()


def test_a_name_with_control_characters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters in the name of a file are escaped, so that they cannot change the terminal."""
    path = tmp_path / "we\x1b[31mird\n.json"
    assert cli.main(["init", str(path)]) == 0
    assert cli.main(["init", str(path), "--schema"]) == 0
    output = capsys.readouterr().out
    assert "we\\x1b[31mird\\n.json" in output
    assert output.replace("\n", "").isprintable()


def test_the_schema_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--schema writes the schema next to a file that exists, and leaves the file alone."""
    path = tmp_path / "mine.json"
    path.write_text("{}", encoding="utf-8")

    assert cli.main(["init", str(path), "--schema"]) == 0

    assert capsys.readouterr().out == f"ldai: wrote {tmp_path / 'configs.schema.json'}\n"
    assert json.loads((tmp_path / "configs.schema.json").read_text(encoding="utf-8"))["$defs"]
    assert path.read_text(encoding="utf-8") == "{}"


def test_a_link_in_the_place_of_the_schema(tmp_path: Path) -> None:
    """A symbolic link is replaced, and what it points to stays as it is."""
    other, schema = tmp_path / "other.txt", tmp_path / "configs.schema.json"
    other.write_text("precious", encoding="utf-8")
    schema.symlink_to(other)

    assert cli.main(["init", str(tmp_path / "configs.json"), "--schema"]) == 0
    assert other.read_text(encoding="utf-8") == "precious"
    assert json.loads(schema.read_text(encoding="utf-8"))["$defs"]


def test_init_needs_no_extra(tmp_path: Path) -> None:
    """Without the dependencies of the dev server, the file is written all the same."""
    code = "import sys; sys.modules['pydantic'] = None; from ldai_integrations import cli; cli.main(['init'])"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert (tmp_path / "configs.json").exists()


def test_a_name_with_a_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both files are named with their folder, and the command that is shown can be pasted into a shell."""
    monkeypatch.chdir(tmp_path)
    Path("d").mkdir()
    assert cli.main(["init", "d/my file.json"]) == 0
    assert capsys.readouterr().out == (
        "ldai: wrote d/my file.json and d/configs.schema.json. Serve it: ldai dev --configs 'd/my file.json'\n"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no files")
def test_a_full_disk(tmp_path: Path) -> None:
    """If the file cannot be written, the message names it, and no part of it stays."""
    command = ["sh", "-c", 'ulimit -f 1; exec "$@"', "sh", sys.executable, "-m", "ldai_integrations", "init"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "ldai: configs.json cannot be written: File too large\n")
    assert list(tmp_path.iterdir()) == []


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
