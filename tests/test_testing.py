"""The kit for the tests of applications does what it says, and so does docs/testing.md."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from ldclient import Context

from ldai_integrations import ConfigurationError, Run, current_run, track_ai
from ldai_integrations.flask import AITracking
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink, ai_config, counting_tokens, recorded_runs
from ldai_integrations.usage import count_tokens

PAGE = (Path(__file__).parents[1] / "docs" / "testing.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)

SAMPLE = Path(__file__).parents[1] / "ldai_integrations" / "devserver"

# The plugin of this checkout, whether the package is installed or not.
PLUGIN = ("-p", "ldai_integrations._pytest_plugin")
ENVIRONMENT = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(Path(__file__).parents[1])}

pytest_plugins = ["pytester"]


@pytest.mark.timeout(180)
def test_the_page(tmp_path: Path) -> None:
    """The application on the page passes its tests, with pytest, and the block without one runs."""
    app, tests, assistant, assistant_tests, judged, graph, alone, *_ = BLOCKS
    files = {"app.py": app, "test_app.py": tests, "assistant.py": assistant, "test_assistant.py": assistant_tests}
    _write(tmp_path, {**files, "test_judge.py": judged, "test_graph.py": graph, "alone.py": alone})
    assert "9 passed" in _run_tests(tmp_path, ENVIRONMENT)
    subprocess.run([sys.executable, "alone.py"], cwd=tmp_path, env=ENVIRONMENT, timeout=90, check=True)


@pytest.mark.timeout(180)
def test_a_tracking_at_import(tmp_path: Path) -> None:
    """The application that calls from_env() at import passes its test, also in the shell of a dev server."""
    *_, shop, conftest, tests = BLOCKS
    sample = (SAMPLE / "sample.json").read_text(encoding="utf-8")
    _write(tmp_path, {"shop.py": shop, "conftest.py": conftest, "test_shop.py": tests, "configs.json": sample})
    environ = {**ENVIRONMENT, "LDAI_DEV_SERVER": "http://127.0.0.1:1", "LAUNCHDARKLY_SDK_KEY": "sdk-any"}
    assert "1 passed" in _run_tests(tmp_path, environ)


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def _run_tests(folder: Path, environ: dict[str, str]) -> str:
    """Run the tests of a folder with the plugin, in a new process, and return what pytest prints."""
    command = [sys.executable, "-m", "pytest", "-q", *PLUGIN, "-p", "no:cacheprovider", "-W", "error", "--rootdir", "."]
    return subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=90, check=False
    ).stdout


def run_pytest(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.RunResult:
    """Run the tests in pytester's folder with the plugin, in a new process."""
    for name in ("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "PYTHONPATH"):
        monkeypatch.setenv(name, ENVIRONMENT[name])
    return pytester.runpytest_subprocess(*PLUGIN, "-W", "error")


_CONFIGURED = """
import pytest
from ldai_integrations.testing import ai_config

@pytest.fixture
def ldai_configs():
    return {"chat": ai_config("gpt-4o", variation_key="large")}
"""
_RUNS = """
import pytest
from ldai_integrations import track_ai
from ldai_integrations.testing import ai_config

@pytest.mark.parametrize("tokens", [3, 4])
def test_a_run(ldai, ldai_clock, tokens):
    with track_ai("chat") as run:
        run.add_usage(input_tokens=tokens, output_tokens=1)
        ldai_clock.advance(250)
    [record] = ldai.sink.wait()
    assert (record.variation_key, record.duration_ms, record.usage.input_tokens) == ("large", 250, tokens)

def test_another_config(ldai):
    ldai.serve("chat", ai_config(enabled=False))
    with track_ai("chat") as run:
        assert not run.config.enabled
"""
_UNCONFIGURED = """
from ldai_integrations import track_ai
from ldai_integrations.testing import ai_config

def test_served(ldai):
    with track_ai("chat") as run:
        assert not run.config.enabled
    ldai.serve("chat", ai_config())
    with track_ai("chat") as run:
        assert run.config.enabled
        run.discard()
"""
_SETTINGS = """
import pytest
from ldai_integrations import Settings

@pytest.fixture
def ldai_settings():
    return Settings(flush="never", judges=None, cancelled_as="error")

def test_settings(ldai):
    assert ldai.tracking.settings.cancelled_as == "error"
"""


@pytest.mark.timeout(180)
def test_the_fixtures(tmp_path: Path) -> None:
    """The fixture serves the AI Configs of the test or of conftest.py, keeps records, and starts anew in each test.

    Without ldai_configs, every AI Config is unknown until the test serves one. The fixture ldai_settings gives its
    settings.
    """
    (tmp_path / "configured").mkdir()
    files = {"configured/conftest.py": _CONFIGURED, "configured/test_runs.py": _RUNS}
    _write(tmp_path, {**files, "test_unconfigured.py": _UNCONFIGURED, "test_settings.py": _SETTINGS})

    said = _run_tests(tmp_path, ENVIRONMENT)

    assert said.splitlines()[-1].startswith("5 passed in "), said


def test_the_plugin_is_light(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of pytest that does not use the fixture does not import LaunchDarkly's SDK."""
    pytester.makepyfile(
        """
        import sys

        def test_nothing():
            loaded = {name for name in sys.modules if name.split(".")[0] in ("ldclient", "ldai", "urllib3", "tiktoken")}
            assert loaded == set()
            assert "ldai_integrations._pytest_plugin" in sys.modules
        """
    )
    run_pytest(pytester, monkeypatch).assert_outcomes(passed=1)


def test_pytest_finds_the_plugin() -> None:
    """The package names its plugin to pytest."""
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(Path(__file__).parents[1] / "setup.cfg", encoding="utf-8")
    assert setup["options.entry_points"]["pytest11"].strip() == "ldai = ldai_integrations._pytest_plugin"


def test_pytest_is_not_needed() -> None:
    """Importing the kit imports no test runner."""
    program = "import ldai_integrations.testing, sys; print(sorted({'pytest', 'unittest'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert "pytest" not in done.stdout


def test_what_is_served(no_leaks: None) -> None:
    """An AI Config is served with its prompt, parameters and variation; users may get another; unknown keys nothing."""
    large = ai_config("gpt-4o", parameters={"temperature": 0.2}, variation_key="large", version=3)
    with OfflineLaunchDarkly({"agent": ai_config(instructions="Help {{name}}.")}) as launchdarkly:
        launchdarkly.serve("bot", ai_config(messages=[{"role": "system", "content": "Hi."}]), users={"ada": large})

        def served(key: str = "bot", user: str = "grace", **options: object) -> Run:
            with track_ai(key, ld_context=lambda: Context.create(user), **options) as run:  # type: ignore[arg-type]
                assert run.config
            return run

        assert served().messages() == [{"role": "system", "content": "Hi."}]
        assert (served().model, served(user="ada").model) == ("gpt-4o-mini", "gpt-4o")
        assert served(user="ada").parameters == {"temperature": 0.2}
        assert served("agent", mode="agent", variables={"name": "Ada"}).messages()[0]["content"] == "Help Ada."
        assert not served("elsewhere").config.enabled
        launchdarkly.serve("bot", ai_config(enabled=False))
        assert not served(user="ada").config.enabled
        launchdarkly.tracking.flush()
        records = launchdarkly.sink.records
        assert [record.variation_key for record in records if record.config_key == "bot"] == ["test"] * 2 + [
            "large"
        ] * 2


def test_messages_or_instructions() -> None:
    """What is both a completion's and an agent's is refused."""
    with pytest.raises(ConfigurationError, match="an agent has only instructions"):
        ai_config(messages="Hello.", instructions="Help.")


def test_modes() -> None:
    """The mode of a variation follows from its prompt, unless it is given, as for a judge."""
    judge = ai_config(mode="judge", evaluationMetricKey="$ld:ai:judge:relevance", messages="Score it.")
    variations = [ai_config(), ai_config(instructions="Help."), judge]

    assert [variation["_ldMeta"]["mode"] for variation in variations] == ["completion", "agent", "judge"]
    assert judge["evaluationMetricKey"] == "$ld:ai:judge:relevance"


def test_a_whole_flag_is_refused(no_leaks: None) -> None:
    """A flag of a flag file is no variation; the error says what to give."""
    flag = {"key": "bot", "on": True, "fallthrough": {"variation": 0}, "variations": [ai_config()]}
    with pytest.raises(ConfigurationError, match=r"'bot' is a whole flag; give one of its variations"):
        OfflineLaunchDarkly({"bot": flag})
    with OfflineLaunchDarkly({"bot": flag["variations"][0]}), track_ai("bot") as run:  # type: ignore[index]
        assert run.config.enabled


@pytest.mark.parametrize("served", [None, "gpt-4o", [ai_config()]])
def test_what_is_no_variation_is_refused(served: dict[str, object], no_leaks: None) -> None:
    """Only a variation can be served; the error says what to give."""
    with pytest.raises(
        ConfigurationError, match=r"'bot' was given an object of type \w+; give a variation, such as ai_config\(\)"
    ):
        OfflineLaunchDarkly({"bot": served})


def test_the_custom_parameters_of_a_model() -> None:
    """Prices of a test's own decide what its runs cost, and code reads custom parameters with run.custom()."""
    custom = {"costPerInputToken": 0.003, "costPerOutputToken": 0.05, "team": "yarn"}
    with OfflineLaunchDarkly({"bot": ai_config("our-model", custom=custom)}) as launchdarkly, recorded_runs() as runs:
        with track_ai("bot") as run:
            run.add_usage(input_tokens=1_013, output_tokens=17)
            team = run.custom("team")
        launchdarkly.tracking.flush()

    assert team == "yarn"
    [record] = runs.records
    assert (record.input_cost, record.output_cost) == (Decimal("3.039"), Decimal("0.85"))


@pytest.mark.parametrize("field", ["message", "judge_configuration", "edges", "temperature"])
def test_a_field_that_no_variation_has_is_refused(field: str) -> None:
    """A field that would have no effect is an error that names it."""
    fields: dict[str, Any] = {field: 1}

    with pytest.raises(TypeError, match=f"'{field}'"):
        ai_config("gpt-4o", **fields)


def test_events(no_leaks: None) -> None:
    """What LaunchDarkly would get is there to look at."""
    with OfflineLaunchDarkly({"bot": ai_config()}) as launchdarkly:
        with track_ai("bot", tracking=launchdarkly.tracking) as run:
            run.add_usage(input_tokens=3, output_tokens=4)
        launchdarkly.sink.wait()
        assert ("tokens:total", 7) in launchdarkly.events.of_runs()
        assert [event.metric_value for event in launchdarkly.events.named("tokens:input")] == [3]


def test_the_block_ends(fresh_process: None, no_leaks: None) -> None:
    """Code without a Tracking uses that of the block, and afterwards none; closing twice is allowed."""
    with OfflineLaunchDarkly({"bot": ai_config()}) as launchdarkly, track_ai("bot"):
        assert current_run().config.enabled
    with track_ai("bot"):
        assert not current_run().config.enabled
    launchdarkly.close()
    assert [record.config_key for record in launchdarkly.sink.records] == ["bot"]


def test_waiting(no_leaks: None) -> None:
    """A record of another thread is waited for; if too few come, the failure says which did."""
    sink = RecordingSink()
    with OfflineLaunchDarkly({"bot": ai_config()}) as launchdarkly, track_ai("bot"):
        pass
    [record] = launchdarkly.sink.wait()
    thread = threading.Timer(0.05, lambda: sink.emit(record))
    thread.start()
    assert sink.wait(timeout=20) == [record]
    thread.join()
    with pytest.raises(AssertionError, match=r"2 runs .* within 0 s; reported: bot \(success\)"):
        sink.wait(2, timeout=0)


def test_waiting_for_a_run_whose_response_nobody_has_read(no_leaks: None) -> None:
    """The failure names the run that is open, and what to do."""

    def answer() -> str:
        current_run().add_usage(input_tokens=1013, output_tokens=77)
        return "Hi"

    with OfflineLaunchDarkly({"bot": ai_config()}) as launchdarkly:
        app = Flask(__name__)
        AITracking(app, launchdarkly.tracking, config_key=lambda request: "bot")
        app.add_url_rule("/", view_func=answer)
        response = app.test_client().get("/")
        with pytest.raises(AssertionError, match=r"reported: none; still open: bot\. Read the response"):
            launchdarkly.sink.wait(timeout=0)
        assert response.text == "Hi"
        [record] = launchdarkly.sink.wait()
    assert record.usage is not None
    assert record.usage.total_tokens == 1090


def test_discarded_runs_are_recorded_where_they_are_looked_for(no_leaks: None) -> None:
    """The sink sees what is reported, ``recorded_runs`` every run."""
    with OfflineLaunchDarkly({"bot": ai_config(enabled=False)}) as launchdarkly, recorded_runs() as runs:
        with track_ai("bot"):
            pass
        assert [record.enabled for record in runs.wait()] == [False]
    assert launchdarkly.sink.records == []


def test_a_run_that_an_earlier_test_left_open_is_not_recorded(no_leaks: None) -> None:
    """It may end at any time."""
    with OfflineLaunchDarkly({"bot": ai_config(), "other": ai_config()}) as launchdarkly:
        with track_ai("bot") as earlier:
            earlier.add_usage(input_tokens=7, output_tokens=5)
            with recorded_runs() as runs:
                with track_ai("other") as run:
                    run.add_usage(input_tokens=11, output_tokens=3)
                earlier.finish()
                launchdarkly.sink.wait(2)
        assert [record.usage.total_tokens for record in runs.records if record.usage] == [14]


def test_a_clock_that_is_set_back_in_the_block(no_leaks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are recorded although a library such as freezegun has set the time to a day in the past."""
    with OfflineLaunchDarkly({"bot": ai_config()}), recorded_runs() as runs:
        monkeypatch.setattr("time.time", lambda: 1_700_000_000.0)
        with track_ai("bot") as run:
            run.add_usage(input_tokens=11, output_tokens=3)
        assert [record.config_key for record in runs.wait()] == ["bot"]


def test_counting() -> None:
    """Tokens are what the counter says, while it is there."""
    before = count_tokens("unbelievably")
    with counting_tokens():
        assert count_tokens("two words") == 2
        with counting_tokens(lambda _text: 7):
            assert count_tokens("two words") == 7
    assert count_tokens("unbelievably") == before
