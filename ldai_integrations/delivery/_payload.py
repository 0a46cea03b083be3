"""Values that JSON can hold: one ``datetime`` or ``NaN`` in a batch of events loses all of it, everybody's."""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Mapping, Set
from enum import Enum
from numbers import Number
from typing import Any

from ldclient import Context

from .._troubles import Troubles

_MAX_DEPTH = 20
# Bounds of what is made of a value that JSON cannot hold, so that a mended event stays small enough to be taken.
_MAX_ITEMS, _MAX_TEXT = 1_000, 1_000
# Beyond 64 bits receivers disagree on what a number is, and beyond 4,300 digits Python refuses to write one.
_MAX_INT = 2**63

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
# In JSON text: an escaped backslash, a surrogate pair, or (the group) a surrogate by itself, which has no UTF-8.
_SURROGATES = re.compile(r"\\\\|\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|(\\ud[89a-f][0-9a-f]{2})")


def is_plain(value: Any, depth: int = 0) -> bool:
    """Tell whether ``json.dumps`` makes JSON of a value that every receiver can read, each number finite."""
    kind = type(value)
    if kind is str:
        return _has_utf8(value)
    if kind is bool or value is None:
        return True
    if kind is int:
        return bool(-_MAX_INT <= value < _MAX_INT)
    if kind is float:
        return math.isfinite(value)
    if depth > _MAX_DEPTH:
        return False
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str or not _has_utf8(key):
                return False
            if not (type(item) is str and item.isascii()) and not is_plain(item, depth + 1):
                return False
        return True
    return kind in (list, tuple) and all(is_plain(item, depth + 1) for item in value)


def to_plain(value: Any) -> Any:
    """Return the nearest value that JSON can hold.

    Containers stay containers (of at most 1,000 items in all), numbers and times stay what they are, bytes become
    text, anything else its text, and what is not a number ``None``. Never raises.
    """
    return _Mending().plain(value, 0)


def safe_context(context: Context, troubles: Troubles) -> Context:
    """Return the context with every attribute serialisable; the same object where it already was.

    The first replacement of each attribute is logged with the attribute's name, not its value.
    """
    if context.multiple:
        parts = [context.get_individual_context(n) for n in range(context.individual_context_count)]
        safe = [_safe_single(part, troubles) for part in parts if part is not None]
        same = all(part is before for part, before in zip(safe, parts, strict=True))
        return context if same else Context.create_multi(*safe)
    return _safe_single(context, troubles)


def safe_data(data: Any, event_name: str, troubles: Troubles) -> Any:
    """Return event data that JSON can hold; the same object where it already was."""
    if is_plain(data):
        return data
    _note_mended(event_name, troubles)
    return to_plain(data)


def safe_metric(value: Any, event_name: str, troubles: Troubles) -> float | None:
    """Return a finite number; ``None`` where there is none, logged once per event name."""
    if value is None or ((type(value) is int or type(value) is float) and is_plain(value)):
        return value
    number = _number(value)
    if number is None:
        troubles.note(
            "payload",
            f"metric of {event_name}",
            "The metric value of event %r is not a finite number; the event is sent without it. Pass a finite number.",
            event_name,
        )
    return number


def encode_event(event: dict[str, Any], troubles: Troubles) -> bytes:
    """Write one event as JSON; what JSON cannot hold is replaced, and logged once with the event's key."""
    try:
        text = _encode(event)
    except Exception:
        text = _encode(_mended(event, troubles))
    if "\\ud" in text:
        text = _SURROGATES.sub(lambda found: "\\ufffd" if found[1] else found[0], text)
    return text.encode("ascii")


def _mended(event: dict[str, Any], troubles: Troubles) -> dict[str, Any]:
    name = str(event.get("key", event.get("kind")))
    mended = {field: value if is_plain(value) else to_plain(value) for field, value in event.items()}
    if "metricValue" in event:
        mended["metricValue"] = safe_metric(event["metricValue"], name, troubles)
        if mended["metricValue"] is None:
            del mended["metricValue"]
    if any(value is not event[field] for field, value in mended.items() if field != "metricValue"):
        _note_mended(name, troubles)
    return mended


def _note_mended(event_name: str, troubles: Troubles) -> None:
    troubles.note(
        "payload",
        f"data of {event_name}",
        "Event %r holds what JSON cannot; the nearest value is sent instead. Pass strings and finite numbers, "
        "in lists and dicts.",
        event_name,
    )


def _safe_single(context: Context, troubles: Troubles) -> Context:
    poison = [name for name in context.custom_attributes if not is_plain(context.get(name))]
    if not poison:
        return context
    builder = Context.builder_from_context(context)
    for name in poison:
        troubles.note(
            "payload",
            f"context attribute {name}",
            "LaunchDarkly context attribute %r is a %s, which JSON cannot hold; the nearest value is sent instead. "
            "Set a string, number, bool, list or dict.",
            name,
            type(context.get(name)).__name__,
        )
        builder.set(name, to_plain(context.get(name)))
    return builder.build()


class _Mending:
    """Make one value plain, within a bound on the items that come out."""

    def __init__(self) -> None:
        self._left = _MAX_ITEMS

    def plain(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return value if is_plain(value) and type(value) is str else _clean(str.__str__(value))
        if value is None or type(value) is bool:
            return value
        if isinstance(value, Enum):
            return self.plain(value.value, depth) if depth < _MAX_DEPTH else _text(value)
        for as_plain in (_listed, _timed, _decoded):
            found = as_plain(value)
            if found is not value:
                return self.plain(found, depth + 1) if depth < _MAX_DEPTH else _text(value)
        if isinstance(value, Number):
            return _number(value)
        if isinstance(value, (Mapping, list, tuple, Set)):
            return self._container(value, depth) if depth < _MAX_DEPTH else f"<{type(value).__name__}>"
        return _text(value)

    def _container(self, value: Any, depth: int) -> Any:
        try:
            if isinstance(value, Mapping):
                return {_text(key): self.plain(item, depth + 1) for key, item in value.items() if self._has_room()}
            return [self.plain(item, depth + 1) for item in value if self._has_room()]
        except Exception:
            return f"<{type(value).__name__}>"

    def _has_room(self) -> bool:
        self._left -= 1
        return self._left >= 0


def _listed(value: Any) -> Any:
    """Turn arrays and scalars of numpy and its like into Python's own."""
    try:
        return value.tolist() if callable(getattr(value, "tolist", None)) else value
    except Exception:
        return value


def _timed(value: Any) -> Any:
    return value.isoformat() if isinstance(value, (datetime.date, datetime.time)) else value


def _decoded(value: Any) -> Any:
    return bytes(value[:_MAX_TEXT]).decode(errors="replace") if isinstance(value, (bytes, bytearray)) else value


def _number(value: Any) -> float | None:
    """Return the finite number nearest to a value, an int where it is one; ``None`` if there is none."""
    try:
        if isinstance(value, int) and -_MAX_INT <= value < _MAX_INT:
            return int(value)
        number = float(value)
    except Exception:
        return None
    return number if math.isfinite(number) else None


def _text(value: Any) -> str:
    kind: Any = type(value)
    if kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__:
        return f"<{kind.__name__}>"
    try:
        return _clean(str(value))[:_MAX_TEXT]
    except Exception:
        return f"<{type(value).__name__}>"


def _clean(text: str) -> str:
    return text if _has_utf8(text) else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _has_utf8(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
