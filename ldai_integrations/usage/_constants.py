"""The one table of measured constants: model families, and what their APIs add to a text.

Measured November 2026 with tiktoken 0.14 on recorded responses of public projects, as the median of the provider's own
count against ours. A new model release can change any of them; an estimate never overwrites a provider's number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EncodingName = Literal["o200k_base", "cl100k_base"]


@dataclass(frozen=True, slots=True)
class Family:
    """Describe how one family of models counts.

    Attributes:
        name: The family's name.
        pattern: Regular expression, searched in the lower-cased model name.
        encoding: The encoding that counts for it, or comes nearest.
        factor: True tokens per token of that encoding, in outputs.
        openai: True where OpenAI's own rules for messages and tools apply.
        hides_reasoning: True where output contains reasoning that the response does not show.
    """

    name: str
    pattern: str
    encoding: EncodingName = "o200k_base"
    factor: float = 1.0
    openai: bool = False
    hides_reasoning: bool = False


# The first whose pattern is found is meant.
FAMILIES = (
    Family("embedding", r"text-embedding|embedding-ada", "cl100k_base", openai=True),
    Family("gpt-oss", r"gpt-oss", factor=1.0, hides_reasoning=True),
    Family("gpt-5 chat", r"gpt-?[5-9](\.\d+)?-chat", openai=True),
    Family("gpt-5.4+", r"gpt-?(5\.[4-9]|[6-9])", openai=True, hides_reasoning=True),
    Family("gpt-5", r"gpt-?5|codex", openai=True, hides_reasoning=True),
    Family("gpt-4o", r"gpt-?4o|gpt-?4[.-]?[15](?!\d)|gpt-(audio|realtime|image)|computer-use|omni-", openai=True),
    Family("gpt-4", r"gpt-?4|gpt-?3|davinci|babbage", "cl100k_base", openai=True),
    Family("o-series", r"(^|[/:._-])o[1-9](-|$|:|@)", openai=True, hides_reasoning=True),
    Family("claude 5", r"claude-(opus-4[.-]([7-9]|\d\d)(?!\d)|[a-z]+-[5-9]|[5-9])", factor=1.47),
    Family("claude 4", r"claude-[a-z]+-4|claude-4", factor=1.13),
    Family("claude 3", r"claude", factor=1.15),
    Family("gemini 3", r"gemini-([3-9]|flash-latest|pro-latest)", factor=1.04, hides_reasoning=True),
    Family("gemini 2.5", r"gemini-2[.-]5", factor=1.04, hides_reasoning=True),
    Family("gemini", r"gemini|palm|bison", factor=1.04),
    Family("gemma", r"gemma", factor=1.135),
    Family("llama 4", r"llama-?v?4", factor=1.025),
    Family("llama 3", r"llama", factor=1.055),
    Family("nova", r"nova", factor=1.01),
    Family("titan", r"titan", factor=1.04),
    Family("mistral", r"mi[sx]tral|ministral|codestral|devstral|pixtral|magistral|voxtral", factor=1.08),
    Family("cohere", r"command|cohere|aya", factor=1.05),
    Family("grok", r"grok", factor=0.98, hides_reasoning=True),
    Family("deepseek", r"deepseek", factor=1.03),
    Family("qwen", r"qwen|qwq", factor=1.03),
    Family("glm", r"glm", factor=1.065),
    Family("other", r""),
)
