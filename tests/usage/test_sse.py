"""Server-Sent Events, however they are cut."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest

from ldai_integrations.records import Usage
from ldai_integrations.usage import SSEReader, _decoders

CHUNKS = [
    {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}], "model": "m"},
    {"choices": [{"index": 0, "delta": {"content": "Grüße"}}], "model": "m"},
    {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}, "model": "m"},
]


def encoded(newline: str = "\n") -> bytes:
    """Return the chunks as a provider sends them."""
    events = [f"data: {json.dumps(chunk, ensure_ascii=False)}{newline}{newline}" for chunk in CHUNKS]
    return ("".join([f": comment{newline}", *events, f"data: [DONE]{newline}{newline}"])).encode()


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1_000])
def test_a_stream_is_read_however_it_is_cut(newline: str, size: int) -> None:
    """Chunks may end within a character or a line end; text, usage and model are the same."""
    reader, data = SSEReader(), encoded(newline)
    spoke = [reader.feed(data[at : at + size]) for at in range(0, len(data), size)]
    reading = reader.reading()

    assert any(spoke)
    assert (reading.text, reading.model) == ("Grüße", "m")
    assert reading.usage == Usage(9, 2, 11)


def test_words_without_a_providers_shape() -> None:
    """Plain text and the strings in other JSON are output; the end marker is not."""
    reader = SSEReader()
    spoke = [
        reader.feed(f"data: {data}\n\n".encode())
        for data in ("Hello", '{"text": " there"}', "", "[DONE]", '{"n": 1}', "[1, 2]")
    ]

    assert spoke == [True, True, False, False, False, False]
    assert reader.reading().text == "Hello there"


def test_several_data_lines_are_one_event() -> None:
    """The lines of the data of one event are joined."""
    reader = SSEReader()
    reader.feed(b"data: Hello\ndata: there\n\n")

    assert reader.reading().text == "Hello\nthere"


@pytest.mark.parametrize(
    "data",
    [
        b'event: error\ndata: {"error": {"type": "overloaded_error", "message": "secret"}}\n\n',
        b'data: {"error": {"type": "overloaded_error", "message": "secret"}}\n\n',
        b'data: {"type": "error", "error": {"type": "overloaded_error"}}\n\n',
        b"event: error\ndata: it broke\n\n",
    ],
)
def test_an_error_in_a_stream(data: bytes) -> None:
    """Of an error event, the type is read, and never the message."""
    reader = SSEReader()
    reader.feed(b'data: {"choices": [{"index": 0, "delta": {"content": "Hello"}}], "model": "m"}\n\n' + data)
    error = reader.reading().error

    assert error is not None
    assert "secret" not in error


@pytest.mark.parametrize("size", [1, 5, 1_000])
@pytest.mark.parametrize("line", ["{}\n", "data: {}\n\n"])
def test_lines_of_json_strings(line: str, size: int) -> None:
    """Text in JSON strings, one for each line or event, is decoded, wherever the body is cut."""
    texts = ["Grüße", ' "quoted"\n', "", "[DONE]", " {not JSON}", "{}"]
    data = "".join(line.format(json.dumps(text)) for text in texts).encode()
    reader = SSEReader()
    spoke = [reader.feed(data[at : at + size]) for at in range(0, len(data), size)]

    assert any(spoke)
    assert reader.reading().text == "".join(texts)


@pytest.mark.parametrize("line", ["{}\n", "data: {}\n\n"])
def test_what_a_line_of_a_json_string_says(line: str) -> None:
    """An empty string is no first token. The last line is read if it is complete, with or without its end."""
    reader = SSEReader()
    assert not reader.feed(line.format('""').encode())
    assert reader.feed(line.format('"Hello"').encode())
    reader.feed(line.format('" there"').rstrip().encode())
    assert reader.reading().text == "Hello there"
    reader.feed(b"\n\n" + line.format('" and').rstrip().encode())
    assert reader.reading().text == "Hello there"


def test_a_providers_events_that_are_encoded_twice() -> None:
    """Events that the application writes as JSON, and its framework again as strings, are the provider's."""
    reader = SSEReader()
    for chunk in CHUNKS:
        reader.feed(json.dumps(json.dumps(chunk)).encode() + b"\n")

    assert (reader.reading().text, reader.reading().usage) == ("Grüße", Usage(9, 2, 11))


def test_many_lines_of_json_are_no_long_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit applies to each line: a line that is longer is dropped, and the next one is read."""
    monkeypatch.setattr(_decoders, "_LONGEST", 50)
    reader = SSEReader()
    for text in ("Hello", " there", "x" * 60, ", how", " are you"):
        for part in (json.dumps(text)[:4], json.dumps(text)[4:] + "\n"):
            reader.feed(part.encode())

    assert reader.reading().text == "Hello there, how are you"


def test_lines_of_json() -> None:
    """Streams with one JSON object on each line, as Ollama sends them, are read."""
    lines: list[dict[str, Any]] = [
        {"model": "llama3", "message": {"role": "assistant", "content": "Hello"}, "done": False},
        {"model": "llama3", "message": {"content": ""}, "done": True, "prompt_eval_count": 5, "eval_count": 1},
    ]
    reader = SSEReader()
    for line in lines:
        reader.feed(json.dumps(line).encode() + b"\n")

    assert reader.reading().usage == Usage(5, 1, 6)


@pytest.mark.parametrize(
    "data", [b"x" * 3_000_000, b"data: " + b"x" * 3_000_000, b"\xff\xfe\n\n", b"\n\n\n", b": ping\n\n"]
)
def test_nonsense_is_bounded_and_never_raises(data: bytes) -> None:
    """A line without an end does not fill the memory; the reader goes on afterwards."""
    reader = SSEReader()
    for _ in range(3):
        reader.feed(data)
    reader.feed(b"\n\n" + encoded())

    assert reader.reading().usage == Usage(9, 2, 11)


@pytest.mark.parametrize(
    "data",
    [b"data: " + b"x" * 65_530 + b"\n", b"x" * 65_536, b"data: {}\n" * 700],
    ids=["many lines", "one line", "short lines"],
)
def test_an_event_without_end_is_dropped(data: bytes) -> None:
    """An event of more than 4 MiB, on one line or on many, is dropped; the reader says so and reads the next event."""
    reader = SSEReader()
    tracemalloc.start()
    for _ in range(200):
        reader.feed(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 30_000_000
    reader.feed(b"\n\n" + encoded())
    assert (reader.reading().text, reader.reading().usage) == ("Grüße", Usage(9, 2, 11))
    assert reader.dropped


def test_nothing_is_dropped_from_an_ordinary_stream() -> None:
    """A stream of short events has no dropped events."""
    reader = SSEReader()
    for _ in range(20):
        reader.feed(b"data: " + b"x" * 300_000 + b"\n\n")

    assert not reader.dropped
