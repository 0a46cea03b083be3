"""One handler and one AI Config, which is edited while the application runs, work with every provider."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, request
from ldclient import Context

from ldai_integrations import Run, Settings, Tracking, track_ai, wrap_client
from ldai_integrations.devserver import DevServer
from ldai_integrations.flask import AITracking
from ldai_integrations.records import RunRecord
from ldai_integrations.testing import RecordingSink, ai_config

from ..clients import makers
from ..clients.provider import Provider, serving
from ..flags import flag
from ..waiting import eventually
from .answering import CITY, INPUT, OUTPUT, TOTAL, answer
from .test_request import FORMAT, PARAMETERS, PROMPT, SCHEMA, TOOL

# All clients are imported at the start, which takes long on a busy machine.
pytestmark = [pytest.mark.usefixtures("o200k"), pytest.mark.timeout(300)]


def _azure(url: str) -> Any:
    azure = pytest.importorskip("openai").AzureOpenAI
    return azure(api_key="none", azure_endpoint=url, api_version="2024-10-21", max_retries=0)


#: The clients of the application, by the name of the provider in the AI Config.
CLIENTS: dict[str, Callable[[str], Any]] = {
    "OpenAI": lambda url: wrap_client(makers.openai(url), include_usage=True),
    "Azure": lambda url: wrap_client(_azure(url)),
    "Anthropic": lambda url: wrap_client(makers.anthropic(url)),
    "Anthropic on Bedrock": lambda url: wrap_client(makers.anthropic_bedrock(url)),
    "Anthropic on Vertex AI": lambda url: wrap_client(makers.anthropic_vertex(url)),
    "Bedrock": lambda url: wrap_client(makers.bedrock(url)),
    "Gemini": lambda url: wrap_client(makers.genai(url)),
    "Mistral": lambda url: wrap_client(makers.mistral(url)),
    "Cohere": lambda url: wrap_client(makers.cohere_v2(url)),
}
#: Each provider as somebody names it in the AI Config, with the API if it has several.
PROVIDERS = [(name, "") for name in CLIENTS] + [("OpenAI", "responses")]
#: What each API calls a normal end and a tool call.
REASONS = {
    "Anthropic": ("end_turn", "tool_use"),
    "Anthropic on Bedrock": ("end_turn", "tool_use"),
    "Anthropic on Vertex AI": ("end_turn", "tool_use"),
    "Bedrock": ("end_turn", "tool_use"),
    "Gemini": ("STOP", "STOP"),
    "Cohere": ("COMPLETE", "TOOL_CALL"),
    "responses": ("completed", "completed"),
}
TOOLS = {"weather": lambda city: f"Sunny in {city}"}


class CheckingProvider(Provider):
    """A provider of this machine that refuses requests which the published schemas do not have."""

    def answer(self, path: str, request: dict[str, Any]) -> Any:
        """Return the answer to a request."""
        self.requests.append(request)
        return answer(path, request)


@dataclass
class Application:
    """The running application, and what surrounds it."""

    app: Flask
    tracking: Tracking
    sink: RecordingSink
    configs: Path
    dev_server: DevServer
    provider: Provider
    clients: dict[str, Any]
    edits: int = 0

    def connect(self, provider: str) -> None:
        """Create the client of a provider, unless the application has it; skip the test without its package."""
        if provider not in self.clients:
            self.clients[provider] = CLIENTS[provider](self.provider.url)

    def edit(self, provider: str, api: str, **fields: Any) -> str:
        """Edit the AI Config, as a user of ``ldai dev`` does, and wait until the application has the new one."""
        self.edits += 1
        key = f"edit-{self.edits}"
        config = ai_config("model-1", messages=PROMPT, provider=provider, variation_key=key, **fields)
        config["model"]["custom"] = {"api": api}
        self.configs.write_text(json.dumps({"flags": {"bot": flag("bot", config)}, "segments": {}}), encoding="utf-8")
        context, ld_client = Context.create("ada"), self.tracking.client
        assert eventually(lambda: ld_client.variation("bot", context, {})["_ldMeta"]["variationKey"] == key, timeout=20)
        return key

    def ask(self, how: str) -> tuple[str, RunRecord]:
        """Send a question; return the answer and the record of the run."""
        before = len(self.sink.records)
        response = self.app.test_client().post(f"/{how}", json={"question": "Oslo?"})
        assert response.status_code == 200, response.text
        return response.text, self.sink.wait(before + 1)[-1]

    def metrics(self, variation_key: str) -> dict[str, Any]:
        """Return what LaunchDarkly's metrics say about a variation."""
        assert self.tracking.flush(20).complete
        found = self.dev_server.metrics("bot", by_variation=True)
        [metrics] = [entry["metrics"] for entry in found if entry["variationKey"] == variation_key]
        return dict(metrics)


def create_app(tracking: Tracking, clients: dict[str, Any]) -> Flask:
    """Return an application with a handler that no edit changes, for whole answers and for streams."""
    app = Flask("shop")
    AITracking(app, tracking, ld_context=lambda _request: Context.create("ada"))

    @app.post("/<how>")
    @track_ai("bot", on_disabled=lambda how: ("The assistant is not available.", 503))
    def chat(how: str, run: Run) -> Response | str:
        client, api = clients[run.provider], run.custom("api")
        history: list[dict[str, Any]] = [{"role": "user", "content": request.json["question"]}]
        if how == "stream":
            return Response(run.request(client, history=history, tools=TOOLS, api=api).stream(), mimetype="text/plain")
        while True:
            answer = run.request(client, history=history, tools=TOOLS, api=api).send()
            if not answer.tool_calls:
                return answer.text
            history.append(answer.message)
            history += [call.result(TOOLS[call.name](**call.arguments)) for call in answer.tool_calls]

    return app


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    """Start ``ldai dev``'s server with a file, the providers and the application, once for all edits."""
    configs = tmp_path_factory.mktemp("dev") / "configs.json"
    configs.write_text(json.dumps({"flags": {"bot": flag("bot", ai_config())}, "segments": {}}), encoding="utf-8")
    sink = RecordingSink()
    with DevServer(configs) as dev_server, serving(CheckingProvider) as provider:
        settings = Settings(flush="never", judges=None)
        environ = {"LDAI_DEV_SERVER": dev_server.url}
        tracking = Tracking.from_env(settings=settings, sinks=[sink], environ=environ)
        clients: dict[str, Any] = {}
        try:
            yield Application(create_app(tracking, clients), tracking, sink, configs, dev_server, provider, clients)
        finally:
            tracking.close()
            for client in clients.values():
                if hasattr(client, "close"):
                    client.close()


@pytest.mark.parametrize(("provider", "api"), PROVIDERS)
@pytest.mark.parametrize("situation", ["plain", "streamed", "tools", "JSON", "JSON beside the model"])
def test_an_edit_of_the_ai_config(situation: str, provider: str, api: str, application: Application) -> None:
    """The provider accepts each request, and the record and LaunchDarkly's metrics have the provider's figures."""
    application.connect(provider)
    fields: dict[str, Any] = {"parameters": PARAMETERS}
    if situation == "tools":
        fields["tools"] = {"weather": TOOL}
    elif situation == "JSON":
        fields["parameters"] = {**PARAMETERS, "response_format": FORMAT}
    elif situation == "JSON beside the model":
        fields["outputFormat"] = SCHEMA
    key = application.edit(provider, api, **fields)

    text, record = application.ask("stream" if situation == "streamed" else "whole")

    if situation.startswith("JSON") and text == "Hello there" and provider.startswith(("Anthropic", "Bedrock")):
        pytest.skip("an old client, which has no JSON answers")
    calls = 2 if situation == "tools" else 1
    stop, called = REASONS.get(api or provider, ("stop", "tool_calls"))
    assert (json.loads(text) if situation.startswith("JSON") else text) == (
        CITY if situation.startswith("JSON") else "Hello there"
    )
    usage = record.usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens, usage.source) == (
        INPUT * calls,
        OUTPUT * calls,
        TOTAL * calls,
        "provider",
    )
    assert (record.outcome, record.calls, record.variation_key) == ("success", calls, key)
    assert record.finish_reasons == ((called, stop) if calls == 2 else (stop,))
    assert record.tool_calls == (("weather",) if calls == 2 else ())
    assert (record.time_to_first_token_ms is not None) is (situation == "streamed")
    metrics = application.metrics(key)
    assert (metrics["inputTokens"], metrics["outputTokens"], metrics["generationSuccessCount"]) == (
        INPUT * calls,
        OUTPUT * calls,
        1,
    )
    assert ("timeToFirstTokenMs" in metrics) is (situation == "streamed")
