"""Images and audio: their tokens are recorded if the provider reports them, and never made up."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from ldai_integrations import RunRecord, Tracking, track_ai, wrap_client
from ldai_integrations.records import Usage

from .answers import Answer, sse, whole
from .makers import async_openai, openai
from .provider import Provider

# Of openai's own, for ``create_variation`` and ``translations``.
pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")

TOLD = Usage(input_tokens=7317, output_tokens=3863, total_tokens=11180)
COUNTS = {"input_tokens": 7317, "output_tokens": 3863, "total_tokens": 11180}
IMAGE: dict[str, Any] = {"model": "gpt-image-1", "prompt": "A cat with a hat"}
_PICTURE = {"b64_json": "AAAA"}


def _file(name: str) -> Any:
    file = io.BytesIO(b"\x00\xff" * 20)
    file.name = name
    return file


def _transcribe(client: Any, model: str, **more: Any) -> Any:
    return client.audio.transcriptions.create(model=model, file=_file("speech.wav"), **more)


_TRANSCRIPT = [
    {"type": "transcript.text.delta", "delta": "Hello"},
    {"type": "transcript.text.delta", "delta": " there"},
    {"type": "transcript.text.done", "text": "Hello there", "usage": {"type": "tokens", **COUNTS}},
]
_DRAWN = [
    {"type": "image_generation.partial_image", "partial_image_index": 0, **_PICTURE},
    {"type": "image_generation.completed", **_PICTURE, "usage": COUNTS},
]
_SPOKEN = [{"type": "speech.audio.delta", "audio": "AAAA"}, {"type": "speech.audio.done", "usage": COUNTS}]
_SPEECH: dict[str, Any] = {"model": "gpt-4o-mini-tts", "voice": "alloy", "input": "Hello there, how are you?"}

Calling = Callable[[Any], Any]
WITH_TOKENS: dict[str, tuple[Answer, Calling]] = {
    "images.generate": (
        whole({"created": 1, "data": [_PICTURE], "usage": COUNTS}),
        lambda client: client.images.generate(**IMAGE),
    ),
    "images.edit": (
        whole({"created": 1, "data": [_PICTURE], "usage": COUNTS}),
        lambda client: client.images.edit(**IMAGE, image=_file("cat.png")),
    ),
    "images.generate, streamed": (sse(*_DRAWN), lambda client: list(client.images.generate(**IMAGE, stream=True))),
    "audio.transcriptions": (
        whole({"text": "Hello there", "usage": {"type": "tokens", **COUNTS}}),
        lambda client: _transcribe(client, "gpt-4o-transcribe"),
    ),
    "audio.transcriptions, raw": (
        whole({"text": "Hello there", "usage": {"type": "tokens", **COUNTS}}),
        lambda client: _transcribe(client.with_raw_response, "gpt-4o-transcribe").parse(),
    ),
    "audio.transcriptions, streamed": (
        sse(*_TRANSCRIPT),
        lambda client: list(_transcribe(client, "gpt-4o-transcribe", stream=True)),
    ),
    "audio.speech, events": (
        sse(*_SPOKEN),
        lambda client: client.audio.speech.create(**_SPEECH, stream_format="sse").read(),
    ),
}
_SOUND = Answer([b"ID3\x00\xff", b"\x00\x01"], "audio/mpeg")


def _stream_speech(client: Any) -> None:
    with client.audio.speech.with_streaming_response.create(**_SPEECH) as response:
        assert b"".join(response.iter_bytes()) == b"ID3\x00\xff\x00\x01"


def _leave(stream: Any) -> Any:
    with stream:
        return next(iter(stream))


def _read_speech(client: Any) -> None:
    assert client.audio.speech.create(**_SPEECH).read() == b"ID3\x00\xff\x00\x01"


WITHOUT_TOKENS: dict[str, tuple[Answer, Calling]] = {
    "images.generate": (
        whole({"created": 1, "data": [{"url": "https://example.com/cat.png"}]}),
        lambda client: client.images.generate(model="dall-e-3", prompt="A cat with a hat"),
    ),
    "images.create_variation": (
        whole({"created": 1, "data": [{"url": "https://example.com/cat.png"}]}),
        lambda client: client.images.create_variation(image=_file("cat.png")),
    ),
    "audio.transcriptions": (
        whole({"text": "Hello there", "usage": {"type": "duration", "seconds": 73}}),
        lambda client: _transcribe(client, "whisper-1"),
    ),
    "audio.transcriptions, as text": (
        Answer([b"Hello there\n"], "text/plain"),
        lambda client: _transcribe(client, "whisper-1", response_format="text"),
    ),
    "audio.transcriptions, left": (
        sse(*_TRANSCRIPT),
        lambda client: _leave(_transcribe(client, "gpt-4o-transcribe", stream=True)),
    ),
    "audio.translations": (
        whole({"text": "Hello there"}),
        lambda client: client.audio.translations.create(model="whisper-1", file=_file("speech.wav")),
    ),
    "audio.speech": (_SOUND, _read_speech),
    "audio.speech, streamed": (_SOUND, _stream_speech),
}


@pytest.mark.parametrize("name", WITH_TOKENS)
def test_reported_tokens(name: str, provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """The tokens that the provider reports are the run's."""
    answer, call = WITH_TOKENS[name]
    provider.queued.append(lambda _request: answer)
    with track_ai(config_key="chat", tracking=tracking):
        call(wrap_client(openai(provider.url)))

    assert (records[0].usage, records[0].calls, records[0].outcome) == (TOLD, 1, "success")
    assert tracking.stats().diagnostics == {}


@pytest.mark.parametrize("name", WITHOUT_TOKENS)
def test_no_tokens(name: str, provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """Without reported tokens the usage is unknown: seconds and pictures are no tokens, and no text is counted."""
    answer, call = WITHOUT_TOKENS[name]
    provider.queued.append(lambda _request: answer)
    with track_ai(config_key="chat", tracking=tracking):
        call(wrap_client(openai(provider.url)))

    assert (records[0].usage, records[0].calls, records[0].outcome) == (None, 1, "success")
    assert tracking.stats().diagnostics == {}


def test_async_calls(provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """The same for an async client."""
    answers = (whole({"created": 1, "data": [_PICTURE], "usage": COUNTS}), sse(*_TRANSCRIPT), _SOUND)
    provider.queued += [lambda _request, answer=answer: answer for answer in answers]  # type: ignore[misc]

    async def call() -> None:
        async with wrap_client(async_openai(provider.url)) as client, track_ai(config_key="chat", tracking=tracking):
            await client.images.generate(**IMAGE)
            stream = await _transcribe(client, "gpt-4o-transcribe", stream=True)
            assert len([event async for event in stream]) == 3
            speech = await client.audio.speech.create(**_SPEECH)
            assert speech.content == b"ID3\x00\xff\x00\x01"

    asyncio.run(call())

    assert (records[0].usage, records[0].calls) == (TOLD + TOLD, 3)


def test_an_image_that_fails(provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """A request that is refused is a failed call."""
    client: Any = wrap_client(openai(provider.url))
    provider.queued.append(lambda _request: Answer([json.dumps({"error": {"code": "no"}}).encode()], status=400))
    package = pytest.importorskip("openai")
    with pytest.raises(package.BadRequestError), track_ai(config_key="chat", tracking=tracking):
        client.images.generate(**IMAGE)

    assert (records[0].outcome, records[0].failed_calls, records[0].usage) == ("error", 1, None)
