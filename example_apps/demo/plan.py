"""The requests to each app, and what must be reported for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Outcome = Literal["success", "error", "cancelled"]
Vote = Literal["positive", "negative"]


class Variation(NamedTuple):
    """A variation of an AI Config."""

    config_key: str
    key: str


CONCISE = Variation("support-bot", "concise")
THOROUGH = Variation("support-bot", "thorough")  # the targeting rule serves it to the premium plan
COURTEOUS = Variation("order-agent", "courteous")
CONFIG_KEYS = frozenset({"support-bot", "order-agent", "summary"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One request.

    Attributes:
        title: A short description.
        path: The path.
        question: The question; ``None`` makes it a GET request. The apps refuse an empty question.
        user: The user.
        status: The expected statuses.
        variation: The variation of the run; ``None`` if no run may be reported.
        outcome: The outcome of the run.
        tool_calls: The number of tool calls.
        hang_up_after: Close the socket after this number of events with text.
        vote: The feedback that follows.
    """

    title: str
    path: str
    question: str | None
    user: str = "grace"
    status: frozenset[int] = frozenset({200})
    variation: Variation | None = None
    outcome: Outcome = "success"
    tool_calls: int = 0
    hang_up_after: int | None = None
    vote: Vote | None = None

    @property
    def needs_model_server(self) -> bool:
        """Return whether the model must do something that OpenAI does not do on request."""
        return "#" in (self.question or "")


WHERE = "Where is my parcel?"
HOW = "How do I send a scarf back, and when do I see my money?"


def _questions(user: str, variation: Variation) -> list[Step]:
    """Return successful steps with and without a stream, most of them with feedback."""
    thumbs: list[tuple[str, Vote | None]] = [(WHERE, "positive"), (HOW, None), (HOW, "negative")]
    kinds = {"plain answer": "/chat", "stream": "/chat/stream"}
    return [
        Step(title=title, path=path, question=question, user=user, variation=variation, vote=vote)
        for title, path in kinds.items()
        for question, vote in thumbs
    ]


PLAN: tuple[Step, ...] = (
    *_questions("grace", CONCISE),
    *_questions("ada", THOROUGH),
    Step(
        title="another premium stream",
        path="/chat/stream",
        question=WHERE,
        user="ada",
        variation=THOROUGH,
        vote="positive",
    ),
    Step(title="agent", path="/orders/A-1042/help", question=WHERE, variation=COURTEOUS, tool_calls=1, vote="positive"),
    Step(title="agent", path="/orders/A-1043/help", question=HOW, user="ada", variation=COURTEOUS, tool_calls=1),
    Step(
        title="provider failure",
        path="/chat",
        question="#fail",
        status=frozenset({502}),
        variation=CONCISE,
        outcome="error",
    ),
    Step(
        title="provider failure before a stream",
        path="/chat/stream",
        question="#fail",
        user="ada",
        status=frozenset({502}),
        variation=THOROUGH,
        outcome="error",
    ),
    Step(title="failure during a stream", path="/chat/stream", question="#break", variation=CONCISE, outcome="error"),
    Step(
        title="client disconnects",
        path="/chat/stream",
        question="#slow",
        user="ada",
        variation=THOROUGH,
        outcome="cancelled",
        hang_up_after=12,
    ),
    Step(title="AI Config that is off", path="/summary", question=HOW),
    Step(title="page without AI", path="/", question=None),
    Step(title="unknown path", path="/nowhere", question=None, status=frozenset({404})),
    Step(title="unknown order", path="/orders/A-9/help", question=WHERE, status=frozenset({404})),
    Step(title="bad request", path="/chat", question="", status=frozenset({400, 422})),
    Step(title="bad request for a stream", path="/chat/stream", question="", status=frozenset({400, 422})),
)
