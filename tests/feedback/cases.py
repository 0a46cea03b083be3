"""Requests that must change nothing, and the status that each is answered with."""

from __future__ import annotations

import base64
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from itsdangerous import Signer, TimestampSigner
from ldclient import Context

from ldai_integrations.feedback._tokens import Tokens

SECRET = "a secret of the tests, long enough"
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

ADA = Context.builder("ada").set("plan", "free").build()
DAY = 24 * 3600
NO_RUN = "4f9c1f1e-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class Request:
    """A request to the endpoint."""

    body: bytes
    headers: dict[str, str] = field(default_factory=lambda: dict(JSON))
    method: str = "POST"


@dataclass(frozen=True)
class Hostile:
    """One request that must change nothing.

    Attributes:
        name: What it is.
        status: How it must be answered.
        make: Makes it of a token that is good for the user ``ada``.
    """

    name: str
    status: int
    make: Callable[[str], Request]


def vote(token: Any, kind: Any = "positive", **more: Any) -> Request:
    """Make the request that a browser sends."""
    return Request(json.dumps({"token": token, "kind": kind, **more}).encode())


def tracker_token(config_key: str = "chat") -> str:
    """Make LaunchDarkly's unsigned token of a run that does not exist."""
    payload = {"runId": NO_RUN, "configKey": config_key, "variationKey": "small", "version": 1}
    return base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=")


def signed(config_key: str = "chat", *, secret: str = SECRET, user: Context = ADA, age: float = 0) -> str:
    """Sign a token as an application with this secret would have done some seconds ago."""
    tokens = Tokens([secret], max_age=7 * DAY, clock=lambda: time.time() - age)
    return tokens.sign(tracker_token(config_key), user, anonymous=False)


def _form(token: str, kind: str) -> Request:
    return Request(urlencode({"token": token, "kind": kind}).encode(), dict(FORM))


def _random(token: str) -> Request:
    return vote(random.Random(7).randbytes(len(token)).decode("latin-1"))


def _with_token(token: Any) -> Callable[[str], Request]:
    return lambda _: vote(token)


def _with_kind(kind: Any) -> Callable[[str], Request]:
    return lambda token: vote(token, kind)


def _with_body(body: bytes) -> Callable[[str], Request]:
    return lambda _: Request(body)


def _with_method(method: str) -> Callable[[str], Request]:
    return lambda token: Request(vote(token).body, method=method)


def _with_part(token: str, place: int, part: str) -> str:
    parts = token.split(".")
    parts[place] = part
    return ".".join(parts)


TOKENS: list[Any] = [None, True, 0, 1.5, "", [], ["a"], {}, {"token": "a"}]
KINDS: list[Any] = [None, True, 1, "", "meh", "Positive", ["positive"], {"positive": 1}]
BODIES = [b"", b"null", b"true", b"7", b'"text"', b"[]", b"{", b"{}", b"\xff\xfe", b"[" * 8_000, b"NaN"]

HOSTILE = [
    # Forged
    Hostile("of another secret", 400, lambda _: vote(signed(secret="another secret of somebody's"))),
    Hostile(
        "of another purpose", 400, lambda _: vote(Signer(SECRET, "session").sign(f"{tracker_token()}..9999").decode())
    ),
    Hostile("of itsdangerous' default", 400, lambda _: vote(TimestampSigner(SECRET).sign(tracker_token()).decode())),
    Hostile("unsigned", 400, lambda _: vote(tracker_token())),
    Hostile("with an empty signature", 400, lambda token: vote(token.rpartition(".")[0] + ".")),
    Hostile("of another run", 400, lambda token: vote(".".join([tracker_token(), *token.split(".")[1:]]))),
    Hostile("of a longer life", 400, lambda token: vote(_with_part(token, 2, "99999999999"))),
    Hostile("with an anonymous key put in", 400, lambda token: vote(_with_part(token, 1, "ada"))),
    Hostile("truncated", 400, lambda token: vote(token[:-5])),
    Hostile("without its beginning", 400, lambda token: vote(token[1:])),
    Hostile("extended", 400, lambda token: vote(token + "A")),
    Hostile("in another case", 400, lambda token: vote(token.swapcase())),
    Hostile("random", 400, _random),
    Hostile("unicode", 400, lambda token: vote(token + "é\u202e\U0001f44d")),
    Hostile("a lone surrogate", 400, lambda _: Request(b'{"token": "\\ud800...", "kind": "positive"}')),
    Hostile("dots", 400, lambda _: vote("." * 3)),
    Hostile("many dots", 400, lambda _: vote("." * 2_000)),
    Hostile("NULs", 400, lambda _: vote("\0" * 40)),
    # Expired
    Hostile("expired", 410, lambda _: vote(signed(age=8 * DAY))),
    Hostile("expired and forged", 400, lambda _: vote(signed(age=8 * DAY, secret="another secret of somebody's"))),
    # Foreign
    Hostile("of another user", 400, lambda _: vote(signed(user=Context.create("eve")))),
    Hostile("of the same key in another kind", 400, lambda _: vote(signed(user=Context.create("ada", "device")))),
    Hostile("of another AI Config", 400, lambda _: vote(signed("salaries"))),
    # Oversized
    Hostile("longer than any token", 400, lambda token: vote(token + "A" * 2_048)),
    Hostile("of 1 MB", 413, lambda token: vote(token + "A" * 1_000_000)),
    Hostile("with a comment of 1 MB", 413, lambda token: vote(token, comment="A" * 1_000_000)),
    # Not a vote at all
    *(Hostile(f"the token {value!r}", 400, _with_token(value)) for value in TOKENS),
    *(Hostile(f"the kind {value!r}", 400, _with_kind(value)) for value in KINDS),
    *(Hostile(f"the body {body[:20]!r}", 400, _with_body(body)) for body in BODIES),
    Hostile("no media type", 400, lambda token: Request(vote(token).body, {})),
    Hostile("plain text", 400, lambda token: Request(vote(token).body, {"Content-Type": "text/plain"})),
    Hostile("XML", 400, lambda _: Request(b"<vote/>", {"Content-Type": "application/xml"})),
    Hostile("a form with another kind", 400, lambda token: _form(token, "meh")),
    Hostile("a form with another token", 400, lambda token: _form(token[1:], "positive")),
    Hostile("a form with many fields", 400, lambda _: Request(b"a=1&" * 100, dict(FORM))),
    Hostile("a form that is no text", 400, lambda _: Request(b"\xff\xfe=\xff", dict(FORM))),
    *(Hostile(f"the method {method}", 405, _with_method(method)) for method in ("GET", "PUT", "PATCH", "DELETE")),
]


def _talkative(token: str, kind: str) -> Request:
    return vote(token, kind, comment="So helpful!", n=1)


GOOD: dict[str, Callable[[str, str], Request]] = {"JSON": vote, "JSON with more in it": _talkative, "form": _form}
