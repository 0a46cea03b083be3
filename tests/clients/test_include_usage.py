"""Asking OpenAI for the usage of a stream whose caller did not."""

from __future__ import annotations

import asyncio
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from ldai_integrations import ConfigurationError, RunRecord, Tracking, track_ai, wrap_client
from ldai_integrations.records import Usage

from .cases import CHAT, MESSAGES
from .makers import anthropic, async_openai, openai
from .provider import Provider

TOLD = Usage(input_tokens=20, output_tokens=9, total_tokens=29)
STREAM: dict[str, Any] = {**CHAT, "stream": True}


def test_the_frame_is_kept_from_the_caller(provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """The stream is what it would have been, and the run has the provider's figures."""
    client: Any = openai(provider.url)
    plain = [chunk.to_json() for chunk in client.chat.completions.create(**STREAM)]
    wrapped = wrap_client(client, include_usage="always")
    with track_ai(config_key="chat", tracking=tracking):
        assert [chunk.to_json() for chunk in wrapped.chat.completions.create(**STREAM)] == plain

    assert provider.requests[-1]["stream_options"] == {"include_usage": True}
    assert records[0].usage == TOLD


def test_async_streams_and_completions(provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """The same for the async client and for completions, in a ``with`` block and after ``with_options``."""
    sync: Any = wrap_client(openai(provider.url), include_usage="always").with_options(timeout=9)
    asked = {"model": "gpt-3.5-turbo-instruct", "prompt": "Hi", "stream": True}
    with track_ai(config_key="chat", tracking=tracking), sync.completions.create(**asked) as stream:
        assert [chunk.choices[0].text for chunk in stream] == ["Hello", " there"]

    async def consume() -> None:
        client: Any = wrap_client(async_openai(provider.url), include_usage="always")
        async with client, track_ai(config_key="chat", tracking=tracking):
            stream = await client.chat.completions.create(**STREAM)
            assert [bool(chunk.choices) async for chunk in stream] == [True] * 4

    asyncio.run(consume())

    assert [record.usage for record in records] == [TOLD, TOLD]


@pytest.mark.parametrize("path", ["chat.completions", "beta.chat.completions"])
def test_the_helper(path: str, provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """``chat.completions.stream`` gives the events and the completion that it would have given."""
    client: Any = openai(provider.url)
    if path.startswith("beta") and not hasattr(client.beta, "chat"):
        pytest.skip("this version of openai has no client.beta.chat")

    def seen(client: Any) -> Any:
        resource = attrgetter(path)(client)
        with resource.stream(**CHAT) as stream:
            return [event.to_json() for event in stream], stream.get_final_completion().to_json()

    plain = seen(client)
    with track_ai(config_key="chat", tracking=tracking):
        assert seen(wrap_client(client, include_usage="always")) == plain

    assert provider.requests[-1]["stream_options"] == {"include_usage": True}
    assert records[0].usage == TOLD


def test_the_async_helper(provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """The same for the async client."""

    async def consume() -> None:
        async with async_openai(provider.url) as client:
            async with client.chat.completions.stream(**CHAT) as stream:
                plain = [event.to_json() async for event in stream]
            with track_ai(config_key="chat", tracking=tracking):
                async with wrap_client(client, include_usage="always").chat.completions.stream(**CHAT) as stream:
                    assert [event.to_json() async for event in stream] == plain

    asyncio.run(consume())

    assert records[0].usage == TOLD


@pytest.mark.parametrize("package", ["openai", "anthropic"])
@pytest.mark.parametrize("sentinel", ["omit", "NOT_GIVEN", "not_given"])
def test_a_sentinel_says_nothing(
    sentinel: str, package: str, provider: Provider, tracking: Tracking, records: list[RunRecord]
) -> None:
    """``omit`` and ``NOT_GIVEN`` stand for arguments that are not given; frameworks pass them."""
    absent = getattr(pytest.importorskip(package), sentinel, None)
    if absent is None:
        pytest.skip(f"this version of {package} has no {sentinel}")
    client: Any = wrap_client(openai(provider.url), include_usage="always")
    if package == "anthropic":  # its own client takes them
        claude: Any = wrap_client(anthropic(provider.url))
        with track_ai(config_key="chat", tracking=tracking):
            claude.messages.create(**MESSAGES, stream=absent, system=absent, tools=absent)
    else:
        with track_ai(config_key="chat", tracking=tracking):
            list(client.chat.completions.create(**STREAM, stream_options=absent, tools=absent))
        assert provider.requests[-1]["stream_options"] == {"include_usage": True}
        with track_ai(config_key="chat", tracking=tracking):
            client.chat.completions.create(**CHAT, stream=absent, stream_options=absent)
        assert "stream_options" not in provider.requests[-1]

    for record in records:
        assert record.usage is not None
        assert (record.usage.input_tokens, record.usage.output_tokens, record.usage.source) == (20, 9, "provider")


@pytest.mark.usefixtures("o200k")
def test_a_sentinel_is_not_estimated(provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """If the provider reports no usage, an argument that is not given costs nothing."""
    absent = getattr(pytest.importorskip("openai"), "omit", None) or pytest.importorskip("openai").NOT_GIVEN
    client: Any = wrap_client(openai(provider.url))
    for more in ({}, {"tools": absent, "response_format": absent, "functions": absent, "stream_options": absent}):
        with track_ai(config_key="chat", tracking=tracking):
            list(client.chat.completions.create(**STREAM, **more))

    assert records[0].usage is not None
    assert records[0].usage.input_tokens
    assert records[1].usage == records[0].usage


@pytest.mark.parametrize(
    "said",
    [
        {"stream_options": None},
        {"stream_options": {"include_usage": False}},
        {"stream_options": {"include_usage": True}},
        {"extra_body": {"stream_options": {"include_usage": True}}},
    ],
    ids=["none", "no", "yes", "in the body"],
)
def test_a_caller_who_says_anything_is_not_overruled(said: Any, provider: Provider, tracking: Tracking) -> None:
    """With ``stream_options`` of their own, callers get what they ask for, the frame too."""
    client: Any = openai(provider.url)
    wrapped = wrap_client(client, include_usage="always")
    plain = len(list(client.chat.completions.create(**STREAM, **said)))
    with track_ai(config_key="chat", tracking=tracking):
        assert len(list(wrapped.chat.completions.create(**STREAM, **said))) == plain

    assert provider.requests[0] == provider.requests[1]


def test_nothing_is_asked_where_it_makes_no_sense(provider: Provider, tracking: Tracking) -> None:
    """Whole answers, other APIs, other providers and calls outside of a run go out as they were."""
    client: Any = wrap_client(openai(provider.url), include_usage="always")
    claude: Any = wrap_client(anthropic(provider.url), include_usage="always")
    list(client.chat.completions.create(**STREAM))
    with track_ai(config_key="chat", tracking=tracking):
        client.chat.completions.create(**CHAT)
        client.chat.completions.with_raw_response.create(**CHAT).parse()
        client.post("/chat/completions", body=CHAT, cast_to=object)
        list(client.responses.create(model="gpt-4o-mini", input="Hi", stream=True))
        list(claude.messages.create(**MESSAGES, stream=True))

    assert len(provider.requests) == 6
    assert not [request for request in provider.requests if "stream_options" in request]


def test_a_client_that_knows_no_such_option(tracking: Tracking, records: list[RunRecord]) -> None:
    """A client that is made like OpenAI's, but does not take the option, as Groq's, is called without it."""

    class Completions:
        def create(self, *, model: str, stream: bool) -> Any:
            choice = {"index": 0, "delta": {"content": f"{model} {stream}"}, "finish_reason": "stop"}
            usage = {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29}
            chunk = {"object": "chat.completion.chunk", "choices": [choice], "x_groq": {"usage": usage}}
            return iter([chunk])

    client = wrap_client(SimpleNamespace(chat=SimpleNamespace(completions=Completions())), include_usage="always")
    with track_ai(config_key="chat", tracking=tracking):
        assert len(list(client.chat.completions.create(model="m", stream=True))) == 1

    assert records[0].usage == TOLD


@pytest.mark.parametrize(
    ("base_url", "include_usage", "asked"),
    [
        ("https://api.openai.com/v1", True, True),
        ("https://eu.api.openai.com/v1", True, True),
        ("https://api.openai.com/v1", False, False),
        ("https://openai.com.example/v1", True, False),
        ("https://notopenai.com/v1", True, False),
        ("http://127.0.0.1:11434/v1", True, False),
        ("https://my-resource.openai.azure.com/openai/v1", True, True),
        ("https://my-resource.openai.azure.com/openai/v1", False, False),
        ("https://openai.azure.com.example/v1", True, False),
    ],
)
def test_which_servers_are_asked(
    base_url: str, include_usage: Any, asked: bool, provider: Provider, tracking: Tracking
) -> None:
    """``True`` asks the servers of OpenAI and Azure only; ``"always"`` asks any."""
    package = pytest.importorskip("openai")
    with package.OpenAI(api_key="none", base_url=base_url, http_client=_relayed(provider)) as made:
        client = wrap_client(made, include_usage=include_usage)
        with track_ai(config_key="chat", tracking=tracking):
            assert len(list(client.chat.completions.create(**STREAM))) == 4

    assert ("stream_options" in provider.requests[0]) is asked


def _relayed(provider: Provider) -> Any:
    """Return an HTTP client that sends everything to the provider of this machine."""

    def relay(request: httpx.Request) -> httpx.Response:
        headers = {"content-type": "application/json"}
        url = f"{provider.url}/openai/v1/chat/completions"
        answered = httpx.post(url, content=request.content, headers=headers)
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=answered.content)

    return httpx.Client(transport=httpx.MockTransport(relay))


@pytest.mark.parametrize("endpoint", ["https://my-resource.openai.azure.com", "https://gateway.example"])
@pytest.mark.parametrize(
    ("version", "more", "asked"),
    [
        ("2024-10-21", {}, True),
        ("2025-04-01-preview", {}, True),
        ("preview", {}, True),
        ("2024-06-01", {}, False),
        ("2024-10-21", {"extra_body": {"data_sources": []}}, False),
    ],
)
def test_clients_of_azure(
    endpoint: str, version: str, more: Any, asked: bool, provider: Provider, tracking: Tracking
) -> None:
    """A client of Azure asks at any endpoint, except for versions and requests that refuse the option."""
    made = pytest.importorskip("openai").AzureOpenAI(
        api_key="none", azure_endpoint=endpoint, api_version=version, http_client=_relayed(provider)
    )
    with wrap_client(made, include_usage=True) as client, track_ai(config_key="chat", tracking=tracking):
        assert len(list(client.chat.completions.create(**STREAM, **more))) == 4

    assert ("stream_options" in provider.requests[0]) is asked


def test_the_async_client_of_azure(provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """The same for the async client."""
    package = pytest.importorskip("openai")

    async def consume() -> None:
        made = package.AsyncAzureOpenAI(
            api_key="none", base_url=f"{provider.url}/openai/v1", api_version="2024-10-21", max_retries=0
        )
        client: Any = wrap_client(made, include_usage=True)
        with track_ai(config_key="chat", tracking=tracking):
            async with client, client.chat.completions.stream(**CHAT) as stream:
                await stream.until_done()

    asyncio.run(consume())

    assert records[0].usage == TOLD


def test_an_unknown_value() -> None:
    """Any other value is refused at once."""
    with pytest.raises(ConfigurationError, match="include_usage is 'sometimes'"):
        wrap_client(openai("http://127.0.0.1:9"), include_usage="sometimes")  # type: ignore[arg-type]
