"""The one table of measured constants: model families, and what their APIs add to a text.

Measured November 2026 with tiktoken 0.14 on recorded responses of public projects, as the median of the provider's own
count against ours. A new model release can change any of them; an estimate never overwrites a provider's number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EncodingName = Literal["o200k_base", "cl100k_base"]


@dataclass(frozen=True, slots=True)
class ImagePrice:
    """Say what an image costs, in one of three ways.

    Attributes:
        base, per_tile: Tokens for the image, and for each tile of 512 pixels square.
        per_patch: Tokens for each patch of 32 pixels square, where a model counts so.
        pixels_per_token: Pixels to the token, where a model counts so.
        most: Most patches or tokens that are charged.
    """

    base: int = 85
    per_tile: int = 170
    per_patch: float = 0.0
    pixels_per_token: int = 0
    most: int = 1_536


@dataclass(frozen=True, slots=True)
class Family:
    """Describe how one family of models counts.

    Attributes:
        name: The family's name.
        pattern: Regular expression, searched in the lower-cased model name.
        encoding: The encoding that counts for it, or comes nearest.
        factor: True tokens per token of that encoding.
        openai: True where OpenAI's own rules for messages and tools apply.
        hides_reasoning: True where output contains reasoning that the response does not show.
        priming: Tokens that a prompt has before any message.
        per_message: Tokens that each message adds, for families that are not OpenAI's.
        per_tools: Tokens that having tools at all adds, for families that are not OpenAI's.
        tool_factor: True tokens per token of the tools' JSON, for families that are not OpenAI's.
        image: What an image costs.
    """

    name: str
    pattern: str
    encoding: EncodingName = "o200k_base"
    factor: float = 1.0
    openai: bool = False
    hides_reasoning: bool = False
    priming: int = 3
    per_message: int = 0
    per_tools: int = 0
    tool_factor: float = 1.0
    image: ImagePrice = ImagePrice()


# Source of the tile and patch prices: OpenAI, "Images and vision"; gpt-5-mini and -nano as recorded (300 patches cost
# 360 and 450). Anthropic, "Vision": pixels / 750. Google, "Understand and count tokens": 258 a tile.
_MINI_TILES = ImagePrice(base=2_833, per_tile=5_667)
_REASONING_TILES = ImagePrice(base=75, per_tile=150)
_GPT5_TILES = ImagePrice(base=70, per_tile=140)
_CLAUDE_PIXELS = ImagePrice(pixels_per_token=750, most=1_600)
_GEMINI_TILE = ImagePrice(base=258, per_tile=0)


def _patches(tokens: float) -> ImagePrice:
    return ImagePrice(per_patch=tokens)


# The first whose pattern is found is meant.
FAMILIES = (
    Family("embedding", r"text-embedding|embedding-ada", "cl100k_base", openai=True, priming=0),
    Family("gpt-oss", r"gpt-oss", hides_reasoning=True, priming=67),
    Family("gpt-5 chat", r"gpt-?[5-9](\.\d+)?-chat", openai=True, priming=2, image=_GPT5_TILES),
    Family("gpt-5.4+", r"gpt-?(5\.[4-9]|[6-9])", openai=True, hides_reasoning=True, priming=2, image=_GPT5_TILES),
    Family("gpt-5 mini", r"gpt-?5[.\d]*-mini", openai=True, hides_reasoning=True, priming=2, image=_patches(1.2)),
    Family("gpt-5 nano", r"gpt-?5[.\d]*-nano", openai=True, hides_reasoning=True, priming=2, image=_patches(1.5)),
    Family("gpt-5", r"gpt-?5|codex", openai=True, hides_reasoning=True, priming=2, image=_GPT5_TILES),
    Family("gpt-4.1 mini", r"gpt-?4[.-]?1-mini", openai=True, image=_patches(1.62)),
    Family("gpt-4.1 nano", r"gpt-?4[.-]?1-nano", openai=True, image=_patches(2.46)),
    Family("gpt-4o mini", r"gpt-?4o-mini", openai=True, image=_MINI_TILES),
    Family("gpt-4o", r"gpt-?4o|gpt-?4[.-]?[15](?!\d)|gpt-(audio|realtime|image)|computer-use|omni-", openai=True),
    Family("gpt-4", r"gpt-?4|gpt-?3|davinci|babbage", "cl100k_base", openai=True),
    Family("o4-mini", r"(^|[/:._-])o4-mini", openai=True, hides_reasoning=True, priming=2, image=_patches(1.72)),
    Family(
        "o-series",
        r"(^|[/:._-])o[1-9](-|$|:|@)",
        openai=True,
        hides_reasoning=True,
        priming=2,
        image=_REASONING_TILES,
    ),
    Family(
        "claude 5",
        r"claude-(opus-4[.-]([7-9]|\d\d)(?!\d)|[a-z]+-[5-9]|[5-9])",
        factor=1.47,
        per_message=4,
        priming=4,
        per_tools=539,
        tool_factor=1.4,
        image=_CLAUDE_PIXELS,
    ),
    Family(
        "claude 4",
        r"claude-[a-z]+-4|claude-4",
        factor=1.13,
        per_message=4,
        priming=4,
        per_tools=539,
        tool_factor=1.07,
        image=_CLAUDE_PIXELS,
    ),
    Family(
        "claude 3",
        r"claude",
        factor=1.15,
        per_message=4,
        priming=4,
        per_tools=360,
        tool_factor=1.07,
        image=_CLAUDE_PIXELS,
    ),
    Family(
        "gemini 3",
        r"gemini-([3-9]|flash-latest|pro-latest)",
        factor=1.04,
        hides_reasoning=True,
        priming=0,
        image=_GEMINI_TILE,
    ),
    Family("gemini 2.5", r"gemini-2[.-]5", factor=1.04, hides_reasoning=True, priming=0, image=_GEMINI_TILE),
    Family("gemini", r"gemini|palm|bison", factor=1.04, priming=0, image=_GEMINI_TILE),
    Family("gemma", r"gemma", factor=1.135, priming=9),
    Family("llama 4", r"llama-?v?4", factor=1.025, priming=15),
    Family("llama 3", r"llama", factor=1.055, priming=15),
    Family("nova", r"nova", factor=1.01, priming=0),
    Family("titan", r"titan", factor=1.04, priming=0),
    Family(
        "mistral",
        r"mi[sx]tral|ministral|codestral|devstral|pixtral|magistral|voxtral",
        factor=1.08,
        priming=4,
        per_tools=6,
        tool_factor=1.47,
    ),
    Family("cohere", r"command|cohere|aya", factor=1.05, priming=0),
    Family("grok", r"grok", factor=0.98, hides_reasoning=True, priming=8),
    Family("deepseek", r"deepseek", factor=1.03, priming=4),
    Family("qwen", r"qwen|qwq", factor=1.03, priming=9),
    Family("glm", r"glm", factor=1.065, priming=9),
    Family("other", r""),
)


@dataclass(frozen=True, slots=True)
class Extras:
    """Say what tools or an answer's schema cost beyond their text, in tokens.

    Attributes:
        with_system: Where a system message stands before them.
        without: Where none does.
    """

    with_system: int
    without: int


# By API, and whether the model is a gpt-5: what stands after the system message, where OpenAI's models are shown it.
TOOLS = {
    ("chat", False): Extras(-1, 3),
    ("chat", True): Extras(84, 84),
    ("responses", False): Extras(-3, -3),
    ("responses", True): Extras(3, 2),
}
SCHEMA = {
    ("chat", False): Extras(4, 8),
    ("chat", True): Extras(4, 8),
    ("responses", False): Extras(1, 1),
    ("responses", True): Extras(0, 0),
}
TOOLS_AND_SCHEMA = {
    ("chat", False): Extras(-1, 3),
    ("chat", True): Extras(84, 84),
    ("responses", False): Extras(-3, -3),
    ("responses", True): Extras(3, 2),
}
# A message's frame, and what a tool call, its result, and several calls at once add to their texts.
PER_MESSAGE = 3
PER_NAME = 1
PER_CALL = 4
PER_RESULT = 1
PARALLEL_CALLS = 23
PER_PARALLEL_CALL = 3
# By whether the model is a gpt-5; the function's name comes on top.
FORCED_TOOL = {False: 7, True: -9}
GPT5_ASSISTANT = 2
# A hosted tool's description, not what it finds.
HOSTED_TOOLS = {"web_search": 294, "web_search_preview": 294}
