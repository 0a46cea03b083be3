"""Events that JSON can hold: one ``datetime`` or ``NaN`` in a batch of events loses all of it, everybody's."""

from __future__ import annotations

import json
import re
from typing import Any

from ldclient import Context

from .._diagnostics import Diagnostics
from ._plain import finite_number, is_plain, to_plain

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
# In JSON text: an escaped backslash, a surrogate pair, or (the group) a surrogate by itself, which has no UTF-8.
_SURROGATES = re.compile(r"\\\\|\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|(\\ud[89a-f][0-9a-f]{2})")


def safe_context(context: Context, diagnostics: Diagnostics) -> Context:
    """Return the context with every attribute serialisable; the same object where it already was.

    The first replacement of each attribute is logged with the attribute's name, not its value.
    """
    if context.multiple:
        parts = [context.get_individual_context(n) for n in range(context.individual_context_count)]
        safe = [_safe_single(part, diagnostics) for part in parts if part is not None]
        same = all(part is before for part, before in zip(safe, parts, strict=True))
        return context if same else Context.create_multi(*safe)
    return _safe_single(context, diagnostics)


def safe_data(data: Any, event_name: str, diagnostics: Diagnostics) -> Any:
    """Return event data that JSON can hold; the same object where it already was."""
    if is_plain(data):
        return data
    _note_mended(event_name, diagnostics)
    return to_plain(data)


def safe_metric(value: Any, event_name: str, diagnostics: Diagnostics) -> float | None:
    """Return a finite number; ``None`` where there is none, logged once per event name."""
    if value is None or ((type(value) is int or type(value) is float) and is_plain(value)):
        return value
    number = finite_number(value)
    if number is None:
        diagnostics.note(
            "payload",
            f"metric of {event_name}",
            "The metric value of event %r is not a finite number; the event is sent without it. Pass a finite number.",
            event_name,
        )
    return number


def encode_event(event: dict[str, Any], diagnostics: Diagnostics) -> bytes:
    """Write one event as JSON; what JSON cannot hold is replaced, and logged once with the event's key."""
    try:
        text = _encode(event)
    except Exception:
        text = _encode(_mended(event, diagnostics))
    if "\\ud" in text:
        text = _SURROGATES.sub(lambda found: "\\ufffd" if found[1] else found[0], text)
    return text.encode("ascii")


def _mended(event: dict[str, Any], diagnostics: Diagnostics) -> dict[str, Any]:
    name = str(event.get("key", event.get("kind")))
    mended = {field: value if is_plain(value) else to_plain(value) for field, value in event.items()}
    if "metricValue" in event:
        mended["metricValue"] = safe_metric(event["metricValue"], name, diagnostics)
        if mended["metricValue"] is None:
            del mended["metricValue"]
    if any(value is not event[field] for field, value in mended.items() if field != "metricValue"):
        _note_mended(name, diagnostics)
    return mended


def _note_mended(event_name: str, diagnostics: Diagnostics) -> None:
    diagnostics.note(
        "payload",
        f"data of {event_name}",
        "Event %r holds what JSON cannot; the nearest value is sent instead. Pass strings and finite numbers, "
        "in lists and dicts.",
        event_name,
    )


def _safe_single(context: Context, diagnostics: Diagnostics) -> Context:
    poison = [name for name in context.custom_attributes if not is_plain(context.get(name))]
    if not poison:
        return context
    builder = Context.builder_from_context(context)
    for name in poison:
        diagnostics.note(
            "payload",
            f"context attribute {name}",
            "LaunchDarkly context attribute %r is a %s, which JSON cannot hold; the nearest value is sent instead. "
            "Set a string, number, bool, list or dict.",
            name,
            type(context.get(name)).__name__,
        )
        builder.set(name, to_plain(context.get(name)))
    return builder.build()
