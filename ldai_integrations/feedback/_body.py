"""The body of a vote: JSON or a form, and never much of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import parse_qsl

#: Longest body that is read, in bytes: the longest token and what a client may say besides.
MOST_BYTES = 8_192

_MOST_FIELDS = 20

_MOST_DIGITS = 18

FORM = "application/x-www-form-urlencoded"


def length_of(content_length: str) -> int:
    """Return what a ``Content-Length`` header says, in bytes; 0 where it says nothing."""
    if not content_length.isdecimal():
        return 0
    return int(content_length) if len(content_length) <= _MOST_DIGITS else MOST_BYTES + 1


def fields_of(content_type: str, body: bytes) -> Mapping[str, object]:
    """Return the fields of a body; none where it is neither JSON nor a form, or is malformed."""
    media_type = content_type.partition(";")[0].strip().lower()
    try:
        if media_type == "application/json":
            fields = json.loads(body)
            return fields if isinstance(fields, dict) else {}
        if media_type == FORM:
            return dict(parse_qsl(body.decode(), max_num_fields=_MOST_FIELDS))
    except (ValueError, RecursionError):
        return {}
    return {}
