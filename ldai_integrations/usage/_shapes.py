"""Usage objects as data: where each provider writes its counts, and what it does not include in them.

A usage object is recognised by its field names, whoever sent it, so that a gateway with OpenAI's format needs no entry.
Sources: the providers' API references and recorded responses of about fifty hosts, November 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

_COUNTS = {
    *("input", "output", "total", "cached", "cache_write", "cache_write_1h", "reasoning", "tool_prompt"),
    *("input_audio", "input_image", "cached_audio", "cached_image", "output_audio", "output_image"),
}


class Shape:
    """Where one kind of usage object has its counts.

    Args:
        cache_apart: Cached tokens are not part of ``input`` and must be added.
        reasoning_apart: Reasoning is not part of ``output`` and must be added.
        other_is_nothing: A count that is not sent is zero.
        places: The places of each count, the most frequent first, separated by spaces. A place is a field, or a field
            and one in it. The names of the counts are in ``_COUNTS``.
    """

    def __init__(
        self,
        *,
        cache_apart: bool = False,
        reasoning_apart: bool = False,
        other_is_nothing: bool = False,
        **places: str,
    ) -> None:
        if unknown := sorted(places.keys() - _COUNTS):
            raise TypeError(f"no count of a usage object is called {unknown[0]!r}; the names are {sorted(_COUNTS)}")
        self.cache_apart = cache_apart
        self.reasoning_apart = reasoning_apart
        self.other_is_nothing = other_is_nothing
        #: The places of each count.
        self.paths: Mapping[str, tuple[str, ...]] = {name: tuple(value.split()) for name, value in places.items()}
        #: The places of input and output. A usage object of this shape has at least one of them.
        self.signs: frozenset[str] = frozenset(self.paths.get("input", ()) + self.paths.get("output", ()))


# OpenAI's chat completions, and everything with the same format.
OPENAI_CHAT = Shape(
    input="prompt_tokens promptTokens",
    output="completion_tokens completionTokens",
    total="total_tokens totalTokens",
    cached="prompt_tokens_details.cached_tokens prompt_token_details.cached_tokens prompt_cache_hit_tokens "
    "cache_read_input_tokens cached_tokens cached_prompt_tokens",
    cache_write="prompt_tokens_details.cache_write_tokens cache_creation_input_tokens",
    reasoning="completion_tokens_details.reasoning_tokens completion_token_details.reasoning_tokens reasoning_tokens",
    tool_prompt="connector_tokens",
    input_audio="prompt_tokens_details.audio_tokens",
    input_image="prompt_tokens_details.image_tokens",
    output_audio="completion_tokens_details.audio_tokens",
    output_image="completion_tokens_details.image_tokens",
)
ANTHROPIC = Shape(
    input="input_tokens",
    output="output_tokens",
    total="total_tokens",
    cached="cache_read_input_tokens",
    cache_write="cache_creation_input_tokens cache_write_input_tokens",
    reasoning="output_tokens_details.thinking_tokens",
    cache_apart=True,
)
# Also OpenAI's Realtime API, openai-agents, LangChain and pydantic-ai.
OPENAI_RESPONSES = Shape(
    input="input_tokens",
    output="output_tokens",
    total="total_tokens",
    cached="input_tokens_details.cached_tokens input_token_details.cache_read input_token_details.cached_tokens "
    "cache_read_tokens cached_tokens",
    cache_write="input_tokens_details.cache_write_tokens input_token_details.cache_creation cache_write_tokens",
    reasoning="output_tokens_details.reasoning_tokens output_token_details.reasoning "
    "output_token_details.reasoning_tokens details.reasoning_tokens reasoning_tokens",
    input_audio="input_token_details.audio_tokens input_token_details.audio input_tokens_details.audio_tokens",
    input_image="input_tokens_details.image_tokens input_token_details.image_tokens",
    output_audio="output_token_details.audio_tokens output_token_details.audio output_tokens_details.audio_tokens",
    output_image="output_tokens_details.image_tokens",
)
# Bedrock's Converse API and Amazon Nova.
CONVERSE = Shape(
    input="inputTokens",
    output="outputTokens",
    total="totalTokens",
    cached="cacheReadInputTokens cacheReadInputTokenCount",
    cache_write="cacheWriteInputTokens cacheWriteInputTokenCount",
    cache_apart=True,
)
# Vercel's AI SDK.
AI_SDK = Shape(
    input="inputTokens inputTokens.total",
    output="outputTokens outputTokens.total",
    total="totalTokens",
    cached="cachedInputTokens inputTokenDetails.cacheReadTokens inputTokens.cacheRead",
    cache_write="inputTokenDetails.cacheWriteTokens inputTokens.cacheWrite",
    reasoning="reasoningTokens outputTokenDetails.reasoningTokens outputTokens.reasoning",
)
GEMINI = Shape(
    input="promptTokenCount prompt_token_count",
    output="candidatesTokenCount candidates_token_count responseTokenCount response_token_count",
    total="totalTokenCount total_token_count",
    cached="cachedContentTokenCount cached_content_token_count",
    reasoning="thoughtsTokenCount thoughts_token_count",
    tool_prompt="toolUsePromptTokenCount tool_use_prompt_token_count",
    reasoning_apart=True,
)
GEMINI_INTERACTIONS = Shape(
    input="total_input_tokens",
    output="total_output_tokens",
    total="total_tokens",
    cached="total_cached_tokens",
    reasoning="total_thought_tokens",
    tool_prompt="total_tool_use_tokens",
    reasoning_apart=True,
)
VERTEX_PREDICT = Shape(input="inputTokenCount.totalTokens", output="outputTokenCount.totalTokens")
COHERE = Shape(input="tokens.input_tokens", output="tokens.output_tokens", cached="cached_tokens")
COHERE_BILLED = Shape(input="billed_units.input_tokens", output="billed_units.output_tokens", other_is_nothing=True)
OLLAMA = Shape(input="prompt_eval_count", output="eval_count", other_is_nothing=True)
LLAMA_CPP = Shape(input="tokens_evaluated", output="tokens_predicted")
BEDROCK_LLAMA = Shape(input="prompt_token_count", output="generation_token_count")
BEDROCK_TITAN = Shape(input="inputTextTokenCount", output="totalOutputTextTokenCount")
# What Bedrock appends to a stream, and the headers of InvokeModel.
BEDROCK_METRICS = Shape(
    input="inputTokenCount x-amzn-bedrock-input-token-count",
    output="outputTokenCount x-amzn-bedrock-output-token-count",
    cached="cacheReadInputTokenCount x-amzn-bedrock-cache-read-input-token-count",
    cache_write="cacheWriteInputTokenCount x-amzn-bedrock-cache-write-input-token-count",
    cache_apart=True,
)
WATSONX = Shape(input="input_token_count", output="generated_token_count")
REPLICATE = Shape(input="input_token_count", output="output_token_count")
HUGGING_FACE = Shape(input="input_length", output="generated_tokens")
# Voyage.
TOTAL_ONLY = Shape(total="total_tokens")

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
    input="input",
    output="output",
    total="total",
    cached="input_details.cache_read",
    cache_write="input_details.cache_creation",
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
