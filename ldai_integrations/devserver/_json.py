"""Read the JSON of events, and write numbers as JSON can carry them."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]

# How deep the stack of a program may be that reads an event.
_STACK = 300


def parse_event(text: str) -> Json:
    """Parse an event that SQLite has parsed before. Python reads fewer digits of an integer."""
    try:
        event: Json = json.loads(text)
    except ValueError:
        event = json.loads(text, parse_int=float)
    return event


def is_nested_too_deeply(text: str) -> bool:
    """Return whether :func:`parse_event` may fail, because SQLite reads deeper JSON than Python."""
    try:
        parse_event("[" * _STACK + text + "]" * _STACK)
    except RecursionError:
        return True
    return False


def shorten(number: float) -> int | float:
    """Return a whole number as an integer, so that JSON shows it without ``.0``."""
    return int(number) if number.is_integer() else number
