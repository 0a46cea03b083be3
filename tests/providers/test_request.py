"""One handler for every provider: ``run.request``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import TypeAdapter

from ldai_integrations import Run, track_ai, wrap_client
from ldai_integrations.exceptions import ConfigurationError
from ldai_integrations.records import RunRecord
from ldai_integrations.testing import OfflineLaunchDarkly, ai_config

from ..clients import makers
from ..clients.answers import Answer
from ..clients.provider import Provider

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
# As LaunchDarkly keeps an attached tool, and as OpenAI's chat API wants one.
TOOL = {"name": "weather", "type": "function", "description": "The weather.", "parameters": SCHEMA}
NESTED_TOOL = {"type": "function", "function": {key: TOOL[key] for key in ("name", "description", "parameters")}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}
PARAMETERS = {"temperature": 0.3, "maxTokens": 400, "topP": 0.9, "stop": "END"}
PROMPT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where?"}]


@dataclass(frozen=True)
class Case:
    """A provider, its client, and how the answer that calls the tool looks on the wire."""

    provider: str
    make: Callable[[str], Any]
    tool_answer: dict[str, Any]
    api: str = ""


def _chat_answer(**call: Any) -> dict[str, Any]:
    function = {"name": "weather", "arguments": '{"city": "Oslo"}'}
    message = {"role": "assistant", "content": "", "tool_calls": [{"id": "call_1", "function": function, **call}]}
    usage = {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29}
    choice = {"index": 0, "finish_reason": "tool_calls", "message": message}
    return {"id": "c-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


_TOKENS = {"input_tokens": 20, "output_tokens": 9}
CASES = {
    "openai": Case("OpenAI", makers.openai, _chat_answer(type="function")),
    "responses": Case(
        "OpenAI",
        makers.openai,
        {
            "id": "resp_0",
            "object": "response",
            "created_at": 1,
            "model": "m",
            "status": "completed",
            "output": [
                {
                    "type": "function_call",
                    "id": "fc_1",
                    "call_id": "call_1",
                    "name": "weather",
                    "arguments": '{"city": "Oslo"}',
                }
            ],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": {
                **_TOKENS,
                "total_tokens": 29,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens_details": {"reasoning_tokens": 0},
            },
        },
        api="responses",
    ),
    "anthropic": Case(
        "Anthropic",
        makers.anthropic,
        {
            "id": "msg_0",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [{"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Oslo"}}],
            "stop_reason": "tool_use",
            "stop_sequence": None,
            "usage": _TOKENS,
        },
    ),
    "bedrock": Case(
        "Bedrock",
        makers.bedrock,
        {
            "output": {
                "message": {
                    "role": "assistant",
                    "content": [{"toolUse": {"toolUseId": "call_1", "name": "weather", "input": {"city": "Oslo"}}}],
                }
            },
            "stopReason": "tool_use",
            "usage": {"inputTokens": 20, "outputTokens": 9, "totalTokens": 29},
            "metrics": {"latencyMs": 1},
        },
    ),
    "gemini": Case(
        "Gemini",
        makers.genai,
        {
            "candidates": [
                {
                    "content": {
                        "role": "model",
                        "parts": [
                            {
                                "functionCall": {"id": "call_1", "name": "weather", "args": {"city": "Oslo"}},
                                "thoughtSignature": "c2lnbmVk",
                            }
                        ],
                    },
                    "finishReason": "STOP",
                }
            ],
            "usageMetadata": {"promptTokenCount": 20, "candidatesTokenCount": 9, "totalTokenCount": 29},
            "responseId": "gem-0",
        },
    ),
    "mistral": Case("Mistral", makers.mistral, _chat_answer()),
    "cohere": Case(
        "Cohere",
        makers.cohere_v2,
        {
            "id": "co-0",
            "finish_reason": "TOOL_CALL",
            "message": {
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
                    }
                ],
            },
            "usage": {"billed_units": _TOKENS, "tokens": _TOKENS},
        },
    ),
}


@pytest.fixture
def launchdarkly() -> Iterator[OfflineLaunchDarkly]:
    """Serve AI Configs without a network."""
    with OfflineLaunchDarkly() as launchdarkly:
        yield launchdarkly


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    """Return each provider in turn."""
    return CASES[request.param]


@pytest.fixture
def client(case: Case, provider: Provider) -> Any:
    """Return the wrapped client of the provider."""
    return wrap_client(case.make(provider.url))


def _serve(launchdarkly: OfflineLaunchDarkly, case: Case, **fields: Any) -> None:
    config = ai_config("model-1", messages=PROMPT, provider=case.provider, **fields)
    launchdarkly.serve("chat", config)


def _run(launchdarkly: OfflineLaunchDarkly, handler: Callable[[Run], Any]) -> Any:
    with track_ai(config_key="chat", tracking=launchdarkly.tracking) as run:
        return handler(run)


def _check(case: Case, request: Mapping[str, Any]) -> None:
    """Check what OpenAI and Anthropic publish as types; the other clients check requests themselves."""
    schemas: dict[str, Any] = {}
    if case.provider == "OpenAI":
        from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
        from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming

        schemas = {"": CompletionCreateParamsNonStreaming, "responses": ResponseCreateParamsNonStreaming}
    elif case.provider == "Anthropic":
        from anthropic.types.message_create_params import MessageCreateParamsNonStreaming

        schemas = {"": MessageCreateParamsNonStreaming}
    schema = schemas.get(case.api)
    if schema is not None:
        TypeAdapter(schema).validate_python({**request, "stream": False})
        assert set(request) - {"stream", "stream_options", "temperature", "top_p"} <= set(schema.__annotations__)


def _record(launchdarkly: OfflineLaunchDarkly) -> RunRecord:
    return launchdarkly.sink.wait(1)[-1]


def _figures(record: RunRecord) -> tuple[int | None, int | None, str | None]:
    usage = record.usage
    assert usage is not None
    return usage.input_tokens, usage.output_tokens, usage.source


def test_a_whole_answer(case: Case, client: Any, provider: Provider, launchdarkly: OfflineLaunchDarkly) -> None:
    """The same handler gets the answer of every provider, which accepts the request; the figures are the provider's."""
    _serve(launchdarkly, case, parameters=PARAMETERS)

    answer = _run(launchdarkly, lambda run: run.request(client, user="Oslo?", api=case.api).send())

    assert answer.text == "Hello there"
    assert _figures(_record(launchdarkly)) == (20, 9, "provider")
    _check(case, provider.requests[-1])
    sent = json.dumps(provider.requests[-1])
    assert "Be brief." in sent
    assert "Where?" in sent
    assert "Oslo?" in sent


def test_a_stream(case: Case, client: Any, provider: Provider, launchdarkly: OfflineLaunchDarkly) -> None:
    """The same handler gets the pieces of a stream from every provider."""
    _serve(launchdarkly, case, parameters=PARAMETERS)

    pieces = _run(launchdarkly, lambda run: list(run.request(client, user="Oslo?", api=case.api).stream()))

    assert pieces == ["Hello", " there"]
    usage = _record(launchdarkly).usage
    assert usage is not None
    if case.provider != "OpenAI" or case.api:  # another server may refuse to be asked for the usage
        assert (usage.input_tokens, usage.output_tokens, usage.source) == (20, 9, "provider")
    _check(case, provider.requests[-1])


@pytest.mark.parametrize("attached", ["tools", "flat parameters", "nested parameters"])
def test_a_tool(attached: str, case: Case, client: Any, provider: Provider, launchdarkly: OfflineLaunchDarkly) -> None:
    """A tool that is attached in LaunchDarkly is offered, and its result is sent back in the provider's format."""
    if attached == "tools":
        _serve(launchdarkly, case, tools={"weather": TOOL})
    else:
        _serve(launchdarkly, case, parameters={"tools": [TOOL if attached.startswith("flat") else NESTED_TOOL]})
    provider.queued.append(lambda _request: Answer([json.dumps(case.tool_answer).encode()]))

    def handler(run: Run) -> Any:
        answer = run.request(client, user="Oslo?", api=case.api).send()
        assert [(call.name, dict(call.arguments)) for call in answer.tool_calls] == [("weather", {"city": "Oslo"})]
        results = [call.result({"degrees": 5}) for call in answer.tool_calls]
        asked = {"role": "user", "content": "Oslo?"}
        return run.request(client, history=[asked, answer.message, *results], api=case.api).send()

    answer = _run(launchdarkly, handler)

    first, last = provider.requests[-2:]
    _check(case, first)
    _check(case, last)
    assert "weather" in json.dumps(first)
    assert "degrees" in json.dumps(last)
    assert answer.text == "Hello there"
    assert _figures(_record(launchdarkly)) == (40, 18, "provider")
    assert _record(launchdarkly).tool_calls[0] == "weather"


def test_a_json_answer(case: Case, client: Any, provider: Provider, launchdarkly: OfflineLaunchDarkly) -> None:
    """A response format with a schema reaches every provider in its own format."""
    _serve(launchdarkly, case, parameters={"response_format": FORMAT})

    _run(launchdarkly, lambda run: run.request(client, user="Oslo?", api=case.api).send())

    _check(case, provider.requests[-1])
    sent = json.dumps(provider.requests[-1])
    assert "city" in sent
    assert launchdarkly.tracking.stats().diagnostics.get("parameter") is None


def test_an_asynchronous_client(provider: Provider, launchdarkly: OfflineLaunchDarkly) -> None:
    """An asynchronous client is called with ``asend()`` and ``astream()``."""
    case = CASES["anthropic"]
    _serve(launchdarkly, case)
    client = wrap_client(makers.async_anthropic(provider.url))

    async def handler() -> tuple[str, list[str]]:
        async with client:
            with track_ai(config_key="chat", tracking=launchdarkly.tracking) as run:
                request = run.request(client, user="Oslo?")
                pieces = [piece async for piece in await request.astream()]
                return (await request.asend()).text, pieces

    assert asyncio.run(handler()) == ("Hello there", ["Hello", " there"])
    assert _figures(_record(launchdarkly)) == (40, 18, "provider")


def test_parameters_have_the_names_of_the_api(provider: Provider, launchdarkly: OfflineLaunchDarkly) -> None:
    """Parameters are renamed; one that an API does not have is left out, logged once and counted."""
    bedrock = CASES["bedrock"]
    _serve(launchdarkly, bedrock, parameters={**PARAMETERS, "temperature": 1.7, "frequency_penalty": 0.5})
    client = makers.bedrock(provider.url)

    request = _run(launchdarkly, lambda run: run.request(client, user="Oslo?"))

    assert request.api == "converse"
    expected = {"temperature": 1.0, "maxTokens": 400, "topP": 0.9, "stopSequences": ["END"]}
    assert request["inferenceConfig"] == expected
    assert launchdarkly.tracking.stats().diagnostics["parameter"] == 1


def test_only_the_tools_that_the_application_implements(provider: Provider, launchdarkly: OfflineLaunchDarkly) -> None:
    """``tools=`` leaves out tools that somebody has attached and the application does not implement."""
    _serve(launchdarkly, CASES["openai"], tools={"weather": TOOL, "other": {**TOOL, "name": "other"}})
    client = makers.openai(provider.url)

    request = _run(launchdarkly, lambda run: run.request(client, user="Oslo?", tools=["weather"]))

    assert [tool["function"]["name"] for tool in request["tools"]] == ["weather"]


def test_a_prompt_without_a_conversation(case: Case, client: Any, launchdarkly: OfflineLaunchDarkly) -> None:
    """A prompt that consists of system messages only is accepted by providers that need a message."""
    launchdarkly.serve("chat", ai_config("model-1", messages="Tell a joke.", provider=case.provider))
    if case.api:
        pytest.skip("the Responses API accepts instructions without input")

    answer = _run(launchdarkly, lambda run: run.request(client).send())

    assert answer.text == "Hello there"


def test_an_unknown_client(launchdarkly: OfflineLaunchDarkly) -> None:
    """A client of an unknown provider gets the format of OpenAI's chat completions, which is logged once."""
    _serve(launchdarkly, CASES["openai"], parameters=PARAMETERS)

    request = _run(launchdarkly, lambda run: run.request(object(), user="Oslo?"))

    assert request.api == "chat"
    assert dict(request)["max_tokens"] == 400
    assert launchdarkly.tracking.stats().diagnostics["request"] == 1


def test_mistakes(provider: Provider, launchdarkly: OfflineLaunchDarkly) -> None:
    """An unknown API, and a client of the other kind, are refused with what to do."""
    _serve(launchdarkly, CASES["openai"])
    client = makers.async_openai(provider.url)

    with pytest.raises(ConfigurationError, match="api is 'chats'; use one of 'chat', 'messages'"):
        _run(launchdarkly, lambda run: run.request(client, api="chats"))
    with pytest.raises(ConfigurationError, match="use asend"):
        _run(launchdarkly, lambda run: run.request(client, user="Oslo?").send())


def test_what_a_request_shows_of_itself(provider: Provider, launchdarkly: OfflineLaunchDarkly) -> None:
    """The representation of a request names its arguments and contains no prompt."""
    _serve(launchdarkly, CASES["openai"])

    request = _run(launchdarkly, lambda run: run.request(makers.openai(provider.url), user="secret"))

    assert repr(request) == "<Request for chat, with model, messages>"
