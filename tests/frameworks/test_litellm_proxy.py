"""LiteLLM's proxy as the application: the middleware around it reports the provider's figures."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ldai_integrations import Settings
from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.records import RunRecord
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink

from ..ledger.provider import Provider

# What the proxy imports besides LiteLLM.
_NEEDED = ("litellm", "apscheduler", "fastapi_sso", "orjson", "RestrictedPython", "soundfile")
_IS_INSTALLED = all(importlib.util.find_spec(name) is not None for name in _NEEDED)

pytestmark = [
    pytest.mark.stacks,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(300),
    pytest.mark.skipif(not _IS_INSTALLED, reason="the dependencies of LiteLLM's proxy are not installed"),
]

TOKENS = (7317, 3863)
MESSAGES = [{"role": "user", "content": "Hi"}]
TOOL = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object", "properties": {}}}}
_KEY = "sk-" + 32 * "1"

Ask = Callable[..., tuple[int, RunRecord]]


@pytest.fixture
def settings() -> Settings:
    """Return settings that wait longer: LiteLLM imports much for its first reports."""
    return Settings(flush="never", judges=None, usage_wait=10)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return the proxy's application. It reads its configuration when it starts."""
    path = tmp_path_factory.mktemp("proxy") / "config.yaml"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        patch.setenv("CONFIG_FILE_PATH", os.fspath(path))
        from litellm.proxy.proxy_server import app

        yield app


def _configure(url: str) -> None:
    served = {"chat": (f"{url}/v1", "openai/gpt-4o-mini"), "claude": (url, "anthropic/claude-3")}
    served |= {"tools": (f"{url}/v1", "openai/tools"), "busy": (f"{url}/v1", "openai/busy")}
    models = [
        {"model_name": name, "litellm_params": {"model": model, "api_base": base, "api_key": "none"}}
        for name, (base, model) in served.items()
    ]
    settings = {"general_settings": {"master_key": _KEY}, "router_settings": {"num_retries": 0}}
    Path(os.environ["CONFIG_FILE_PATH"]).write_text(json.dumps({"model_list": models, **settings}))


@pytest.fixture
def ask(proxy: Any, provider: Provider, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> Iterator[Ask]:
    """Return a function that sends a request through the middleware; it returns the status and the record."""
    from starlette.testclient import TestClient

    for model in ("gpt-4o-mini", "claude-3"):
        provider.serve(model, tokens=TOKENS)
    provider.serve("tools", tokens=TOKENS, tool="lookup")
    provider.serve("busy", status=429)
    _configure(provider.url)

    def config_key(scope: Any) -> str | None:
        return "chat" if scope["type"] == "http" and scope["method"] == "POST" else None

    application = ASGITrackingMiddleware(proxy, launchdarkly.tracking, config_key=config_key)
    with TestClient(application) as client:

        def ask(path: str, **body: Any) -> tuple[int, RunRecord]:
            response = client.post(path, json=body, headers={"authorization": f"Bearer {_KEY}"})
            assert response.text
            return response.status_code, runs.wait(1)[-1]

        yield ask


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/chat/completions", {"model": "chat", "messages": MESSAGES}),
        ("/chat/completions", {"model": "tools", "messages": MESSAGES, "tools": [TOOL]}),
        ("/v1/messages", {"model": "claude", "messages": MESSAGES, "max_tokens": 9}),
        ("/v1/responses", {"model": "claude", "input": "Hi"}),
    ],
    ids=["chat", "tools", "messages", "responses"],
)
def test_the_figures_are_those_of_the_provider(ask: Ask, path: str, body: dict[str, Any], stream: bool) -> None:
    """A request to the proxy is a run with one call and the provider's figures, streamed or not."""
    status, record = ask(path, **body, **({"stream": True} if stream else {}))

    usage = record.usage
    assert (status, record.outcome, record.calls) == (200, "success", 1)
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.source) == (*TOKENS, "provider")
    assert record.tool_calls == (("lookup",) if "tools" in body else ())
    assert (record.time_to_first_token_ms is not None) is stream


def test_embeddings(ask: Ask) -> None:
    """A request for embeddings has the provider's input tokens."""
    status, record = ask("/v1/embeddings", model="chat", input=["Hi"])

    assert (status, record.outcome, record.calls) == (200, "success", 1)
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.source) == (TOKENS[0], "provider")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_refusal_of_the_provider_is_an_error(ask: Ask, stream: bool) -> None:
    """A 429 of the provider, which the proxy passes on, is an error and no refused request."""
    status, record = ask("/chat/completions", model="busy", messages=MESSAGES, stream=stream)

    assert (status, record.outcome, record.calls, record.failed_calls) == (429, "error", 1, 1)
