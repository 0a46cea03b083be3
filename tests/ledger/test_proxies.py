"""Wrapped clients, observed streams and decorated objects behave like what they wrap."""

from __future__ import annotations

import copy
import itertools
import pickle
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import wrapt
from werkzeug.test import Client

from ldai_integrations import current_run, track_ai, wrap_client
from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink
from ldai_integrations.wsgi import WSGITrackingMiddleware

from .provider import IN, OUT, Provider

ASK: list[Any] = [{"role": "user", "content": "Hi"}]
STREAM: dict[str, Any] = {"messages": ASK, "model": "m", "stream": True}


def stream_of(how: str, provider_client: Any, method: str) -> Any:
    """Return a stream of a wrapped client, or an observed one."""
    client = wrap_client(provider_client) if how == "wrapped" else provider_client
    if method == "chat":
        stream = client.chat.completions.create(**STREAM, stream_options={"include_usage": True})
    else:
        stream = client.messages.create(**STREAM, max_tokens=9)
    return current_run().observe(stream) if how == "observed" else stream


@pytest.mark.parametrize("how", ["wrapped", "observed"])
@pytest.mark.parametrize("method", ["chat", "messages"])
def test_streams(method: str, how: str, provider: Provider, openai: Any, anthropic: Any, runs: RecordingSink) -> None:
    """A stream has its type, takes attributes, can be copied, and is consumed once, by the copy or by itself."""
    package = pytest.importorskip("openai" if method == "chat" else "anthropic")
    client = openai if method == "chat" else anthropic
    with track_ai(config_key="chat"):
        stream = stream_of(how, client, method)
        assert isinstance(stream, package.Stream)
        assert hasattr(stream, "response")
        stream.note = "mine"
        assert stream.note == "mine"
        twin = copy.copy(stream)
        assert isinstance(twin, package.Stream)
        assert twin.note == "mine"
        assert len(list(twin)) > 3
        stream.close()
    record = runs.wait()[0]
    assert record.usage is not None
    assert (record.usage.input_tokens, record.calls, record.outcome) == (IN, 1, "success")


@pytest.mark.parametrize("how", ["wrapped", "observed"])
@pytest.mark.parametrize("method", ["chat", "messages"])
def test_a_stream_for_two_consumers(
    method: str, how: str, provider: Provider, openai: Any, anthropic: Any, runs: RecordingSink
) -> None:
    """``itertools.tee`` gives each of two consumers all chunks of a stream, and its call counts once."""
    with track_ai(config_key="chat"):
        stream = stream_of(how, openai if method == "chat" else anthropic, method)
        one, other = itertools.tee(stream)
        chunks = list(one)
        assert len(chunks) > 3
        assert list(other) == chunks
    record = runs.wait()[0]
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens, record.calls) == (IN, OUT, 1)


def test_clients(provider: Provider, openai: Any, anthropic: Any, runs: RecordingSink) -> None:
    """A wrapped client has its type and takes attributes; a copy of it is wrapped as well."""
    for client, name in ((openai, "OpenAI"), (anthropic, "Anthropic")):
        wrapped = wrap_client(client)
        assert type(client).__name__ == name
        assert isinstance(wrapped, type(client))
        wrapped.note = "mine"
        assert client.note == "mine"
    twin = copy.copy(wrap_client(openai))
    with track_ai(config_key="chat"):
        twin.chat.completions.create(model="m", messages=ASK)
    assert runs.wait()[0].calls == 1


class Handlers:
    """A callable object with items, like the registries of some frameworks."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)

    def __call__(self, name: str) -> str:
        """Answer."""
        return f"{name}: {current_run().finished}"

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> str:
        return self.names[index]

    def __setitem__(self, index: int, name: str) -> None:
        self.names[index] = name

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Handlers) and self.names == other.names


def test_callable_objects(launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """A decorated callable object keeps its length, its items, its hash and its pickled form."""
    plain = Handlers("a", "b")
    handlers: Any = track_ai(config_key="chat")(plain)
    assert isinstance(handlers, Handlers)
    assert callable(handlers)
    assert (len(handlers), handlers[0], "b" in handlers) == (2, "a", True)
    assert hash(handlers) == hash(plain) == 7
    assert handlers == plain
    assert {handlers: 1}[plain] == 1
    handlers[0] = "c"
    assert plain.names == ["c", "b"]
    restored = pickle.loads(pickle.dumps(handlers))
    assert (type(restored), restored.names) == (Handlers, ["c", "b"])
    assert copy.deepcopy(handlers).names == ["c", "b"]
    assert handlers("x") == copy.copy(handlers)("x") == "x: False"
    assert len(runs.wait(2)) == 2


def test_iterable_callable_objects(launchdarkly: OfflineLaunchDarkly) -> None:
    """A decorated callable object is iterable if the object is: by ``__iter__``, or by ``__getitem__`` alone."""

    class Indexed:
        def __call__(self) -> str:
            return "Hi"

        def __getitem__(self, index: int) -> str:
            return ["a", "b"][index]

    decorate = track_ai(config_key="chat")
    handlers: Any = decorate(Handlers("a", "b"))
    indexed: Any = decorate(Indexed())
    assert list(handlers) == list(copy.copy(handlers)) == list(indexed) == ["a", "b"]
    assert isinstance(handlers, Iterable)


def test_objects_without_a_length(launchdarkly: OfflineLaunchDarkly) -> None:
    """An object without a length or items has none afterwards either."""

    class Handler:
        def __call__(self) -> str:
            return "Hi"

    handler: Any = track_ai(config_key="chat")(Handler())
    assert bool(handler)
    assert not hasattr(handler, "__len__")
    if hasattr(wrapt, "BaseObjectProxy"):  # wrapt 1 defines __iter__ for every stand-in
        assert not isinstance(handler, Iterable)
    for use in (len, iter, lambda one: one[0]):
        with pytest.raises(TypeError):
            use(handler)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_scopes_and_environs(
    duplicate: Callable[[Any], Any], launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """An application may copy and pickle what the middleware has added to its scope or environ."""
    tracking, copies = launchdarkly.tracking, []

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        copies.append(duplicate({key: value for key, value in scope.items() if key not in ("app", "state")}))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"Hi"})

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        ours = {key: value for key, value in environ.items() if key.startswith(("ldai", "HTTP", "PATH"))}
        assert any(key.startswith("ldai") for key in ours)
        copies.append(duplicate(ours))
        start_response("200 OK", [])
        return [b"Hi"]

    from starlette.testclient import TestClient

    served: Any = ASGITrackingMiddleware(app, tracking, config_key=lambda _scope: "chat")
    assert TestClient(served).get("/").text == "Hi"
    assert Client(WSGITrackingMiddleware(wsgi, tracking, config_key=lambda _environ: "chat")).get("/").text == "Hi"
    assert len(copies) == 2
    assert [record.outcome for record in runs.wait(2)] == ["success", "success"]


class SizedBody:
    """A WSGI body that is neither a list nor a tuple, and has a length."""

    def __init__(self, *parts: bytes) -> None:
        self._parts = parts

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._parts)


@pytest.mark.parametrize("config_key", [None, "chat", lambda _environ: "chat"], ids=["none", "name", "callable"])
def test_a_sized_body(config_key: Any, launchdarkly: OfflineLaunchDarkly) -> None:
    """A body with a length keeps it: servers make a Content-Length of it."""

    def app(_environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return SizedBody(b"Hello there")

    body = WSGITrackingMiddleware(app, launchdarkly.tracking, config_key=config_key)({}, lambda *_: bytes)
    assert len(body) == 1  # type: ignore[arg-type]
    assert b"".join(body) == b"Hello there"
    body.close()  # type: ignore[attr-defined]
