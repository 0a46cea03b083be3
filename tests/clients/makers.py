"""The providers' own clients, pointed at the provider of this machine; imported when they are made."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest

Make = Callable[[str], Any]


def _package(name: str) -> Any:
    return pytest.importorskip(name, reason=f"{name.partition('.')[0]} comes with the extra [clients]")


def openai(url: str) -> Any:
    """Make OpenAI's."""
    return _package("openai").OpenAI(api_key="none", base_url=f"{url}/openai/v1", max_retries=1)


def async_openai(url: str) -> Any:
    """Make OpenAI's, async."""
    return _package("openai").AsyncOpenAI(api_key="none", base_url=f"{url}/openai/v1", max_retries=1)


def anthropic(url: str) -> Any:
    """Make Anthropic's."""
    return _package("anthropic").Anthropic(api_key="none", base_url=f"{url}/anthropic", max_retries=1)


def anthropic_bedrock(url: str) -> Any:
    """Make Anthropic's for Bedrock, which signs its requests with botocore."""
    _package("botocore")
    keys = {"aws_access_key": "none", "aws_secret_key": "none", "aws_region": "us-east-1"}
    return _package("anthropic").AnthropicBedrock(base_url=f"{url}/bedrock", max_retries=1, **keys)


def anthropic_vertex(url: str) -> Any:
    """Make Anthropic's for Vertex AI."""
    client = _package("anthropic").AnthropicVertex
    return client(region="us-east5", project_id="p", access_token="none", base_url=f"{url}/vertex", max_retries=1)


def async_anthropic(url: str) -> Any:
    """Make Anthropic's, async."""
    return _package("anthropic").AsyncAnthropic(api_key="none", base_url=f"{url}/anthropic", max_retries=1)


def genai(url: str) -> Any:
    """Make Google's, which is sync and async."""
    options = {"base_url": f"{url}/gemini", "async_client_args": {"trust_env": False}}
    return _package("google.genai").Client(api_key="none", http_options=options)


def genai_interactions(url: str) -> Any:
    """Make Google's, if it is new enough to have the Interactions API."""
    client = genai(url)
    if not hasattr(client, "interactions"):
        pytest.skip("an old client, which has no interactions")
    return client


def mistral(url: str) -> Any:
    """Make Mistral's, which is sync and async."""
    _package("mistralai")
    try:
        module = import_module("mistralai.client")
        make = module.Mistral
    except (ImportError, AttributeError):  # before version 2
        make = import_module("mistralai").Mistral
    return make(api_key="none", server_url=f"{url}/mistral")


def cohere(url: str) -> Any:
    """Make Cohere's first."""
    return _package("cohere").Client(api_key="none", base_url=f"{url}/cohere")


def cohere_v2(url: str) -> Any:
    """Make Cohere's second."""
    return _package("cohere").ClientV2(api_key="none", base_url=f"{url}/cohere")


def async_cohere_v2(url: str) -> Any:
    """Make Cohere's second, async."""
    return _package("cohere").AsyncClientV2(api_key="none", base_url=f"{url}/cohere")


def bedrock(url: str) -> Any:
    """Make Amazon's."""
    keys = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
    once = _package("botocore.config").Config(retries={"total_max_attempts": 1})  # it waits before the next attempt
    return _package("boto3").client(
        "bedrock-runtime", region_name="us-east-1", endpoint_url=f"{url}/bedrock", use_ssl=False, config=once, **keys
    )
