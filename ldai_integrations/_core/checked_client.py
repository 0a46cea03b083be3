"""The LDClient as the AI SDK sees it: nothing malformed comes out, and events go in by way of their delivery.

The AI SDK raises on a malformed variation and does not compare modes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ldclient import Context, LDClient

from .. import signals
from .._diagnostics import Diagnostics
from ..delivery import Delivery
from .variations import problem_with

# Why LaunchDarkly gave no variation (ldclient's error kinds), and what to do about it.
_REMEDIES = {
    "FLAG_NOT_FOUND": "there is no such AI Config in this environment; check the key and the SDK key's environment",
    "CLIENT_NOT_READY": "LaunchDarkly is not connected yet; check the SDK key and the network",
    "USER_NOT_SPECIFIED": "the LaunchDarkly context is not valid; check ld_context",
    "MALFORMED_FLAG": "its targeting points to a variation that does not exist; check the AI Config",
}


class CheckedClient:
    """Stand between the AI SDK and an LDClient; has the two methods that the AI SDK calls."""

    def __init__(self, client: LDClient, delivery: Delivery, diagnostics: Diagnostics) -> None:
        self._client = client
        self._diagnostics = diagnostics
        self._send = delivery.track
        #: The last value of each variation that was found to be sound: the SDK's store gives the same object again.
        self._sound: dict[tuple[str, int | None, str], Any] = {}

    def variation(self, key: str, context: Context, default: Any) -> Any:
        """Return the served variation, or ``default`` where it cannot be used."""
        detail = self._client.variation_detail(key, context, default)
        if detail.reason and detail.reason["kind"] == "ERROR":
            kind = str(detail.reason.get("errorKind"))
            self._serve_default(key, kind.lower(), _REMEDIES.get(kind, "see LaunchDarkly's own log lines"))
            return default
        if detail.is_default_value():
            self._serve_default(key, "off", "it is off and has no variation to serve while off")
            return default
        mode = _mode_of(default)
        variation = (key, detail.variation_index, mode)
        if detail.value is not self._sound.get(variation):
            problem = problem_with(detail.value, mode)
            if problem is not None:
                self._serve_default(key, "malformed", problem)
                return default
            self._sound[variation] = detail.value
        return detail.value

    def track(self, event_name: str, context: Context, data: Any = None, metric_value: Any = None) -> None:
        """Send an event, with every value made finite and serialisable; one that cannot be sent costs nothing else."""
        try:
            self._send(event_name, context, data, metric_value)
        except Exception as exc:
            self._diagnostics.failed("event", event_name, exc)

    def _serve_default(self, key: str, reason: str, remedy: str) -> None:
        subject = f"{key}: {reason}"
        self._diagnostics.note("default_served", subject, "The default of AI Config %r is served: %s.", key, remedy)
        try:
            signals.default_served.send(key, reason=reason)
        except Exception as exc:
            self._diagnostics.note("signal", key, "A receiver of default_served raised; mend the receiver.", exc=exc)


def _mode_of(default: Mapping[str, Any]) -> str:
    """Tell which kind of AI Config is being read; the AI SDK says so only in the shape of its default."""
    if "evaluationMetricKey" in default:
        return "judge"
    return "completion" if "messages" in default else "agent"
