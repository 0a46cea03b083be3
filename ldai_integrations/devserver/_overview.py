"""Tell which AI Configs there are: served, named by events, or both; and what is wrong with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._ai_configs import MODES, ai_configs, check_ai_config
from ._prices import token_prices
from ._runs import counts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ._events import EventStore

_NO_RUNS = {"runs": 0, "lastId": 0, "defaults": 0, "withoutOutcome": 0}
_READS = """
SELECT count(*) FROM events
WHERE key = :key AND key >= '$ld:ai:usage:' AND key < '$ld:ai:usage;' AND json_extract(raw, '$.data') = :config_key
"""


def overview(events: EventStore, flags: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List the AI Configs, those of the flag file first.

    Returns:
        For each ``configKey``, ``mode`` (``None`` where no flag says so), ``runs``, ``lastId`` (of its newest event),
        ``defaults`` and ``withoutOutcome`` (runs to warn of), ``prices`` (USD a token, by variation), ``problems``.
    """
    counted = counts(events)
    modes = {config.key: config.mode for config in ai_configs(flags)}
    return [
        {
            "configKey": key,
            "mode": modes.get(key),
            **counted.get(key, _NO_RUNS),
            "prices": _prices(flags.get(key)),
            "problems": list(_problems(events, flags, key, modes.get(key))),
        }
        for key in dict.fromkeys([*modes, *counted])
    ]


def _prices(flag: Mapping[str, Any] | None) -> dict[str, dict[str, float]]:
    prices = token_prices(flag)
    return {variation: {side: float(price) for side, price in sides.items()} for variation, sides in prices.items()}


def _problems(events: EventStore, flags: Mapping[str, Any], key: str, mode: str | None) -> Iterator[str]:
    """Say what the flag file has wrong, and whether the application reads the AI Config as what it is not."""
    if key in flags:
        yield from (str(problem) for problem in check_ai_config(key, flags[key]))
    for other in MODES if mode in MODES else ():
        if other == mode:
            continue
        [(reads,)] = events.select(_READS, key=f"$ld:ai:usage:{other}-config", config_key=key)
        if reads:
            yield (
                f"Read with {other}_config() (so far: {reads}), but its mode is '{mode}': what the SDK then returns has"
                f" no text. Read it with {mode}_config(), or change its mode."
            )
