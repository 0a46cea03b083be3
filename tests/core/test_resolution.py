"""AI Configs as a run resolves them: rendered for a model, without judges, and the default where they are malformed."""

from __future__ import annotations

import gc
import logging
import sqlite3
import time
import weakref
from contextlib import closing
from typing import Any

import pytest
from ldai.judge import Judge
from ldai.models import AICompletionConfigDefault, LDMessage, ModelConfig
from ldclient import Config, LDClient
from openai import OpenAI

from ldai_integrations import Run, Tracking, current_run, track_ai
from ldai_integrations.exceptions import UnusableConfigError
from ldai_integrations.testing import OfflineLaunchDarkly, ai_config

from ..flags import MALFORMED

_ANSWER = {
    "choices": [{"message": {"content": "Yes."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1188, "completion_tokens": 77, "total_tokens": 1265},
}


def test_resolving_builds_no_judge(tracking: Tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    """An AI Config with judges is resolved without them; to build one takes tens of milliseconds."""

    def build(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError("a judge was built")

    monkeypatch.setattr(Judge, "__init__", build)
    with track_ai(config_key="judged", tracking=tracking) as run:
        assert run.messages() == [{"role": "system", "content": "Be brief."}]


@pytest.mark.parametrize(
    ("prompt", "variables", "rendered"),
    [
        ("You help {{company}}.", {"company": "A&B's <x>"}, "You help A&B's <x>."),
        ("You help {{{company}}}.", {"company": "A&B's <x>"}, "You help A&B's <x>."),
        ("a {{> setup }} b {{x}}", {"x": "&"}, "a  b &"),
        ("{{#names}}{{.}}, {{/names}}", {"names": ["Ada", "Grace"]}, "Ada, Grace, "),
        ("You help {{nobody}}.", {}, "You help ."),
    ],
    ids=["not escaped", "three braces", "no file is read", "a section", "a missing variable"],
)
def test_a_prompt_is_rendered_for_a_model(
    no_leaks: None, prompt: str, variables: dict[str, Any], rendered: str
) -> None:
    """Nothing is escaped, and no file is read, whatever the prompt contains."""
    with (
        OfflineLaunchDarkly({"bot": ai_config(messages=[{"role": "system", "content": prompt}])}),
        track_ai("bot", variables=variables) as run,
    ):
        assert run.messages() == [{"role": "system", "content": rendered}]


@pytest.mark.parametrize("sections", [5, 8, 20])
def test_a_prompt_of_endless_sections_takes_a_limited_time(
    sections: int, no_leaks: None, caplog: pytest.LogCaptureFixture
) -> None:
    """A template whose sections repeat each other is rendered without its variables, which is logged with a remedy."""
    prompt = "Be brief." + "{{#names}}" * sections + "{{.}}" + "{{/names}}" * sections
    with (
        OfflineLaunchDarkly({"bot": ai_config(messages=[{"role": "system", "content": prompt}])}),
        track_ai("bot", variables={"names": ["x"] * 10}) as run,
    ):
        begun = time.thread_time()
        assert run.messages() == [{"role": "system", "content": "Be brief."}]
        assert time.thread_time() - begun < 2
    assert "more than 50,000 steps" in caplog.text
    assert "shorter lists in variables=" in caplog.text


def test_no_garbage_is_left(no_leaks: None) -> None:
    """The variables of a prompt, which may be whole documents, are freed without the garbage collector."""

    class Document:
        def __str__(self) -> str:
            return "Open from 9 to 5."

    config = ai_config(messages=[{"role": "system", "content": "{{document}}"}])
    gc.disable()
    try:
        with OfflineLaunchDarkly({"bot": config}) as offline:
            document = Document()
            gone = weakref.ref(document)
            with track_ai("bot", variables={"document": document}) as run:
                assert run.system == "Open from 9 to 5."
            del document, run
            offline.tracking.flush()
            assert gone() is None
    finally:
        gc.enable()


def test_long_lists_are_rendered(no_leaks: None) -> None:
    """A section that repeats a few texts for five thousand items is rendered."""
    prompt = "{{#names}}- {{.}}\n{{/names}}"
    with (
        OfflineLaunchDarkly({"bot": ai_config(messages=[{"role": "system", "content": prompt}])}),
        track_ai("bot", variables={"names": ["x"] * 5000}) as run,
    ):
        assert run.messages() == [{"role": "system", "content": "- x\n" * 5000}]


def test_tags_with_other_delimiters_count(no_leaks: None) -> None:
    """A template with too many tags is not served, also if it chooses the text with which tags begin."""
    with (
        OfflineLaunchDarkly({"bot": ai_config(messages=[{"role": "system", "content": "{{=| |=}}" + "|x|" * 2000}])}),
        track_ai("bot") as run,
    ):
        assert not run.config.enabled


def test_variables_that_are_no_mapping(no_leaks: None, caplog: pytest.LogCaptureFixture) -> None:
    """A function that returns something else than a mapping gives no variables, and the log names what it returned."""
    wrong: Any = lambda: ["x"]  # noqa: E731
    with OfflineLaunchDarkly({"bot": ai_config(messages="Hi {{name}}")}), track_ai("bot", variables=wrong) as run:
        assert run.messages() == [{"role": "system", "content": "Hi "}]
    assert "The function variables= of 'bot' returned an object of type list, so the prompt has no" in caplog.text


def test_a_row_of_a_database_as_variables(no_leaks: None) -> None:
    """A function may return what a dict can be made of, such as a row of sqlite3."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.row_factory = sqlite3.Row
        row: Any = database.execute("SELECT 'Ada' AS name").fetchone()
    with (
        OfflineLaunchDarkly({"bot": ai_config(messages="Hi {{name}}")}),
        track_ai("bot", variables=lambda: row) as run,
    ):
        assert run.messages() == [{"role": "system", "content": "Hi Ada"}]


def test_names_of_python_are_not_looked_up(no_leaks: None, caplog: pytest.LogCaptureFixture) -> None:
    """A prompt reads what a variable is about, and nothing of the program around it."""

    class User:
        name = "Ada"

    served = ai_config(messages="Hi {{user.name}}")
    with OfflineLaunchDarkly({"bot": served}) as launchdarkly:
        with track_ai("bot", variables={"user": User}) as run:
            assert run.messages() == [{"role": "system", "content": "Hi Ada"}]
        launchdarkly.serve("bot", ai_config(messages="Hi {{user.__module__}}"))
        with track_ai("bot", variables={"user": User}) as run:
            assert not run.config.enabled
    assert "begin with two underscores" in caplog.text


@pytest.mark.parametrize("config_key", MALFORMED)
def test_a_malformed_variation_is_not_served(tracking: Tracking, config_key: str) -> None:
    """The default is served in its place, which is logged once, and the request goes on."""
    default = AICompletionConfigDefault(enabled=True, messages=[LDMessage(role="system", content="Be kind.")])
    for _ in range(2):
        with track_ai(config_key=config_key, tracking=tracking, default=default) as run:
            assert run.messages() == [{"role": "system", "content": "Be kind."}]

    assert tracking.stats().diagnostics["default_served"] == 2


def test_the_log_says_what_is_served(no_leaks: None, caplog: pytest.LogCaptureFixture) -> None:
    """A key without an AI Config is disabled, or has its default; the log names the command that knows the keys."""
    default = AICompletionConfigDefault(enabled=True, model=ModelConfig("spare"))
    with OfflineLaunchDarkly({"bot": ai_config()}):
        with track_ai("bott"):
            pass
        with track_ai("bott-2", default=default):
            pass
    why = "because there is no such AI Config in this environment; `ldai doctor {}` names similar keys."
    assert f"AI Config 'bott' is disabled, {why.format('bott')}" in caplog.messages
    assert f"AI Config 'bott-2' is served as its default, {why.format('bott-2')}" in caplog.messages


def test_a_key_with_and_without_a_default(no_leaks: None, caplog: pytest.LogCaptureFixture) -> None:
    """Both lines are logged, so that the error of a request names a line that is in the log."""
    default = AICompletionConfigDefault(enabled=True, model=ModelConfig("spare"))
    with OfflineLaunchDarkly({}):
        with track_ai("bot", default=default):
            pass
        with track_ai("bot") as run, pytest.raises(UnusableConfigError) as raised:
            run.request(OpenAI(api_key="none"))
    named = "AI Config 'bot' is disabled, because "
    assert f"log line '{named}…'" in str(raised.value)
    assert [text.startswith(named) for text in caplog.messages if "because" in text] == [False, True]


def test_each_mistake_is_logged(no_leaks: None, caplog: pytest.LogCaptureFixture) -> None:
    """An AI Config that gets another mistake by an edit is logged again, with what to do now."""
    agent = ai_config(instructions="Be brief.", mode="agent")
    with OfflineLaunchDarkly({"bot": agent}) as launchdarkly:
        for config in (agent, ai_config(messages="{{#names}} without an end"), agent):
            launchdarkly.serve("bot", config)
            with track_ai("bot") as run:
                assert not run.config.enabled

    served = [record.message for record in caplog.records if "is disabled" in record.message]
    assert [("mode 'agent'" in text, "well-formed" in text) for text in served] == [(True, False), (False, True)]


@pytest.mark.parametrize(("read_as", "prompt"), [("agent", "messages"), ("completion", "instructions")])
def test_a_variation_that_does_not_say_its_mode(read_as: Any, prompt: str, caplog: pytest.LogCaptureFixture) -> None:
    """It has the mode of its prompt, which would be missing if it was read with the other mode."""
    texts: dict[str, Any] = {prompt: "Be brief."}
    with OfflineLaunchDarkly({"bot": ai_config(**texts)}):
        with track_ai("bot", mode=read_as) as run:
            assert not run.config.enabled
        with track_ai("bot", mode="completion" if read_as == "agent" else "agent") as run:
            assert run.system == "Be brief."
    assert f"but is read as {read_as!r}" in caplog.text


def test_a_default_is_rendered_anew(no_leaks: None) -> None:
    """Each run fills in the default with its own variables; the default itself stays as it is."""
    default = AICompletionConfigDefault(enabled=True, messages=[LDMessage(role="system", content="You help {{shop}}.")])
    with OfflineLaunchDarkly({}):
        for shop in ("K", "L"):
            with track_ai("bot", default=default, variables={"shop": shop}) as run:
                assert run.messages() == [{"role": "system", "content": f"You help {shop}."}]
    assert default.messages == [LDMessage(role="system", content="You help {{shop}}.")]


def test_no_log_line_has_the_prompt_of_a_default(no_leaks: None, caplog: pytest.LogCaptureFixture) -> None:
    """If LaunchDarkly is unreachable, neither the library nor LaunchDarkly's SDK logs the default that is served."""
    default = AICompletionConfigDefault(enabled=True, messages=[LDMessage(role="system", content="Sell marmalade.")])
    nowhere = "http://127.0.0.1:9"
    config = Config("sdk-none", base_uri=nowhere, stream_uri=nowhere, send_events=False)
    with (
        caplog.at_level(logging.INFO),
        closing(LDClient(config, start_wait=0)) as client,
        track_ai("bot", tracking=Tracking(client), default=default) as run,
    ):
        assert run.messages() == [{"role": "system", "content": "Sell marmalade."}]

    assert any(record.name.startswith("ldclient") and "bot" in record.message for record in caplog.records)
    assert "marmalade" not in caplog.text


def test_models_that_variables_call(no_leaks: None, caplog: pytest.LogCaptureFixture) -> None:
    """A model that the function of the variables calls is a call of the run, or of a run of its own."""
    usage = {"prompt_tokens": 1181, "total_tokens": 1181}

    def search(question: str) -> dict[str, Any]:
        current_run().observe({"object": "list", "data": [], "model": "m", "usage": usage})
        return {"documents": question}

    @track_ai("bot", variables=search)
    def answer(run: Run, question: str) -> str:
        run.observe(_ANSWER)
        return str(run.messages()[0]["content"])

    with OfflineLaunchDarkly({"bot": ai_config(messages="{{documents}}"), "outer": ai_config()}) as launchdarkly:
        assert answer("open?") == "open?"
        with track_ai("outer"):
            answer("open?")
        alone, inner, _outer = launchdarkly.sink.wait(3)
    for record in (alone, inner):
        assert record.usage is not None
        assert (record.config_key, record.calls, record.usage.input_tokens) == ("bot", 2, 1181 + 1188)
    assert caplog.text == ""


@pytest.mark.parametrize("is_resolved", [False, True])
@pytest.mark.parametrize("given", [None, {"name": "Ada"}], ids=["none", "some"])
def test_the_variables_of_a_function_that_joins(given: Any, is_resolved: bool, no_leaks: None) -> None:
    """A run without variables takes those of a function that joins it, unless its prompt was rendered before."""

    @track_ai("bot", variables=lambda: {"name": "Grace"})
    def greet(run: Run) -> str:
        return str(run.messages()[0]["content"])

    with OfflineLaunchDarkly({"bot": ai_config(messages="Hi {{name}}")}), track_ai("bot", variables=given) as run:
        if is_resolved:
            run.messages()
        assert greet() == ("Hi Ada" if given else "Hi " if is_resolved else "Hi Grace")
