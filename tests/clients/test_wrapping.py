"""A wrapped client is what the client is, to whoever looks at it."""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from ldai_integrations import ConfigurationError, RunRecord, Tracking, track_ai, wrap_client
from ldai_integrations.records import Usage

from .answers import whole
from .cases import CHAT
from .makers import (
    anthropic,
    async_anthropic,
    async_cohere_v2,
    async_openai,
    bedrock,
    cohere,
    cohere_v2,
    genai,
    mistral,
    openai,
)
from .provider import Provider

URL = "http://127.0.0.1:9"
MAKERS = [
    anthropic,
    async_anthropic,
    async_cohere_v2,
    async_openai,
    bedrock,
    cohere,
    cohere_v2,
    genai,
    mistral,
    openai,
]
METHODS = [
    (openai, "chat.completions.create"),
    (openai, "chat.completions.stream"),
    (openai, "responses.create"),
    (async_openai, "chat.completions.create"),
    (async_openai, "chat.completions.with_raw_response.create"),
    (async_anthropic, "messages.create"),
    (async_anthropic, "messages.stream"),
    (anthropic, "beta.messages.tool_runner"),
    (genai, "models.generate_content"),
    (genai, "aio.models.generate_content_stream"),
    (genai, "chats.create"),
    (mistral, "chat.complete_async"),
    (async_cohere_v2, "chat_stream"),
    (async_cohere_v2, "chat"),
    (bedrock, "converse"),
]


def at(client: Any, path: str) -> Any:
    """Return the attribute at a dotted path."""
    for name in path.split("."):
        client = getattr(client, name)
    return client


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_a_wrapped_client_looks_like_the_client(make: Callable[[str], Any]) -> None:
    """It is an instance of the same class. Attributes, text, equality and the blocks it may be used in are the same."""
    client = make(URL)
    wrapped = wrap_client(client)

    assert wrapped is not client
    assert isinstance(wrapped, type(client))
    assert type(wrapped) is not type(client)
    assert (dir(wrapped), repr(wrapped), wrapped.__doc__) == (dir(client), repr(client), client.__doc__)
    assert vars(wrapped) is vars(client)
    assert wrapped == client
    assert hash(wrapped) == hash(client)
    for name in ("__enter__", "__exit__", "__aenter__", "__aexit__", "__call__", "__iter__", "__len__"):
        assert hasattr(wrapped, name) == hasattr(client, name)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = wrapped.nonsense


@pytest.mark.parametrize(("make", "path"), METHODS, ids=[f"{make.__name__} {path}" for make, path in METHODS])
def test_a_wrapped_method_looks_like_the_method(make: Callable[[str], Any], path: str) -> None:
    """A wrapped method has the signature, the documentation, the name and the kind of the method."""
    client = make(URL)
    method, wrapped = at(client, path), at(wrap_client(client), path)

    assert inspect.signature(wrapped) == inspect.signature(method)
    assert (wrapped.__doc__, wrapped.__name__) == (method.__doc__, method.__name__)
    for kind in ("iscoroutinefunction", "isasyncgenfunction", "isgeneratorfunction", "ismethod", "isroutine"):
        assert getattr(inspect, kind)(wrapped) == getattr(inspect, kind)(method), kind


def test_the_client_is_not_changed(provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """The client and its class are not changed. Only calls of the wrapped client are reported."""
    client = openai(provider.url)
    before = (dict(vars(type(client))), dict(vars(type(client.chat.completions))), dict(vars(client)))
    wrapped = wrap_client(client)
    with track_ai(config_key="chat", tracking=tracking):
        wrapped.chat.completions.create(**CHAT)
    with track_ai(config_key="chat", tracking=tracking):
        client.chat.completions.create(**CHAT)

    assert (dict(vars(type(client))), dict(vars(type(client.chat.completions))), dict(vars(client))) == before
    assert [record.usage is not None and record.usage.source for record in records] == ["provider", False]


def test_attributes_are_written_to_the_client() -> None:
    """Attributes that are set or deleted on the wrapped client are set or deleted on the client."""
    client = openai(URL)
    wrapped = wrap_client(client)

    wrapped.timeout = 7.0
    wrapped.extra = "mine"
    assert (client.timeout, client.extra) == (7.0, "mine")
    del wrapped.extra
    assert not hasattr(client, "extra")


def test_resources_are_made_once() -> None:
    """A resource and a method are the same object each time, until the client has another one."""
    client = openai(URL)
    wrapped = wrap_client(client)

    assert wrapped.chat is wrapped.chat
    assert wrapped.models == client.models
    assert wrapped.chat.completions.create == wrapped.chat.completions.create
    assert isinstance(wrapped.chat.completions, type(openai(URL).chat.completions))


def test_a_method_that_was_replaced_is_the_one_that_is_called(tracking: Tracking, records: list[RunRecord]) -> None:
    """If a library or a test replaces the method ``create`` of a resource, the new one is called."""
    wrapped = wrap_client(openai(URL))
    usage = {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3}
    assert callable(wrapped.chat.completions.create)
    wrapped.chat.completions.create = lambda **_kwargs: {"choices": [], "usage": usage}
    with track_ai(config_key="chat", tracking=tracking):
        assert wrapped.chat.completions.create(**CHAT)["usage"] == usage

    assert records[0].usage is not None
    assert records[0].usage.total_tokens == 3


def test_blocks_give_the_wrapped_client(provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """``with`` and ``async with`` give a wrapped client, and close the client."""
    with wrap_client(openai(provider.url)) as client, track_ai(config_key="chat", tracking=tracking):
        client.chat.completions.create(**CHAT)
    assert client.is_closed()

    async def consume() -> None:
        async with wrap_client(async_openai(provider.url)) as client, track_ai(config_key="chat", tracking=tracking):
            await client.chat.completions.create(**CHAT)
        assert client.is_closed()

    asyncio.run(consume())

    assert [record.usage is not None and record.usage.total_tokens for record in records] == [29, 29]


class Chatting:
    """A client that can be copied and pickled. The packages' own cannot: they hold locks."""

    def __init__(self) -> None:
        self.chat = SimpleNamespace(complete=self.complete)
        self.calls: list[dict[str, Any]] = []

    def complete(self, **kwargs: Any) -> dict[str, Any]:
        """Answer."""
        self.calls.append(kwargs)
        return {"choices": [], "usage": {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3}}


@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, lambda client: pickle.loads(pickle.dumps(client))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_copies_stay_wrapped(again: Callable[[Any], Any], tracking: Tracking, records: list[RunRecord]) -> None:
    """A copy is a copy of the client, wrapped."""
    client = Chatting()
    copied = again(wrap_client(client))
    copied.mark = "copied"
    assert not hasattr(client, "mark")

    with track_ai(config_key="chat", tracking=tracking):
        copied.chat.complete(model="m")
        again(wrap_client(client).chat.complete)(model="m")

    assert records[0].usage is not None
    assert records[0].usage.total_tokens == 6


def test_a_method_that_is_not_made_as_expected(tracking: Tracking, records: list[RunRecord]) -> None:
    """If a package works in another way inside, the call of the method itself is reported."""
    answer = {"candidates": [], "usageMetadata": {"promptTokenCount": 2, "candidatesTokenCount": 1}}
    client = wrap_client(SimpleNamespace(models=SimpleNamespace(generate_content=lambda **_asked: answer)))
    with track_ai(config_key="chat", tracking=tracking):
        client.models.generate_content(model="m", contents="Hi")

    assert records[0].usage is not None
    assert records[0].usage.total_tokens == 3


def test_what_cannot_be_pickled_says_so_itself() -> None:
    """The error is the one that the client raises."""
    client = openai(URL)
    with pytest.raises(Exception) as raised:  # noqa: PT011  # whatever the client raises
        pickle.dumps(client)
    with pytest.raises(type(raised.value), match="cannot pickle"):
        pickle.dumps(wrap_client(client))


def test_wrapping_again(provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """A client that is wrapped twice counts once."""
    client = wrap_client(wrap_client(openai(provider.url)))
    with track_ai(config_key="chat", tracking=tracking):
        client.chat.completions.create(**CHAT)

    assert records[0].usage is not None
    assert records[0].usage.total_tokens == 29


@pytest.mark.parametrize(
    ("client", "named"),
    [
        (None, "type NoneType"),
        (object(), "type object"),
        ("sk-key", "type str"),
        (SimpleNamespace, "class SimpleNamespace"),
        (asyncio, "module asyncio"),
    ],
    ids=["none", "object", "string", "class", "module"],
)
def test_what_is_no_client(client: Any, named: str) -> None:
    """Anything else is refused at once, by its type, with what to give."""
    with pytest.raises(ConfigurationError, match=named):
        wrap_client(client)


def test_the_class_of_a_client_is_no_client() -> None:
    """A class is refused, though it has the methods."""
    with pytest.raises(ConfigurationError, match="class OpenAI"):
        wrap_client(type(openai(URL)))


def test_a_client_that_calls_another_one(provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """A client of instructor is refused with the right order, and in this order its calls are seen."""
    instructor = pytest.importorskip("instructor", reason="instructor is not installed")
    models = pytest.importorskip("pydantic")
    with pytest.raises(ConfigurationError, match=r"from_openai\(wrap_client\(OpenAI\(\)\)\)"):
        wrap_client(instructor.from_openai(openai(URL)))

    model = models.create_model("City", name=(str, ...))
    answer = {"role": "assistant", "content": '{"name": "Oslo"}'}
    choice = {"index": 0, "message": answer, "finish_reason": "stop"}
    usage = {"prompt_tokens": 7317, "completion_tokens": 3863, "total_tokens": 11180}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini"}
    provider.queued.append(lambda _request: whole({**head, "choices": [choice], "usage": usage}))
    client = instructor.from_openai(wrap_client(openai(provider.url)), mode=instructor.Mode.JSON)
    with track_ai(config_key="chat", tracking=tracking):
        city = client.chat.completions.create(**CHAT, response_model=model)
        assert city.name == "Oslo"

    assert records[0].usage == Usage(input_tokens=7317, output_tokens=3863, total_tokens=11180)


def test_the_shape_of_instructor() -> None:
    """Such a client is recognised by its methods, so that the package is not needed."""

    class Instructor(Chatting):
        """A client that calls another one."""

        def create_with_completion(self) -> None:
            """Do nothing: only instructor's clients have this method."""

    with pytest.raises(ConfigurationError, match="Instructor, whose calls would not be seen"):
        wrap_client(Instructor())


def test_the_functions_of_the_module_openai(
    provider: Provider, tracking: Tracking, records: list[RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The module is refused; a client of one's own has the same methods, and ``run.observe`` takes what they return."""
    package = pytest.importorskip("openai")
    with pytest.raises(ConfigurationError, match="module openai"):
        wrap_client(package)

    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{provider.url}/openai/v1")
    client = wrap_client(package.OpenAI())
    with track_ai(config_key="chat", tracking=tracking):
        client.chat.completions.create(**CHAT)
    monkeypatch.setattr(package, "api_key", "none")
    monkeypatch.setattr(package, "base_url", f"{provider.url}/openai/v1/")
    with track_ai(config_key="chat", tracking=tracking) as run:
        run.observe(package.chat.completions.create(**CHAT))

    assert [record.usage and record.usage.total_tokens for record in records] == [29, 29]


def test_another_service_of_amazon_is_no_client() -> None:
    """Only Bedrock's runtime calls models."""
    boto3 = pytest.importorskip("boto3")
    service = boto3.client("sts", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")

    with pytest.raises(ConfigurationError, match="bedrock-runtime"):
        wrap_client(service)
