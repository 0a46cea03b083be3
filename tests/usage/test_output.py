"""What a model generated, estimated from what it shows."""

from __future__ import annotations

from typing import Any

import pytest

from ldai_integrations.usage import CalledTool, Reading, count_tokens, estimate_output, read, warm_up

from .bodies import reading_of


@pytest.fixture(autouse=True)
def _exact() -> None:
    """Have both encodings loaded."""
    warm_up(models=["gpt-4o", "gpt-4"], timeout=60)


_WEATHER = CalledTool("get_weather", '{"city": "Graz", "days": 3}')
CLAUDE, GEMINI = "claude-sonnet-4-5", "gemini-2.5-flash"
_FORCED: dict[str, Any] = {"tool_choice": {"type": "any"}}
_THIS_ONE: dict[str, Any] = {"tool_choice": {"type": "tool", "name": "get_weather"}}
_FREE: dict[str, Any] = {"messages": []}


def tokens(*calls: CalledTool, text: str = "", model: str = CLAUDE, request: Any = None) -> int:
    """Return the estimate of an answer."""
    return estimate_output(text, model=model, tool_calls=calls, request=request).output_tokens or 0


@pytest.mark.parametrize("model", [CLAUDE, GEMINI])
def test_arguments_that_are_written_one_by_one(model: str) -> None:
    """Claude and Gemini write each argument by itself, so that spaces in the JSON have no tokens."""
    spaced, packed = CalledTool("get_weather", '{ "city" : "Graz" }'), CalledTool("get_weather", '{"city":"Graz"}')

    assert tokens(spaced, model=model) == tokens(packed, model=model) < tokens(_WEATHER, model=model)
    assert tokens(CalledTool("get_weather", '{"city":"Graz"}'), model=model) > count_tokens("get_weather city Graz")
    assert tokens(_WEATHER, _WEATHER, model=model) > tokens(_WEATHER, model=model)


@pytest.mark.parametrize("arguments", [{"city": "Graz", "days": 3}, '{"city":"Graz","days":3}'])
def test_arguments_as_a_dict_or_as_text(arguments: Any) -> None:
    """The arguments of a tool call may be a dict or JSON text, as in the objects of SDKs."""
    assert tokens(CalledTool("get_weather", arguments)) == tokens(_WEATHER)


def test_arguments_that_were_cut_off() -> None:
    """Of a tool call that was cut off, what had arrived counts."""
    whole, cut, begun = _WEATHER, CalledTool("get_weather", '{"city": "Graz", "da'), CalledTool("get_weather", "")

    assert tokens(whole) > tokens(cut) > tokens(begun) > tokens() == 0


def test_a_forced_call_is_partly_written_already() -> None:
    """Claude writes fewer tokens if the request forces a call, and fewer still if it allows one call only."""
    single = {"tool_choice": {"type": "any", "disable_parallel_tool_use": True}}
    free, forced = tokens(_WEATHER, request=_FREE), tokens(_WEATHER, request=_FORCED)

    assert free > forced > tokens(_WEATHER, request=_THIS_ONE) > 0
    assert forced > tokens(_WEATHER, request=single)
    assert tokens(_WEATHER, request={"toolConfig": {"toolChoice": {"any": {}}}}) == forced
    assert tokens(_WEATHER, request={"toolConfig": {"toolChoice": {"auto": {}}}}) == free
    longer = CalledTool("get_weather_of_a_far_away_place", _WEATHER.arguments)
    assert tokens(longer, request=_THIS_ONE) == tokens(_WEATHER, request=_THIS_ONE)


def test_newer_tokens_are_smaller_in_calls_as_well() -> None:
    """A model with smaller tokens needs more of them, also for what is around a tool call."""
    assert 1.2 < tokens(_WEATHER, model="claude-opus-4-8") / tokens(_WEATHER) < 1.4


@pytest.mark.parametrize(
    ("model", "end"),
    [(CLAUDE, 3), ("nova-lite", 1), (GEMINI, 0), ("gpt-4o", 0)],
)
def test_the_end_of_an_answer_costs_where_it_came_to_one(model: str, end: int) -> None:
    """Some vendors count the end of an answer, which an answer that was cut off at its limit does not have."""
    reasons = ("stop", "length")
    texts = [{"message": {"content": "Hello there"}, "finish_reason": reason} for reason in reasons]
    whole, cut = (read({"choices": [{"index": 0, **text}], "model": model}) for text in texts)
    assert whole is not None
    assert cut is not None
    assert whole.estimate().output_tokens == count_tokens("Hello there", model=model) + end
    assert cut.estimate().output_tokens == count_tokens("Hello there", model=model)


@pytest.mark.parametrize(("model", "around"), [(CLAUDE, 8), ("deepseek-r1", 0)])
def test_what_reasoning_costs_beyond_its_words(model: str, around: int) -> None:
    """Claude writes something around the reasoning that it shows."""
    silent, loud = Reading(text="Yes.", model=model), Reading(text="Yes.", reasoning="Is it so?", model=model)
    words = count_tokens("Is it so?", model=model)

    assert (loud.estimate().output_tokens or 0) - (silent.estimate().output_tokens or 0) == words + around


_TOOLS: dict[str, Any] = {"tools": [{"type": "function", "function": {"name": "get_weather"}}]}
_CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}
_RESPONSES: dict[str, Any] = {"input": "Hi"}
_SCHEMA: dict[str, Any] = {"name": "words", "schema": {"type": "object"}}


@pytest.mark.parametrize(
    ("model", "request_", "extra"),
    [
        ("gpt-4o", None, 0),
        ("gpt-4o", _CHAT, 0),
        ("gpt-4o", {**_CHAT, "tools": []}, 0),
        ("gpt-4o", {**_CHAT, **_TOOLS}, 1),
        ("gpt-4o", {**_CHAT, **_TOOLS, "response_format": {"json_schema": _SCHEMA}}, 5),
        ("gpt-4o", _RESPONSES, 1),
        ("gpt-4o", {**_RESPONSES, **_TOOLS}, 2),
        ("gpt-4o", {**_RESPONSES, **_TOOLS, "text": {"format": _SCHEMA}}, 6),
        ("gpt-4o", {"prompt": {"id": "pmpt_1"}}, 1),
        ("gpt-3.5-turbo-instruct", {"prompt": "Hi"}, 0),
        ("gpt-5", _CHAT, 9),
        ("gpt-5", _RESPONSES, 6),
        ("o4-mini", _CHAT, 20),
        ("o4-mini", _RESPONSES, 6),
    ],
)
def test_what_an_answer_in_words_costs_beyond_them(model: str, request_: Any, extra: int) -> None:
    """OpenAI's models add tokens for tools, for a schema, for the Responses API and for reasoning."""
    assert tokens(text="Hello there", model=model, request=request_) == count_tokens("Hello there", model=model) + extra


@pytest.mark.parametrize(
    ("model", "request_", "calls", "extra"),
    [
        ("gpt-4o", None, 1, 7),
        ("gpt-4-0613", _CHAT, 1, 4),
        ("gpt-4o", {**_CHAT, **_TOOLS}, 1, 7),
        ("gpt-4o", {**_CHAT, **_TOOLS}, 2, 28),
        ("gpt-4o", _RESPONSES, 1, 7),
        ("gpt-4o", _RESPONSES, 3, 35),
        ("gpt-5", _CHAT, 1, 16),
        ("gpt-5", _RESPONSES, 1, 16),
    ],
)
def test_what_calls_cost_beyond_names_and_arguments(model: str, request_: Any, calls: int, extra: int) -> None:
    """Each tool call has tokens around it, and several calls at once have some more."""
    texts = count_tokens(_WEATHER.name, model=model) + count_tokens(_WEATHER.arguments, model=model)

    assert tokens(*[_WEATHER] * calls, model=model, request=request_) == texts * calls + extra


def test_a_function_that_had_to_be_called() -> None:
    """If the request names the function, only its arguments are counted."""
    chat = {**_CHAT, "tool_choice": {"type": "function", "function": {"name": "get_weather"}}}
    responses = {**_RESPONSES, "tool_choice": {"type": "function", "name": "get_weather"}}

    assert tokens(_WEATHER, model="gpt-4o", request=chat) == count_tokens(_WEATHER.arguments)
    assert tokens(_WEATHER, model="gpt-4o", request=responses) == count_tokens(_WEATHER.arguments)


def test_the_api_is_known_by_the_answer() -> None:
    """Without the request, the answer shows whether the Responses API adds its token."""
    said = {"type": "response.output_text.delta", "delta": "Hello there"}
    chunk = {"choices": [{"index": 0, "delta": {"content": "Hello there"}}]}
    estimates = [reading_of(event).estimate(model="gpt-4o").output_tokens for event in (said, chunk)]

    assert estimates == [3, 2]
    asked = {"messages": [{"role": "user", "content": "Hi"}]}
    assert estimate_output("Hello there", model="gpt-4o", request=asked, api="responses").output_tokens == 2
    assert estimate_output("Hello there", model="gpt-4o", api="another").output_tokens == 2
