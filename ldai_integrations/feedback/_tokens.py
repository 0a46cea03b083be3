"""Feedback tokens: LaunchDarkly's resumption token, signed for one user and a limited time.

The form is ``<resumption token>.<key of an anonymous context>.<expiry>.<signature>``. Every part may be in a header,
a URL or JSON. The check needs only the secret, so any process can do it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence

from itsdangerous import BadSignature, Signer
from ldclient import Context

from .._signing import make_signer
from ..settings import Secret

#: The longest token that is checked, in characters. A run whose keys have 256 characters, which is LaunchDarkly's
#: limit, has one of about 1,100.
MAX_CHARS = 2_048

_PURPOSE = "ldai_integrations.feedback.v1"


class InvalidTokenError(Exception):
    """A token that we did not make, that we made for another user, or that was changed."""


class ExpiredTokenError(Exception):
    """A token that we made for this user too long ago."""


class Tokens:
    """The signing and checking of tokens. Thread-safe.

    Args:
        secrets: The last one signs. All are accepted.
        max_age: For how many seconds a token is valid.
        clock: Returns seconds since the epoch.
    """

    def __init__(self, secrets: Sequence[Secret], *, max_age: int, clock: Callable[[], float] = time.time) -> None:
        self._secrets = secrets
        self._max_age = max_age
        self._clock = clock

    def sign(self, resumption_token: str, ld_context: Context, *, anonymous: bool) -> str:
        """Return a token that is valid for one LD context.

        Args:
            resumption_token: LaunchDarkly's token.
            ld_context: The LD context of the run. Its key is part of the signature and cannot be read from the token.
            anonymous: Whether the context was made for one request only. Other requests do not have it, so the token
                contains its random key, and everyone who has the token can vote.
        """
        key = ld_context.key if anonymous else ""
        expiry = int(self._clock()) + self._max_age
        return self._signer(ld_context).sign(f"{resumption_token}.{key}.{expiry}").decode()

    def verify(self, token: object, ld_context: Callable[[], Context]) -> tuple[str, Context]:
        """Return the resumption token and the LD context of the vote.

        Args:
            token: What the browser sent.
            ld_context: Returns the LD context of the sender. It is not called if the token contains its own.

        Raises:
            InvalidTokenError: If we did not make it for this context. Nothing is decoded before this check.
            ExpiredTokenError: If it is too old.
        """
        if not isinstance(token, str) or len(token) > MAX_CHARS or not token.isascii() or token.count(".") != 3:
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
        parts = [ld_context.get_individual_context(index) for index in range(ld_context.individual_context_count)]
        # fully_qualified_key is the same for the user "org:x" and for the context "x" of the kind "org".
        who = json.dumps([[part.kind, part.key] for part in parts if part is not None])
        return make_signer(self._secrets, f"{_PURPOSE}\0{who}".encode())
