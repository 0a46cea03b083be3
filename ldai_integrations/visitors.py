"""Visitors who are not logged in, recognized by a signed cookie.

LaunchDarkly assigns a variation to the key of an LD context. A visitor whose key stays the same gets the same
variation in each request, and counts once in experiments.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from itsdangerous import BadSignature

from ._signing import make_signer
from .exceptions import ConfigurationError
from .settings import Secret, VisitorSettings

__all__ = ["Visitor", "VisitorSettings", "Visitors"]

_PURPOSE = b"ldai_integrations.visitors.v1"
# Directives of Cache-Control, and other headers, with which a shared cache may store a response (RFC 9111, sections 3
# and 4.2), and the directives that forbid it. ``private="name"`` forbids it for one header only.
_SHARED = {"public", "s-maxage", "max-age", "immutable"}
_SHARED_HEADERS = {"expires", "last-modified", "surrogate-control", "cdn-cache-control"}
_NOT_SHARED = {"private", "no-store"}
# A browser has several cookies of one name only for several paths or domains. Each check of a signature takes 10 µs.
_MOST_CHECKED = 8


class Visitors:
    """The visitors of one application. Thread-safe.

    Args:
        settings: The options.
        of_framework: The secrets of the web framework; the last one signs. They are used if the settings have none.

    Raises:
        ConfigurationError: If there is no secret.
    """

    def __init__(self, settings: VisitorSettings, of_framework: Sequence[Secret] = ()) -> None:
        secrets = settings.secrets or [secret for secret in of_framework if secret]
        if not secrets:
            raise ConfigurationError(
                "The cookies of visitors cannot be signed, because there is no secret. Give VisitorSettings(secret=…), "
                "or set the variable LDAI_VISITORS_SECRET. With Flask or Django, it is enough to set SECRET_KEY before "
                "the tracking is put on the application."
            )
        self._settings = settings
        self._signer = make_signer(secrets, _PURPOSE)
        self._pattern = re.compile(rf"(?:^|;)\s*{re.escape(settings.cookie)}=([^;]*)")

    def recognize(self, cookies: str, *, is_https: bool) -> Visitor:
        """Return the visitor who sent a ``Cookie`` header; a new one if it contains no cookie of ours.

        Args:
            cookies: The header; empty if there is none.
            is_https: Whether the request came over https.
        """
        for found in islice(self._pattern.finditer(cookies), _MOST_CHECKED):
            try:
                return Visitor(self._signer.unsign(found[1].strip()).decode())
            except BadSignature:
                continue
        key, settings = str(uuid.uuid4()), self._settings
        attributes = f"Max-Age={settings.max_age}; Path=/; HttpOnly; SameSite=Lax"
        secure = "; Secure" if is_https or settings.always_secure else ""
        return Visitor(key, f"{settings.cookie}={self._signer.sign(key).decode()}; {attributes}{secure}")


@dataclass(frozen=True, slots=True)
class Visitor:
    """A visitor.

    Attributes:
        key: The key of the LD context.
        cookie: The ``Set-Cookie`` header for a new visitor; empty for one who has been here before.
    """

    key: str
    cookie: str = ""

    def cookie_for(self, headers: Mapping[str, str]) -> str:
        """Return the ``Set-Cookie`` header for a response; empty if it needs none.

        A response that shared caches may store has none: all who get it would be the same visitor.

        Args:
            headers: The headers of the response by their names in lower case.
        """
        directives = {part.strip() for part in headers.get("cache-control", "").lower().split(",")}
        names = {directive.partition("=")[0] for directive in directives}
        may_be_shared = not names.isdisjoint(_SHARED) or not headers.keys().isdisjoint(_SHARED_HEADERS)
        return "" if may_be_shared and directives.isdisjoint(_NOT_SHARED) else self.cookie
