"""What a handler gets from ``run.request`` if there is no usable AI Config: no model is called without its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from ldai import AICompletionConfigDefault, LDMessage, ModelConfig
from ldclient import Config, Context, LDClient
from openai import OpenAI

from ldai_integrations import Run, Settings, Tracking, current_run, track_ai, track_graph, wrap_client
from ldai_integrations.exceptions import LDAIIntegrationError, UnusableConfigError
from ldai_integrations.testing import OfflineLaunchDarkly, ai_config

from ..clients import makers
from ..clients.provider import Provider
from ..conftest import complaints

DEFAULT = AICompletionConfigDefault(enabled=True, model=ModelConfig("default-model"))
NO_MODEL = {name: value for name, value in ai_config().items() if name != "model"}
CONFIGS = {"known": ai_config("model-1"), "disabled": ai_config("model-1", enabled=False), "no model": NO_MODEL}
CONFIGS["agent"] = ai_config("model-1", mode="agent")

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
    ("config_key", "cause", "remedy"),
    [
        ("disabled", "is disabled in LaunchDarkly", "on_disabled="),
        ("mistyped", "no usable variation", "default="),
        ("agent", "no usable variation of AI Config 'agent' for mode 'completion'", "default="),
        ("no model", "has no model", "Choose one"),
    ],
)
def test_the_text_of_the_exception(config_key: str, cause: str, remedy: str, provider: Provider) -> None:
    """The exception names the AI Config and the cause, and says what to do."""
    with OfflineLaunchDarkly(CONFIGS), track_ai(config_key) as run, makers.openai(provider.url) as client:
        with pytest.raises(LDAIIntegrationError, match=config_key) as raised:
            run.request(client)
        assert cause in str(raised.value)
        assert remedy in str(raised.value)


@pytest.mark.parametrize(
    "environ",
    [{}, {"LDAI_CONFIG_FILE": "missing.json"}, {"LDAI_DEV_SERVER": "http://127.0.0.1:1", "LDAI_FLUSH_TIMEOUT": "x"}],
    ids=["nothing", "file", "settings"],
)
@pytest.mark.parametrize("options", OPTIONS)
def test_without_a_tracking(
    environ: dict[str, str], options: str, provider: Provider, fresh_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no Tracking can be created, the default is served as if LaunchDarkly were unreachable."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    expected = EXPECTED["unreachable"][options]

    with makers.openai(provider.url) as client:

        @track_ai(config_key="chat", **OPTIONS[options])
        def handler(run: Run) -> str:
            run.request(client, user="Oslo?").send()
            return run.model

        call: Callable[[], str] = handler
        if expected is UnusableConfigError:
            with pytest.raises(UnusableConfigError, match=r"'chat' is disabled, .*not connected.* default="):
                call()
        else:
            assert call() == expected


def test_prompts_of_defaults_without_a_tracking(fresh_process: None) -> None:
    """The prompt of such a default has its variables and the attributes of the LD context."""
    message = LDMessage(role="system", content="You help {{ldctx.name}} in {{shop}}.")
    default = AICompletionConfigDefault(enabled=True, model=ModelConfig("default-model"), messages=[message])

    @track_ai(
        "chat",
        default=default,
        variables=lambda shop: {"shop": shop},
        ld_context=lambda shop: Context.builder("ada").name("Ada").build(),
    )
    def ask(shop: str) -> str:
        return current_run().system

    assert ask("Knits") == "You help Ada in Knits."


def test_nested_runs_and_graphs_without_a_tracking(
    provider: Provider, fresh_process: None, caplog: pytest.LogCaptureFixture
) -> None:
    """Decorated functions call each other and models; one line says that runs are not tracked."""

    @track_ai("inner", mode="agent")
    def inner() -> str:
        return current_run().config_key

    @track_ai("outer", default=DEFAULT)
    @track_graph("flow")
    def outer(client: OpenAI) -> str:
        client.chat.completions.create(model=current_run().model, messages=[])
        return f"{current_run().config_key} and {inner()}"

    with makers.openai(provider.url) as client:
        assert outer(wrap_client(client)) == "outer and inner"

    assert len(complaints(caplog)) == 1


def test_outside_of_any_run(provider: Provider) -> None:
    """Code outside of any run, such as a thread without the run's context, learns from the exception how to fix it."""
    with makers.openai(provider.url) as client, pytest.raises(UnusableConfigError, match=r"no run here.*run\.bind"):
        current_run().request(client)
