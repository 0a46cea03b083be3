"""What must hold for a tracked request, whichever integration it comes through."""

from __future__ import annotations

from dataclasses import dataclass

from ldai_integrations.records import Outcome

CONFIG_KEY = "support-bot"
INNER_KEY = "summariser"
DISABLED_KEY = "retired-bot"


@dataclass(frozen=True)
class Case:
    """One request, and what must be told of it.

    Attributes:
        name: Name of the case and of the route.
        status: HTTP status that the client must see.
        outcome: Outcome of the request's run; ``None`` where there may be no reported run at all.
        usage: Input, output and total tokens, where they are known exactly.
        streamed: Whether there must be a time to first token.
        method: HTTP method.
        hangs_up: Whether the client closes the connection after the first chunk.
        truncated: Whether the server breaks the body off.
    """

    name: str
    status: int
    outcome: Outcome | None
    usage: tuple[int, int, int] | None = None
    streamed: bool = False
    method: str = "GET"
    hangs_up: bool = False
    truncated: bool = False


CASES = [
    # First: once a provider call of an AI Config was seen, a run of it without one is no generation.
    Case("text", 200, "success"),
    Case("ok", 200, "success", usage=(11, 7, 18)),
    Case("observed", 200, "success", usage=(11, 7, 18)),
    Case("raise", 500, "error"),
    Case("handled", 500, "error"),
    Case("missing", 404, None),
    Case("bad", 400, None),
    Case("stream", 200, "success", usage=(11, 3, 14), streamed=True),
    Case("stream-raises", 200, "error", streamed=True, truncated=True),
    Case("stream-error-event", 200, "error", streamed=True),
    Case("slow", 200, "cancelled", streamed=True, hangs_up=True),
    Case("ok", 200, "success", method="HEAD"),
]

#: Events of one run, by outcome, besides tokens and the time to first token.
EVENTS = {
    "success": {"$ld:ai:duration:total", "$ld:ai:generation:success"},
    "error": {"$ld:ai:duration:total", "$ld:ai:generation:error"},
    "cancelled": {"$ld:ai:duration:total"},
}
