"""What the endpoint answers, in no framework's terms."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

Headers = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold one response."""

    status: int
    body: bytes = b""
    headers: Headers = field(default_factory=list)


def counted() -> Answer:
    """Say that the vote is the run's: now, or since it was sent before."""
    return Answer(204, headers=[("Cache-Control", "no-store")])


def refused(status: int, error: str, *, headers: Headers | None = None, **more: str) -> Answer:
    """Say why a vote does not count; nothing of what was sent is repeated."""
    fixed = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
    return Answer(status, json.dumps({"error": error, **more}).encode(), [*fixed, *(headers or ())])


@cache
def widget() -> Answer:
    """Return the script with the buttons."""
    script = resources.files(__package__).joinpath("widget.js").read_bytes()
    headers = [
        ("Content-Type", "text/javascript; charset=utf-8"),
        ("Cache-Control", "public, max-age=3600"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    return Answer(200, script, headers)
