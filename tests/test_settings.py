"""Settings: a value in the code, then an environment variable, then the default."""

from __future__ import annotations

import gc
import json
import os
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ldclient import LDClient

from ldai_integrations import ConfigurationError, Settings, Tracking
from ldai_integrations._options import options_of
from ldai_integrations.feedback import FeedbackSettings
from ldai_integrations.judges import JudgeSettings
from ldai_integrations.metrics import MetricsClient
from ldai_integrations.visitors import VisitorSettings

# For each variable: a text, and the value that it sets.
TEXTS: list[tuple[str, str, Any]] = [
    ("LDAI_FLUSH", "Request", "request"),
    ("LDAI_FLUSH_TIMEOUT", "2.5", 2.5),
    ("LDAI_CANCELLED_AS", "error", "error"),
    ("LDAI_CAUGHT_FAILURES", "success", "success"),
    ("LDAI_REPORT_ESTIMATES", "off", False),
    ("LDAI_COSTS", "No", False),
    ("LDAI_ERROR_STATUSES", "429, 500-502", {429, 500, 501, 502}),
    ("LDAI_MAX_BODY_BYTES", "1000", 1000),
    ("LDAI_START_WAIT", "0", 0.0),
    ("LDAI_USAGE_WAIT", "0", 0.0),
    ("LDAI_FRAMEWORKS", "langchain, dspy", ("langchain", "dspy")),
    ("LDAI_FRAMEWORKS", "none", ()),
    (
        "LDAI_FEEDBACK_SECRET",
        "an old secret of tests,a new secret of tests",
        ["an old secret of tests", "a new secret of tests"],
    ),
    ("LDAI_FEEDBACK_MAX_AGE", "60", 60),
    ("LDAI_FEEDBACK_HEADER", "X-Token", "X-Token"),
    ("LDAI_FEEDBACK_EVENT", "vote", "vote"),
    ("LDAI_FEEDBACK_STORE", "sqlite:///votes.db", "sqlite:///votes.db"),
    ("LDAI_FEEDBACK_REQUESTS_PER_MINUTE", "0", 0),
    ("LDAI_JUDGES_CONCURRENCY", "2", 2),
    ("LDAI_JUDGES_TIMEOUT", "5", 5.0),
    ("LDAI_JUDGES_QUEUE", "0", 0),
    ("LDAI_JUDGES_MAX_CHARS", "1", 1),
    ("LDAI_VISITORS_SECRET", "an old secret of tests", ["an old secret of tests"]),
    ("LDAI_VISITORS_COOKIE", "visitor", "visitor"),
    ("LDAI_VISITORS_MAX_AGE", "3600", 3600),
    ("LDAI_VISITORS_ALWAYS_SECURE", "on", True),
]
FIELDS = {
    option.variable: (cls, name)
    for cls in (Settings, FeedbackSettings, JudgeSettings, VisitorSettings)
    for name, option in options_of(cls).items()
}


def make(cls: Any, **options: Any) -> Any:
    """Create settings of a class."""
    return cls(config_keys=["chat"], **options) if cls is FeedbackSettings else cls(**options)


@pytest.mark.parametrize(("variable", "text", "value"), TEXTS)
def test_a_variable_sets_a_setting(variable: str, text: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setting has a variable; surrounding spaces do not matter."""
    monkeypatch.setenv(variable, f" {text} ")
    cls, name = FIELDS[variable]

    assert getattr(make(cls), name) == value


def test_every_variable_is_tested() -> None:
    """The list above has each setting, and each variable is named after its setting."""
    assert {variable for variable, _, _ in TEXTS} == set(FIELDS)
    prefixes = {
        Settings: "LDAI_",
        FeedbackSettings: "LDAI_FEEDBACK_",
        JudgeSettings: "LDAI_JUDGES_",
        VisitorSettings: "LDAI_VISITORS_",
    }
    assert all(variable == prefixes[cls] + name.upper() for variable, (cls, name) in FIELDS.items())


def test_the_code_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value in the code wins over the variable, for each setting separately; an empty variable is not set."""
    monkeypatch.setenv("LDAI_FLUSH_TIMEOUT", "2")
    monkeypatch.setenv("LDAI_USAGE_WAIT", "1")
    for variable in ("LDAI_COSTS", "LDAI_ERROR_STATUSES", "LDAI_FEEDBACK_CONFIG_KEYS"):
        monkeypatch.setenv(variable, " ")
    settings = Settings(usage_wait=0.25)

    assert (settings.flush_timeout, settings.usage_wait, settings.costs) == (2.0, 0.25, True)
    assert (settings.error_statuses, settings.feedback) == (range(500, 600), None)


def test_both_ways_to_create_a_tracking(client: LDClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracking(client) and Tracking.from_env() read the variables."""
    monkeypatch.setenv("LDAI_FLUSH_TIMEOUT", "2")
    monkeypatch.setenv("LDAI_START_WAIT", "0")
    monkeypatch.setenv("LDAI_DEV_SERVER", "http://127.0.0.1:9")
    for tracking in (Tracking(client), Tracking.from_env()):
        assert tracking.settings.flush_timeout == 2.0
        tracking.close()


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("LDAI_FLUSH", "often", "LDAI_FLUSH is 'often'; use one of 'auto', 'request', 'shutdown', 'never'"),
        ("LDAI_FLUSH_TIMEOUT", "soon", "LDAI_FLUSH_TIMEOUT is 'soon'; use seconds, more than 0 and at most 60"),
        ("LDAI_FLUSH_TIMEOUT", "nan", "LDAI_FLUSH_TIMEOUT is 'nan'; use seconds"),
        ("LDAI_USAGE_WAIT", "11", "LDAI_USAGE_WAIT is '11'; use seconds, 0 to 10"),
        ("LDAI_COSTS", "maybe", "LDAI_COSTS is 'maybe'; use on or off"),
        ("LDAI_ERROR_STATUSES", "200", "LDAI_ERROR_STATUSES is '200'; use statuses such as 429,500-599, each "),
        ("LDAI_ERROR_STATUSES", "599-500", "LDAI_ERROR_STATUSES is '599-500'; use statuses such as 429,500-599, each "),
        ("LDAI_ERROR_STATUSES", "400-", "LDAI_ERROR_STATUSES is '400-'; use statuses "),
        ("LDAI_ERROR_STATUSES", "400-500-599", "LDAI_ERROR_STATUSES is '400-500-599'; use statuses "),
        ("LDAI_ERROR_STATUSES", "1-99999999999", "LDAI_ERROR_STATUSES is '1-99999999999'; use statuses "),
        ("LDAI_ERROR_STATUSES", ",", "LDAI_ERROR_STATUSES is ','; use statuses "),
        ("LDAI_FEEDBACK_CONFIG_KEYS", " , ", "LDAI_FEEDBACK_CONFIG_KEYS is ','; use keys of AI Configs, separated by "),
        ("LDAI_FRAMEWORKS", ",", "LDAI_FRAMEWORKS is ','; use none, or names separated by "),
        ("LDAI_FRAMEWORKS", "langchian", "LDAI_FRAMEWORKS is 'langchian'; use none, or names separated by "),
        ("LDAI_FRAMEWORKS", "off", "LDAI_FRAMEWORKS is 'off'; use none, or names separated by commas: langchain, "),
        ("LDAI_JUDGES", "x", "LDAI_JUDGES is 'x'; use on or off"),
        ("LDAI_FEEDBACK", "nonsense", "LDAI_FEEDBACK is 'nonsense'; use on or off"),
        ("LDAI_FEEDBACK", "on", "LDAI_FEEDBACK is on; set LDAI_FEEDBACK_CONFIG_KEYS as well, to the keys of the AI "),
        ("LDAI_JUDGES_QUEUE", "1.5", "LDAI_JUDGES_QUEUE is '1.5'; use a whole number, 0 to 10,000"),
    ],
)
def test_a_wrong_variable(variable: str, text: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong value is an error at set-up that names the variable and the values that it takes."""
    monkeypatch.setenv(variable, text)
    with pytest.raises(ConfigurationError) as refusal:
        Settings()
    assert str(refusal.value).startswith(message)


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (Settings, {"flush": "often"}, "Settings.flush is 'often'; use one of 'auto', "),
        (Settings, {"flush_timeout": True}, "Settings.flush_timeout is True; use seconds, more than 0 and at most 60"),
        (Settings, {"max_body_bytes": -1}, "Settings.max_body_bytes is -1; use a whole number of bytes, 0 or more"),
        (Settings, {"frameworks": "dspy"}, "Settings.frameworks is 'dspy'; use a collection of langchain, "),
        (JudgeSettings, {"concurrency": 0}, "JudgeSettings.concurrency is 0; use a whole number, 1 to 100"),
        (FeedbackSettings, {"header": "a b"}, "FeedbackSettings.header is 'a b'; use letters, digits and hyphens"),
    ],
)
def test_a_wrong_value(cls: Any, options: dict[str, Any], message: str) -> None:
    """A wrong value in the code is an error that names the setting."""
    with pytest.raises(ConfigurationError) as refusal:
        make(cls, **options)
    assert str(refusal.value).startswith(message)


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("LDAI_FEEDBACK_SECRET", "short", "LDAI_FEEDBACK_SECRET is empty, shorter than 16 characters"),
        ("LDAI_FEEDBACK_STORE", "votes.db", "LDAI_FEEDBACK_STORE is not the address of a store"),
        ("LDAI_VISITORS_SECRET", "short", "LDAI_VISITORS_SECRET is empty, shorter than 16 characters"),
    ],
)
def test_a_wrong_secret_or_store(variable: str, text: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable if the value comes from it, and else the setting."""
    monkeypatch.setenv("LDAI_FEEDBACK_CONFIG_KEYS", "chat")
    monkeypatch.setenv("LDAI_VISITORS", "on")
    monkeypatch.setenv(variable, text)
    with pytest.raises(ConfigurationError) as refusal:
        Settings()
    assert str(refusal.value).startswith(message)
    monkeypatch.delenv(variable)
    with pytest.raises(ConfigurationError, match=r"^FeedbackSettings\.secret is empty"):
        FeedbackSettings(config_keys={"chat"}, secret="other")


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"LDAI_FLUSH_TIMOUT": "3"}, "The variable LDAI_FLUSH_TIMOUT has no effect: LDAI_FLUSH_TIMEOUT is similar"),
        ({"LDAI_VISITORS_SECRET": "a" * 16}, "The variable LDAI_VISITORS_SECRET has no effect: set LDAI_VISITORS"),
        ({"LDAI_FEEDBACK_HEADER": "X-T"}, "The variable LDAI_FEEDBACK_HEADER has no effect: set LDAI_FEEDBACK_CONFIG"),
        ({"LDAI_VISITORS_SECRET": "a" * 16, "LDAI_VISITORS": "on", "LDAI_MY_OWN_NAME": "3", "LDAI_FLUSH": "auto"}, ""),
        ({"LDAI_VISITORS_SECRET": "a" * 16, "LDAI_VISITORS": "off", "LDAI_JUDGES_QUEUE": "2"}, ""),
        ({"LDAI_FEEDBACK_HEADER": "X-T", "LDAI_FEEDBACK": "off"}, ""),
    ],
)
def test_a_variable_without_effect(
    environ: dict[str, str],
    message: str,
    client: LDClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A misspelled variable, and one that needs another one, are logged with what to do."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    Tracking(client).close()

    found = [line for line in caplog.messages if line.startswith("The variable")]
    assert len(found) == (1 if message else 0)
    assert not message or found[0].startswith(message)


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret is neither in an error nor in a repr."""
    monkeypatch.setenv("LDAI_FEEDBACK_SECRET", "short")
    with pytest.raises(ConfigurationError) as refusal:
        make(FeedbackSettings)
    assert "'short'" not in str(refusal.value)
    monkeypatch.setenv("LDAI_FEEDBACK_SECRET", "a secret that is long enough")
    assert "long enough" not in repr(make(FeedbackSettings))


def test_services_are_turned_on_and_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables turn feedback on and off, and judges off."""
    assert Settings().feedback is None
    assert Settings().judges == JudgeSettings()
    monkeypatch.setenv("LDAI_FEEDBACK_CONFIG_KEYS", "support-bot, order-agent")
    monkeypatch.setenv("LDAI_JUDGES", "off")
    settings = Settings()

    assert settings.judges is None
    assert settings.feedback is not None
    assert list(settings.feedback.config_keys) == ["support-bot", "order-agent"]
    monkeypatch.setenv("LDAI_FEEDBACK", "on")
    assert Settings() == settings
    monkeypatch.setenv("LDAI_FEEDBACK", "off")
    assert Settings().feedback is None


@pytest.mark.parametrize(
    "url", ["localhost:8765", "http://127.0.0.1:99999", "http://[::1", "http://127.0.0.1:x", "http://127.0.0.1:1\nX: y"]
)
def test_a_dev_server_without_an_address(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text that is no address is an error at set-up that names the variable."""
    monkeypatch.setenv("LDAI_DEV_SERVER", url)
    with pytest.raises(ConfigurationError, match="LDAI_DEV_SERVER is"):
        Tracking.from_env()


@pytest.mark.parametrize(
    "create",
    [
        lambda address: Tracking.from_env(environ={"LDAI_DEV_SERVER": address}),
        lambda address: MetricsClient("api-any", "default", base_url=address),
    ],
)
def test_a_password_in_an_address(create: Callable[[str], object]) -> None:
    """The message about an address that cannot be used does not show the password in it."""
    with pytest.raises(ConfigurationError, match=r"http://dev\.example\.com") as error:
        create("http://ada:secret@dev.example.com")
    assert "secret" not in str(error.value)


def test_a_config_file_that_is_nested_too_deeply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that no JSON reader can read is an error at set-up that names the variable."""
    file = tmp_path / "configs.json"
    file.write_text("[" * 100_000, encoding="utf-8")
    monkeypatch.setenv("LDAI_CONFIG_FILE", str(file))
    gc.disable()  # a finalizer that runs at the greatest depth of the stack fails
    try:
        with pytest.raises(ConfigurationError, match=r"LDAI_CONFIG_FILE is .* which cannot be read as JSON"):
            Tracking.from_env()
    finally:
        gc.enable()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
@pytest.mark.parametrize("kind", ["pipe", "device", "directory", "huge"])
def test_a_config_file_that_is_no_regular_file(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe, a device, a directory or a huge file is an error at set-up: it does not block, or fill the memory."""
    file = tmp_path / "configs.json"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    elif kind == "directory":
        file.mkdir()
    else:
        with file.open("wb") as huge:
            huge.truncate(100_000_000)
    monkeypatch.setenv("LDAI_CONFIG_FILE", str(file))
    said = r"LDAI_CONFIG_FILE is .*, which cannot be read: .*(not a regular file|Is a directory)"
    with pytest.raises(ConfigurationError, match=said):
        Tracking.from_env()


@pytest.mark.parametrize("place", ["flags.chat.variations[0]", "flagValues.chat"])
@pytest.mark.parametrize("value", ["false", 0, None])
def test_a_config_file_whose_enabled_is_no_switch(
    place: str, value: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variation whose ``enabled`` is neither true nor false, such as a text, is an error that names its place."""
    variation = {"_ldMeta": {"enabled": value, "variationKey": "v"}, "model": {"name": "m"}}
    content = (
        {"flags": {"chat": {"variations": [variation]}}} if "flags." in place else {"flagValues": {"chat": variation}}
    )
    file = tmp_path / "configs.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    monkeypatch.setenv("LDAI_CONFIG_FILE", str(file))
    said = re.escape(f"{place}._ldMeta.enabled is {value!r}; write true or false")
    with pytest.raises(ConfigurationError, match=said):
        Tracking.from_env()


def test_a_wrong_variable_leaves_no_client_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a variable is wrong, from_env() does not start to connect."""
    monkeypatch.setenv("LDAI_DEV_SERVER", "http://127.0.0.1:9")
    monkeypatch.setenv("LDAI_FLUSH_TIMEOUT", "soon")
    before = set(threading.enumerate())
    with pytest.raises(ConfigurationError, match="LDAI_FLUSH_TIMEOUT"):
        Tracking.from_env()
    assert set(threading.enumerate()) <= before
