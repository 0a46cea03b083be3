"""Feedback tokens: LaunchDarkly's resumption token, signed for one user and a limited time.

``<resumption token>.<key of an anonymous context>.<expiry>.<signature>``, every part of it text that may stand in a
header, a URL or JSON. Verifying needs the secret and nothing else, so any process can do it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from itsdangerous import BadSignature, Signer
from ldclient import Context

if TYPE_CHECKING:
    from ._settings import Secret

#: Longest token that is looked at, in characters. One of a run with keys of 256 characters, LaunchDarkly's limit, has
#: about 1,100.
LONGEST = 2_048

_PURPOSE = "ldai_integrations.feedback.v1"


class InvalidTokenError(Exception):
    """Not made by us, not made for this user, or changed since."""


class ExpiredTokenError(Exception):
    """Made by us for this user, too long ago."""


class Tokens:
    """Sign and verify; thread-safe.

    Args:
        secrets: The last one signs, all verify.
        max_age: Seconds.
        clock: Wall-clock seconds since the epoch.
    """

    def __init__(self, secrets: Sequence[Secret], *, max_age: int, clock: Callable[[], float] = time.time) -> None:
        self._secrets = [item.encode() if isinstance(item, str) else item for item in secrets]
        self._max_age = max_age
        self._clock = clock

    def sign(self, resumption_token: str, ld_context: Context, *, anonymous: bool) -> str:
        """Return a token that only ``ld_context`` can vote with.

        Args:
            resumption_token: LaunchDarkly's.
            ld_context: Whose run it was. Its key goes into the signature and cannot be read from the token.
            anonymous: Whether the context was made up for one request. No other request has it, so its random key
                travels in the token, and whoever has the token can vote.
        """
        key = ld_context.key if anonymous else ""
        expiry = int(self._clock()) + self._max_age
        return self._signer(ld_context).sign(f"{resumption_token}.{key}.{expiry}").decode()

    def verify(self, token: object, ld_context: Callable[[], Context]) -> tuple[str, Context]:
        """Return the resumption token, and the context that the vote is under.

        Args:
            token: Whatever the browser sent.
            ld_context: Gives the context of whoever sends it; called unless the token brings its own.

        Raises:
            InvalidTokenError: If it was not made by us for this context. Nothing is decoded before that is known.
            ExpiredTokenError: If its time is over.
        """
        if not isinstance(token, str) or len(token) > LONGEST or not token.isascii() or token.count(".") != 3:
            raise InvalidTokenError
        key = token.split(".")[1]
        voter = Context.builder(key).anonymous(True).build() if key else ld_context()
        try:
            signed = self._signer(voter).unsign(token).decode()
        except BadSignature:
            raise InvalidTokenError from None
        resumption_token, _, expiry = signed.split(".")
        if self._clock() >= int(expiry):
            raise ExpiredTokenError
        return resumption_token, voter

    def _signer(self, ld_context: Context) -> Signer:
        salt = f"{_PURPOSE}\0{ld_context.fully_qualified_key}".encode("utf-8", "surrogatepass")
        return Signer(self._secrets, salt, key_derivation="hmac", digest_method=hashlib.sha256)
