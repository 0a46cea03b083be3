"""``ldai encodings`` lists and downloads rank files; the exit status shows the result."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from ldai_integrations.cli import main
from ldai_integrations.usage import _encoding_files as download
from ldai_integrations.usage._encoding_files import CL100K, O200K

from ..usage.conftest import published as published


@pytest.fixture(autouse=True)
def _empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Search for rank files in an empty directory only."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("DATA_GYM_CACHE_DIR", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("ldai_integrations.usage._encoding_files._package_roots", lambda _package: [])


def test_fetch_and_list(
    published: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Missing files are downloaded once; then the list shows their paths."""
    specs = {spec.name: spec for spec in (vars(download)["O200K"], vars(download)["CL100K"])}
    monkeypatch.setattr("ldai_integrations.usage._encodings.SPECS", specs)
    place = tmp_path / "elsewhere"

    assert main(["encodings", "list", "--dir", str(place)]) == 1
    assert capsys.readouterr().out.count("not on this machine") == 2
    assert main(["encodings", "prefetch", "--dir", str(place)]) == 0
    assert capsys.readouterr().out.count(f"wrote {place}") == 2
    assert main(["encodings", "prefetch", "--dir", str(place)]) == 0
    assert "already" in capsys.readouterr().out
    assert main(["encodings", "list", "--dir", str(place)]) == 0
    assert {path.read_bytes() for path in place.iterdir()} == set(published.values())


def test_a_bar_on_a_terminal(
    published: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A terminal shows a bar for each file; standard output has no control characters."""
    terminal = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    shown, screen = terminal.openpty()
    drawn: list[bytes] = []
    reader = threading.Thread(target=_read_all, args=(shown, drawn))
    reader.start()
    with open(screen, "w", encoding="utf-8") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        assert main(["encodings", "prefetch"]) == 0
    reader.join()
    os.close(shown)

    said = re.sub(r"\x1b\[[?\d;]*[a-zA-Z]", "", b"".join(drawn).decode())
    assert re.search(r"o200k_base +━+ +11/11 bytes", said)
    assert re.search(r"cl100k_base +━+ +12/12 bytes", said)
    output = capsys.readouterr().out
    assert output.count("wrote ") == 2
    assert "\x1b" not in output


def _read_all(shown: int, drawn: list[bytes]) -> None:
    """Read the output on a terminal until it is closed, which is an error on Linux."""
    with contextlib.suppress(OSError):
        while part := os.read(shown, 4_096):
            drawn.append(part)


def test_no_bar_without_a_terminal(published: dict[str, bytes], capsys: pytest.CaptureFixture[str]) -> None:
    """A pipe or a log gets the names of the files, and no control characters."""
    assert main(["encodings", "prefetch"]) == 0

    output, said = capsys.readouterr()
    assert said == ""
    assert output.count("wrote ") == 2
    assert output.replace("\n", "").isprintable()


def test_fetch_without_rich(published: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """The files are downloaded without rich, too."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setitem(sys.modules, "rich.console", None)

    assert main(["encodings", "prefetch"]) == 0


def test_wrong_file(published: dict[str, bytes], capsys: pytest.CaptureFixture[str]) -> None:
    """If a download is not the rank file, there is one message and status 1."""
    published[O200K.name] = b"<html>"

    assert main(["encodings", "prefetch"]) == 1
    assert "did not answer with the file for o200k_base" in capsys.readouterr().err


def test_a_silent_server_times_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """If a server accepts the connection and never answers, the command ends after the timeout."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/ranks"
        monkeypatch.setattr(download, "O200K", replace(O200K, url=url))
        monkeypatch.setattr(download, "CL100K", CL100K)

        assert main(["encodings", "prefetch", "--timeout", "0.2"]) == 1
    assert "it took too long" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "1e9", "soon"])
def test_a_timeout_is_a_number_of_seconds(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Another timeout than a number of seconds is refused before any download."""
    with pytest.raises(SystemExit) as ended:
        main(["encodings", "prefetch", "--timeout", seconds])

    assert ended.value.code == 2
    assert "--timeout" in capsys.readouterr().err
