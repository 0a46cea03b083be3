"""Public protocols and aliases."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict

if TYPE_CHECKING:
    from ldai.models import AIJudgeConfig

    from .records import RunRecord, Usage

__all__ = [
    "ASGIApp",
    "JudgeAnswer",
    "JudgeModel",
    "Message",
    "ModelParameters",
    "OpeningSink",
    "Receive",
    "Scope",
    "Score",
    "Send",
    "Sink",
    "StartResponse",
    "TokenCounter",
    "UsageExtractor",
    "VoteKind",
    "VoteStore",
    "WSGIApp",
    "WSGIEnviron",
]

#: What an ASGI server tells of a connection (see the `ASGI specification <https://asgi.readthedocs.io>`__).
Scope = MutableMapping[str, Any]
#: One ASGI event, received or sent.
Message = MutableMapping[str, Any]
#: Waits for the next ASGI event from the client.
Receive = Callable[[], Awaitable[Message]]
#: Sends an ASGI event to the client.
Send = Callable[[Message], Awaitable[None]]
#: An ASGI application.
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

#: The environ of a request (PEP 3333).
WSGIEnviron = dict[str, Any]
#: What a WSGI application calls with status and headers.
StartResponse = Callable[..., Callable[[bytes], object]]
#: A WSGI application.
WSGIApp = Callable[[WSGIEnviron, StartResponse], Iterable[bytes]]

Variables = Mapping[str, Any]

#: LaunchDarkly's words for a thumb up and a thumb down.
VoteKind = Literal["positive", "negative"]
#: ``{"score": 0.0 to 1.0, …}``, or JSON text of it.
JudgeAnswer = str | Mapping[str, Any]
#: From 0 to 1, or what gives it when asked, a plain or a coroutine function without arguments.
Score = float | Callable[[], "float | Awaitable[float]"]


class ModelParameters(TypedDict, total=False):
    """The parameters of a model that most providers know. An AI Config may have others, which are passed on as well."""

    temperature: float
    top_p: float
    max_tokens: int
    max_completion_tokens: int
    frequency_penalty: float
    presence_penalty: float
    seed: int


class Sink(Protocol):
    """Receive the record of every finished run that is reported.

    Called once per run, from whichever thread finished it; must not block. An
    exception is logged once and counted, and the next sink still runs.
    """

    def emit(self, record: RunRecord) -> None:
        """Take one record."""


class OpeningSink(Sink, Protocol):
    """Be a sink that looks around where a run opens, which may be another thread and context than that of its end."""

    def opened(self) -> Callable[[RunRecord], object]:
        """Return what takes the record of the run that opens here, in place of ``emit``; must not block."""


class TokenCounter(Protocol):
    """Count the tokens of a text; must not raise and must not touch the network."""

    def __call__(self, text: str, /) -> int:
        """Return the number of tokens, zero or more."""


class UsageExtractor(Protocol):
    """Find the usage in a provider's response, or return ``None`` if it is none of yours."""

    def __call__(self, response: Any, /) -> Usage | None:
        """Return the usage of ``response``."""


class VoteStore(Protocol):
    """Remember the first vote of each run, for all processes that share the store.

    Called from any thread, never from an event loop. Where it raises, the vote is answered with a 503 and not counted.
    """

    def keep(self, run_id: str, kind: str, *, seconds: int) -> str | None:
        """Keep a vote for that many seconds unless the run has one, in one step that no other process can come between.

        Returns:
            The vote that the run had, or ``None`` where this is its first.
        """


class JudgeModel(Protocol):
    """Ask the model of a judge: a plain function, which may block, or a coroutine function, which must not.

    Called off the request, on a thread or on an event loop of ours, within ``JudgeSettings.timeout``. An exception, or
    an answer without a score, costs the score and nothing else.
    """

    def __call__(
        self, messages: list[dict[str, str]], config: AIJudgeConfig, /
    ) -> JudgeAnswer | Awaitable[JudgeAnswer]:
        """Return what the model answered to ``messages``; ``config`` names the model and its parameters."""
