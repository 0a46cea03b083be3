"""The identity of a run, in LaunchDarkly's resumption token."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ldai.tracker import LDAIConfigTracker

# What json.loads() calls after some checks. It takes half as long, and each run has a token.
_decode = json.JSONDecoder().raw_decode


class TrackerIdentity(NamedTuple):
    """The run id, AI Config, variation and version of a tracker.

    The SDK exposes the variation and the version only in the token.
    """

    run_id: str
    config_key: str
    variation_key: str
    version: int

    @classmethod
    def of(cls, tracker: LDAIConfigTracker) -> TrackerIdentity:
        """Read the token of a tracker."""
        return cls.of_token(resumption_token_of(tracker))

    @classmethod
    def of_token(cls, token: str) -> TrackerIdentity:
        """Read a token that LaunchDarkly's SDK has made. It is unsigned, so never pass one that comes from outside."""
        payload = _payload_of(token)
        return cls(payload["runId"], payload["configKey"], payload.get("variationKey", ""), payload["version"])


def resumption_token_of(tracker: LDAIConfigTracker) -> str:
    """Return the token that was made with the tracker. The tracker's own property makes it again for each access."""
    return tracker.get_summary().resumption_token or ""


def add_model(token: str, model: Mapping[str, object]) -> str:
    """Return a token that also names the model of the variation, which LaunchDarkly's SDK ignores."""
    if not model:
        return token
    text = json.dumps({**_payload_of(token), **model})
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def model_of_token(token: str) -> dict[str, object]:
    """Return what :func:`add_model` has added to a token."""
    payload = _payload_of(token)
    return {name: payload[name] for name in ("modelKey", "modelVersion") if name in payload}


def _payload_of(token: str) -> dict[str, Any]:
    text = base64.b64decode(token + "==", altchars=b"-_").decode()  # the padding may be longer than needed
    payload: dict[str, Any] = _decode(text)[0]
    return payload
