"""Every framework and client in every pattern: the figures are those of the provider."""

from __future__ import annotations

import pytest

from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink

from ..ledger.provider import Provider
from .cells import PATTERNS, Application
from .stacks import STACKS, Pattern, Stack

# Importing some of these packages takes a minute on a busy machine, and they warn of their own affairs.
pytestmark = [pytest.mark.stacks, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(300)]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("stack", STACKS, ids=lambda stack: stack.name)
def test_the_figures_are_those_of_the_provider(
    stack: Stack, pattern: Pattern, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink, provider: Provider
) -> None:
    """With the decorator alone, a record has the provider's figures, or is marked where the framework hides them."""
    if not stack.is_installed:
        pytest.skip(f"{stack.package} is not installed")

    cell = Application(launchdarkly.tracking, runs, provider).check(stack, pattern)

    if cell.kind == "-":
        pytest.skip("the framework cannot do it")
    assert cell.kind != "wrong", cell.reason
