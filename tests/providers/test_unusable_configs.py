"""What a handler gets from ``run.request`` if there is no usable AI Config: no model is called without its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from ldai import AICompletionConfigDefault, ModelConfig
from ldclient import Config, LDClient

from ldai_integrations import Run, Settings, Tracking, current_run, track_ai
from ldai_integrations.exceptions import LDAIIntegrationError, UnusableConfigError
from ldai_integrations.testing import OfflineLaunchDarkly, ai_config

from ..clients import makers
from ..clients.provider import Provider

DEFAULT = AICompletionConfigDefault(enabled=True, model=ModelConfig("default-model"))
NO_MODEL = {name: value for name, value in ai_config().items() if name != "model"}
CONFIGS = {"known": ai_config("model-1"), "disabled": ai_config("model-1", enabled=False), "no model": NO_MODEL}

OPTIONS: dict[str, dict[str, Any]] = {
    "neither": {},
    "default": {"default": DEFAULT},
    "on_disabled": {"on_disabled": lambda: "Not available."},
    "both": {"default": DEFAULT, "on_disabled": lambda: "Not available."},
}
#: What the handler returns in each situation, by its options; a class is the exception that it sees.
EXPECTED: dict[str, dict[str, Any]] = {
    "known": dict.fromkeys(OPTIONS, "model-1"),
    "unreachable": {
        "neither": UnusableConfigError,
        "default": "default-model",
        "on_disabled": "Not available.",
        "both": "default-model",
    },
    "disabled": {
        "neither": UnusableConfigError,
        "default": UnusableConfigError,
        "on_disabled": "Not available.",
        "both": "Not available.",
    },
    "no model": dict.fromkeys(OPTIONS, UnusableConfigError),
}
EXPECTED["mistyped"] = EXPECTED["unreachable"]


@contextmanager
def tracking_of(situation: str) -> Iterator[Tracking]:
    """Return the Tracking of an application whose LaunchDarkly is in a situation."""
    if situation != "unreachable":
        with OfflineLaunchDarkly(CONFIGS) as launchdarkly:
            yield launchdarkly.tracking
        return
    client = LDClient(Config("sdk-key", offline=True))
    tracking = Tracking(client, settings=Settings(flush="never", judges=None))
    try:
        yield tracking
    finally:
        tracking.close()
        client.close()


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("situation", EXPECTED)
def test_a_handler_that_checks_nothing(situation: str, options: str, provider: Provider) -> None:
    """It answers with the default or on_disabled, or sees one exception; no model is called without its name."""
    expected = EXPECTED[situation][options]
    with tracking_of(situation) as tracking, makers.openai(provider.url) as client:

        @track_ai(config_key=situation, tracking=tracking, **OPTIONS[options])
        def handler(run: Run) -> str:
            run.request(client, user="Oslo?").send()
            return run.model

        call: Callable[[], str] = handler
        if expected is UnusableConfigError:
            with pytest.raises(UnusableConfigError, match=situation):
                call()
        else:
            assert call() == expected

    assert [request["model"] for request in provider.requests] == ([expected] if "model" in str(expected) else [])


@pytest.mark.parametrize(
    ("config_key", "remedy"), [("disabled", "on_disabled="), ("mistyped", "default="), ("no model", "Choose one")]
)
def test_the_text_of_the_exception(config_key: str, remedy: str, provider: Provider) -> None:
    """The exception names the AI Config and says what to do."""
    with OfflineLaunchDarkly(CONFIGS), track_ai(config_key) as run, makers.openai(provider.url) as client:
        with pytest.raises(LDAIIntegrationError, match=config_key) as raised:
            run.request(client)
        assert remedy in str(raised.value)


def test_outside_of_any_run(provider: Provider) -> None:
    """Code outside of any run sees the exception, too."""
    with makers.openai(provider.url) as client, pytest.raises(UnusableConfigError):
        current_run().request(client)
