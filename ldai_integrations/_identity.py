"""What LaunchDarkly's resumption token says about the run it stands for."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ldai.tracker import LDAIConfigTracker


@dataclass(frozen=True, slots=True)
class TrackerIdentity:
    """Run id, AI Config, variation and version; the token is the only public place where the SDK tells the last two."""

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
        """Read a token that LaunchDarkly's SDK has made; it is unsigned, so never one that came from outside."""
        payload = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return cls(payload["runId"], payload["configKey"], payload.get("variationKey", ""), payload["version"])


def resumption_token_of(tracker: LDAIConfigTracker) -> str:
    """Return the token that was made with the tracker; the tracker's own property makes it anew."""
    return tracker.get_summary().resumption_token or ""
