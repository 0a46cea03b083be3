"""A scripted REST API and a client of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ldai_integrations.metrics import MetricsClient

from .answers import API, serving

TOKEN = "api-0123456789-secret"


@pytest.fixture
def api() -> Iterator[API]:
    """Serve the answers that a test prepares."""
    with serving() as api:
        yield api


@pytest.fixture
def client(api: API) -> MetricsClient:
    """Give a client of :func:`api`."""
    return MetricsClient(TOKEN, "shop", base_url=api.url)


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry at once after a failure."""
    monkeypatch.setattr("ldai_integrations.metrics._http._BACKOFF_SECONDS", 0)
