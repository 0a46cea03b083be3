"""Lines of several streams that are observed one by one, and responses that are observed twice."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from ldai_integrations import Run, track_ai
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink

from .provider import COMPLETION, IN, OUT
from .test_observed_events import CLAUDE, COHERE, LLAMA_CPP, OLLAMA, WATSONX, Events, chat, cohere_v1, gemini, is_exact

Lines = list[str]


def sse(events: Events) -> Lines:
    """Return events as the lines of Server-Sent Events."""
    named = [(event.get("type", "message"), event) for event in events]
    return [line for name, event in named for line in (f"event: {name}", f"data: {json.dumps(event)}", "")]


def openai_lines(name: str = "c1") -> Lines:
    """Return the lines of an OpenAI stream."""
    return [*sse(chat(name)), "data: [DONE]"]


def responses_lines(name: str) -> Lines:
    """Return the lines of a stream of the Responses API, of which two events have the id of the response."""
    usage = {"input_tokens": IN, "output_tokens": OUT, "total_tokens": IN + OUT}
    head = {"id": name, "object": "response", "model": "m"}
    return sse(
        [
            {"type": "response.created", "response": {**head, "status": "in_progress"}},
            {"type": "response.output_text.delta", "item_id": "i", "output_index": 0, "delta": "Hello"},
            {"type": "response.completed", "response": {**head, "status": "completed", "usage": usage}},
        ]
    )


def claude_lines(name: str) -> Lines:
    """Return the lines of an Anthropic stream, of which only the first event has an id."""
    first = {**CLAUDE[0], "message": {**CLAUDE[0]["message"], "id": name}}
    return sse([first, *CLAUDE[1:]])


HUGGING_FACE: Events = [
    {"token": {"text": "Hello"}, "details": None},
    {
        "token": {"text": "!"},
        "generated_text": "Hello!",
        "details": {"finish_reason": "eos_token", "input_length": IN, "generated_tokens": OUT},
    },
]
STREAMS: dict[str, Callable[[str], Lines]] = {
    "openai": openai_lines,
    "responses": responses_lines,
    "claude": claude_lines,
    "gemini": lambda name: sse([gemini(name, name)[0], *gemini(name, name)]),
    "cohere": lambda name: sse([{**COHERE[0], "id": name}, *COHERE[1:]]),
    "cohere v1": lambda name: sse(cohere_v1(name, "Hello", " there")),
    "hugging face": lambda _name: sse(HUGGING_FACE),
    "llama.cpp": lambda _name: sse(LLAMA_CPP),
    "watsonx": lambda _name: sse(WATSONX),
    "ollama": lambda name: [json.dumps({**event, "model": name}) for event in OLLAMA],
}
HAVE_IDS = ("openai", "responses", "gemini")
NAMES = ("r1", "r2", "r3")


@pytest.mark.parametrize("lines", STREAMS.values(), ids=STREAMS)
def test_threads(lines: Callable[[str], Lines], runs: RecordingSink) -> None:
    """The lines that each thread observes are a stream of their own, if they come at the same time."""
    turn = threading.Barrier(len(NAMES))

    def read(run: Run, name: str) -> None:
        for line in lines(name):
            turn.wait(10)
            run.observe(line)

    with track_ai(config_key="chat") as run:
        threads = [threading.Thread(target=read, args=(run, name)) for name in NAMES]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert is_exact(runs.wait()[0], calls=3)


@pytest.mark.parametrize("lines", STREAMS.values(), ids=STREAMS)
def test_tasks(lines: Callable[[str], Lines], runs: RecordingSink) -> None:
    """The same for tasks."""

    async def read(run: Run, name: str) -> None:
        for line in lines(name):
            await asyncio.sleep(0)
            run.observe(line)

    async def read_all(run: Run) -> None:
        await asyncio.gather(*(read(run, name) for name in NAMES))

    with track_ai(config_key="chat") as run:
        asyncio.run(read_all(run))
    assert is_exact(runs.wait()[0], calls=3)


@pytest.mark.parametrize("name", HAVE_IDS)
def test_lines_that_come_in_turn(
    name: str, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink, caplog: pytest.LogCaptureFixture
) -> None:
    """Lines of two streams may come in turn on one thread if they have the ids of their responses."""
    with track_ai(config_key="chat") as run:
        for lines in zip(STREAMS[name]("r1"), STREAMS[name]("r2"), strict=True):
            for line in lines:
                run.observe(line)
    assert is_exact(runs.wait()[0], calls=2)


@pytest.mark.parametrize("name", ["claude", "cohere"])
def test_lines_without_ids_that_come_in_turn(
    name: str, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink, caplog: pytest.LogCaptureFixture
) -> None:
    """Without ids in the lines, the tokens are a lower bound, and the log says what to observe instead."""
    with track_ai(config_key="chat") as run:
        for lines in zip(STREAMS[name]("r1"), STREAMS[name]("r2"), strict=True):
            for line in lines:
                run.observe(line)
    usage = runs.wait()[0].usage
    assert usage is not None
    assert usage.lower_bound
    assert (usage.input_tokens or 0) <= 2 * IN
    assert (usage.output_tokens or 0) <= 2 * OUT
    assert launchdarkly.tracking.stats().diagnostics["observe_mixed"] == 1
    assert "response.iter_lines()" in caplog.text


@pytest.mark.parametrize("lines", STREAMS.values(), ids=STREAMS)
def test_streams_one_after_the_other(
    lines: Callable[[str], Lines], launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """Streams that a thread reads one after the other are one call each, also if their ids are the same."""
    with track_ai(config_key="chat") as run:
        for name in ("r1", "r2", "r2"):
            for line in lines(name):
                run.observe(line)
    assert is_exact(runs.wait()[0], calls=3)
    assert launchdarkly.tracking.stats().diagnostics == {}


@pytest.mark.parametrize("name", ["cohere v1", "hugging face", "llama.cpp", "watsonx", "ollama"])
@pytest.mark.parametrize("how", ["streams", "exception"])
def test_a_stream_without_ids_that_is_cut_off(how: str, name: str, runs: RecordingSink) -> None:
    """The answer to the next request is a call of its own if whole streams are observed, or what ended the first."""
    lines = STREAMS[name]("r1")
    cut = lines[: {"ollama": 1, "cohere v1": 6}.get(name, 3)]  # up to the first text
    with track_ai(config_key="chat") as run:
        if how == "streams":
            assert [list(run.observe(iter(stream))) for stream in (cut, lines)] == [cut, lines]
        else:
            for line in cut:
                run.observe(line)
            run.observe(ConnectionError())
            for line in lines:
                run.observe(line)
    record = runs.wait()[0]
    assert (record.calls, record.usage is not None and record.usage.lower_bound) == (2, True)


@pytest.mark.parametrize("lines", STREAMS.values(), ids=STREAMS)
def test_steps_on_other_threads(lines: Callable[[str], Lines], runs: RecordingSink) -> None:
    """A generator whose steps run on several threads, as a web framework takes them, observes one stream."""
    with ExitStack() as threads, track_ai(config_key="chat") as run:
        steps = map(run.observe, lines("r1"))
        for _ in lines("r1"):  # a thread that has ended would leave its id to the next one
            threads.enter_context(ThreadPoolExecutor(1)).submit(next, steps).result()
    assert is_exact(runs.wait()[0])


def test_gemini_without_ids(runs: RecordingSink) -> None:
    """Responses of Gemini without ids are a stream too, if they come as its lines."""
    with track_ai(config_key="chat") as run:
        for line in sse(gemini()) * 2:
            run.observe(line)
    assert is_exact(runs.wait()[0], calls=2)


@pytest.mark.parametrize("events", [chat, lambda name: gemini(name, f"{name}b")], ids=["openai", "gemini"])
def test_an_id_for_each_line(events: Callable[[str], Events], runs: RecordingSink) -> None:
    """The lines of a server that gives each of them another id are one stream."""
    numbered = [{**event, "id": f"c{number}"} for number, event in enumerate(events("c"))]
    with track_ai(config_key="chat") as run:
        for line in sse(numbered):
            run.observe(line)
    assert is_exact(runs.wait()[0])


# Responses that are observed twice

MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "content": [{"type": "text", "text": "Hi"}],
    "stop_reason": "stop",
    "usage": {"input_tokens": IN, "output_tokens": OUT},
}
LANGCHAIN = {
    "type": "ai",
    "id": "lc_run--1",
    "content": "Hi",
    "response_metadata": {"id": "c1", "finish_reason": "stop"},
    "usage_metadata": {"input_tokens": IN, "output_tokens": OUT, "total_tokens": IN + OUT},
}
RESPONSES = {"openai": COMPLETION, "anthropic": MESSAGE, "langchain": LANGCHAIN}


@pytest.mark.parametrize("response", RESPONSES.values(), ids=RESPONSES)
@pytest.mark.parametrize("copy", [dict, json.dumps, lambda one: json.dumps(one).encode()], ids=["dict", "str", "bytes"])
def test_copies_of_a_response(copy: Callable[[Any], Any], response: Any, runs: RecordingSink) -> None:
    """Two reports with the same id and the same usage are about the same call."""
    with track_ai(config_key="chat") as run:
        run.observe(copy(response))
        run.observe(copy(response))
        run.observe(dict(response))
    assert is_exact(runs.wait()[0])


def test_copies_after_another_response(runs: RecordingSink) -> None:
    """A copy adds nothing, even if another response came in between."""
    with track_ai(config_key="chat") as run:
        for name in ("c1", "c2", "c1"):
            run.observe({**COMPLETION, "id": name})
    assert is_exact(runs.wait()[0], calls=2)


def test_one_id_for_all_responses(runs: RecordingSink) -> None:
    """Some servers give each response the same id; the calls of a tool loop differ in their usage."""
    more = {"prompt_tokens": IN + 1, "completion_tokens": OUT, "total_tokens": IN + OUT + 1}
    with track_ai(config_key="chat") as run:
        run.observe(dict(COMPLETION))
        run.observe({**COMPLETION, "usage": more})
    record = runs.wait()[0]
    assert record.usage is not None
    assert (record.calls, record.usage.input_tokens, record.usage.lower_bound) == (2, 2 * IN + 1, False)


def test_chunks_of_langchain(runs: RecordingSink) -> None:
    """Chunks of LangChain are one call: each has its share of the usage."""
    head = {"type": "AIMessageChunk", "id": "lc_run--1", "content": "", "response_metadata": {}}
    parts = [(IN, 0, "Hel"), (0, 1, "lo"), (0, OUT - 1, "")]
    with track_ai(config_key="chat") as run:
        for given, made, words in parts:
            usage = {"input_tokens": given, "output_tokens": made, "total_tokens": given + made}
            run.observe({**head, "content": words, "usage_metadata": usage})
        run.observe({**head, "response_metadata": {"finish_reason": "stop"}})
    assert is_exact(runs.wait()[0])


def test_long_lines(runs: RecordingSink) -> None:
    """A line of half a million characters belongs to its stream, and JSON of this length is a response."""
    words, usage = "word " * 100_000, {"prompt_tokens": 70001, "completion_tokens": 9007, "total_tokens": 79008}
    message = {"role": "assistant", "content": words}
    whole = {"id": "c", "model": "m", "choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}
    with track_ai(config_key="chat") as run:
        run.observe(json.dumps({**whole, "object": "chat.completion"}))
        for choices, counts in (
            ([{"index": 0, "delta": {"content": words}}], None),
            ([{"index": 0, "delta": {}, "finish_reason": "stop"}], usage),
        ):
            chunk = {"id": "d", "object": "chat.completion.chunk", "choices": choices, "usage": counts}
            run.observe(f"data: {json.dumps(chunk)}")
        run.observe("data: [DONE]")
    [record] = runs.wait()
    assert (record.calls, record.finish_reasons) == (2, ("stop", "stop"))
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens) == (2 * 70001, 2 * 9007)
    assert (record.usage.source, record.usage.lower_bound) == ("provider", False)


@pytest.mark.parametrize("encode", [str, str.encode], ids=["str", "bytes"])
@pytest.mark.parametrize("response", [*RESPONSES.values(), gemini()[-1]], ids=[*RESPONSES, "gemini"])
def test_json_on_several_lines(
    response: Any, encode: Callable[[str], Any], launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """A response as JSON may be indented, and another one may follow it."""
    with track_ai(config_key="chat") as run:
        run.observe(encode(json.dumps(response, indent=2)))
        for line in openai_lines("another"):
            run.observe(line)
    assert is_exact(runs.wait()[0], calls=2)
    assert launchdarkly.tracking.stats().diagnostics == {}


@pytest.mark.parametrize("encode", [str, str.encode], ids=["str", "bytes"])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_byte_order_mark(
    indent: int | None, encode: Callable[[str], Any], launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """A response as JSON, and the first line of a stream, may begin with a byte order mark."""
    lines = {name: map(encode, ("\ufeff" + openai_lines(name)[0], *openai_lines(name)[1:])) for name in ("c2", "c3")}
    with track_ai(config_key="chat") as run:
        run.observe(encode("\ufeff" + json.dumps(COMPLETION, indent=indent)))
        for line in lines["c2"]:
            run.observe(line)
        list(run.observe(lines["c3"]))
    assert is_exact(runs.wait()[0], calls=3)
    assert launchdarkly.tracking.stats().diagnostics == {}


@pytest.mark.parametrize("indent", [None, 2])
def test_json_arrays(indent: int | None, runs: RecordingSink) -> None:
    """A JSON array is a list: of responses, or of the events of a stream, as Gemini sends them."""
    with track_ai(config_key="chat") as run:
        run.observe(json.dumps([COMPLETION, {**COMPLETION, "id": "c2"}], indent=indent))
        run.observe(json.dumps(gemini("r1", "r1"), indent=indent))
    assert is_exact(runs.wait()[0], calls=3)


def test_long_json_on_several_lines(runs: RecordingSink) -> None:
    """Indented JSON of half a million characters is a response as well, and counts once if it is observed twice."""
    message = {"role": "assistant", "content": "word " * 100_000}
    text = json.dumps({**COMPLETION, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}, indent=1)
    with track_ai(config_key="chat") as run:
        run.observe(text)
        run.observe(text)
    assert is_exact(runs.wait()[0])


@pytest.mark.parametrize(
    ("text", "diagnostic"),
    [('{\n"id": "c1",', "observe_text"), ('{\n"a": 1\n}', "observe_unknown"), ('["Hello"]', "observe_unknown")],
)
def test_json_of_no_provider(
    text: str, diagnostic: str, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """JSON that is not a line, and not in the format of any provider, is refused with a diagnostic."""
    with track_ai(config_key="chat") as run:
        run.observe(text)
    assert (runs.wait()[0].calls, launchdarkly.tracking.stats().diagnostics) == (0, {diagnostic: 1})


@pytest.mark.parametrize("lines", STREAMS.values(), ids=STREAMS)
@pytest.mark.parametrize("encode", [str, str.encode])
def test_a_list_of_lines(
    lines: Callable[[str], Lines], encode: Callable[[str], str | bytes], runs: RecordingSink
) -> None:
    """All lines of a stream may be observed as one list."""
    with track_ai(config_key="chat") as run:
        run.observe([encode(line) for line in lines("r1")])

    record = runs.wait()[0]
    assert record.calls == 1
    assert is_exact(record)


@pytest.mark.parametrize("form", ["lines", "list", "iterator", "response"])
def test_what_follows_the_end(form: str, runs: RecordingSink) -> None:
    """Figures that a gateway sends after ``[DONE]`` are not part of the response. Another stream may follow."""
    usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
    figures = {"id": "gw", "object": "chat.completion.chunk", "model": "gw", "choices": [], "usage": usage}
    lines = [line for name in ("c1", "c2") for line in (*openai_lines(name), "", f"data: {json.dumps(figures)}", "")]
    with track_ai(config_key="chat") as run:
        if form == "list":
            run.observe(lines)
        elif form == "response":
            body = "\n".join(lines)
            run.observe(httpx.Response(200, headers={"content-type": "text/event-stream"}, text=body))
        elif form == "iterator":
            list(run.observe(iter(lines)))
        else:
            for line in lines:
                run.observe(line)

    record = runs.wait()[0]
    assert is_exact(record, calls=2)
    assert record.response_model == "m"


def test_the_data_of_events(launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """The data of events may be observed without ``data:``, with the last one, ``[DONE]``."""
    with track_ai(config_key="chat") as run:
        for line in openai_lines():
            if line.startswith("data: "):
                run.observe(line.removeprefix("data: "))

    record = runs.wait()[0]
    assert record.calls == 1
    assert is_exact(record)
    assert "observe_text" not in launchdarkly.tracking.stats().diagnostics


class SentEvent:
    """An event as those of httpx-sse, whose fields are properties."""

    event = property(lambda self: self._event)
    data = property(lambda self: self._data)
    retry = property(lambda _self: None)

    def __init__(self, data: str, event: str = "message") -> None:
        self._event, self._data = event, data


@pytest.mark.parametrize("name", ["openai", "claude"])
def test_decoded_events(name: str, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """The events that a client of Server-Sent Events has decoded are a stream, as its lines are."""
    data = [line.removeprefix("data: ") for line in STREAMS[name]("r1") if line.startswith("data: ")]
    with track_ai(config_key="chat") as run:
        for event in (SentEvent("", "ping"), *map(SentEvent, data)):
            assert run.observe(event) is event

    record = runs.wait()[0]
    assert record.calls == 1
    assert is_exact(record)
    assert not launchdarkly.tracking.stats().diagnostics
