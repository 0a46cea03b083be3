"""A provider of this machine, the providers' clients, and a Tracking whose records a test can wait for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ldai_integrations import Settings
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink, ai_config, recorded_runs

from ..clients import makers
from .provider import Provider, serving


@pytest.fixture(scope="module")
def serving_provider() -> Iterator[Provider]:
    """Serve for a whole module."""
    with serving() as provider:
        yield provider


@pytest.fixture
def provider(serving_provider: Provider) -> Provider:
    """Return a provider that has no plans and no requests yet."""
    serving_provider.plans.clear()
    serving_provider.requests.clear()
    serving_provider.released.clear()
    return serving_provider


@pytest.fixture
def settings() -> Settings:
    """Return the settings of :func:`launchdarkly`; a test may replace them."""
    return Settings(flush="never", judges=None)


@pytest.fixture
def launchdarkly(settings: Settings, o200k: None) -> Iterator[OfflineLaunchDarkly]:
    """Serve the AI Configs ``chat`` and ``other`` without a network."""
    prompt = "You are a helpful assistant. " * 20
    configs = {"chat": ai_config(messages=prompt), "other": ai_config(messages=prompt)}
    with OfflineLaunchDarkly(configs, settings=settings) as launchdarkly:
        yield launchdarkly


@pytest.fixture
def runs(launchdarkly: OfflineLaunchDarkly) -> Iterator[RecordingSink]:
    """Collect the records of all runs, including runs that are not reported."""
    with recorded_runs() as sink:
        yield sink


@pytest.fixture
def openai(provider: Provider) -> Iterator[Any]:
    """Return a client of OpenAI."""
    with makers.openai(provider.url).with_options(max_retries=0) as client:
        yield client


@pytest.fixture
def async_openai(provider: Provider) -> Any:
    """Return an asynchronous client of OpenAI."""
    return makers.async_openai(provider.url).with_options(max_retries=0)


@pytest.fixture
def anthropic(provider: Provider) -> Iterator[Any]:
    """Return a client of Anthropic."""
    with makers.anthropic(provider.url).with_options(max_retries=0) as client:
        yield client


@pytest.fixture
def bedrock(provider: Provider) -> Any:
    """Return a client of Bedrock."""
    return makers.bedrock(provider.url)
