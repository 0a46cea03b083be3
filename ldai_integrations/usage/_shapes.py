"""Usage objects as data: where each provider writes its counts, and what it does not include in them.

A usage object is recognized by its field names, whoever sent it, so that a gateway with OpenAI's format needs no entry.
Sources: the providers' API references and recorded responses of about fifty hosts, November 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from ..records import COUNTS


class Shape:
    """Where one kind of usage object has its counts.

    Args:
        cache_apart: Cached tokens are not part of ``input_tokens``, and must be added.
        reasoning_apart: Reasoning is not part of ``output_tokens``, and must be added.
        missing_is_zero: A count that is not sent is zero.
        places: The places of each count of a :class:`~ldai_integrations.Usage`, the most frequent first, separated by
            spaces. A place is a field, or a field and one in it.
    """

    def __init__(
        self,
        *,
        cache_apart: bool = False,
        reasoning_apart: bool = False,
        missing_is_zero: bool = False,
        **places: str,
    ) -> None:
        if unknown := places.keys() - set(COUNTS):
            raise TypeError(f"a usage has no counts with the names {unknown}")
        self.cache_apart = cache_apart
        self.reasoning_apart = reasoning_apart
        self.missing_is_zero = missing_is_zero
        #: The places of each count.
        self.paths: Mapping[str, tuple[str, ...]] = {name: tuple(value.split()) for name, value in places.items()}
        #: The places of input and output. A usage object of this shape has at least one of them.
        self.signs: frozenset[str] = frozenset(self.paths.get("input_tokens", ()) + self.paths.get("output_tokens", ()))


# OpenAI's chat completions, and everything with the same format.
OPENAI_CHAT = Shape(
    input_tokens="prompt_tokens promptTokens",
    output_tokens="completion_tokens completionTokens",
    total_tokens="total_tokens totalTokens",
    cached_input_tokens="prompt_tokens_details.cached_tokens prompt_token_details.cached_tokens "
    "prompt_cache_hit_tokens cache_read_input_tokens cached_tokens cached_prompt_tokens",
    cache_write_input_tokens="prompt_tokens_details.cache_write_tokens cache_creation_input_tokens",
    reasoning_tokens="completion_tokens_details.reasoning_tokens completion_token_details.reasoning_tokens "
    "reasoning_tokens",
    other_tokens="connector_tokens",
    input_audio_tokens="prompt_tokens_details.audio_tokens",
    input_image_tokens="prompt_tokens_details.image_tokens",
    output_audio_tokens="completion_tokens_details.audio_tokens",
    output_image_tokens="completion_tokens_details.image_tokens",
)
ANTHROPIC = Shape(
    input_tokens="input_tokens",
    output_tokens="output_tokens",
    total_tokens="total_tokens",
    cached_input_tokens="cache_read_input_tokens",
    cache_write_input_tokens="cache_creation_input_tokens cache_write_input_tokens",
    reasoning_tokens="output_tokens_details.thinking_tokens",
    cache_apart=True,
)
# Also OpenAI's Realtime API, openai-agents, LangChain and pydantic-ai.
OPENAI_RESPONSES = Shape(
    input_tokens="input_tokens",
    output_tokens="output_tokens",
    total_tokens="total_tokens",
    cached_input_tokens="input_tokens_details.cached_tokens input_token_details.cache_read "
    "input_token_details.cached_tokens cache_read_tokens cached_tokens",
    cache_write_input_tokens="input_tokens_details.cache_write_tokens input_token_details.cache_creation "
    "cache_write_tokens",
    reasoning_tokens="output_tokens_details.reasoning_tokens output_token_details.reasoning "
    "output_token_details.reasoning_tokens details.reasoning_tokens reasoning_tokens",
    input_audio_tokens="input_token_details.audio_tokens input_token_details.audio input_tokens_details.audio_tokens",
    input_image_tokens="input_tokens_details.image_tokens input_token_details.image_tokens",
    output_audio_tokens="output_token_details.audio_tokens output_token_details.audio "
    "output_tokens_details.audio_tokens",
    output_image_tokens="output_tokens_details.image_tokens",
)
# Bedrock's Converse API and Amazon Nova.
CONVERSE = Shape(
    input_tokens="inputTokens",
    output_tokens="outputTokens",
    total_tokens="totalTokens",
    cached_input_tokens="cacheReadInputTokens cacheReadInputTokenCount",
    cache_write_input_tokens="cacheWriteInputTokens cacheWriteInputTokenCount",
    cache_apart=True,
)
# Vercel's AI SDK.
AI_SDK = Shape(
    input_tokens="inputTokens inputTokens.total",
    output_tokens="outputTokens outputTokens.total",
    total_tokens="totalTokens",
    cached_input_tokens="cachedInputTokens inputTokenDetails.cacheReadTokens inputTokens.cacheRead",
    cache_write_input_tokens="inputTokenDetails.cacheWriteTokens inputTokens.cacheWrite",
    reasoning_tokens="reasoningTokens outputTokenDetails.reasoningTokens outputTokens.reasoning",
)
GEMINI = Shape(
    input_tokens="promptTokenCount prompt_token_count",
    output_tokens="candidatesTokenCount candidates_token_count responseTokenCount response_token_count",
    total_tokens="totalTokenCount total_token_count",
    cached_input_tokens="cachedContentTokenCount cached_content_token_count",
    reasoning_tokens="thoughtsTokenCount thoughts_token_count",
    other_tokens="toolUsePromptTokenCount tool_use_prompt_token_count",
    reasoning_apart=True,
)
GEMINI_INTERACTIONS = Shape(
    input_tokens="total_input_tokens",
    output_tokens="total_output_tokens",
    total_tokens="total_tokens",
    cached_input_tokens="total_cached_tokens",
    reasoning_tokens="total_thought_tokens",
    other_tokens="total_tool_use_tokens",
    reasoning_apart=True,
)
VERTEX_PREDICT = Shape(input_tokens="inputTokenCount.totalTokens", output_tokens="outputTokenCount.totalTokens")
COHERE = Shape(
    input_tokens="tokens.input_tokens", output_tokens="tokens.output_tokens", cached_input_tokens="cached_tokens"
)
COHERE_BILLED = Shape(
    input_tokens="billed_units.input_tokens", output_tokens="billed_units.output_tokens", missing_is_zero=True
)
OLLAMA = Shape(input_tokens="prompt_eval_count", output_tokens="eval_count", missing_is_zero=True)
LLAMA_CPP = Shape(input_tokens="tokens_evaluated", output_tokens="tokens_predicted")
BEDROCK_LLAMA = Shape(input_tokens="prompt_token_count", output_tokens="generation_token_count")
BEDROCK_TITAN = Shape(input_tokens="inputTextTokenCount", output_tokens="totalOutputTextTokenCount")
# What Bedrock appends to a stream, and the headers of InvokeModel.
BEDROCK_METRICS = Shape(
    input_tokens="inputTokenCount x-amzn-bedrock-input-token-count",
    output_tokens="outputTokenCount x-amzn-bedrock-output-token-count",
    cached_input_tokens="cacheReadInputTokenCount x-amzn-bedrock-cache-read-input-token-count",
    cache_write_input_tokens="cacheWriteInputTokenCount x-amzn-bedrock-cache-write-input-token-count",
    cache_apart=True,
)
WATSONX = Shape(input_tokens="input_token_count", output_tokens="generated_token_count")
REPLICATE = Shape(input_tokens="input_token_count", output_tokens="output_token_count")
HUGGING_FACE = Shape(input_tokens="input_length", output_tokens="generated_tokens")
# Voyage.
TOTAL_ONLY = Shape(total_tokens="total_tokens")

# If two shapes name equally many of an object's counts, the first is used.
SHAPES = (
    OPENAI_CHAT,
    ANTHROPIC,
    OPENAI_RESPONSES,
    CONVERSE,
    AI_SDK,
    GEMINI,
    BEDROCK_LLAMA,
    COHERE,
    COHERE_BILLED,
    OLLAMA,
    GEMINI_INTERACTIONS,
    BEDROCK_TITAN,
    BEDROCK_METRICS,
    WATSONX,
    REPLICATE,
    HUGGING_FACE,
    LLAMA_CPP,
    VERTEX_PREDICT,
)

# Shapes whose names are too common to mean tokens in every object. Only the function that reads the format uses them.
LAUNCHDARKLY = Shape(
    input_tokens="input",
    output_tokens="output",
    total_tokens="total",
    cached_input_tokens="input_details.cache_read",
    cache_write_input_tokens="input_details.cache_creation",
)


@lru_cache(512)
def shape_with(places: frozenset[str]) -> Shape:
    """Return the shape that names most of the places in which a usage object has counts."""
    return max(
        (shape for shape in SHAPES if not shape.signs.isdisjoint(places)),
        key=lambda shape: sum(not places.isdisjoint(paths) for paths in shape.paths.values()),
        default=TOTAL_ONLY,
    )


@lru_cache(512)
def places_in(places: frozenset[str], shape: Shape) -> Mapping[str, str]:
    """Return the first place of each count of a shape that is among the given ones."""
    found = {name: [path for path in paths if path in places] for name, paths in shape.paths.items()}
    return {name: paths[0] for name, paths in found.items() if paths}
