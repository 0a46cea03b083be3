"""A fake of LaunchDarkly's REST API for the commands."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..metrics.answers import API, serving


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[API]:
    """Serve a fake of LaunchDarkly's API, and set the environment variables for it."""
    with serving() as api:
        monkeypatch.setenv("LAUNCHDARKLY_API_HOST", api.url)
        monkeypatch.setenv("LAUNCHDARKLY_ACCESS_TOKEN", "api-secret")
        monkeypatch.setenv("LAUNCHDARKLY_PROJECT_KEY", "shop")
        monkeypatch.setenv("LAUNCHDARKLY_ENVIRONMENT_KEY", "production")
        yield api
