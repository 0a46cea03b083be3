"""Model names, in every form in which providers, gateways and deployments write them."""

from __future__ import annotations

import pytest

from ldai_integrations.usage._families import FAMILIES, family_of

NAMES = {
    "gpt-4o": "gpt-4o openai/gpt-4o azure/gpt-4o openrouter/openai/gpt-4o openai:gpt-4o GPT-4o gpt-4o@eu "
    "my-gpt4o-deployment chatgpt-4o-latest ft:gpt-4o:acme::id gpt-4.5 gpt-4.1 gpt-realtime gpt-audio gpt-image-1 "
    "computer-use-preview omni-moderation-latest gpt-4o-transcribe azure-gpt-41 my_gpt_4o",
    "gpt-4.1 mini": "gpt-4.1-mini ft:gpt-4.1-mini:acme::id",
    "gpt-4 of 2023": "gpt-4 gpt-4-0613 gpt-4-32k azure/gpt-4 openai:gpt-4-0314",
    "gpt-4": "gpt-4-0125-preview gpt-4-1106-preview gpt-4-turbo gpt-3.5-turbo gpt-35-turbo "
    "gpt-3.5-turbo-instruct davinci-002",
    "gpt-5": "gpt-5 gpt-5-2025-08-07 gpt-5.1 codex-mini-latest",
    "gpt-5 chat": "gpt-5-chat-latest gpt-5.2-chat",
    "gpt-5.4+": "gpt-5.4 gpt-5.10 gpt-6 gpt-10",
    "gpt-5 nano": "gpt-5-nano my-gpt5-nano-deployment",
    "o-series": "o1 o1-preview o3-mini o5 openai/o3 o3@eu azure_o1",
    "o4-mini": "o4-mini-2025-04-16 ft:o4-mini:acme::id",
    "gpt-oss": "gpt-oss:20b openai.gpt-oss-120b-1:0 us.openai.gpt-oss-20b",
    "embedding": "text-embedding-3-small text-embedding-ada-002-v2 my-text-embedding",
    "claude 3 haiku": "claude-3-5-haiku-20241022 anthropic.claude-3-haiku-20240307-v1:0 claude-3-haiku@20240307",
    "claude 3 opus": "claude-3-opus-20240229",
    "claude 3": "claude-3-7-sonnet-latest claude-2.1 claude-instant-v1 "
    "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-3-5-sonnet-20241022-v2:0",
    "claude 4": "claude-sonnet-4-20250514 us.anthropic.claude-sonnet-4-20250514-v1:0 "
    "vertex_ai/claude-sonnet-4@20250514 claude-4-opus-20250514 claude-4-sonnet",
    "claude 4.5": "claude-haiku-4-5 anthropic/claude-opus-4.6 claude-4.5-sonnet claude-4-5-haiku-20251001 "
    "claude_sonnet_4_5 claude-opus-4-5-20251101 global.anthropic.claude-sonnet-4-6",
    "claude 5": "claude-opus-4-7 claude-opus-4.8 claude-opus-4-10 claude-opus-5 claude-4.7-opus claude-4-10-opus "
    "claude-5-sonnet us.anthropic.claude-opus-4-7-20260401-v1:0",
    "gemini 2.5": "models/gemini-2.5-pro google/gemini-2.5-flash",
    "gemini": "gemini-1.5-pro text-embedding-004 text-multilingual-embedding-002 gemini-embedding-001 "
    "textembedding-gecko@003",
    "gemini 2.0": "publishers/google/models/gemini-2.0-flash",
    "gemini 3": "gemini-3-pro-preview gemini-flash-latest",
    "nova": "amazon.nova-lite-v1:0 us.amazon.nova-pro-v1:0",
    "titan": "amazon.titan-text-express-v1 amazon.titan-embed-text-v2:0",
    "llama 3": "llama3.2 meta.llama3-2-1b-instruct-v1:0 @cf/meta/llama-3.1-8b-instruct "
    "accounts/fireworks/models/llama-v3p1-8b-instruct",
    "llama 4": "us.meta.llama4-maverick-17b-instruct-v1:0",
    "mistral": "mistral-large-latest ministral-8b codestral-latest ollama/mistral-small",
    "cohere": "command-r-plus cohere.command-text-v14",
    "deepseek": "deepseek-chat deepseek/deepseek-r1",
    "grok": "grok-4 x-ai/grok-4",
    "qwen": "qwen3:8b ollama_chat/qwen3",
    "other": "whisper-1 tts-1 kimi-k2 sonar-pro solo1 innova-model titanic recommander papaya-1 text-embedding-v3",
}


@pytest.mark.parametrize(
    ("name", "family"), [(name, family) for family, names in NAMES.items() for name in names.split()]
)
def test_a_name_gives_its_family(name: str, family: str) -> None:
    """Vendor, region, gateway, fine-tune and deployment around a name do not hide the model."""
    assert family_of(name).name == family


@pytest.mark.parametrize("name", [None, "", 7, object(), "x" * 10_000])
def test_what_is_no_name_has_the_family_of_the_unknown(name: object) -> None:
    """A value that is not the name of a known model belongs to the family of unknown models."""
    assert family_of(name) is FAMILIES[-1]
