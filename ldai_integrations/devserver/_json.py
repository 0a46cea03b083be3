"""Read the JSON of events, and write numbers as JSON can carry them."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]

# So many calls may be on the stack of the program that reads an event: each takes as much of Python's limit as a level.
_STACK = 300


def parse_event(text: str) -> Json:
    """Parse an event that SQLite could parse. An integer with more digits than Python reads becomes a float."""
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
