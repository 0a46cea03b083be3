"""A provider of this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .provider import Provider, serving


@pytest.fixture(scope="module")
def serving_provider() -> Iterator[Provider]:
    """Serve for a whole module."""
    with serving() as provider:
        yield provider


@pytest.fixture
def provider(serving_provider: Provider) -> Provider:
    """Give a provider that has not been asked anything yet."""
    serving_provider.requests.clear()
    serving_provider.queued.clear()
    return serving_provider
