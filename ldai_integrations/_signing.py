"""Signatures of feedback tokens and of the cookies of visitors."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from itsdangerous import Signer
from itsdangerous.encoding import base64_decode, base64_encode, want_bytes

from .settings import Secret


def make_signer(secrets: Sequence[Secret], purpose: bytes) -> Signer:
    """Return what signs and checks for one purpose with HMAC-SHA256.

    Args:
        secrets: The last one signs. All are accepted.
        purpose: A signature for another purpose is not accepted.
    """
    keys = [secret.encode() if isinstance(secret, str) else secret for secret in secrets]
    return _CanonicalSigner(keys, purpose, key_derivation="hmac", digest_method=hashlib.sha256)


class _CanonicalSigner(Signer):
    """A signer that accepts one spelling of each signature. Base64 has several for the same bytes."""

    def verify_signature(self, value: str | bytes, sig: str | bytes) -> bool:
        """Return whether the signature is right, and spelled as :meth:`sign` does."""
        return super().verify_signature(value, sig) and base64_encode(base64_decode(sig)) == want_bytes(sig)
