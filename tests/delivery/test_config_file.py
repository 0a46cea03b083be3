"""AI Configs from the file in ``LDAI_CONFIG_FILE``."""

from __future__ import annotations

import gc
import json
import os
import weakref
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from ldclient import Context

from ldai_integrations import Tracking, track_ai
from ldai_integrations.devserver import read_flag_file
from ldai_integrations.exceptions import ConfigurationError
from ldai_integrations.testing import RecordingSink, ai_config

from ..conftest import EndProcess
from ..waiting import eventually


def _write(path: Path, *, model: str = "gpt-4o-mini") -> None:
    """Write a file whose numbers have an exponent, which YAML 1.1 reads as texts."""
    config = ai_config(model, parameters={"temperature": "NUMBER"})
    config["model"]["custom"] = {"costPerInputToken": "INPUT", "costPerOutputToken": "OUTPUT"}
    flag = {"on": True, "fallthrough": {"variation": 0}, "variations": [config]}
    text = json.dumps({"flags": {"chat": flag}, "flagValues": {"plain": True}})
    for name, number in (("NUMBER", "5e-1"), ("INPUT", "6e-7"), ("OUTPUT", "1e-5")):
        text = text.replace(f'"{name}"', number)
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file with one AI Config."""
    path = tmp_path / "configs.json"
    _write(path)
    return path


@pytest.fixture
def sink() -> RecordingSink:
    """Return the receiver of the records."""
    return RecordingSink()


@pytest.fixture
def tracking(fresh_process: EndProcess, path: Path, sink: RecordingSink) -> Iterator[Tracking]:
    """Return a Tracking whose AI Configs come from the file."""
    tracking = Tracking.from_env(environ={"LDAI_CONFIG_FILE": str(path)}, sinks=[sink])
    yield tracking
    tracking.close()


def test_numbers_are_those_of_json(tracking: Tracking, sink: RecordingSink) -> None:
    """Prices and parameters such as ``1e-5`` are numbers, whether PyYAML is installed or not."""
    with track_ai("chat", tracking=tracking) as run:
        temperature = run.parameters.get("temperature")
        run.add_usage(input_tokens=1009, output_tokens=211)

    (record,) = sink.wait()
    assert record.cost is not None
    assert record.cost.total_cost == 1009 * Decimal("6e-7") + 211 * Decimal("1e-5")
    assert temperature == 0.5
    assert tracking.client.variation("plain", run.ld_context, False) is True


def test_a_tracking_that_nobody_keeps(path: Path, sink: RecordingSink, fresh_process: EndProcess) -> None:
    """A Tracking of ``from_env`` lives until it is closed, with its sinks, although no code keeps it."""
    reference = weakref.ref(Tracking.from_env(environ={"LDAI_CONFIG_FILE": str(path)}, sinks=[sink]))
    gc.collect()
    with track_ai("chat") as run:
        run.add_usage(input_tokens=1009, output_tokens=211)

    assert len(sink.wait()) == 1
    tracking = reference()
    assert tracking is not None
    tracking.close()


def _model(tracking: Tracking) -> str:
    with track_ai("chat", tracking=tracking) as run:
        run.discard()
        return run.model


def test_edits_are_followed(tracking: Tracking, path: Path) -> None:
    """An edit is served after a second, also if the file was replaced."""
    _write(path, model="gpt-4.1")
    assert eventually(lambda: _model(tracking) == "gpt-4.1")
    os.remove(path)
    _write(path, model="gpt-5")
    assert eventually(lambda: _model(tracking) == "gpt-5")


def test_a_file_that_is_broken_later(tracking: Tracking, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each problem is counted, and logged once until the file is good again; the former AI Configs stay."""

    def become(text: str | None, *, is_new: bool = True) -> list[str]:
        """Change the file, wait until this was noticed, and return the problems that were logged."""
        count = counted()
        caplog.clear()
        if text is None:
            path.unlink()
        else:
            new.write_text(text, encoding="utf-8")
            new.replace(path)
        assert eventually(lambda: counted() == count + 1)
        assert eventually(lambda: bool(caplog.messages) is is_new)  # it is counted before it is logged
        assert _model(tracking) == "gpt-4o-mini"
        return [line.split(": it ")[1].partition(". ")[0] for line in caplog.messages]

    def counted() -> int:
        return tracking.stats().diagnostics.get("config_file_edit", 0)

    content, new = path.read_text(encoding="utf-8"), path.with_name("new.json")
    assert become(None) == ["does not exist"]
    assert become("{} {}")[0].startswith("cannot be read as JSON: Extra data")
    assert become(None, is_new=False) == []
    assert become('{"flags": 3}') == ["has 'flags', which is not an object"]
    path.write_text(content.replace("gpt-4o-mini", "gpt-5"), encoding="utf-8")
    assert eventually(lambda: _model(tracking) == "gpt-5")
    path.write_text(content, encoding="utf-8")
    assert eventually(lambda: _model(tracking) == "gpt-4o-mini")
    assert become(None) == ["does not exist"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "does not exist"),
        ("{", "cannot be read as JSON"),
        ('{"flags": {}, "x": NaN}', "cannot be read as JSON: NaN is not a finite number"),
        ('{"flags": {}, "x": 1e999}', "cannot be read as JSON: 1e999 is not a finite number"),
        ("[" * 100_000, "cannot be read as JSON: it is nested too deeply"),
        ("[]", 'has no "flags"'),
        ('{"flags": []}', "has 'flags', which is not an object"),
        ('{"flags": {"chat": 3}}', "has 'chat' in 'flags', which is not an object"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, text: str | None, problem: str) -> None:
    """An unusable file is an error at set-up that names the variable and the reason."""
    path = tmp_path / "configs.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")

    with pytest.raises(ConfigurationError, match=f"LDAI_CONFIG_FILE is .*, which {problem}"):
        Tracking.from_env(environ={"LDAI_CONFIG_FILE": str(path)})


def test_a_byte_order_mark_is_skipped(path: Path) -> None:
    """A file that an editor on Windows has saved with a byte order mark is read, as by ``ldai dev``."""
    path.write_bytes(b'\xef\xbb\xbf{"flagValues": {"plain": true}}')
    with closing(Tracking.from_env(environ={"LDAI_CONFIG_FILE": str(path)})) as tracking:
        assert tracking.client.variation("plain", Context.create("ada"), False) is True
    assert read_flag_file(path) == []
