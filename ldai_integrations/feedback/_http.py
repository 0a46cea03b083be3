"""The requests and responses of the feedback endpoint, independent of any web framework."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from urllib.parse import parse_qsl

from .._diagnostics import raise_if_from_signal

#: The longest body that is read, in bytes: the longest token, and what a client may add.
MOST_BYTES = 8_192
FORM = "application/x-www-form-urlencoded"

_MAX_FIELDS = 20
# A Content-Length with more digits is not converted to a number.
_MAX_DIGITS = 18

Headers = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """A response."""

    status: int
    body: bytes = b""
    headers: Headers = field(default_factory=list)


def length_of(content_length: str) -> int:
    """Return the number of bytes in a ``Content-Length`` header, or 0 if it has none."""
    if not content_length.isdecimal():
        return 0
    return int(content_length) if len(content_length) <= _MAX_DIGITS else MOST_BYTES + 1


def fields_of(content_type: str, body: bytes) -> Mapping[str, object]:
    """Return the fields of a JSON object or a form; none if the body is something else or malformed."""
    media_type = content_type.partition(";")[0].strip().lower()
    try:
        if media_type == "application/json":
            fields = json.loads(body)
            return fields if isinstance(fields, dict) else {}
        if media_type == FORM:
            return dict(parse_qsl(body.decode(), max_num_fields=_MAX_FIELDS))
    except (ValueError, RecursionError):
        return {}
    return {}


@contextmanager
def no_fields_if_unreadable() -> Iterator[None]:
    """Suppress the exceptions of a server that cannot read a body: it is malformed, or the client is gone.

    Their types are those of the server. The request is then a vote without fields, which is refused and counted.
    """
    try:
        yield
    except Exception as exc:
        raise_if_from_signal(exc)


def make_refusal(status: int, error: str, *, headers: Headers | None = None, **more: str) -> Answer:
    """Return an answer that says why a vote does not count, without repeating any input."""
    fixed = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
    return Answer(status, json.dumps({"error": error, **more}).encode(), [*fixed, *(headers or ())])


def too_long() -> Answer:
    """Refuse a body that is longer than any vote."""
    return make_refusal(413, f"A vote has at most {MOST_BYTES} bytes.")


def too_many(wait: int) -> Answer:
    """Refuse a request of a client that has sent too many, and say when it may send the next one."""
    return make_refusal(429, "Too many votes; try again later.", headers=[("Retry-After", str(wait))])


def widget(method: str = "GET") -> Answer:
    """Return the script with the buttons, or refuse a request that does not ask for it.

    Args:
        method: The HTTP method.
    """
    if method in ("GET", "HEAD"):
        return _script()
    return make_refusal(405, "Ask for the widget with GET.", headers=[("Allow", "GET, HEAD")])


@cache
def _script() -> Answer:
    script = resources.files(__package__).joinpath("widget.js").read_bytes()
    headers = [
        ("Content-Type", "text/javascript; charset=utf-8"),
        ("Cache-Control", "public, max-age=3600"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    return Answer(200, script, headers)
