"""The plugin for pytest: the fixture ``ldai``. Every pytest run loads this module, so it imports next to nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .settings import Settings
    from .testing import Clock, OfflineLaunchDarkly


@pytest.fixture
def ldai_configs() -> Mapping[str, Any]:
    """Return the AI Configs that the fixture ``ldai`` serves, by their keys. Write your own in conftest.py."""
    return {}


@pytest.fixture
def ldai_settings() -> Settings | None:
    """Return the settings of the fixture ``ldai``: without flushes and judges. Write your own in conftest.py."""
    return None


@pytest.fixture
def ldai_clock() -> Clock:
    """Return the clock of the fixture ``ldai``, which only ``advance()`` moves."""
    from .testing import Clock

    return Clock()


@pytest.fixture
def ldai(
    ldai_configs: Mapping[str, Any], ldai_settings: Settings | None, ldai_clock: Clock
) -> Iterator[OfflineLaunchDarkly]:
    """Serve AI Configs without a network, and keep the records of all runs."""
    from .testing import OfflineLaunchDarkly

    with OfflineLaunchDarkly(ldai_configs, settings=ldai_settings, clock=ldai_clock) as launchdarkly:
        yield launchdarkly
