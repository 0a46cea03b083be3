"""Usage objects as data: where each provider writes its counts, and what it leaves out of them.

A usage object is recognised by the names in it, whoever sent it: an OpenAI-shaped gateway needs no entry of its own.
Sources: the providers' API references and recorded responses of about fifty hosts, November 2026.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """Say where one kind of usage object keeps its counts, as dotted paths, the likeliest first.

    Attributes:
        name: For the reader of a debugger only.
        input, output, total, cached, cache_write, reasoning, tool_prompt: The paths.
        cache_apart: Cached tokens are not part of ``input`` and have to be added.
        reasoning_apart: Reasoning is not part of ``output`` and has to be added.
        other_is_nothing: A count that is not sent is zero, so the other one is the total.
    """

    name: str
    input: tuple[str, ...]
    output: tuple[str, ...] = ()
    total: tuple[str, ...] = ()
    cached: tuple[str, ...] = ()
    cache_write: tuple[str, ...] = ()
    reasoning: tuple[str, ...] = ()
    tool_prompt: tuple[str, ...] = ()
    cache_apart: bool = False
    reasoning_apart: bool = False
    other_is_nothing: bool = False


OPENAI_CHAT = Shape(
    "openai chat and everything shaped like it",
    input=("prompt_tokens", "promptTokens"),
    output=("completion_tokens", "completionTokens"),
    total=("total_tokens", "totalTokens"),
    cached=(
        "prompt_tokens_details.cached_tokens",
        "prompt_token_details.cached_tokens",
        "prompt_cache_hit_tokens",
        "cache_read_input_tokens",
        "cached_tokens",
        "cached_prompt_tokens",
    ),
    cache_write=("prompt_tokens_details.cache_write_tokens", "cache_creation_input_tokens"),
    reasoning=(
        "completion_tokens_details.reasoning_tokens",
        "completion_token_details.reasoning_tokens",
        "reasoning_tokens",
    ),
    tool_prompt=("connector_tokens",),
)
ANTHROPIC = Shape(
    "anthropic messages",
    input=("input_tokens",),
    output=("output_tokens",),
    total=("total_tokens",),
    cached=("cache_read_input_tokens",),
    cache_write=("cache_creation_input_tokens", "cache_write_input_tokens"),
    reasoning=("output_tokens_details.thinking_tokens",),
    cache_apart=True,
)
OPENAI_RESPONSES = Shape(
    "openai responses, realtime, openai-agents, langchain, pydantic-ai",
    input=("input_tokens",),
    output=("output_tokens",),
    total=("total_tokens",),
    cached=(
        "input_tokens_details.cached_tokens",
        "input_token_details.cache_read",
        "input_token_details.cached_tokens",
        "cache_read_tokens",
    ),
    cache_write=(
        "input_tokens_details.cache_write_tokens",
        "input_token_details.cache_creation",
        "cache_write_tokens",
    ),
    reasoning=(
        "output_tokens_details.reasoning_tokens",
        "output_token_details.reasoning",
        "output_token_details.reasoning_tokens",
        "details.reasoning_tokens",
    ),
)
CONVERSE = Shape(
    "bedrock converse, amazon nova",
    input=("inputTokens",),
    output=("outputTokens",),
    total=("totalTokens",),
    cached=("cacheReadInputTokens", "cacheReadInputTokenCount"),
    cache_write=("cacheWriteInputTokens", "cacheWriteInputTokenCount"),
    cache_apart=True,
)
AI_SDK = Shape(
    "vercel's ai sdk",
    input=("inputTokens", "inputTokens.total"),
    output=("outputTokens", "outputTokens.total"),
    total=("totalTokens",),
    cached=("cachedInputTokens", "inputTokenDetails.cacheReadTokens", "inputTokens.cacheRead"),
    cache_write=("inputTokenDetails.cacheWriteTokens", "inputTokens.cacheWrite"),
    reasoning=("reasoningTokens", "outputTokenDetails.reasoningTokens", "outputTokens.reasoning"),
)
GEMINI = Shape(
    "gemini and vertex generateContent",
    input=("promptTokenCount", "prompt_token_count"),
    output=("candidatesTokenCount", "candidates_token_count", "responseTokenCount", "response_token_count"),
    total=("totalTokenCount", "total_token_count"),
    cached=("cachedContentTokenCount", "cached_content_token_count"),
    reasoning=("thoughtsTokenCount", "thoughts_token_count"),
    tool_prompt=("toolUsePromptTokenCount", "tool_use_prompt_token_count"),
    reasoning_apart=True,
)
GEMINI_INTERACTIONS = Shape(
    "gemini interactions",
    input=("total_input_tokens",),
    output=("total_output_tokens",),
    total=("total_tokens",),
    cached=("total_cached_tokens",),
    reasoning=("total_thought_tokens",),
    tool_prompt=("total_tool_use_tokens",),
    reasoning_apart=True,
)
PALM = Shape("vertex predict", input=("inputTokenCount.totalTokens",), output=("outputTokenCount.totalTokens",))
COHERE = Shape(
    "cohere chat", input=("tokens.input_tokens",), output=("tokens.output_tokens",), cached=("cached_tokens",)
)
COHERE_BILLED = Shape(
    "cohere generate and embed",
    input=("billed_units.input_tokens",),
    output=("billed_units.output_tokens",),
    other_is_nothing=True,
)
OLLAMA = Shape("ollama", input=("prompt_eval_count",), output=("eval_count",), other_is_nothing=True)
LLAMA_CPP = Shape("llama.cpp", input=("tokens_evaluated",), output=("tokens_predicted",))
LLAMA = Shape("bedrock llama", input=("prompt_token_count",), output=("generation_token_count",))
TITAN = Shape("bedrock titan", input=("inputTextTokenCount",), output=("totalOutputTextTokenCount",))
BEDROCK_METRICS = Shape(
    "amazon-bedrock-invocationMetrics, or the headers of InvokeModel",
    input=("inputTokenCount", "x-amzn-bedrock-input-token-count"),
    output=("outputTokenCount", "x-amzn-bedrock-output-token-count"),
    cached=("cacheReadInputTokenCount", "x-amzn-bedrock-cache-read-input-token-count"),
    cache_write=("cacheWriteInputTokenCount", "x-amzn-bedrock-cache-write-input-token-count"),
    cache_apart=True,
)
WATSONX = Shape("ibm watsonx", input=("input_token_count",), output=("generated_token_count",))
REPLICATE = Shape("replicate metrics", input=("input_token_count",), output=("output_token_count",))
HUGGING_FACE = Shape("hugging face text generation", input=("input_length",), output=("generated_tokens",))
TOTAL_ONLY = Shape("voyage", input=(), total=("total_tokens",))

# Where two name equally many of an object's counts, the first is meant.
SHAPES = (
    OPENAI_CHAT,
    ANTHROPIC,
    OPENAI_RESPONSES,
    CONVERSE,
    AI_SDK,
    LLAMA,
    GEMINI,
    COHERE,
    COHERE_BILLED,
    OLLAMA,
    GEMINI_INTERACTIONS,
    TITAN,
    BEDROCK_METRICS,
    WATSONX,
    REPLICATE,
    HUGGING_FACE,
    LLAMA_CPP,
    PALM,
)
