"""Every provider call of a response or a stream is read separately."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from ldai_integrations.records import Usage
from ldai_integrations.usage import (
    CalledTool,
    Reading,
    SSEReader,
    StreamReader,
    extract,
    is_provider_line,
    is_response,
    read,
)

from .bodies import reading_of

Json = dict[str, Any]

CHAT: Json = {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29}
ONE, TWO = Usage(20, 9, 29), Usage(40, 18, 58)


def completion(name: str | None, text: str, *, reason: str = "stop", **more: Any) -> Json:
    """Return a chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
    return {"id": name, "object": "chat.completion", "model": "gpt-4o", "choices": [choice], "usage": CHAT, **more}


def chunk(name: str, text: str | None = None, *, reason: str | None = None, index: int = 0, **more: Any) -> Json:
    """Return a chunk of a chat completion."""
    choice = {"index": index, "delta": {"content": text} if text else {}, "finish_reason": reason}
    return {"id": name, "object": "chat.completion.chunk", "model": "gpt-4o", "choices": [choice], **more}


def ai_message(name: str | None, text: str = "Hi", **more: Any) -> Any:
    """Return a message of LangChain that a model wrote."""
    usage = {"input_tokens": 20, "output_tokens": 9, "total_tokens": 29}
    fields: Json = {"type": "ai", "id": name, "content": text, "tool_calls": [], "usage_metadata": usage}
    return SimpleNamespace(**{**fields, "response_metadata": {"finish_reason": "stop"}, **more})


HUMAN = SimpleNamespace(type="human", id="h", content="Hello")


def usages(reading: Reading | None) -> list[Usage | None]:
    """Return the usage of each call."""
    assert reading is not None
    return [call.usage for call in reading.calls]


# The calls of a response


def test_a_single_call_is_the_reading_itself() -> None:
    """A response of one call has one call, which is the reading."""
    reading = read(completion("a", "Hi"))

    assert reading is not None
    assert reading.calls == (reading,)
    assert reading.calls[0] is reading


@pytest.mark.parametrize("names", [("a", "b"), (None, None)])
def test_a_list_of_responses(names: tuple[str | None, str | None]) -> None:
    """Each response of a list is a call with its own usage, ids, text, model and finish reason."""
    reading = read([completion(names[0], "One"), completion(names[1], "Two", reason="length")])

    assert usages(reading) == [ONE, ONE]
    assert reading is not None
    assert [call.text for call in reading.calls] == ["One", "Two"]
    assert [call.finish_reasons for call in reading.calls] == [("stop",), ("length",)]
    assert [call.ids for call in reading.calls] == [(name,) if name else () for name in names]
    assert (reading.usage, reading.text, reading.finish_reasons) == (TWO, "OneTwo", ("stop", "length"))
    assert reading.model == reading.calls[0].model == "gpt-4o"


def test_a_response_that_comes_twice_is_one_call() -> None:
    """Responses with the same id are the same call."""
    assert usages(read([completion("a", "Hi"), completion("a", "Hi")])) == [ONE]


def test_a_list_of_chunks_is_one_call() -> None:
    """The chunks of a stream that was collected in a list are not calls of their own."""
    chunks = [chunk("a", "Hel"), chunk("a", "lo", reason="stop"), {**chunk("a", usage=CHAT), "choices": []}]
    reading = read(chunks)

    assert usages(reading) == [ONE]
    assert reading is not None
    assert (reading.text, reading.finish_reasons) == ("Hello", ("stop",))


def test_calls_that_follow_each_other_in_a_stream() -> None:
    """Chunks with another id after the end of an answer belong to the next call."""
    events = [
        event
        for name in "ab"
        for event in (chunk(name, name), chunk(name, reason="stop"), {**chunk(name, usage=CHAT), "choices": []})
    ]
    reading = reading_of(*events)

    assert usages(reading) == [ONE, ONE]
    assert [call.text for call in reading.calls] == ["a", "b"]


def test_an_id_for_each_response_of_a_gemini_stream() -> None:
    """Responses of a Gemini stream are one call until one has a finish reason, whatever their ids."""
    usage = {"promptTokenCount": 7317, "candidatesTokenCount": 3863, "totalTokenCount": 11180}
    candidates: list[Json] = [{"content": {"parts": [{"text": word}]}} for word in "ab"]
    candidates[1]["finishReason"] = "STOP"
    reading = reading_of(
        *(
            {"candidates": [one], "responseId": name, "usageMetadata": usage}
            for one, name in zip(candidates, "ab", strict=True)
        )
    )

    assert len(usages(reading)) == 1
    assert (reading.text, reading.finish_reasons) == ("ab", ("STOP",))


def test_the_first_chunks_of_a_gemini_stream() -> None:
    """Chunks that count the prompt only do not say that there is no output."""
    chunk = {
        "candidates": [{"content": {"parts": [{"text": "Hello"}]}}],
        "usageMetadata": {"promptTokenCount": 7317, "totalTokenCount": 7317},
    }
    usage = reading_of(chunk, chunk).usage

    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (7317, None, None)


def test_a_finish_reason_of_deepseek_on_bedrock() -> None:
    """DeepSeek's choices on Bedrock have a stop reason, which is their finish reason."""
    reading = reading_of({"choices": [{"text": "Hello", "stop_reason": "length"}]})

    assert (reading.text, reading.finish_reasons) == ("Hello", ("length",))


@pytest.mark.parametrize(
    "following",
    [
        pytest.param(
            [{**chunk(""), "choices": [{"index": 0, "delta": {}, "content_filter_offsets": {}}]}], id="filter"
        ),
        pytest.param([chunk("b", "", usage=CHAT)], id="usage with a choice"),
        pytest.param([{**chunk("b", usage=CHAT), "choices": []}], id="usage without a choice"),
        pytest.param([chunk("", "b", index=1), chunk("", reason="length", index=1)], id="another choice"),
    ],
)
def test_what_follows_the_end_of_an_answer(following: list[Json]) -> None:
    """A chunk after the end of an answer belongs to its call, whatever its id, unless it answers again."""
    usage = {**chunk("a", usage=CHAT), "choices": []}
    reading = reading_of(chunk("a", "Hi"), chunk("a", reason="stop"), *following, usage)

    assert usages(reading) == [ONE]
    assert reading.finish_reasons == ("stop",)


LATER: Json = {"prompt_tokens": 731, "completion_tokens": 97, "total_tokens": 828}


@pytest.mark.parametrize("ends_with_usage", [True, False])
@pytest.mark.parametrize("name", ["koboldcpp", ""])
def test_answers_with_the_same_id(name: str, ends_with_usage: bool) -> None:
    """After the finish reason and the usage of an answer, another answer is the next call, whatever its id."""

    def answer(words: list[str], usage: Json) -> list[Json]:
        start = {**chunk(name), "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
        said = [chunk(name, word) for word in words]
        if ends_with_usage:
            return [start, *said, chunk(name, reason="stop", usage=usage)]
        return [start, *said, chunk(name, reason="stop"), {**chunk(name, usage=usage), "choices": []}]

    reading = reading_of(*answer(["Hel", "lo"], CHAT), *answer(["Good", "bye"], LATER), *answer(["!"], CHAT))

    assert usages(reading) == [ONE, Usage(731, 97, 828), ONE]
    assert [call.text for call in reading.calls] == ["Hello", "Goodbye", "!"]
    assert reading.finish_reasons == ("stop", "stop", "stop")


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(
            [chunk("k", "Hi", usage=LATER), *2 * [chunk("k", "!", reason="stop", usage=CHAT)]], id="a repeated end"
        ),
        pytest.param(
            [
                *(chunk("k", "Hi", index=index, usage=LATER) for index in (0, 1)),
                *(chunk("k", reason="stop", index=index, usage=LATER) for index in (1, 0)),
                {**chunk("k", usage=CHAT), "choices": []},
            ],
            id="two choices",
        ),
        pytest.param(
            [
                chunk("k", "Hi", index=0, usage=LATER),
                chunk("k", reason="stop", index=0, usage=LATER),
                chunk("k", "Hi", index=1, usage=LATER),
                chunk("k", reason="stop", index=1, usage=CHAT),
            ],
            id="a choice after another",
        ),
        pytest.param(
            [
                chunk("k", "Hi"),
                chunk("k", reason="stop", usage=CHAT),
                *2 * [{**chunk("k", usage=CHAT), "choices": [{"index": 0, "delta": {"role": "assistant"}}]}],
            ],
            id="usage with a role",
        ),
        pytest.param(
            [chunk("k", "Hi"), chunk("k", reason="stop"), chunk("k", "!"), {**chunk("k", usage=CHAT), "choices": []}],
            id="text before the usage",
        ),
    ],
)
def test_an_answer_with_one_id_is_one_call(events: list[Json]) -> None:
    """An end that is repeated, another choice, and usage that follows belong to the same call."""
    assert usages(reading_of(*events)) == [ONE]


@pytest.mark.parametrize("ending", [{"done": True, "done_reason": "stop", "prompt_eval_count": 20, "eval_count": 9}])
def test_calls_of_ollama_that_follow_each_other(ending: Json) -> None:
    """Ollama sends no ids; the line that is done ends a call."""
    lines = [{"model": "m", "message": {"content": "Hi"}, "done": False}, {"model": "m", **ending}]
    reading = reading_of(*lines, *lines)

    assert usages(reading) == [ONE, ONE]
    assert reading.usage == TWO


def test_calls_of_converse_that_follow_each_other() -> None:
    """Bedrock sends no ids; a message that starts after the end of another is the next call."""
    usage = {"inputTokens": 20, "outputTokens": 9, "totalTokens": 29}
    one = [
        {"messageStart": {"role": "assistant"}},
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "Hi"}}},
        {"messageStop": {"stopReason": "end_turn"}},
        {"metadata": {"usage": usage}},
    ]

    assert usages(reading_of(*one, *one)) == [ONE, ONE]


def test_the_finish_reason_is_that_of_the_first_choice() -> None:
    """A call has at most one finish reason: the last one that was sent for its first choice."""
    choices = [
        {"index": 1, "message": {"content": "b"}, "finish_reason": "length"},
        {"index": 0, "message": {"content": "a"}, "finish_reason": "stop"},
    ]
    whole = read({"id": "a", "choices": choices})
    streamed = reading_of(chunk("a", "x", reason="other"), chunk("a", "y", reason="stop"))

    assert whole is not None
    assert (whole.finish_reasons, streamed.finish_reasons) == (("stop",), ("stop",))


def test_tool_calls_belong_to_their_call() -> None:
    """Tool calls with the same index in two calls stay separate."""

    def with_tool(name: str) -> Json:
        function = {"name": f"tool_{name}", "arguments": "{}"}
        choice = {"index": 0, "message": {"tool_calls": [{"function": function}]}, "finish_reason": "tool_calls"}
        return {"id": name, "choices": [choice]}

    reading = read([with_tool("a"), with_tool("b")])

    assert reading is not None
    assert [call.tool_calls for call in reading.calls] == [(CalledTool("tool_a", "{}"),), (CalledTool("tool_b", "{}"),)]


def shell_call(*commands: str, **more: Any) -> Json:
    """Return an item of OpenAI's Responses API: commands for a shell."""
    return {"type": "shell_call", "call_id": "c", "action": {"commands": list(commands)}, **more}


def test_tool_calls_of_every_kind_have_a_name() -> None:
    """A tool call of the Responses API without a name has that of its type. OpenAI's own tools are not named."""
    items = [
        {"type": "web_search_call", "action": {"query": "x"}},
        {"type": "mcp_call", "name": "lookup", "arguments": '{"q":1}', "output": "x"},
        shell_call("ls", "pwd"),
        {"type": "function_call", "name": "send", "arguments": "{}"},
        {"type": "apply_patch_call", "operation": {"type": "delete_file"}},
        {"type": "function_call_output", "output": "x"},
    ]
    reading = read({"object": "response", "id": "r", "status": "completed", "output": items})

    assert reading is not None
    assert reading.tool_calls == (
        CalledTool("lookup", '{"q":1}'),
        CalledTool("shell", '{"commands":["ls","pwd"]}'),
        CalledTool("send", "{}"),
        CalledTool("apply_patch", '{"type":"delete_file"}'),
    )


def test_a_stream_with_commands_for_a_shell() -> None:
    """The commands arrive in deltas, and belong to the tool call that has begun."""
    reading = reading_of(
        {"type": "response.created", "response": {"id": "r", "status": "in_progress"}},
        {"type": "response.output_item.added", "output_index": 0, "item": shell_call()},
        {"type": "response.shell_call_command.added", "output_index": 0, "command_index": 0, "command": ""},
        {"type": "response.shell_call_command.delta", "output_index": 0, "command_index": 0, "delta": "ls -la "},
        {"type": "response.shell_call_command.delta", "output_index": 0, "command_index": 0, "delta": "/srv"},
        {"type": "response.shell_call_command.done", "output_index": 0, "command_index": 0, "command": "ls -la /srv"},
        {"type": "response.output_item.done", "output_index": 0, "item": shell_call("ls -la /srv")},
    )

    assert reading.tool_calls == (CalledTool("shell", "ls -la /srv"),)


def test_tool_calls_with_equal_numbers() -> None:
    """Tool calls of a stream that are all numbered 0 stay separate, because their ids differ."""

    def piece(arguments: str, **more: Any) -> Json:
        call = {"index": 0, "function": {"arguments": arguments, "name": more.get("id", "")}, **more}
        return {**chunk("a"), "choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}

    reading = reading_of(piece("{", id="f"), piece("}"), piece("[", id="g"), piece("]"), piece("", id="h"))

    assert reading.tool_calls == (CalledTool("f", "{}"), CalledTool("g", "[]"), CalledTool("h", ""))


def test_a_call_without_usage_makes_the_sum_a_lower_bound() -> None:
    """A count that only one call reports makes the sum a lower bound, and its total is consistent."""
    usage = reading_of([completion("a", "Hi"), completion("b", "Hi", usage={"prompt_tokens": 20})]).usage

    assert usage == Usage(40, 9, 49, lower_bound=True)


def test_a_call_of_which_no_usage_is_known_makes_the_sum_a_lower_bound() -> None:
    """A call with text and without usage is missing in the sum."""
    reading = reading_of([completion("a", "Hi"), completion("b", "Hi", usage=None)])

    assert usages(reading) == [ONE, None]
    assert reading.usage == Usage(20, 9, 29, lower_bound=True)


def test_a_resumed_stream_is_one_call() -> None:
    """The rest of a stream of the Responses API, without its beginning, is one call."""
    usage = {"input_tokens": 20, "output_tokens": 9, "total_tokens": 29}
    response = {"id": "r", "object": "response", "status": "completed", "output": [], "usage": usage}
    delta = {"type": "response.output_text.delta", "delta": "Hi", "output_index": 0}
    reading = reading_of(delta, {"type": "response.completed", "response": response})

    assert usages(reading) == [ONE]
    assert (reading.text, reading.ids) == ("Hi", ("r",))


@pytest.mark.parametrize(
    "failed",
    [
        pytest.param(completion("a", "Hi", reason="error"), id="chat"),
        pytest.param({"id": "c", "finish_reason": "ERROR", "message": {"content": [{"text": "Hi"}]}}, id="cohere"),
    ],
)
def test_an_error_as_finish_reason(failed: Json) -> None:
    """An answer that ended because of an error has failed, although there is no error object."""
    reading = read(failed)

    assert reading is not None
    assert (reading.error or "").lower() == "error"


# Frameworks


def test_openai_agents_responses_are_calls() -> None:
    """Each raw response of a run is a call with its own id, text and tool calls."""

    def response(name: str, item: Json) -> Any:
        usage = SimpleNamespace(input_tokens=20, output_tokens=9, total_tokens=29)
        return SimpleNamespace(response_id=name, usage=usage, output=[item])

    text = {"type": "message", "content": [{"type": "output_text", "text": "Noon"}]}
    call = {"type": "function_call", "name": "now", "arguments": "{}"}
    sum_of_both = SimpleNamespace(usage=SimpleNamespace(input_tokens=40, output_tokens=18, total_tokens=58))
    responses = [response("r1", call), response("r2", text)]
    reading = read(SimpleNamespace(raw_responses=responses, context_wrapper=sum_of_both, final_output="Noon"))

    assert usages(reading) == [ONE, ONE]
    assert reading is not None
    assert [call.ids for call in reading.calls] == [("r1",), ("r2",)]
    assert [call.text for call in reading.calls] == ["", "Noon"]
    assert reading.calls[0].tool_calls == (CalledTool("now", "{}"),)


def test_a_sum_without_single_calls_has_no_ids() -> None:
    """A sum that a framework reports for calls without usage is one reading without ids."""
    responses = [SimpleNamespace(response_id=name, usage=None, output=[]) for name in ("r1", "r2")]
    sum_of_both = SimpleNamespace(usage=SimpleNamespace(input_tokens=40, output_tokens=18, total_tokens=58))
    reading = read(SimpleNamespace(raw_responses=responses, context_wrapper=sum_of_both, final_output="Noon"))

    assert reading is not None
    assert reading.usage == TWO
    assert [call.ids for call in reading.calls if call.usage is not None] == [()]


def pydantic_ai_response(**fields: Any) -> Any:
    """Return a model response of pydantic-ai, which calls a tool."""
    tool = {"part_kind": "tool-call", "tool_name": "now", "args": "{}"}
    parts = [{"part_kind": "thinking", "content": "Hm"}, {"part_kind": "text", "content": "Noon"}, tool]
    usage = {"input_tokens": 20, "output_tokens": 9, "details": {}}
    own = {"kind": "response", "parts": parts, "usage": usage, "model_name": "m", "provider_response_id": "r1"}
    return SimpleNamespace(**{**own, "finish_reason": "tool_call", "state": "complete", **fields})


def test_a_model_response_of_pydantic_ai() -> None:
    """A model response of pydantic-ai has the provider's id, finish reason, text and tool calls."""
    details = {"finish_reason": "tool_calls"}
    reading = read(pydantic_ai_response(provider_details=details))

    assert usages(reading) == [ONE]
    assert reading is not None
    assert (reading.ids, reading.model, reading.finish_reasons) == (("r1",), "m", ("tool_calls",))
    assert (reading.text, reading.reasoning) == ("Noon", "Hm")
    assert reading.tool_calls == (CalledTool("now", "{}"),)


def test_zeros_of_pydantic_ai_are_no_usage() -> None:
    """pydantic-ai counts zeros if the provider sends no usage: it is unknown."""
    reading = read(pydantic_ai_response(usage={"input_tokens": 0, "output_tokens": 0}))

    assert reading is not None
    assert reading.usage is None


class PydanticAIResult:
    """The result of an agent of pydantic-ai 1, whose usage is a method."""

    def __init__(self, *messages: Any, requests: int) -> None:
        self._messages = list(messages)
        self._state = SimpleNamespace(usage=SimpleNamespace(input_tokens=71, output_tokens=31, requests=requests))

    def new_messages(self) -> list[Any]:
        """Return the messages of this run."""
        return self._messages

    def usage(self) -> Any:
        """Return the usage that other runs may share."""
        return self._state.usage


@pytest.mark.parametrize("requests", [2, 3])
def test_a_result_of_pydantic_ai_is_the_calls_of_its_run(requests: int) -> None:
    """A result has the responses of its run, and is a lower bound if its usage has more requests than these."""
    result = PydanticAIResult(
        SimpleNamespace(kind="request", parts=[]),
        pydantic_ai_response(provider_response_id=None),
        pydantic_ai_response(provider_response_id=None),
        requests=requests,
    )
    reading = read(result)

    assert reading is not None
    assert len(reading.calls) == 2
    assert reading.usage == Usage(40, 18, 58, lower_bound=requests > 2)


def test_results_of_pydantic_ai_in_a_list_are_calls_of_their_own() -> None:
    """Two results without the provider's ids are two calls."""
    reading = read([PydanticAIResult(pydantic_ai_response(provider_response_id=None), requests=1) for _ in range(2)])

    assert usages(reading) == [ONE, ONE]


class BrokenResult:
    """A result whose method fails."""

    usage = SimpleNamespace(input_tokens=20, output_tokens=9)

    def new_messages(self) -> list[Any]:
        """Fail."""
        raise RuntimeError


def test_a_result_whose_messages_cannot_be_read() -> None:
    """The failure of a foreign object is not that of the application."""
    assert usages(read(BrokenResult())) == [ONE]


def strands_result(*cycles: tuple[int, int]) -> Any:
    """Return the result of an agent of Strands, which has answered before."""
    usages = [{"inputTokens": read, "outputTokens": written} for read, written in cycles]
    last = SimpleNamespace(cycles=[SimpleNamespace(usage=usage) for usage in usages]) if cycles else None
    total = {"inputTokens": 70001, "outputTokens": 13337, "totalTokens": 83338}
    metrics = SimpleNamespace(accumulated_usage=total, latest_agent_invocation=last)
    return SimpleNamespace(message={"role": "assistant", "content": [{"text": "Noon"}]}, metrics=metrics)


def test_a_result_of_strands_is_the_calls_of_its_last_invocation() -> None:
    """Each cycle is a call, and the total of the agent's life is not read."""
    reading = read([strands_result((20, 9), (20, 9)), strands_result((20, 9))])

    assert usages(reading) == [ONE, ONE, ONE]


def test_a_cycle_of_strands_without_usage() -> None:
    """A cycle without usage makes the others a lower bound."""
    assert usages(read(strands_result((20, 9), (0, 0)))) == [Usage(20, 9, 29, lower_bound=True)]


@pytest.mark.parametrize(
    "result",
    [
        pytest.param(strands_result(), id="strands before invocations"),
        pytest.param(strands_result((0, 0)), id="strands without usage"),
        pytest.param({"raw": "Noon", "token_usage": CHAT}, id="crew"),
        pytest.param(SimpleNamespace(raw="Noon", agent_role="r", usage_metrics=CHAT), id="crewai's agent"),
    ],
)
def test_totals_that_outlive_a_run_are_not_its_usage(result: Any) -> None:
    """The total of an agent's or a model's life is not the usage of a run, which is unknown: its text is estimated."""
    reading = read(result)

    assert reading is not None
    assert (reading.usage, reading.text) == (None, "Noon")


@pytest.mark.parametrize("observed", ["result", "usage"])
def test_zeros_of_another_framework_are_no_usage(observed: str) -> None:
    """A framework counts zeros if the provider sends no usage, as AutoGen in streams: it is unknown."""
    usage = SimpleNamespace(prompt_tokens=0, completion_tokens=0)
    reading = read(SimpleNamespace(content="Noon", usage=usage) if observed == "result" else usage)

    assert reading is not None
    assert (reading.usage, reading.text) == (None, "Noon" if observed == "result" else "")


def test_the_output_of_a_stream_that_was_left_is_unknown() -> None:
    """What a provider had counted of the output when its stream was left is not the whole output."""
    left = {"finish_reason": None, "state": "incomplete"}
    reading = read(pydantic_ai_response(usage={"input_tokens": 20, "output_tokens": 1}, **left))

    assert reading is not None
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.usage.output_tokens) == (20, None)


def state(*messages: Any) -> Json:
    """Return a state of LangGraph."""
    return {"messages": [HUMAN, *messages]}


A, B = ai_message("a", "One"), ai_message("b", "Two")
GUARD: Json = {"guard": {"allowed": True}}


@pytest.mark.parametrize(
    "result",
    [
        pytest.param([state(), state(A), state(A, B)], id="values"),
        pytest.param([GUARD, GUARD, GUARD, GUARD, {"x": {"messages": [A]}}, {"y": {"messages": [B]}}], id="updates"),
        pytest.param(
            [
                ("updates", GUARD),
                *[("custom", {"step": n}) for n in range(200)],
                ("updates", {"x": {"messages": [A, B]}}),
            ],
            id="modes",
        ),
        pytest.param(
            [("values", state()), ("values", state(A)), ("updates", {"x": {"messages": [A]}}), ("values", state(A, B))],
            id="values and updates",
        ),
        pytest.param([(A, {"langgraph_node": "x"}), (B, {"langgraph_node": "y"})], id="messages"),
        pytest.param([("messages", (A, {})), ("messages", (B, {})), ("values", state(A, B))], id="messages and values"),
        pytest.param([((), "values", state(A)), (("graph:1",), "values", state(A, B))], id="subgraphs"),
        pytest.param(state(A, B), id="invoke"),
    ],
)
def test_langgraph_states_are_read_completely(result: Any) -> None:
    """Each message counts once by its id, however many entries of a list repeat it or contain none."""
    for reading in (read(result), reading_of(*result) if isinstance(result, list) else read(result)):
        assert usages(reading) == [ONE, ONE]
        assert reading is not None
        assert [call.text for call in reading.calls] == ["One", "Two"]
        assert [call.ids for call in reading.calls] == [("a",), ("b",)]


def test_a_long_list_of_states_is_read_to_its_end() -> None:
    """A list of several thousand states counts every message."""
    messages = [ai_message(f"m{n}") for n in range(60)]
    entries = [("updates", {"node": {"messages": [message]}}) for message in messages for _ in range(50)]
    reading = read(entries)

    assert usages(reading) == [ONE] * 60


# Usage that is still to come


@pytest.mark.parametrize(
    ("events", "awaits"),
    [
        pytest.param(
            [chunk("a", "Hi"), chunk("a", reason="stop"), {**chunk("a", usage=CHAT), "choices": []}],
            [False, True, False],
            id="openai",
        ),
        pytest.param([chunk("a", "Hi", usage=CHAT), chunk("a", reason="stop", usage=CHAT)], [False, False], id="xai"),
        pytest.param([chunk("a", "Hi"), chunk("a", reason="stop", usage=CHAT)], [False, False], id="the same event"),
        pytest.param([chunk("a", "Hi"), chunk("a", reason="stop", x_groq={"usage": CHAT})], [False, False], id="groq"),
        pytest.param(
            [
                {"contentBlockDelta": {"delta": {"text": "Hi"}}},
                {"messageStop": {"stopReason": "end_turn"}},
                {"metadata": {"usage": {"inputTokens": 20, "outputTokens": 9}}},
            ],
            [False, True, False],
            id="bedrock",
        ),
        pytest.param(
            [
                {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 20}}},
                {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}},
                {"type": "message_stop"},
            ],
            [False, False, False],
            id="anthropic",
        ),
        pytest.param(
            [
                {"type": "response.output_text.delta", "delta": "Hi"},
                {"type": "response.completed", "response": {"id": "r", "status": "completed"}},
            ],
            [False, False],
            id="a response without usage",
        ),
        pytest.param(
            [
                {"model": "m", "message": {"content": "Hi"}, "done": False},
                {"model": "m", "done": True, "eval_count": 9},
            ],
            [False, False],
            id="ollama",
        ),
    ],
)
def test_usage_that_is_still_to_come(events: list[Json], awaits: list[bool]) -> None:
    """Between a finish reason and the usage that follows it, both readers await usage."""
    reader, bytes_reader = StreamReader(), SSEReader()
    assert not reader.awaits_usage
    for event, expected in zip(events, awaits, strict=True):
        reader.feed(event)
        bytes_reader.feed(f"data: {json.dumps(event)}\n\n".encode())
        assert (reader.awaits_usage, bytes_reader.awaits_usage) == (expected, expected)


def test_a_refusal_without_output() -> None:
    """Anthropic's stream has an output of zero tokens then, and no usage follows."""
    reader = StreamReader()
    usage = {"input_tokens": 1013, "output_tokens": 1}
    reader.feed({"type": "message_start", "message": {"id": "m1", "model": "claude-4", "usage": usage}})
    reader.feed({"type": "message_delta", "delta": {"stop_reason": "refusal"}, "usage": {"output_tokens": 0}})
    assert not reader.awaits_usage
    assert reader.usage() == Usage(1013, 0, 1013)


def test_a_stream_that_another_model_ends() -> None:
    """If Anthropic falls back to another model within a stream, that is the model of the answer."""
    usage = {"input_tokens": 310, "output_tokens": 1}
    fallback = {"type": "fallback", "from": {"model": "claude-opus-4-1"}, "to": {"model": "claude-sonnet-4-5"}}
    reading = reading_of(
        {"type": "message_start", "message": {"id": "m", "model": "claude-opus-4-1", "usage": usage}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "I"}},
        {"type": "content_block_start", "index": 1, "content_block": fallback},
        {"type": "content_block_delta", "index": 2, "delta": {"type": "text_delta", "text": "Hello"}},
    )

    assert reading.model == "claude-sonnet-4-5"


def test_a_final_frame_that_repeats_everything() -> None:
    """Usage in every chunk, and a last frame with the whole answer and its usage, count once (Perplexity)."""
    chunks = [
        chunk("a", word, usage={"prompt_tokens": 8, "completion_tokens": n, "total_tokens": 8 + n})
        for n, word in enumerate(("Hel", "lo"), 1)
    ]
    last = completion("a", "Hello", usage={"prompt_tokens": 8, "completion_tokens": 213, "total_tokens": 221})
    reading = reading_of(*chunks, last)

    assert usages(reading) == [Usage(8, 213, 221)]
    assert reading.text == "Hello"


# Exceptions


class CarryingError(Exception):
    """An exception that has a completion, as openai's and instructor's have."""

    def __init__(self, **fields: Any) -> None:
        super().__init__("failed")
        vars(self).update(fields)


@pytest.mark.parametrize("field", ["completion", "last_completion", "raw_response"])
def test_an_exception_with_a_completion(field: str) -> None:
    """The usage of a response that failed validation is read from the exception."""
    reading = read(CarryingError(**{field: completion("a", "Hi")}))

    assert reading is not None
    assert (reading.usage, reading.ids, reading.error) == (ONE, ("a",), None)


def test_openai_length_error() -> None:
    """OpenAI's own error for an answer that is too long carries the answer's usage."""
    openai = pytest.importorskip("openai")
    answer = openai.types.chat.ChatCompletion.model_validate({**completion("a", "Hi", reason="length"), "created": 1})

    assert extract(openai.LengthFinishReasonError(completion=answer)) == ONE


def test_a_run_of_agents_that_failed() -> None:
    """An error of openai-agents carries the responses of the run."""
    usage = SimpleNamespace(input_tokens=20, output_tokens=9, total_tokens=29)
    response = SimpleNamespace(response_id="r", usage=usage, output=[])

    assert extract(CarryingError(run_data=SimpleNamespace(raw_responses=[response]))) == ONE


def test_errors_of_the_providers_libraries() -> None:
    """A status error with an error body gives the error's code, and no usage."""
    openai, anthropic = pytest.importorskip("openai"), pytest.importorskip("anthropic")
    response = httpx.Response(429, request=httpx.Request("POST", "http://localhost"))
    of_openai = openai.RateLimitError("secret", response=response, body={"code": "rate_limited", "message": "secret"})
    body = {"type": "error", "error": {"type": "rate_limit_error", "message": "secret"}}
    of_anthropic = anthropic.RateLimitError("secret", response=response, body=body)

    for error, code in ((of_openai, "rate_limited"), (of_anthropic, "rate_limit_error")):
        reading = read(error)
        assert reading is not None
        assert (reading.error, reading.usage) == (code, None)
        assert "secret" not in str(reading)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"response": {"Error": {"Code": "ThrottlingException"}}}, "ThrottlingException"),
        ({"code": 429, "details": {"error": {"status": "RESOURCE_EXHAUSTED", "message": "x"}}}, "RESOURCE_EXHAUSTED"),
        ({"status_code": 400, "body": '{"message": "bad"}'}, "400"),
    ],
    ids=["boto3", "google", "mistral"],
)
def test_other_errors_of_the_providers_libraries(fields: Json, code: str) -> None:
    """Each library keeps the error in its own place."""
    reading = read(CarryingError(**fields))

    assert reading is not None
    assert (reading.error, reading.usage) == (code, None)


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("usage"), CarryingError(status_code=404, detail="no")])
def test_other_exceptions_are_not_read(error: Exception) -> None:
    """An application's own exception has no reading."""
    assert read(error) is None


# Lines


@pytest.mark.parametrize("encode", [str, str.encode], ids=["str", "bytes"])
@pytest.mark.parametrize("form", ["data: {}", "data:{}", "{}", "data: {}\n\n", "event: x\ndata: {}\n\n"])
def test_lines_are_events(encode: Any, form: str) -> None:
    """Lines of Server-Sent Events and of JSON are read as the events that they contain."""
    reader = StreamReader()
    events = [chunk("a", "Hello"), chunk("a", reason="stop"), {**chunk("a", usage=CHAT), "choices": []}]
    lines = [form.format(json.dumps(event)) if "{}" in form else form for event in events]

    assert [reader.feed(encode(line)) or False for line in (*lines, "", ": ping", "data: [DONE]")] == [True] + [
        False
    ] * 5
    assert (reader.reading().text, reader.reading().usage) == ("Hello", ONE)


@pytest.mark.parametrize("line", ["Hello", "data: Hello", "data: {broken", "{", "", "[1]", '"Hello"', b"\xff", "1"])
def test_other_lines_are_never_provider_text(line: Any) -> None:
    """A line that contains no event is not counted as text of the provider."""
    reader = StreamReader()

    assert reader.feed(line) is None
    assert not reader.recognised
    assert reader.reading() == Reading()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"data: {json.dumps(chunk('a', 'Hi'))}", True),
        (json.dumps({"model": "m", "done": False, "message": {"content": "Hi"}}), True),
        (json.dumps({"model": "m", "done": False, "message": {"content": "Hi"}}).encode(), True),
        ("data: [DONE]", True),
        ("event: message_start", True),
        ("event: response.created", True),
        ("event: done", False),
        ('{"answer": "Hi"}', False),
        ("data: Hello", False),
        ("Hello", False),
        ("", False),
        (b"\x89PNG", False),
        (None, False),
        ({"choices": []}, False),
    ],
)
def test_what_is_a_providers_line(line: Any, expected: bool) -> None:
    """Lines with an event of a provider are told from an application's own text."""
    assert is_provider_line(line) is expected


_PART = {"candidates": [{"content": {"parts": [{"text": "Hi"}]}}]}
_OLLAMA = {"model": "llama3", "response": "Hi", "done": True, "prompt_eval_count": 3, "eval_count": 4}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (_OLLAMA, True),
        ({"error": {"message": "no", "code": 429}}, True),
        ({"status": "done", "result": _OLLAMA}, False),
        ({"status": "failed", "error": "no"}, False),
        ([_OLLAMA], False),
        ([completion("a", "Hi"), completion("b", "Hi")], False),
        ([{"responseId": "g", **_PART}, {"responseId": "g", **_PART}], True),
        (None, False),
    ],
    ids=[
        "response",
        "error",
        "stored response",
        "stored error",
        "list",
        "history",
        "array of events",
        "nothing",
    ],
)
def test_the_response_of_a_provider(value: Any, expected: bool) -> None:
    """A page that contains a response, or the text of an error, is no response itself."""
    assert is_response(value) is expected
