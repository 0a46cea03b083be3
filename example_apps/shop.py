"""The subject of the example apps: a shop with customers and orders. This module does not use AI."""

from __future__ import annotations

from pathlib import Path

NAME = "Knits & Co"
ORDERS = {"A-1042": "shipped, due on Friday", "A-1043": "being knitted, due in two weeks"}
PLANS = {"ada": "premium", "grace": "free", "linus": "free"}
PAGE = Path(__file__).with_name("page.html").read_text(encoding="utf-8")


def plan_of(user: str) -> str:
    """Return the plan of a customer."""
    return PLANS.get(user, "free")
