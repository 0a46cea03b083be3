"""What the tests of types need."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def _few_certificates() -> None:
    """Keep all certificates: pyright's first start downloads Node.js."""
