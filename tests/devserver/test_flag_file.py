"""A flag file is served, and its edits are followed."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ldclient import Context

from ldai_integrations.devserver import DevServer, FlagFileError, read_flag_file

from ..waiting import eventually
from .samples import FLAGS, Json, edited

if TYPE_CHECKING:
    from collections.abc import Callable

    from ldclient import LDClient

    from .conftest import Connect, Serve

ADA = Context.create("ada")
UNREADABLE = "flags.json: cannot be read: check the path, which must be that of a regular file of at most 64 MB"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Write the sample flags to a file."""
    path = tmp_path / "flags.json"
    path.write_text(json.dumps(FLAGS), encoding="utf-8")
    return path


@pytest.fixture
def serving(path: Path, serve: Serve) -> DevServer:
    """Serve that file."""
    return serve(path)


@pytest.fixture
def client(serving: DevServer, connect: Connect) -> LDClient:
    """Connect a real client."""
    return connect(serving)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return a function that returns the log messages of the server."""
    caplog.set_level(logging.INFO, "ldai_integrations.devserver")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "ldai_integrations.devserver"]


def served(client: LDClient) -> Any:
    """Return the variation that a client serves."""
    return client.variation("chat", ADA, {"_ldMeta": {"variationKey": None}})["_ldMeta"]["variationKey"]


def write(path: Path, flags: Json) -> None:
    """Save a file in place."""
    path.write_text(json.dumps(flags), encoding="utf-8")


def write_and_rename(path: Path, flags: Json) -> None:
    """Save another file and rename it, as many editors do."""
    draft = path.with_suffix(".tmp")
    write(draft, flags)
    draft.replace(path)


@pytest.mark.parametrize("save", [write, write_and_rename])
def test_edit_reaches_a_running_client(
    save: Callable[[Path, Json], None], path: Path, client: LDClient, lines: Callable[[], list[str]]
) -> None:
    """An edit reaches a running client, and one message names the flag. It does not matter how the editor saves."""
    seen = threading.Event()
    client.flag_tracker.add_listener(lambda _: seen.set())
    assert served(client) == "small"
    save(path, edited(on=False))
    assert seen.wait(20)
    assert served(client) == "disabled"
    assert eventually(lambda: lines() == ["flags.json: chat changed"])


def test_edit_arrives_in_under_a_second(path: Path, client: LDClient) -> None:
    """An edit arrives within a second. The fastest of several edits counts, because the machine may be busy."""

    def seconds(on: bool) -> float:
        saved = time.monotonic()
        write(path, edited(on=on))
        assert eventually(lambda: served(client) == ("small" if on else "disabled"))
        return time.monotonic() - saved

    assert min(map(seconds, [False, True] * 3)) < 1


def test_edit_through_a_symbolic_link_counts(path: Path, serve: Serve, connect: Connect, tmp_path: Path) -> None:
    """A file behind a symbolic link to another directory is followed, too."""
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.json"
    link.symlink_to(path)
    client = connect(serve(link))
    write(path, edited(on=False))
    assert eventually(lambda: served(client) == "disabled")


def test_invalid_edit_keeps_the_last_good_version(path: Path, client: LDClient, lines: Callable[[], list[str]]) -> None:
    """An edit with an error is refused with one message that names flag and field. The last valid version is served."""
    broken = edited()
    del broken["flags"]["chat"]["variations"][1]["model"]["name"]
    write(path, broken)
    assert eventually(lambda: len(lines()) == 1)
    assert lines() == [
        "flags.json: edit refused, the last valid version is still served: flag 'chat': variations[1].model.name is "
        "missing; add it: the name of the model, as its provider spells it"
    ]
    assert served(client) == "small"
    write(path, edited(on=False))
    assert eventually(lambda: served(client) == "disabled")
    assert eventually(lambda: lines()[1:] == ["flags.json: chat changed"])


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b""])
def test_half_written_file_is_waited_for(
    content: bytes, path: Path, client: LDClient, lines: Callable[[], list[str]]
) -> None:
    """A file that is not JSON for a short time causes no message."""
    path.write_bytes(content)
    time.sleep(0.2)
    write(path, edited(on=False))
    assert eventually(lambda: served(client) == "disabled")
    assert eventually(lambda: lines() == ["flags.json: chat changed"])


def test_file_that_stays_no_json_is_reported_once(
    path: Path, serving: DevServer, lines: Callable[[], list[str]]
) -> None:
    """A file that stays invalid JSON is reported once."""
    path.write_bytes(b"{")
    assert eventually(lambda: len(lines()) == 1)
    assert lines()[0].startswith(
        "flags.json: edit refused, the last valid version is still served: flags.json: is not JSON"
    )
    time.sleep(1.2)
    assert len(lines()) == 1


def test_file_may_vanish_and_come_back(path: Path, client: LDClient, lines: Callable[[], list[str]]) -> None:
    """If the file is deleted, the server continues, and follows the file when it exists again."""
    path.unlink()
    assert eventually(lambda: lines()[-1:] == [
        f"flags.json: edit refused, the last valid version is still served: {UNREADABLE}"
    ])  # fmt: skip
    assert served(client) == "small"
    write(path, edited(on=False))
    assert eventually(lambda: served(client) == "disabled")


def test_a_huge_file_is_refused(path: Path, client: LDClient, lines: Callable[[], list[str]]) -> None:
    """A file of more than 64 MB is not read, and the next edit is served."""
    os.truncate(path, 100_000_000)
    assert eventually(lambda: lines()[-1:] == [
        f"flags.json: edit refused, the last valid version is still served: {UNREADABLE}"
    ])  # fmt: skip
    write(path, edited(on=False))
    assert eventually(lambda: served(client) == "disabled")


def test_an_edit_that_fails_does_not_end_the_watching(
    path: Path, client: LDClient, lines: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If there is no memory for an edit, it is logged once, and the next edit is served."""
    loads = json.loads

    def fail(text: str | bytes, **options: Any) -> Any:
        if isinstance(text, bytes) and b"too much" in text:
            raise MemoryError
        return loads(text, **options)

    monkeypatch.setattr("json.loads", fail)
    write(path, {**edited(), "$comment": "too much"})
    said = ["flags.json: edit not served, the last valid version is still served: MemoryError was raised"]
    assert eventually(lambda: lines() == said)
    write(path, edited(on=False))
    assert eventually(lambda: served(client) == "disabled")
    assert eventually(lambda: lines() == [*said, "flags.json: chat changed"])


def test_suspect_values_are_reported(path: Path, serving: DevServer, lines: Callable[[], list[str]]) -> None:
    """An edit with a suspect value is served with a warning."""
    flags = edited()
    del flags["flags"]["chat"]["variations"][1]["_ldMeta"]["enabled"]
    write(path, flags)
    assert eventually(lambda: len(lines()) == 2)
    assert lines()[0].startswith("warning: flag 'chat': variations[1]._ldMeta.enabled is missing; add it: whether")
    assert lines()[1] == "flags.json: chat changed"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pipes in directories")
def test_a_pipe_is_no_flag_file(tmp_path: Path) -> None:
    """A pipe is refused. Neither the dev server nor ``ldai doctor`` waits for its content."""
    path = tmp_path / "configs.json"
    os.mkfifo(path)
    with pytest.raises(FlagFileError, match="cannot be read"):
        read_flag_file(path)


def test_flag_values_are_served(path: Path, serve: Serve, connect: Connect) -> None:
    """A file with flagValues, as for the SDK's own file reader, is served."""
    write(path, {"flagValues": {"greeting": "hello"}})
    assert connect(serve(path)).variation("greeting", ADA, None) == "hello"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, UNREADABLE),
        ("{", "flags.json: is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("[" * 100_000, "flags.json: is not JSON: it is nested too deeply"),
        ('{"flags": {}, "x": NaN}', "flags.json: is not JSON: NaN is not a finite number"),
        ('{"flags": {}, \n "x": "\udcfc"}', "flags.json: is not UTF-8, in line 2; save it in this encoding"),
        ("[]", 'the file: must be an object with "flags" or "flagValues"; `ldai init` writes an example'),
    ],
)
def test_bad_file_is_refused_at_the_start(content: str | None, said: str, tmp_path: Path) -> None:
    """A server cannot be created with a file that cannot be served."""
    path = tmp_path / "flags.json"
    if content is not None:
        path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(FlagFileError) as refusal:
        DevServer(path)
    assert str(refusal.value) == said


def test_sample_files_are_served_without_a_message(
    serve: Serve, connect: Connect, lines: Callable[[], list[str]]
) -> None:
    """Every sample flag file is served without changes and without a message."""
    directory = os.environ.get("LDAI_FLAGS_DIR")
    if not directory:
        pytest.skip("LDAI_FLAGS_DIR names no directory with flag files")
    paths = sorted(Path(directory).glob("*.json"))
    assert paths
    for path in paths:
        server = serve(path)
        state = connect(server, send_events=False).all_flags_state(ADA)
        assert state.valid
        assert state.to_values_map().keys() == json.loads(path.read_text(encoding="utf-8"))["flags"].keys()
        assert {config.key for config in server.ai_configs} == state.to_values_map().keys()
    assert lines() == []
