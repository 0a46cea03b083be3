"""The kit for the tests of applications does what it says, and so does docs/testing.md."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from ldclient import Context

from ldai_integrations import ConfigurationError, Run, current_run, track_ai
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink, ai_config, counting_tokens, recorded_runs
from ldai_integrations.usage import count_tokens

PAGE = (Path(__file__).parents[1] / "docs" / "testing.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.timeout(180)
def test_the_page(tmp_path: Path) -> None:
    """The application on the page passes its tests, with pytest, and the last block runs."""
    app, tests, last = BLOCKS
    (tmp_path / "app.py").write_text(app, encoding="utf-8")
    (tmp_path / "test_app.py").write_text(tests, encoding="utf-8")
    (tmp_path / "last.py").write_text(last, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "--rootdir", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=90, check=False)
    assert "5 passed" in done.stdout, done.stdout
    subprocess.run([sys.executable, "last.py"], cwd=tmp_path, timeout=90, check=True)


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


def test_discarded_runs_are_recorded_where_they_are_looked_for(no_leaks: None) -> None:
    """The sink sees what is reported, ``recorded_runs`` every run."""
    with OfflineLaunchDarkly({"bot": ai_config(enabled=False)}) as launchdarkly, recorded_runs() as runs:
        with track_ai("bot"):
            pass
        assert [record.enabled for record in runs.wait()] == [False]
    assert launchdarkly.sink.records == []


def test_counting() -> None:
    """Tokens are what the counter says, while it is there."""
    before = count_tokens("unbelievably")
    with counting_tokens():
        assert count_tokens("two words") == 2
        with counting_tokens(lambda _text: 7):
            assert count_tokens("two words") == 7
    assert count_tokens("unbelievably") == before
