"""What there is to say about a family of models; the table itself is in ``_constants``."""

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
        crops: Tiles are squares of two thirds of the short side; an image of at most 384 pixels square has none.
    """

    base: int = 85
    per_tile: int = 170
    per_patch: float = 0.0
    pixels_per_token: int = 0
    most: int = 1_536
    crops: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Describe how one family of models counts.

    From ``per_message`` to ``format_factor`` the fields serve families whose prompts are not public; OpenAI's are
    rebuilt instead.

    Attributes:
        name: The family's name.
        pattern: Regular expression, searched in the lower-cased model name.
        source: Where the figures are from.
        measured: When, as year and month.
        encoding: The encoding that counts for it, or comes nearest.
        factor: True tokens per token of that encoding.
        openai: True where OpenAI's own rules for messages and tools apply.
        hides_reasoning: True where output contains reasoning that the response does not show.
        image: What an image costs.
        priming: Tokens that a prompt has before any message.
        per_output: Tokens of the encoding that an answer in words has beyond its visible text.
        splits_arguments: True where the arguments of a call are written one by one; otherwise as JSON.
        per_output_calls, per_output_call, per_output_argument: Tokens of the encoding that an answer has beyond names
            and values for calling at all, for each call, and for each argument that is written by itself.
        per_message: Tokens that each message adds.
        per_tools: Tokens that having tools at all adds.
        per_call: Tokens that a tool call and its result add beyond their texts.
        tool_factor: True tokens per token of the tools' JSON.
        per_format: Tokens that asking for an answer of a schema adds.
        format_factor: True tokens per token of that schema.
        per_page: Tokens that a page of a document costs.
    """

    name: str
    pattern: str
    source: str
    measured: str
    encoding: EncodingName = "o200k_base"
    factor: float = 1.0
    openai: bool = False
    hides_reasoning: bool = False
    image: ImagePrice = ImagePrice()
    priming: int = 3
    per_output: int = 0
    splits_arguments: bool = False
    per_output_calls: int = 0
    per_output_call: int = 7
    per_output_argument: int = 0
    per_message: int = 0
    per_tools: int = 0
    per_call: int = 0
    tool_factor: float = 1.0
    per_format: int = 0
    format_factor: float = 1.0
    per_page: int = 0


@dataclass(frozen=True, slots=True)
class Extras:
    """Say what tools or an answer's schema cost beyond their text, in tokens.

    Attributes:
        with_system: Where a system message stands before them.
        without: Where none does.
    """

    with_system: int
    without: int
