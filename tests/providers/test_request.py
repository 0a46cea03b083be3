"""One handler for every provider: ``run.request``."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from ldai_integrations import Run, track_ai, wrap_client
from ldai_integrations.exceptions import ConfigurationError
from ldai_integrations.records import RunRecord
from ldai_integrations.testing import OfflineLaunchDarkly, ai_config

from ..clients import makers
from ..clients.answers import Answer, sse
from ..clients.provider import Provider
from .schemas import (
    check_chat,
    check_cohere,
    check_converse,
    check_gemini,
    check_messages,
    check_mistral,
    check_responses,
)

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


_CHECKS = {
    "OpenAI": check_chat,
    "responses": check_responses,
    "Anthropic": check_messages,
    "Bedrock": check_converse,
    "Gemini": check_gemini,
    "Mistral": check_mistral,
    "Cohere": check_cohere,
}


def _check(case: Case, request: Mapping[str, Any]) -> None:
    """Check a request by the schema that the provider has published."""
    _CHECKS[case.api or case.provider](dict(request))


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
    """A tool that is attached in LaunchDarkly is offered. Its result, stored as JSON, is sent back to each provider."""
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
        stored = json.dumps([asked, answer.message, *results])
        return run.request(client, history=json.loads(stored), api=case.api).send()

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
    if "city" not in sent:  # an old client of Anthropic or Amazon, which has no JSON answers
        assert case.provider in ("Anthropic", "Bedrock")
        assert launchdarkly.tracking.stats().diagnostics["parameter"] == 1
        return
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


def test_an_asynchronous_stream_that_is_left(provider: Provider, launchdarkly: OfflineLaunchDarkly) -> None:
    """A consumer that leaves the text closes the provider's response."""
    openai = pytest.importorskip("openai")
    _serve(launchdarkly, CASES["openai"])
    responses: list[httpx.Response] = []

    async def note(response: httpx.Response) -> None:
        responses.append(response)

    async def handler() -> str:
        http = httpx.AsyncClient(event_hooks={"response": [note]})
        async with openai.AsyncOpenAI(api_key="none", base_url=f"{provider.url}/openai/v1", http_client=http) as client:
            with track_ai(config_key="chat", tracking=launchdarkly.tracking) as run:
                words = await run.request(wrap_client(client), user="Oslo?").astream()
                first = await anext(words)
                await words.aclose()  # type: ignore[attr-defined]  # it is a generator
                assert [response.is_closed for response in responses] == [True]
                return first

    assert asyncio.run(handler()) == "Hello"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("history", "Hi"),
        ("history", {"role": "user", "content": "Hi"}),
        ("tools", "weather"),
        ("model", 5),
        ("user", 5),
    ],
)
def test_arguments_that_cannot_work(
    name: str, value: Any, provider: Provider, launchdarkly: OfflineLaunchDarkly
) -> None:
    """An argument of the wrong type is an error that names it."""
    _serve(launchdarkly, CASES["openai"])
    client, arguments = makers.openai(provider.url), {name: value}
    with (
        track_ai(config_key="chat", tracking=launchdarkly.tracking) as run,
        pytest.raises(ConfigurationError, match=f"{name} is "),
    ):
        run.request(client, **arguments)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("wraps", [True, False])
@pytest.mark.parametrize("name", ["openai", "anthropic", "bedrock", "genai", "async_openai", "async_anthropic"])
def test_the_wrong_kind_of_client(
    name: str, wraps: bool, provider: Provider, launchdarkly: OfflineLaunchDarkly
) -> None:
    """A method for the other kind of client raises an exception before the model is called."""
    _serve(launchdarkly, CASES["openai"])
    client = getattr(makers, name)(provider.url)
    with track_ai(config_key="chat", tracking=launchdarkly.tracking) as run:
        request = run.request(wrap_client(client) if wraps else client, user="Oslo?")
        if name.startswith("async"):
            for method in (request.send, request.stream):
                with pytest.raises(ConfigurationError, match="use asend"):
                    method()
        else:
            for async_method in (request.asend, request.astream):
                with pytest.raises(ConfigurationError, match="use send"):
                    asyncio.run(async_method())

    assert provider.requests == []
    record = _record(launchdarkly)
    assert (record.calls, record.usage) == (0, None)


def test_parameters_have_the_names_of_the_api(
    provider: Provider, launchdarkly: OfflineLaunchDarkly, caplog: pytest.LogCaptureFixture
) -> None:
    """Parameters are renamed; one that an API does not have is left out, counted, and logged once with the client."""
    bedrock = CASES["bedrock"]
    _serve(launchdarkly, bedrock, parameters={**PARAMETERS, "temperature": 1.7, "frequency_penalty": 0.5})
    client = makers.bedrock(provider.url)

    request = _run(launchdarkly, lambda run: run.request(client, user="Oslo?"))

    assert request.api == "converse"
    expected = {"temperature": 1.0, "maxTokens": 400, "topP": 0.9, "stopSequences": ["END"]}
    assert request["inferenceConfig"] == expected
    assert launchdarkly.tracking.stats().diagnostics["parameter"] == 1
    assert "because the API 'converse' of the client BedrockRuntime does not have it" in caplog.text


def test_an_unknown_parameter(
    case: Case, client: Any, provider: Provider, launchdarkly: OfflineLaunchDarkly, caplog: pytest.LogCaptureFixture
) -> None:
    """A parameter that no API has is not sent to any provider, and logged once by its name."""
    _serve(launchdarkly, case, parameters={**PARAMETERS, "notAParameter": 1})

    for _ in range(2):
        answer = _run(launchdarkly, lambda run: run.request(client, user="Oslo?", api=case.api).send())
        assert answer.text == "Hello there"

    _check(case, provider.requests[-1])
    assert "notAParameter" not in json.dumps(provider.requests[-1])
    assert caplog.text.count("The parameter 'notAParameter' of AI Config 'chat' is not sent") == 1


def test_only_the_tools_that_the_application_implements(provider: Provider, launchdarkly: OfflineLaunchDarkly) -> None:
    """``tools=`` leaves out tools that somebody has attached and the application does not implement."""
    _serve(launchdarkly, CASES["openai"], tools={"weather": TOOL, "other": {**TOOL, "name": "other"}})
    client = makers.openai(provider.url)

    request = _run(launchdarkly, lambda run: run.request(client, user="Oslo?", tools=["weather"]))

    assert [tool["function"]["name"] for tool in request["tools"]] == ["weather"]
    assert "tools" not in _run(launchdarkly, lambda run: run.request(client, user="Oslo?", tools=[]))


@pytest.mark.parametrize(
    ("names", "is_noted"), [(["weathr"], True), (["weather", "weathr"], True), (["weather", "other", "third"], False)]
)
def test_a_name_in_tools_that_no_tool_has(
    launchdarkly: OfflineLaunchDarkly, caplog: pytest.LogCaptureFixture, names: list[str], is_noted: bool
) -> None:
    """It is logged once with the known names if a tool is left out. Without that, the variation has fewer tools."""
    _serve(launchdarkly, CASES["openai"], tools={"weather": TOOL, "other": {**TOOL, "name": "other"}})

    for _ in range(2):
        _run(launchdarkly, lambda run: dict(run.request(makers.openai("http://127.0.0.1:9"), user="?", tools=names)))

    text = "AI Config 'chat' has no tool 'weathr', which tools= names. It has 'weather', 'other'."
    assert caplog.text.count(text) == is_noted
    assert launchdarkly.tracking.stats().diagnostics.get("tools", 0) == 2 * is_noted


def test_a_prompt_without_a_conversation(case: Case, client: Any, launchdarkly: OfflineLaunchDarkly) -> None:
    """A prompt that consists of system messages only is accepted by providers that need a message."""
    launchdarkly.serve("chat", ai_config("model-1", messages="Tell a joke.", provider=case.provider))
    if case.api:
        pytest.skip("the Responses API accepts instructions without input")

    answer = _run(launchdarkly, lambda run: run.request(client).send())

    assert answer.text == "Hello there"


def test_an_unknown_client(launchdarkly: OfflineLaunchDarkly, caplog: pytest.LogCaptureFixture) -> None:
    """A client of an unknown provider gets the format of OpenAI's chat completions, which is logged once."""
    _serve(launchdarkly, CASES["openai"], parameters=PARAMETERS)

    request = _run(launchdarkly, lambda run: run.request(object(), user="Oslo?"))

    assert request.api == "chat"
    assert dict(request)["max_tokens"] == 400
    assert launchdarkly.tracking.stats().diagnostics["request"] == 1
    assert "An object of type object is not a client of a known provider" in caplog.text


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


def _request(launchdarkly: OfflineLaunchDarkly, client: Any, **options: Any) -> Any:
    """Return the request for a client in a run of its own."""
    return _run(launchdarkly, lambda run: run.request(client, **options))


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("method", ["send", "stream"])
def test_a_failed_call(
    method: str, wrapped: bool, case: Case, provider: Provider, launchdarkly: OfflineLaunchDarkly
) -> None:
    """A failed call counts once, whether the client is wrapped or not, and its exception is raised unchanged."""
    _serve(launchdarkly, case)
    made = case.make(provider.url)
    client = wrap_client(made) if wrapped else made
    provider.fail(times=2, status=400)

    def handler(run: Run) -> str:
        request = run.request(client, user="Oslo?", api=case.api)
        with pytest.raises(Exception) as raised:  # noqa: PT011  # each provider has its own
            request.send() if method == "send" else request.stream()
        assert not isinstance(raised.value, ConfigurationError)
        return "Sorry."

    _run(launchdarkly, handler)

    record = _record(launchdarkly)
    assert (record.outcome, record.calls, record.failed_calls) == ("error", 1, 1)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_stream_that_fails_on_the_way(wrapped: bool, provider: Provider, launchdarkly: OfflineLaunchDarkly) -> None:
    """A stream that fails after its first piece counts as one failed call."""
    _serve(launchdarkly, CASES["openai"])
    made = makers.openai(provider.url)
    client = wrap_client(made) if wrapped else made
    choice = {"index": 0, "delta": {"content": "Hello"}, "finish_reason": None}
    chunk = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    provider.queued.append(lambda _request: sse(chunk, {"error": {"message": "overloaded", "code": 500}}))

    def handler(run: Run) -> str:
        pieces = run.request(client, user="Oslo?").stream()
        assert next(pieces) == "Hello"
        with pytest.raises(Exception, match="overloaded"):
            next(pieces)
        return "Sorry."

    _run(launchdarkly, handler)

    record = _record(launchdarkly)
    assert (record.outcome, record.calls, record.failed_calls) == ("error", 1, 1)


def test_a_failed_call_of_an_asynchronous_client(provider: Provider, launchdarkly: OfflineLaunchDarkly) -> None:
    """``asend()`` and ``astream()`` report failures, too."""
    _serve(launchdarkly, CASES["anthropic"])
    provider.fail(times=2, status=400)

    async def handler() -> None:
        async with makers.async_anthropic(provider.url) as client:
            with track_ai(config_key="chat", tracking=launchdarkly.tracking) as run:
                request = run.request(client, user="Oslo?")
                for call in (request.asend, request.astream):
                    with pytest.raises(Exception, match="overloaded"):
                        await call()

    asyncio.run(handler())

    record = _record(launchdarkly)
    assert (record.outcome, record.calls, record.failed_calls) == ("error", 2, 2)


def test_a_mistake_is_no_failed_call(provider: Provider, launchdarkly: OfflineLaunchDarkly) -> None:
    """A client of the other kind is a mistake of the application, and not counted as a failed call."""
    _serve(launchdarkly, CASES["openai"])

    def handler(run: Run) -> None:
        with pytest.raises(ConfigurationError):
            run.request(makers.async_openai(provider.url), user="Oslo?").send()
        run.add_usage(input_tokens=7317, output_tokens=3863)

    _run(launchdarkly, handler)

    assert _record(launchdarkly).failed_calls == 0


@pytest.mark.parametrize(
    ("version", "more", "asked", "limit"),
    [
        ("2024-10-21", {}, True, "max_completion_tokens"),
        ("2024-06-01", {}, False, "max_tokens"),
        ("2024-10-21", {"extra_body": {"data_sources": []}}, False, "max_completion_tokens"),
    ],
)
def test_versions_of_azure(
    version: str, more: dict[str, Any], asked: bool, limit: str, launchdarkly: OfflineLaunchDarkly
) -> None:
    """An old version of Azure's API, and a request with data sources, get no options that they refuse."""
    sent: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content="data: [DONE]\n\n")

    client = pytest.importorskip("openai").AzureOpenAI(
        api_key="none",
        api_version=version,
        azure_endpoint="https://my-resource.openai.azure.com",
        http_client=httpx.Client(transport=httpx.MockTransport(answer)),
    )
    _serve(launchdarkly, CASES["openai"], parameters={"maxTokens": 400, **more})

    _run(launchdarkly, lambda run: list(run.request(client, user="Oslo?").stream()))

    assert ("stream_options" in sent[0]) is asked
    assert {"max_tokens", "max_completion_tokens"} & set(sent[0]) == {limit}


@pytest.mark.parametrize(("tools", "lines"), [(None, 1), (["weather"], 1), ([], 0)])
def test_tools_that_a_stream_cannot_return(
    tools: Any, lines: int, provider: Provider, launchdarkly: OfflineLaunchDarkly, caplog: pytest.LogCaptureFixture
) -> None:
    """A stream with tools is logged once for an AI Config, because it has the text only; a whole answer is not."""
    _serve(launchdarkly, CASES["openai"], tools={"weather": TOOL})
    client = wrap_client(makers.openai(provider.url))

    def handler(run: Run) -> list[str]:
        request = run.request(client, user="Oslo?", tools=tools)
        return [request.send().text, *request.stream(), *request.stream()]

    _run(launchdarkly, handler)
    assert (
        sum("has tools, but stream() and astream() return only the text" in line for line in caplog.messages) == lines
    )


def test_options_of_streams_in_the_ai_config(provider: Provider, launchdarkly: OfflineLaunchDarkly) -> None:
    """``stream_options`` of an AI Config are sent with streams only, and ``stream`` does not decide."""
    options = {"include_usage": True}
    _serve(launchdarkly, CASES["openai"], parameters={"stream": True, "stream_options": options})
    client = wrap_client(makers.openai(provider.url))

    def handler(run: Run) -> list[str]:
        request = run.request(client, user="Oslo?")
        return [request.send().text, "".join(request.stream())]

    assert _run(launchdarkly, handler) == ["Hello there", "Hello there"]
    whole, stream = provider.requests
    assert not {"stream", "stream_options"} & set(whole)
    assert (stream["stream"], stream["stream_options"]) == (True, options)
    assert _figures(_record(launchdarkly)) == (40, 18, "provider")


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("auto", {"type": "auto"}),
        ("required", {"type": "any"}),
        ({"type": "function", "function": {"name": "weather"}}, {"type": "tool", "name": "weather"}),
        ({"type": "auto", "disable_parallel_tool_use": True}, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"type": "tool", "name": "weather"}, {"type": "tool", "name": "weather"}),
        ({"type": "unheard-of"}, None),
        ("unheard-of", None),
    ],
)
def test_the_choice_of_a_tool_for_anthropic(
    given: Any, sent: Any, provider: Provider, launchdarkly: OfflineLaunchDarkly
) -> None:
    """A choice is converted for Anthropic, one in its own format is sent as it is, and any other is left out."""
    _serve(launchdarkly, CASES["anthropic"], tools={"weather": TOOL}, parameters={"tool_choice": given})

    assert _request(launchdarkly, makers.anthropic(provider.url), user="Oslo?").get("tool_choice") == sent


@pytest.mark.parametrize(
    ("given", "chat", "converse", "gemini", "cohere"),
    [
        ("any", "required", {"any": {}}, {"mode": "ANY"}, "REQUIRED"),
        ({"type": "any"}, "required", {"any": {}}, {"mode": "ANY"}, "REQUIRED"),
        ({"type": "auto", "disable_parallel_tool_use": True}, "auto", {"auto": {}}, {"mode": "AUTO"}, None),
        ("none", "none", None, {"mode": "NONE"}, "NONE"),
        (
            {"type": "tool", "name": "weather"},
            {"type": "function", "function": {"name": "weather"}},
            {"tool": {"name": "weather"}},
            {"mode": "ANY", "allowedFunctionNames": ["weather"]},
            "REQUIRED",
        ),
        ("unheard-of", None, None, None, None),
    ],
)
def test_the_choice_of_a_tool(
    given: Any,
    chat: Any,
    converse: Any,
    gemini: Any,
    cohere: Any,
    launchdarkly: OfflineLaunchDarkly,
    provider: Provider,
) -> None:
    """A choice in the words of OpenAI or Anthropic is converted for the others."""
    sent = {}
    for name in ("openai", "bedrock", "gemini", "cohere"):
        case = CASES[name]
        _serve(launchdarkly, case, tools={"weather": TOOL}, parameters={"toolChoice": given})
        sent[name] = _request(launchdarkly, case.make(provider.url), user="Oslo?")

    assert sent["openai"].get("tool_choice") == chat
    assert sent["bedrock"]["toolConfig"].get("toolChoice") == converse
    config = sent["gemini"]["config"].get("tool_config")
    expected = {
        "allowed_function_names" if key == "allowedFunctionNames" else key: value
        for key, value in (gemini or {}).items()
    }
    assert (config or {"function_calling_config": {}})["function_calling_config"] == expected
    assert sent["cohere"].get("tool_choice") == cohere


#: What people write in LaunchDarkly: the parameters, the names of those that are left out, and what OpenAI gets.
ODD_PARAMETERS: dict[str, tuple[dict[str, Any], set[str], dict[str, Any]]] = {
    "numbers as text": ({"temperature": "0.2", "maxTokens": "400"}, set(), {"temperature": 0.2, "max_tokens": 400}),
    "a fraction of a whole number": ({"maxTokens": 400.0, "seed": 1.5}, {"seed"}, {"max_tokens": 400}),
    "no numbers": (
        {"temperature": "hot", "top_p": {"a": 1}, "maxTokens": True, "n": 10**400, "topK": float("1e400")},
        {"temperature", "top_p", "maxTokens", "topK", "n"},
        {},
    ),
    "null": ({"temperature": None, "maxTokens": None, "stop": None, "response_format": None, "foo": None}, set(), {}),
    "a format that asks for nothing": ({"response_format": {"type": "text"}}, set(), {}),
    "a format without a schema": ({"responseFormat": {"type": "json_schema"}}, {"responseFormat"}, {}),
    "no format": ({"response_format": "json"}, {"response_format"}, {}),
    "no choice of a tool": ({"toolChoice": 5}, {"toolChoice"}, {}),
}


@pytest.mark.parametrize("name", ODD_PARAMETERS)
def test_odd_parameters(
    name: str,
    case: Case,
    provider: Provider,
    launchdarkly: OfflineLaunchDarkly,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever somebody writes in LaunchDarkly, the call is made; what cannot be sent is logged by its name."""
    parameters, left_out, sent = ODD_PARAMETERS[name]
    _serve(launchdarkly, case, parameters=parameters)

    assert _run(launchdarkly, lambda run: run.request(case.make(provider.url), user="Hi", api=case.api).send().text)

    for parameter in parameters:
        is_logged = f"The parameter {parameter!r} of AI Config 'chat' is not sent, because no API" in caplog.text
        assert is_logged == (parameter in left_out)
    [request] = provider.requests
    _check(case, request)
    if case is CASES["openai"]:
        assert request == {"model": "model-1", "messages": request["messages"], **sent}


def test_an_answer_without_choices(provider: Provider, launchdarkly: OfflineLaunchDarkly) -> None:
    """A completion without choices is an answer with an empty text."""
    _serve(launchdarkly, CASES["openai"])
    provider.queued.append(lambda _request: Answer([json.dumps({**_chat_answer(), "choices": []}).encode()]))

    answer = _run(launchdarkly, lambda run: run.request(makers.openai(provider.url), user="Oslo?").send())

    assert (answer.text, answer.tool_calls) == ("", ())


def test_the_thoughts_of_mistral(provider: Provider, launchdarkly: OfflineLaunchDarkly) -> None:
    """The text of a reasoning model is its answer without its thoughts."""
    case = CASES["mistral"]
    _serve(launchdarkly, case)
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}
    content = [thought, {"type": "text", "text": "It is 4."}]
    whole = {**_chat_answer(), "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": content}}]}
    whole["choices"][0]["message"]["role"] = "assistant"
    chunks = [
        {**_chat_answer(), "choices": [{"index": 0, "delta": {"content": [part]}, "finish_reason": None}]}
        for part in content
    ]
    provider.queued += [lambda _request: Answer([json.dumps(whole).encode()]), lambda _request: sse(*chunks, done=True)]
    client = case.make(provider.url)

    def handler(run: Run) -> list[str]:
        request = run.request(client, user="2 + 2?")
        return [request.send().text, "".join(request.stream())]

    assert _run(launchdarkly, handler) == ["It is 4.", "It is 4."]


INLINE, LINKED = "data:image/png;base64,iVBORw0K", "https://example.com/cat.png?size=1"
IMAGE = b"\x89PNG\r\n"


@pytest.mark.parametrize(
    ("name", "expected", "missing"),
    [
        (
            "anthropic",
            [
                {"type": "text", "text": "What is this?"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0K"}},
                {"type": "image", "source": {"type": "url", "url": LINKED}},
            ],
            ["input_audio"],
        ),
        (
            "responses",
            [
                {"type": "input_text", "text": "What is this?"},
                {"type": "input_image", "image_url": INLINE, "detail": "low"},
                {"type": "input_image", "image_url": LINKED, "detail": "auto"},
            ],
            ["input_audio"],
        ),
        (
            "gemini",
            [
                {"text": "What is this?"},
                {"inline_data": {"mime_type": "image/png", "data": IMAGE}},
                {"file_data": {"file_uri": LINKED, "mime_type": "image/png"}},
            ],
            ["input_audio"],
        ),
        (
            "bedrock",
            [{"text": "What is this?"}, {"image": {"format": "png", "source": {"bytes": IMAGE}}}],
            ["image_url", "input_audio"],
        ),
    ],
)
def test_images(
    name: str,
    expected: list[Any],
    missing: list[str],
    provider: Provider,
    launchdarkly: OfflineLaunchDarkly,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Images of a user are converted; what cannot be converted is left out, and logged once by its type alone."""
    case = CASES[name]
    _serve(launchdarkly, case)
    content = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": INLINE, "detail": "low"}},
        {"type": "image_url", "image_url": {"url": LINKED}},
        {"type": "input_audio", "input_audio": {"data": "secret"}},
    ]
    client = case.make(provider.url)

    def handler(run: Run) -> Any:
        run.request(client, history=[{"role": "user", "content": content}], api=case.api)
        request = run.request(client, history=[{"role": "user", "content": content}], api=case.api)
        assert request.send().text == "Hello there"
        return request

    request = _run(launchdarkly, handler)

    last = next(request[place] for place in ("messages", "input", "contents") if place in request)[-1]
    assert last.get("content", last.get("parts"))[-len(expected) :] == expected
    _check(case, provider.requests[-1])
    logged = [record.getMessage() for record in caplog.records if getattr(record, "ldai_kind", "") == "content"]
    assert [message.split("'")[1] for message in logged] == missing
    assert "secret" not in caplog.text
    assert launchdarkly.tracking.stats().diagnostics["content"] == 2 * len(missing)


def test_a_part_of_an_odd_type(
    provider: Provider, launchdarkly: OfflineLaunchDarkly, caplog: pytest.LogCaptureFixture
) -> None:
    """A type that a user of the application has made up is not logged."""
    _serve(launchdarkly, CASES["anthropic"])
    content = [{"type": f"my password is {number}"} for number in range(3)]

    _request(launchdarkly, makers.anthropic(provider.url), history=[{"role": "user", "content": content}])

    assert "password" not in caplog.text
    assert caplog.text.count("A part of type 'unknown'") == 1
    assert launchdarkly.tracking.stats().diagnostics["content"] == 3


def test_an_image_that_is_none(provider: Provider, launchdarkly: OfflineLaunchDarkly) -> None:
    """A malformed image is left out and counted."""
    _serve(launchdarkly, CASES["bedrock"])
    content = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,A"}}, {"type": "image_url"}]

    _request(launchdarkly, makers.bedrock(provider.url), history=[{"role": "user", "content": content}])

    assert launchdarkly.tracking.stats().diagnostics["content"] == 2


def test_the_thoughts_of_anthropic(provider: Provider, launchdarkly: OfflineLaunchDarkly) -> None:
    """The thoughts before a tool call are sent back to Anthropic, which wants them, and to no other provider."""
    case = CASES["anthropic"]
    _serve(launchdarkly, case, tools={"weather": TOOL})
    thoughts = [
        {"type": "thinking", "thinking": "private", "signature": "c2lnbmVk"},
        {"type": "redacted_thinking", "data": "cHJpdmF0ZQ"},
    ]
    content = [*thoughts, *case.tool_answer["content"]]
    provider.queued.append(lambda _request: Answer([json.dumps({**case.tool_answer, "content": content}).encode()]))

    def handler(run: Run) -> list[dict[str, Any]]:
        answer = run.request(makers.anthropic(provider.url), user="Oslo?").send()
        history = [answer.message, *[call.result("5 degrees") for call in answer.tool_calls]]
        return list(json.loads(json.dumps(history)))  # as a database keeps it

    history = _run(launchdarkly, handler)

    for name, other in CASES.items():
        request = _request(launchdarkly, other.make(provider.url), history=history, api=other.api)
        if name == "anthropic":
            assert request["messages"][-2]["content"] == content
            _check(other, request)
        else:
            assert "c2lnbmVk" not in str(dict(request))
            assert "extra_content" not in str(dict(request))


def test_a_client_that_takes_any_argument(launchdarkly: OfflineLaunchDarkly) -> None:
    """A gateway whose method has ``**kwargs`` gets all parameters."""

    class Gateway:
        class chat:  # noqa: N801  # as in openai
            class completions:  # noqa: N801
                @staticmethod
                def create(**kwargs: Any) -> Any:
                    return kwargs

    _serve(launchdarkly, CASES["openai"], parameters={"temperature": 0.3, "maxTokens": 400})

    request = _request(launchdarkly, Gateway(), user="Oslo?")

    assert (request["temperature"], request["max_tokens"]) == (0.3, 400)
    assert "parameter" not in launchdarkly.tracking.stats().diagnostics


def test_clients_are_not_kept(provider: Provider, launchdarkly: OfflineLaunchDarkly) -> None:
    """A client that the application has dropped is freed, with its key, although a request was made for it."""
    _serve(launchdarkly, CASES["openai"])

    def use_client() -> weakref.ref[Any]:
        client = makers.openai(provider.url)
        _run(launchdarkly, lambda run: run.request(wrap_client(client), user="Oslo?").send().text)
        return weakref.ref(client)

    reference = use_client()
    _record(launchdarkly)
    launchdarkly.tracking.flush()
    gc.collect()

    assert reference() is None


def test_a_schema_beside_the_model(
    case: Case, client: Any, provider: Provider, launchdarkly: OfflineLaunchDarkly
) -> None:
    """The ``outputFormat`` of an AI Config, which is a JSON Schema, is sent in each API's own format."""
    _serve(launchdarkly, case, outputFormat=SCHEMA)

    _run(launchdarkly, lambda run: run.request(client, user="Oslo?", api=case.api).send())

    sent = provider.requests[-1]
    assert "city" in json.dumps(sent) or case.provider in ("Anthropic", "Bedrock")
    _check(case, sent)


@pytest.mark.parametrize("malformed", ["a text", [SCHEMA], 3])
def test_a_schema_that_is_none(malformed: Any, provider: Provider, launchdarkly: OfflineLaunchDarkly) -> None:
    """An ``outputFormat`` that is no JSON Schema is left out."""
    _serve(launchdarkly, CASES["openai"], outputFormat=malformed)

    assert set(_request(launchdarkly, makers.openai(provider.url), user="Oslo?")) == {"model", "messages"}


def test_the_format_among_the_parameters_comes_first(provider: Provider, launchdarkly: OfflineLaunchDarkly) -> None:
    """A ``response_format`` among the parameters of the model is used rather than ``outputFormat``."""
    parameters = {"response_format": {"type": "json_object"}}
    _serve(launchdarkly, CASES["openai"], outputFormat=SCHEMA, parameters=parameters)

    request = _request(launchdarkly, makers.openai(provider.url), user="Oslo?")

    assert request["response_format"] == {"type": "json_object"}


def test_tools_for_a_call_of_your_own(case: Case, provider: Provider, launchdarkly: OfflineLaunchDarkly) -> None:
    """``run.tools`` returns the tools in the format of the client, the same as in ``run.request``."""
    _serve(launchdarkly, case, tools={"weather": TOOL})
    client = case.make(provider.url)

    def handler(run: Run) -> tuple[list[Any], Any]:
        return run.tools(client, api=case.api), run.request(client, user="Oslo?", api=case.api)

    tools, request = _run(launchdarkly, handler)

    assert tools == (request.get("tools") or request.get("toolConfig", request.get("config")).get("tools"))
    assert "weather" in json.dumps(tools)


def test_no_tools(case: Case, provider: Provider, launchdarkly: OfflineLaunchDarkly) -> None:
    """Without tools in the AI Config, the list is empty for every client."""
    _serve(launchdarkly, case)

    assert _run(launchdarkly, lambda run: run.tools(case.make(provider.url), api=case.api)) == []


def test_parameters_for_a_call_of_your_own(provider: Provider, launchdarkly: OfflineLaunchDarkly) -> None:
    """``run.parameters`` fits into OpenAI's ``create()``, also if somebody attaches a tool in LaunchDarkly."""
    attached = {"tools": [TOOL], "tool_choice": "auto", "stream": True, "model": "other"}
    _serve(launchdarkly, CASES["openai"], parameters={"temperature": 0.3, "response_format": FORMAT, **attached})

    def handler(run: Run) -> None:
        with makers.openai(provider.url) as client:
            client.chat.completions.create(
                model=run.model,
                messages=run.messages(user="Oslo?"),
                tools=run.tools(client),
                stream=False,
                **run.parameters,
            )

    _run(launchdarkly, handler)

    [sent] = provider.requests
    _check(CASES["openai"], sent)
    assert {name: sent[name] for name in ("model", "temperature", "tools", "response_format")} == {
        "model": "model-1",
        "temperature": 0.3,
        "tools": [NESTED_TOOL],
        "response_format": FORMAT,
    }


def test_parameters_of_a_call_of_your_own_are_unchanged(provider: Provider, launchdarkly: OfflineLaunchDarkly) -> None:
    """``run.parameters`` has them as the variation does. ``run.request`` reads numbers, and leaves out unknown ones."""
    parameters = {"temperature": "0.3", "colour": "red", "top_p": 0.9}
    _serve(launchdarkly, CASES["openai"], parameters=parameters)
    with makers.openai(provider.url) as client:
        kept, request = _run(launchdarkly, lambda run: (run.parameters, run.request(client, user="Oslo?")))
    assert kept == parameters
    assert {name: request[name] for name in parameters if name in request} == {"temperature": 0.3, "top_p": 0.9}


def test_a_format_with_tools_for_cohere(provider: Provider, launchdarkly: OfflineLaunchDarkly) -> None:
    """Cohere refuses a format of the answer together with tools: it is left out, logged once and counted."""
    _serve(launchdarkly, CASES["cohere"], tools={"weather": TOOL}, outputFormat=SCHEMA)

    request = _request(launchdarkly, makers.cohere_v2(provider.url), user="Oslo?")

    assert set(request) == {"model", "messages", "tools"}
    assert launchdarkly.tracking.stats().diagnostics["parameter"] == 1
