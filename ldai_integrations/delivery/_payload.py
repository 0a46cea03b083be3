"""Values that JSON can represent: one ``datetime`` or ``NaN`` in an event loses the SDK's whole batch of events."""

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

from .._diagnostics import Diagnostics, raise_if_from_signal

_MAX_DEPTH = 20
# Limits of a replaced value, so that the event stays small enough to be accepted.
_MAX_ITEMS, _MAX_TEXT = 1_000, 1_000
# JSON parsers disagree on larger integers, and Python refuses to write one of more than 4,300 digits.
_MAX_INT = 2**63

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
# In JSON text: an escaped backslash, a surrogate pair, or (the group) a lone surrogate, which UTF-8 cannot encode.
_SURROGATES = re.compile(r"\\\\|\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|(\\ud[89a-f][0-9a-f]{2})")


def safe_context(context: Context, diagnostics: Diagnostics) -> Context:
    """Return a context whose attributes JSON can represent; the same object if they already are.

    The first replacement of each attribute is logged with the name of the attribute, never with its value.
    """
    if context.multiple:
        parts = [context.get_individual_context(n) for n in range(context.individual_context_count)]
        safe = [safe_context(part, diagnostics) for part in parts if part is not None]
        same = all(part is before for part, before in zip(safe, parts, strict=True))
        return context if same else Context.create_multi(*safe)
    unsafe = [name for name in context.custom_attributes if not is_plain(context.get(name))]
    if not unsafe:
        return context
    builder = Context.builder_from_context(context)
    for name in unsafe:
        diagnostics.note(
            "payload",
            f"context attribute {name}",
            "LaunchDarkly context attribute %r is a %s, which JSON cannot represent. The nearest value is sent "
            "instead. Set a string, number, bool, list or dict.",
            name,
            type(context.get(name)).__name__,
        )
        builder.set(name, to_plain(context.get(name)))
    return builder.build()


def safe_data(data: object, event_name: str, diagnostics: Diagnostics) -> object:
    """Return event data that JSON can represent; the same object if it already is."""
    if is_plain(data):
        return data
    _note_replacement(event_name, diagnostics)
    return to_plain(data)


def safe_metric(value: object, event_name: str, diagnostics: Diagnostics) -> float | None:
    """Return a finite number, or ``None``; a value that is not a number is logged once for each event name."""
    if value is None or (type(value) is int and -_MAX_INT <= value < _MAX_INT):
        return value
    number = _to_finite(value)
    if number is None:
        diagnostics.note(
            "payload",
            f"metric of {event_name}",
            "The metric value of event %r is not a finite number. The event is sent without it. Pass a finite number.",
            event_name,
        )
    return number


def encode_event(event: dict[str, object], diagnostics: Diagnostics) -> bytes:
    """Write an event as JSON; a value that JSON cannot represent is replaced, and logged once for each event key."""
    try:
        text = _encode(event)
        # An endpoint may refuse all events of a request for one that is nested too deeply.
        can_be_sent = text.count("{") + text.count("[") <= _MAX_DEPTH or all(map(is_plain, event.values()))
    except Exception:
        can_be_sent = False
    if not can_be_sent:
        text = _encode(_replace_values(event, diagnostics))
    if "\\ud" in text:
        text = _SURROGATES.sub(lambda found: "\\ufffd" if found[1] else found[0], text)
    return text.encode("ascii")


def is_plain(value: Any, depth: int = 0) -> bool:
    """Return whether ``json.dumps`` writes a value as JSON that every parser can read."""
    kind = type(value)
    if kind is str:
        return _is_utf8(value)
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
            if type(key) is not str or not (key.isascii() or _is_utf8(key)):
                return False
            is_simple = item.isascii() if type(item) is str else type(item) is int and -_MAX_INT <= item < _MAX_INT
            if not is_simple and not is_plain(item, depth + 1):
                return False
        return True
    return kind in (list, tuple) and all(is_plain(item, depth + 1) for item in value)


def to_plain(value: object) -> object:
    """Return the nearest value that JSON can represent; never raise.

    Containers stay containers (with at most 1,000 items in all), numbers stay numbers, times and bytes become text, and
    every other object becomes its own text. A number that is not finite becomes ``None``.
    """
    return _Replacement().plain(value, 0)


class _Replacement:
    """The conversion of one value, with a limit on the number of its items."""

    def __init__(self) -> None:
        self._left = _MAX_ITEMS

    def plain(self, value: object, depth: int) -> object:
        if isinstance(value, str):
            return value if is_plain(value) and type(value) is str else _clean_text(str.__str__(value))
        if value is None or type(value) is bool:
            return value
        simpler = _simplify(value)
        if simpler is not value:
            return self.plain(simpler, depth + 1) if depth < _MAX_DEPTH else _to_text(value)
        if isinstance(value, Number):
            return _to_finite(value)
        if not isinstance(value, (Mapping, list, tuple, Set)):
            return _to_text(value)
        if depth >= _MAX_DEPTH:
            return f"<{type(value).__name__}>"
        try:
            if isinstance(value, Mapping):
                return {_to_text(key): self.plain(item, depth + 1) for key, item in value.items() if self._has_room()}
            return [self.plain(item, depth + 1) for item in value if self._has_room()]
        except Exception as exc:
            raise_if_from_signal(exc)
            return f"<{type(value).__name__}>"

    def _has_room(self) -> bool:
        self._left -= 1
        return self._left >= 0


def _simplify(value: Any) -> object:
    """Return what stands behind an enum, a numpy object, a time or bytes; any other value as it is."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return bytes(value[:_MAX_TEXT]).decode(errors="replace")
    try:
        return value.tolist() if callable(getattr(value, "tolist", None)) else value
    except Exception as exc:
        raise_if_from_signal(exc)
        return value


def _to_finite(value: Any) -> float | None:
    """Return the nearest finite number, an int if the value is one; ``None`` if there is none."""
    try:
        if isinstance(value, int) and -_MAX_INT <= value < _MAX_INT:
            return int(value)
        number = float(value)
    except Exception as exc:
        raise_if_from_signal(exc)
        return None
    return number if math.isfinite(number) else None


def _to_text(value: object) -> str:
    kind: Any = type(value)
    if kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__:
        return f"<{kind.__name__}>"
    try:
        return _clean_text(str(value))[:_MAX_TEXT]
    except Exception as exc:
        raise_if_from_signal(exc)
        return f"<{kind.__name__}>"


def _clean_text(text: str) -> str:
    return text if _is_utf8(text) else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _is_utf8(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _replace_values(event: dict[str, object], diagnostics: Diagnostics) -> dict[str, object]:
    """Return an event with its values replaced, and a metric value that is a number or absent."""
    name = str(event.get("key", event.get("kind")))
    plain = {field: value if is_plain(value) else to_plain(value) for field, value in event.items()}
    if "metricValue" in event:
        plain["metricValue"] = safe_metric(event["metricValue"], name, diagnostics)
        if plain["metricValue"] is None:
            del plain["metricValue"]
    if any(value is not event[field] for field, value in plain.items() if field != "metricValue"):
        _note_replacement(name, diagnostics)
    return plain


def _note_replacement(event_name: str, diagnostics: Diagnostics) -> None:
    diagnostics.note(
        "payload",
        f"data of {event_name}",
        "Event %r has a value that JSON cannot represent. The nearest value is sent instead. Pass strings and finite "
        "numbers, in lists and dicts.",
        event_name,
    )
