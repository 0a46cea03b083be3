"""The flags that the tests serve."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

Json = dict[str, Any]


def variation(key: str, *, enabled: bool = True, **parts: Any) -> Json:
    """Build one variation of a completion config."""
    meta = {"enabled": enabled, "variationKey": key, "version": 1, "mode": "completion"}
    return {"_ldMeta": meta, "provider": {"name": "OpenAI"}, **parts}


CHAT: Json = {
    "key": "chat",
    "version": 1,
    "on": True,
    "salt": "chat",
    "offVariation": 0,
    "fallthrough": {"variation": 1},
    "rules": [
        {
            "id": "premium",
            "variation": 2,
            "clauses": [{"contextKind": "user", "attribute": "plan", "op": "in", "values": ["premium"]}],
        }
    ],
    "variations": [
        variation("disabled", enabled=False),
        variation("small", model={"name": "gpt-4o-mini"}, messages=[{"role": "system", "content": "Be brief."}]),
        variation("large", model={"name": "gpt-4o"}, messages=[{"role": "system", "content": "Be thorough."}]),
    ],
}
FLAGS: Json = {"flags": {"chat": CHAT}, "segments": {}}


def edited(**fields: Any) -> Json:
    """Return the sample flags with fields of the AI Config ``chat`` replaced."""
    return {"flags": {"chat": {**deepcopy(CHAT), **fields}}, "segments": {}}
