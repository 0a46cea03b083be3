"""Families of models and how they count: the only table of measured constants.

Figures are medians of the provider's own count against ours, from recorded requests and answers of public projects,
November 2026, unless a comment names another source. A new model may change any of them. An estimate never overwrites a
provider's number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

from ._fields import text

EncodingName = Literal["o200k_base", "cl100k_base"]
# No model has a longer name. It would only fill the cache.
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class ImagePrice:
    """What an image costs, in one of three ways. Source: OpenAI, Images and vision, 2026-11.

    Attributes:
        base, per_tile: Tokens for the image, and for each tile of 512 pixels square.
        per_patch: Tokens for each patch of 32 pixels square, if the model counts patches.
        pixels_per_token: Pixels for each token, if the model counts pixels.
        most: Most patches or tokens that are charged.
        crops: Tiles are squares of two thirds of the short side. An image of at most 384 pixels square has none.
    """

    base: int = 85
    per_tile: int = 170
    per_patch: float = 0.0
    pixels_per_token: int = 0
    most: int = 1_536
    crops: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How one family of models counts, in tokens.

    Attributes:
        name: The family's name.
        pattern: Regular expression that is searched in the model name in lower case.
        encoding: The encoding of the family, or the nearest one.
        factor: Real tokens for each token of that encoding.
        openai: Whether OpenAI's own rules for messages and tools apply.
        hides_reasoning: Whether output contains reasoning that the response does not show.
        image: What an image costs.
        priming: Tokens of a prompt before any message.
        per_output: Tokens of an answer beyond its visible text.
        per_reasoning: Tokens of shown reasoning beyond its text.
        splits_arguments: Whether the arguments of a tool call are written one by one instead of as JSON.
        per_output_calls, per_output_call, per_output_argument: Tokens beyond names and values for calling tools at all,
            for each tool call, and for each argument that is written by itself.
        forced_call: Tokens that an answer saves if the request forces it to call a tool.
        per_responses_output, per_responses_call: ``per_output`` and ``per_output_call`` in OpenAI's Responses API.
        per_message: Tokens of each message beyond its text.
        per_tools, per_tool: Tokens for having tools at all, and for each tool beyond its JSON.
        tool_factor: Real tokens for each token of the tools' JSON.
    """

    name: str
    pattern: str = ""
    encoding: EncodingName = "o200k_base"
    factor: float = 1.0
    openai: bool = False
    hides_reasoning: bool = False
    image: ImagePrice = ImagePrice()
    priming: int = 3
    per_output: int = 0
    per_reasoning: int = 0
    splits_arguments: bool = False
    per_output_calls: int = 0
    per_output_call: int = 7
    per_output_argument: int = 0
    forced_call: int = 0
    per_responses_output: int = 1
    per_responses_call: int = 8
    per_message: int = 0
    per_tools: int = 0
    per_tool: int = 0
    tool_factor: float = 1.0


_OPENAI = Family(name="gpt-4o", openai=True)
_O_SERIES = replace(
    _OPENAI,
    hides_reasoning=True,
    priming=2,
    per_output=10,
    per_output_call=16,
    per_responses_output=6,
    per_responses_call=11,
    image=ImagePrice(base=75, per_tile=150),
)
_GPT5 = replace(_O_SERIES, per_output=9, image=ImagePrice(base=70, per_tile=140))
_CLAUDE = Family(
    name="claude",
    factor=1.13,
    image=ImagePrice(pixels_per_token=750, most=1_600),  # Anthropic, Vision, 2026-11
    per_output=3,
    per_reasoning=8,
    splits_arguments=True,
    per_output_calls=17,
    per_output_call=16,
    per_output_argument=15,
    forced_call=17,
    priming=5,
    per_message=2,
    per_tools=495,
    per_tool=20,
    tool_factor=1.12,
)
_GEMINI = Family(
    name="gemini",
    factor=1.04,
    image=ImagePrice(base=258, per_tile=0),  # Google, Understand and count tokens, 2026-11
    priming=0,
    splits_arguments=True,
    per_output_call=0,
    tool_factor=0.5,
)
_THINKING_GEMINI = replace(
    _GEMINI, hides_reasoning=True, priming=1, per_output_call=8, per_output_argument=3, tool_factor=1.0
)
_OTHER = Family(name="other")


def _of(base: Family, name: str, pattern: str, **changes: Any) -> Family:
    return replace(base, name=name, pattern=pattern, **changes)


# The first family whose pattern is found is used. The patterns of OpenAI follow tiktoken's table of model names.
FAMILIES = (
    _of(_OPENAI, "embedding", r"text-embedding(?!-(00\d|v\d))|embedding-ada", encoding="cl100k_base", priming=0),
    _of(_OTHER, "gpt-oss", r"gpt-oss", factor=1.07, hides_reasoning=True, priming=67),
    _of(_GPT5, "gpt-5 chat", r"gpt-?[5-9](\.\d+)?-chat", hides_reasoning=False),
    _of(_GPT5, "gpt-5.4+", r"gpt-?(5\.([4-9]|\d\d)|[6-9]|1\d)", per_output=3, per_responses_output=4),
    _of(_GPT5, "gpt-5 mini", r"gpt-?5[.\d]*-mini", image=ImagePrice(per_patch=1.2)),
    _of(_GPT5, "gpt-5 nano", r"gpt-?5[.\d]*-nano", image=ImagePrice(per_patch=1.5)),
    _of(_GPT5, "gpt-5", r"gpt-?5|codex"),
    _of(_OPENAI, "gpt-4.1 mini", r"gpt-?4[.-]?1-mini", image=ImagePrice(per_patch=1.62)),
    _of(_OPENAI, "gpt-4.1 nano", r"gpt-?4[.-]?1-nano", image=ImagePrice(per_patch=2.46)),
    _of(_OPENAI, "gpt-4o mini", r"gpt-?4o-mini", image=ImagePrice(base=2_833, per_tile=5_667)),
    _of(_OPENAI, "gpt-4o", r"gpt-?4o|gpt-?4[.-]?[15](?!\d)|gpt-(audio|realtime|image)|computer-use|omni-"),
    _of(_OPENAI, "gpt-4 of 2023", r"gpt-?4(-32k)?(-0[36]1[34])?$", encoding="cl100k_base", per_output_call=4),
    _of(_OPENAI, "gpt-4", r"gpt-?4|gpt-?3|(davinci|babbage)-002|davinci:|text-davinci", encoding="cl100k_base"),
    _of(_O_SERIES, "o4-mini", r"\bo4-mini", per_output=20, image=ImagePrice(per_patch=1.72)),
    _of(_O_SERIES, "o-series", r"\bo[1-9]\b(?!\.)"),
    _of(
        _CLAUDE,
        "claude 5",
        r"claude-((opus-4[.-]([7-9]|\d\d)|4[.-]([7-9]|\d\d)-opus)(?!\d)|[a-z]+-[5-9]|[5-9])",
        factor=1.47,
        per_output_calls=22,
        per_output_call=21,
        per_output_argument=20,
        forced_call=22,
        tool_factor=1.47,
    ),
    _of(_CLAUDE, "claude 4.5", r"claude-([a-z]+-)?4[.-]([5-9]|\d\d)(?!\d)"),
    _of(_CLAUDE, "claude 4", r"claude-([a-z]+-)?4", per_tools=310),
    _of(_CLAUDE, "claude 3 haiku", r"claude-3.*haiku", factor=1.15, per_tools=260, tool_factor=1.15),
    _of(_CLAUDE, "claude 3 opus", r"claude-3-opus", factor=1.15, per_tools=527, tool_factor=1.15),
    _of(_CLAUDE, "claude 3", r"claude", factor=1.15, per_tools=310, tool_factor=1.15),
    _of(_THINKING_GEMINI, "gemini 3", r"gemini-([3-9]|flash-latest|pro-latest)"),
    _of(_THINKING_GEMINI, "gemini 2.5", r"gemini-2[.-]5"),
    _of(_GEMINI, "gemini 2.0", r"gemini-2", image=ImagePrice(base=258, per_tile=258, crops=True)),
    _of(_GEMINI, "gemini", r"gemini|palm-2|(text|chat|code)-bison|embedding-(00\d|gecko)"),
    _of(_OTHER, "gemma", r"gemma", factor=1.135, priming=8, per_output=1),
    _of(_OTHER, "llama 4", r"llama-?v?4", factor=1.025, priming=15, per_output=1),
    _of(_OTHER, "llama 3", r"(?<!o)llama", factor=1.055, priming=15, per_output=1),
    _of(_OTHER, "nova", r"\bnova-", factor=1.01, priming=0, per_output=1),
    _of(_OTHER, "titan", r"\btitan\b", factor=1.04, priming=0, per_output=1),
    _of(
        _OTHER,
        "mistral 1",
        r"mixtral|mistral-(7b|tiny)",
        factor=1.25,
        per_output=1,
        per_tools=10,
        per_output_call=15,
        tool_factor=1.47,
    ),
    _of(
        _OTHER,
        "mistral",
        r"mistral|ministral|codestral|devstral|pixtral|magistral|voxtral",
        factor=1.08,
        per_tools=10,
        per_output_call=13,
        tool_factor=1.47,
    ),
    _of(_OTHER, "cohere", r"\bcommand\b|cohere|\baya-", factor=1.05, priming=0, per_output=1, per_output_call=58),
    _of(_OTHER, "grok", r"grok", factor=0.98, hides_reasoning=True, priming=8),
    _of(_OTHER, "deepseek", r"deepseek", factor=1.03, per_output_call=0, per_tools=130),
    _of(_OTHER, "qwen", r"qwen|qwq", factor=1.03, priming=9, per_output=1),
    _of(_OTHER, "glm", r"glm", factor=1.065, priming=9),
    _OTHER,
)
_COMPILED = tuple((re.compile(family.pattern), family) for family in FAMILIES)


def family_of(model: object) -> Family:
    """Return the family of a model.

    The name may contain a vendor, region, gateway, fine-tune or deployment, in upper or lower case: ``gpt-4o``,
    ``openai/gpt-4o``, ``ft:gpt-4o:acme::id``, ``My_GPT4o_deployment``, ``us.anthropic.claude-sonnet-4-…``. Unknown
    names belong to the family "other".
    """
    return _family_of((model if type(model) is str else text(model))[:_LONGEST_NAME])


@lru_cache(maxsize=512)
def _family_of(name: str) -> Family:
    written = name.lower().replace("_", "-").replace(" ", "-")
    return next(family for pattern, family in _COMPILED if pattern.search(written))


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIRules:
    """What one of OpenAI's APIs adds to texts, for some of its models, in tokens.

    Attributes:
        per_call: A tool call in the history.
        parallel_calls, per_parallel_call: Tool calls made at once, together and each, instead of ``per_call``.
        assistant_text: A message of the model without tool calls.
        tools, tools_without_system: What surrounds tools below a system message, and without one.
        schema, schema_without_system: The same for the schema of the answer.
        forced_tool: A function that must be called; its name is added.
        web_search: The description of OpenAI's web search, not what it finds.
        forced_output_call: An answer of a function that had to be called, beyond its arguments.
        parallel_output_calls: An answer of several tool calls, beyond six for each and their texts.
    """

    per_call: int = 4
    parallel_calls: int = 23
    per_parallel_call: int = 3
    assistant_text: int = 0
    tools: int = -1
    tools_without_system: int = 3
    schema: int = 4
    schema_without_system: int = 8
    forced_tool: int = 7
    web_search: int = 0
    forced_output_call: int = 0
    parallel_output_calls: int = 16


_CHAT = OpenAIRules()
_CHAT_OF_GPT5 = OpenAIRules(
    assistant_text=2, per_call=10, parallel_calls=29, tools=84, tools_without_system=84, forced_tool=-9
)
_RESPONSES = OpenAIRules(
    per_call=5,
    parallel_calls=-6,
    per_parallel_call=7,
    tools=-3,
    tools_without_system=-3,
    schema=1,
    schema_without_system=1,
    web_search=294,
    forced_output_call=1,
    parallel_output_calls=19,
)
_RESPONSES_OF_GPT5 = replace(
    _RESPONSES,
    assistant_text=2,
    per_call=11,
    parallel_calls=0,
    tools=3,
    tools_without_system=2,
    schema=0,
    schema_without_system=0,
    forced_tool=-9,
    web_search=4_295,
)


def openai_rules(family: Family, api: str) -> OpenAIRules:
    """Return the rules of an API of OpenAI for one of its families: ``"responses"``, or ``"chat"`` for other names."""
    is_gpt5 = family.name.startswith("gpt-5")
    if api == "responses":
        return _RESPONSES_OF_GPT5 if is_gpt5 else _RESPONSES
    return _CHAT_OF_GPT5 if is_gpt5 else _CHAT
