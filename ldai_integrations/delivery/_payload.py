"""Values that JSON can hold: one ``datetime`` or ``NaN`` in a batch of events loses all of it, everybody's."""

from __future__ import annotations

import math
from typing import Any

from ldclient import Context

from .._troubles import Troubles

_PLAIN = (str, int, bool, type(None))
_MAX_DEPTH = 20


def is_plain(value: Any, depth: int = 0) -> bool:
    """Tell whether ``json.dumps`` makes valid JSON of a value, with every number finite."""
    kind = type(value)
    if kind in _PLAIN:
        return True
    if kind is float:
        return math.isfinite(value)
    if depth > _MAX_DEPTH:
        return False
    if kind is dict:
        return all(type(key) is str and is_plain(item, depth + 1) for key, item in value.items())
    return kind in (list, tuple) and all(is_plain(item, depth + 1) for item in value)


def to_plain(value: Any, depth: int = 0) -> Any:
    """Return the nearest value that JSON can hold: containers stay containers, the rest becomes text or null."""
    if is_plain(value, depth):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, (dict, list, tuple, set, frozenset)) and depth < _MAX_DEPTH:
        if isinstance(value, dict):
            return {_text(key): to_plain(item, depth + 1) for key, item in value.items()}
        return [to_plain(item, depth + 1) for item in value]
    return _text(value)


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"


def safe_context(context: Context, troubles: Troubles) -> Context:
    """Return the context with every attribute serialisable; the same object where it already was.

    The first replacement of each attribute is logged with the attribute's name, not its value.
    """
    if context.multiple:
        parts = [context.get_individual_context(n) for n in range(context.individual_context_count)]
        safe = [_safe_single(part, troubles) for part in parts if part is not None]
        return context if safe == parts else Context.create_multi(*safe)
    return _safe_single(context, troubles)


def _safe_single(context: Context, troubles: Troubles) -> Context:
    poison = [name for name in context.custom_attributes if not is_plain(context.get(name))]
    if not poison:
        return context
    builder = Context.builder_from_context(context)
    for name in poison:
        troubles.note(
            "payload",
            f"context attribute {name}",
            "LaunchDarkly context attribute %r is a %s, which JSON cannot hold; its text is sent instead. "
            "Set a string, number, bool, list or dict.",
            name,
            type(context.get(name)).__name__,
        )
        builder.set(name, to_plain(context.get(name)))
    return builder.build()


def safe_data(data: Any, event_name: str, troubles: Troubles) -> Any:
    """Return event data that JSON can hold; the same object where it already was."""
    if is_plain(data):
        return data
    troubles.note(
        "payload",
        f"data of {event_name}",
        "The data of event %r holds what JSON cannot; its text is sent instead. Pass strings and finite numbers.",
        event_name,
    )
    return to_plain(data)


def safe_metric(value: Any, event_name: str, troubles: Troubles) -> float | None:
    """Return a finite number; ``None`` where there is none, logged once per event name."""
    if value is None or ((type(value) is int or type(value) is float) and math.isfinite(value)):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if math.isfinite(number):
        return number
    troubles.note(
        "payload",
        f"metric of {event_name}",
        "The metric value of event %r is not a finite number; the event is sent without it. Pass a finite number.",
        event_name,
    )
    return None
