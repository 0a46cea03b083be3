"""What there is to say about a family of models; the table itself is in ``_constants``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
        source: Where that is from.
    """

    base: int = 85
    per_tile: int = 170
    per_patch: float = 0.0
    pixels_per_token: int = 0
    most: int = 1_536
    crops: bool = False
    source: str = "OpenAI, Images and vision, 2026-11"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """Say what becomes of o200k_base's tokens in a vocabulary whose tokenizer is known.

    Attributes:
        words: Ranks, two at most, from which on a word is a token more: the larger a vocabulary, the rarer the words
            that are one token in it.
        digits: True where each digit is a token; o200k_base has up to three in one.
        signs: True where signs are a token apart from the letters or the line break behind them, which are one token of
            o200k_base in ``_name`` or at the end of a paragraph.
        spaces: True where the space between a number and a word or sign is a token, which elsewhere goes with these;
            and so is the one that an answer begins with, before a number.
    """

    words: tuple[int, ...] = ()
    digits: bool = False
    signs: bool = False
    spaces: bool = False


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
        factor: True tokens per token of that encoding, on the whole.
        vocabulary: What becomes of each token, where that is known; the factor then serves where there is no encoding.
        openai: True where OpenAI's own rules for messages and tools apply.
        hides_reasoning: True where output contains reasoning that the response does not show.
        image: What an image costs.
        priming: Tokens that a prompt has before any message.
        per_output: Tokens that an answer in words has beyond its visible text.
        per_reasoning: Tokens that reasoning which is shown has beyond its text.
        splits_arguments: True where the arguments of a call are written one by one; otherwise as JSON.
        per_output_calls, per_output_call, per_output_argument: Tokens that an answer has beyond names and values for
            calling at all, for each call, and for each argument that is written by itself.
        spared_opening, spared_closing: What of that Claude has not to write where it must call a tool, nor the name
            where it must call this one; and where it may make one call only.
        per_responses_output, per_responses_call: The same as ``per_output`` and ``per_output_call`` through OpenAI's
            Responses API.
        per_message: Tokens that each message adds.
        per_tools, per_tool: Tokens that having tools at all adds, and each of them beyond its JSON.
        per_forced_tools: Tokens that having to call one adds.
        per_thinking: Tokens that being asked to think aloud adds.
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
    vocabulary: Vocabulary | None = None
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
    spared_opening: int = 0
    spared_closing: int = 0
    per_responses_output: int = 1
    per_responses_call: int = 8
    per_message: int = 0
    per_tools: int = 0
    per_tool: int = 0
    per_forced_tools: int = 0
    per_thinking: int = 0
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


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIRules:
    """Say what one of OpenAI's APIs adds, for some of its models, to the texts that it is given and gives, in tokens.

    Attributes:
        api: The API, as :func:`estimate_prompt` names it.
        models: The families that are meant.
        source: Where the figures are from.
        measured: When, as year and month.
        per_message, per_name: The frame of a message, and of the name of who speaks.
        per_call, per_result: A tool call in the history, and its result.
        parallel_calls, per_parallel_call: Calls made at once, together and each, in place of ``per_call``.
        assistant_text: A message of the model's own without calls.
        per_reasoning: The least that a hidden reasoning in the history has; it is counted in blocks of so many.
        tools, schema, tools_and_schema: What stands below the system message.
        forced_tool: A function that must be called; its name comes on top.
        hosted_tools: The description of a tool of OpenAI's own, not what it finds.
        answer_with_tools, answer_with_tools_and_schema: An answer in words where tools could have been called.
        forced_output_call: An answer of a function that had to be called, beyond its arguments.
        parallel_output_calls, per_parallel_output_call: An answer of several calls, in place of the family's.
    """

    api: Literal["chat", "responses"]
    models: str
    source: str
    measured: str
    per_message: int = 3
    per_name: int = 1
    per_call: int = 4
    per_result: int = 1
    parallel_calls: int = 23
    per_parallel_call: int = 3
    assistant_text: int = 0
    per_reasoning: int = 64
    tools: Extras
    schema: Extras
    tools_and_schema: Extras
    forced_tool: int
    hosted_tools: Mapping[str, int] = field(default_factory=dict)
    answer_with_tools: int = 1
    answer_with_tools_and_schema: int = 5
    forced_output_call: int = 0
    parallel_output_calls: int = 16
    per_parallel_output_call: int = 6
