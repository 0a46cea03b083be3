"""What a model generated, estimated from what it shows."""

from __future__ import annotations

from typing import Any

import pytest

from ldai_integrations.usage import ToolCall, count_tokens, estimate_output

pytestmark = pytest.mark.usefixtures("o200k")

_WEATHER = ToolCall("get_weather", '{"city": "Graz", "days": 3}')
CLAUDE, GEMINI = "claude-sonnet-4-5", "gemini-2.5-flash"
_FORCED: dict[str, Any] = {"tool_choice": {"type": "any"}}
_FREE: dict[str, Any] = {"messages": []}


def tokens(*calls: ToolCall, text: str = "", model: str = CLAUDE, request: Any = None) -> int:
    """Return the estimate of an answer."""
    return estimate_output(text, model=model, tool_calls=calls, request=request).output_tokens or 0


@pytest.mark.parametrize("model", [CLAUDE, GEMINI])
def test_arguments_that_are_written_one_by_one(model: str) -> None:
    """Claude and Gemini write each argument by itself: how its JSON is spaced costs nothing, the next one does."""
    spaced, packed = ToolCall("get_weather", '{ "city" : "Graz" }'), ToolCall("get_weather", '{"city":"Graz"}')

    assert tokens(spaced, model=model) == tokens(packed, model=model) < tokens(_WEATHER, model=model)
    assert tokens(ToolCall("get_weather", '{"city":"Graz"}'), model=model) > count_tokens("get_weather city Graz")
    assert tokens(_WEATHER, _WEATHER, model=model) > tokens(_WEATHER, model=model)


@pytest.mark.parametrize("arguments", [{"city": "Graz", "days": 3}, '{"city":"Graz","days":3}'])
def test_arguments_as_a_dict_or_as_text(arguments: Any) -> None:
    """SDK objects hold either."""
    assert tokens(ToolCall("get_weather", arguments)) == tokens(_WEATHER)


def test_arguments_that_were_cut_off() -> None:
    """What a stream had sent of a call when it broke off counts as it stands."""
    whole, cut, begun = _WEATHER, ToolCall("get_weather", '{"city": "Graz", "da'), ToolCall("get_weather", "")

    assert tokens(whole) > tokens(cut) > tokens(begun) > tokens() == 0


def test_a_forced_call_is_partly_written_already() -> None:
    """What the request makes Claude call it need not begin to write, nor end where it may call one thing only."""
    single = {"tool_choice": {"type": "any", "disable_parallel_tool_use": True}}
    this_one = {"tool_choice": {"type": "tool", "name": "get_weather"}}
    free, forced = tokens(_WEATHER, request=_FREE), tokens(_WEATHER, request=_FORCED)

    assert free > forced > tokens(_WEATHER, request=this_one) > 0
    assert forced > tokens(_WEATHER, request=single)
    assert tokens(_WEATHER, request={"toolConfig": {"toolChoice": {"any": {}}}}) == forced
    assert tokens(_WEATHER, request={"toolConfig": {"toolChoice": {"auto": {}}}}) == free
    longer = ToolCall("get_weather_of_a_far_away_place", _WEATHER.arguments)
    assert tokens(longer, request=this_one) == tokens(_WEATHER, request=this_one)


def test_a_call_without_a_word_is_taken_for_a_forced_one() -> None:
    """Of an unknown request, that is the likelier; a model that says something first was free."""
    assert tokens(_WEATHER) == tokens(_WEATHER, request=_FORCED)
    assert tokens(_WEATHER, text="Let me see.") == tokens(_WEATHER, text="Let me see.", request=_FREE)


def test_newer_tokens_are_smaller_in_calls_as_well() -> None:
    """A family's factor holds for the tags around a call as for the text in it."""
    assert tokens(_WEATHER, model="claude-opus-4-8") == pytest.approx(tokens(_WEATHER) * 1.47 / 1.13, abs=2)
