"""The cost of a run: its usage times the price of its model.

The AI Config's own prices come first: ``costPerInputToken``, ``costPerOutputToken`` and ``costPerCachedInputToken``
among the custom parameters of its model, in USD per token. LaunchDarkly uses these names for the prices of a model
config. Otherwise the price comes from the package ``genai-prices`` if it is installed (extra ``[costs]``). Nothing is
downloaded.
"""

from __future__ import annotations

from ._costs import Costs

__all__ = ["Costs"]
