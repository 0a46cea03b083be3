"""The asynchronous clients of Amazon Bedrock, of aiobotocore and aioboto3: classes that are made like theirs.

aiobotocore needs one certain version of botocore, so that it cannot be installed beside the newest boto3.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import wrapt

from ldai_integrations import Run, RunRecord, Tracking, track_ai, wrap_client
from ldai_integrations.exceptions import ConfigurationError

from .test_invoke_model import IN, MESSAGE, OUT, tokens

BODY = json.dumps(MESSAGE).encode()
EVENTS: list[dict[str, Any]] = [
    {"messageStart": {"role": "assistant"}},
    {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "Hello"}}},
    {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": " there"}}},
    {"messageStop": {"stopReason": "end_turn"}},
    {"metadata": {"usage": {"inputTokens": IN, "outputTokens": OUT, "totalTokens": IN + OUT}}},
]


class Response:
    """A response of aiohttp, which keeps the body that was read."""

    def __init__(self, broken: BaseException | None) -> None:
        self._left = BODY
        self._whole: bytes | None = None
        self._broken = broken
        self.closed = False

    async def take(self, size: int) -> bytes:
        """Read so many bytes from the network."""
        if self._broken is not None:
            raise self._broken
        data, self._left = self._left[:size], self._left[size:]
        return data

    async def read(self) -> bytes:
        """Return the body, again and again."""
        if self._whole is None:
            self._whole = await self.take(len(self._left))
        return self._whole

    async def __aenter__(self) -> Response:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.closed = True


class _Reading:
    """The methods of both bodies, which read through ``read``."""

    async def iter_chunks(self: Any, chunk_size: int = 1024) -> AsyncIterator[bytes]:
        """Iterate over parts of the body."""
        while chunk := await self.read(chunk_size):
            yield chunk

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self.iter_chunks()


class NewBody(_Reading):
    """The body of version 3, which inherits the methods of botocore's body."""

    def __init__(self, response: Response) -> None:
        self.response = response

    async def read(self, amt: int | None = None) -> bytes:
        """Read at most so many bytes."""
        return await self.response.take(len(BODY) if amt is None else amt)

    async def readinto(self, buffer: Any) -> int:
        """Read bytes into a buffer."""
        data = await self.response.take(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def set_socket_timeout(self, timeout: float) -> None:
        """Refuse a method of botocore's body."""
        raise NotImplementedError

    async def __aenter__(self) -> NewBody:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.response.close()

    def close(self) -> None:
        """Close the connection."""
        self.response.close()


class OldBody(_Reading, wrapt.ObjectProxy):  # type: ignore[misc,type-arg,unused-ignore]  # wrapt has no types before 2
    """The body before version 3: a stand-in for the response, which is what its block gives."""

    async def read(self, amt: int | None = None) -> bytes:
        """Read at most so many bytes."""
        data: bytes = await self.__wrapped__.take(len(BODY) if amt is None else amt)
        return data

    async def __aenter__(self) -> Response:
        entered: Response = await self.__wrapped__.__aenter__()
        return entered

    async def __aexit__(self, *exc_info: object) -> None:
        await self.__wrapped__.__aexit__(*exc_info)


class Stream:
    """A stream, whose ``close`` is a plain method, unlike that of other asynchronous streams."""

    def __init__(self) -> None:
        self.closed = False
        self._events = self._receive()

    async def _receive(self) -> AsyncIterator[dict[str, Any]]:
        for event in EVENTS:
            yield event

    async def __anext__(self) -> AsyncIterator[dict[str, Any]]:
        async for event in self._events:
            yield event

    def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        return self.__anext__()  # an asynchronous generator, as aiobotocore has it

    def close(self) -> None:
        """Close the connection."""
        self.closed = True


class Client:
    """A client."""

    def __init__(self, body: Callable[[Response], object] = NewBody, broken: BaseException | None = None) -> None:
        self.response = Response(broken)
        self.stream = Stream()
        self._body = body

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        pass

    async def converse(self, **_asked: object) -> dict[str, object]:
        """Answer."""
        message = {"role": "assistant", "content": [{"text": "Hello there"}]}
        return {"output": {"message": message}, "stopReason": "end_turn", "usage": EVENTS[-1]["metadata"]["usage"]}

    async def converse_stream(self, **_asked: object) -> dict[str, object]:
        """Answer with a stream."""
        return {"stream": self.stream}

    async def invoke_model(self, **_asked: object) -> dict[str, object]:
        """Answer with a body that is not read yet."""
        return {"contentType": "application/json", "body": self._body(self.response)}

    async def invoke_model_with_response_stream(self, **_asked: object) -> dict[str, object]:
        """Answer as no test asks."""
        raise NotImplementedError


async def _iterate(parts: AsyncIterator[bytes]) -> bytes:
    return b"".join([part async for part in parts])


async def _read_in_a_block(body: Any) -> bytes:
    async with body as entered:
        data: bytes = await entered.read()
        return data


async def _read_twice(body: Any) -> bytes:
    async with body as entered:
        await entered.read()
        return await entered.read() or BODY  # the response of aiohttp has kept it


CONSUMERS: dict[str, Callable[[Any], Awaitable[bytes]]] = {
    "read": lambda body: body.read(),
    "chunks": lambda body: _iterate(body.iter_chunks(7)),
    "iterated": lambda body: _iterate(aiter(body)),
    "block": _read_in_a_block,
    "twice": _read_twice,
}


@pytest.mark.parametrize("made_as", [NewBody, OldBody])
@pytest.mark.parametrize("consume", CONSUMERS.values(), ids=CONSUMERS)
def test_a_body_that_was_read(
    consume: Callable[[Any], Awaitable[bytes]], made_as: type, tracking: Tracking, records: list[RunRecord]
) -> None:
    """The tokens are those in the body of InvokeModel, however the application reads it."""

    @track_ai(config_key="chat", tracking=tracking)
    async def ask() -> bytes:
        response: Any = await wrap_client(Client(made_as)).invoke_model(modelId="m", body="{}")
        assert isinstance(response["body"], made_as if made_as is NewBody else Response)
        return await consume(response["body"])

    assert asyncio.run(ask()) == BODY

    assert [tokens(record) for record in records] == [(IN, OUT, False)]


def test_a_body_that_was_read_into_a_buffer(tracking: Tracking, records: list[RunRecord]) -> None:
    """Bytes that are read into a buffer are read as well."""

    @track_ai(config_key="chat", tracking=tracking)
    async def ask() -> bytes:
        response: Any = await wrap_client(Client()).invoke_model(modelId="m", body="{}")
        buffer, data = bytearray(9), b""
        while size := await response["body"].readinto(buffer):
            data += buffer[:size]
        return data

    assert asyncio.run(ask()) == BODY

    assert [tokens(record) for record in records] == [(IN, OUT, False)]


def test_a_body_that_was_left(tracking: Tracking, records: list[RunRecord]) -> None:
    """The tokens of a body that was not read to its end are unknown, and the connection is closed."""
    client = Client()

    @track_ai(config_key="chat", tracking=tracking)
    async def ask() -> None:
        response: Any = await wrap_client(client).invoke_model(modelId="m", body="{}")
        await response["body"].read(9)
        response["body"].close()

    asyncio.run(ask())

    assert client.response.closed
    assert [(record.outcome, record.usage) for record in records] == [("success", None)]


def test_a_body_that_breaks_off(tracking: Tracking, records: list[RunRecord]) -> None:
    """The exception is the application's, and the call has failed."""

    @track_ai(config_key="chat", tracking=tracking)
    async def ask() -> None:
        response: Any = await wrap_client(Client(broken=ConnectionError())).invoke_model(modelId="m", body="{}")
        await response["body"].read()

    with pytest.raises(ConnectionError):
        asyncio.run(ask())

    assert [(record.outcome, record.failed_calls) for record in records] == [("error", 1)]


def test_a_stream_that_is_closed(tracking: Tracking, records: list[RunRecord]) -> None:
    """A stream whose ``close`` is a plain method is closed at once, and ends its call."""
    client = Client()

    @track_ai(config_key="chat", tracking=tracking)
    async def ask() -> None:
        response: Any = await wrap_client(client).converse_stream(modelId="m", messages=[])
        async for event in response["stream"]:
            if "contentBlockDelta" in event:
                break
        assert response["stream"].close() is None
        assert client.stream.closed

    asyncio.run(ask())

    assert [(record.outcome, tokens(record)[2]) for record in records] == [("success", True)]


def test_a_stream_that_is_left_at_its_finish_reason(tracking: Tracking, records: list[RunRecord]) -> None:
    """The usage after ``messageStop`` is read when the run ends."""

    @track_ai(config_key="chat", tracking=tracking)
    async def ask() -> None:
        response: Any = await wrap_client(Client()).converse_stream(modelId="m", messages=[])
        async for event in response["stream"]:
            if "messageStop" in event:
                break

    asyncio.run(ask())

    assert [tokens(record) for record in records] == [(IN, OUT, False)]


def test_a_request_of_a_run(tracking: Tracking, records: list[RunRecord]) -> None:
    """``run.request`` calls the client, and closes a stream that its consumer leaves."""
    client = Client()

    @track_ai(config_key="chat", tracking=tracking)
    async def ask(run: Run) -> tuple[str, str]:
        request = run.request(wrap_client(client), user="Hi")
        words = await request.astream()
        first = await anext(words)
        await words.aclose()  # type: ignore[attr-defined]  # it is a generator
        return (await request.asend()).text, first

    assert asyncio.run(ask()) == ("Hello there", "Hello")
    assert client.stream.closed
    assert [(record.outcome, record.calls, tokens(record)[2]) for record in records] == [("success", 2, True)]


def test_the_client_before_its_block() -> None:
    """What ``create_client`` returns is refused, with a message that names the client."""

    class ClientCreatorContext:
        async def __aenter__(self) -> Client:
            return Client()

        async def __aexit__(self, *exc_info: object) -> None:
            pass

    with pytest.raises(ConfigurationError, match=r"a 'bedrock-runtime' client of boto3 or aiobotocore"):
        wrap_client(ClientCreatorContext())
