"""What a run cost: its usage times the price of its model.

The AI Config's own prices win: ``costPerInputToken``, ``costPerOutputToken`` and ``costPerCachedInputToken`` among the
custom parameters of its model, USD per token, the names LaunchDarkly has for the prices of a model config. Else the
price is looked up in the package ``genai-prices``, where it is installed (extra ``[costs]``); nothing is downloaded.
"""

from __future__ import annotations

from ._costs import Costs

__all__ = ["Costs"]
