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
        per_message: Tokens of each message beyond its text.
        per_word: Tokens of a name, and of the arguments of a tool call, in a message.
        per_tools, per_schema: Tokens for having tools at all, and for a schema of the answer, beyond what is written.
        per_tool: Tokens for each tool beyond its JSON.
        tool_factor: Real tokens for each token of the tools' JSON.
        web_search: Tokens that describe OpenAI's web search, not what it finds.
        per_output: Tokens of an answer beyond its visible text.
        per_responses_output: The same in OpenAI's Responses API.
        per_reasoning: Tokens of shown reasoning beyond its text.
        splits_arguments: Whether the arguments of a tool call are written one by one instead of as JSON.
        per_output_calls, per_output_call, per_output_argument: Tokens beyond names and values for calling tools at all,
            for each tool call, and for each argument that is written by itself.
        parallel_output_calls: Tokens for calling several tools at once.
        forced_call: Tokens that an answer saves if the request forces it to call a tool.
    """

    name: str
    pattern: str = ""
    encoding: EncodingName = "o200k_base"
    factor: float = 1.0
    openai: bool = False
    hides_reasoning: bool = False
    image: ImagePrice = ImagePrice()
    priming: int = 3
    per_message: int = 0
    per_word: int = 0
    per_tools: int = 0
    per_schema: int = 0
    per_tool: int = 0
    tool_factor: float = 1.0
    web_search: int = 0
    per_output: int = 0
    per_responses_output: int = 1
    per_reasoning: int = 0
    splits_arguments: bool = False
    per_output_calls: int = 0
    per_output_call: int = 7
    per_output_argument: int = 0
    parallel_output_calls: int = 0
    forced_call: int = 0


_OPENAI = Family(
    name="gpt-4o",
    openai=True,
    per_message=4,
    per_word=2,
    per_schema=4,
    web_search=294,
    parallel_output_calls=14,
    forced_call=7,
)
_O_SERIES = replace(
    _OPENAI,
    hides_reasoning=True,
    priming=2,
    per_output=10,
    per_output_call=16,
    forced_call=16,
    per_responses_output=6,
    image=ImagePrice(base=75, per_tile=150),
)
_GPT5 = replace(_O_SERIES, per_output=9, per_tools=84, web_search=4_295, image=ImagePrice(base=70, per_tile=140))
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
    per_schema=170,
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
    _of(
        _OPENAI,
        "gpt-4 of 2023",
        r"gpt-?4(-32k)?(-0[36]1[34])?$",
        encoding="cl100k_base",
        per_output_call=4,
        forced_call=4,
    ),
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
    return _family_of(text(model)[:_LONGEST_NAME])


@lru_cache(maxsize=512)
def _family_of(name: str) -> Family:
    written = name.lower().replace("_", "-").replace(" ", "-")
    return next(family for pattern, family in _COMPILED if pattern.search(written))
