"""Public protocols and aliases."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict

if TYPE_CHECKING:
    from ldai.models import AIJudgeConfig

    from .records import Mode, RunRecord, RunTexts

__all__ = [
    "ASGIApp",
    "FeedbackStore",
    "JudgeAnswer",
    "JudgeModel",
    "Message",
    "ModelParameters",
    "OpeningSink",
    "Receive",
    "RunBinding",
    "RunCompanion",
    "Scope",
    "Score",
    "Send",
    "Sink",
    "StartResponse",
    "TokenCounter",
    "VoteKind",
    "WSGIApp",
    "WSGIEnviron",
]

#: What an ASGI server passes for a connection (see the `ASGI specification <https://asgi.readthedocs.io>`__).
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

#: LaunchDarkly's words for a thumb up and a thumb down.
VoteKind = Literal["positive", "negative"]
#: ``{"score": 0.0 to 1.0, …}``, or JSON text of it.
JudgeAnswer = str | Mapping[str, Any]
#: A number from 0 to 1, or a plain or coroutine function without arguments that returns it.
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
    stop: str | list[str]


class Sink(Protocol):
    """A receiver of the records of all finished runs that are reported.

    It is called once for each run, on the thread that finished it, and must not block. An exception is logged once and
    counted, and the next sink is still called.
    """

    def emit(self, record: RunRecord) -> None:
        """Take one record."""


class OpeningSink(Sink, Protocol):
    """A sink that accompanies each run from its start. The run may end in another thread and context."""

    def accompany(self, config_key: str, mode: Mode) -> RunCompanion:
        """Return a companion for the run that opens here. Must not block."""


class RunCompanion(Protocol):
    """What a sink has for one run, from its start. It gets the record instead of the sink.

    Its methods must not block. An exception is logged once and counted.

    Attributes:
        wants_texts: Whether the texts of the run are kept for it.
    """

    wants_texts: bool

    def binding(self) -> RunBinding:
        """Return a binding for one piece of code of the run, such as a function or a generator."""

    def outside(self) -> RunBinding:
        """Return a binding for code that does not belong to the run, such as the evaluation of its AI Config."""

    def emit(self, record: RunRecord, texts: RunTexts | None) -> None:
        """Take the record of the run, and its texts if they are wanted."""

    def drop(self) -> None:
        """Take the end of a run that is not reported, because it was discarded or its AI Config is disabled."""

    def score(self, metric_key: str, score: float, judge_key: str | None) -> None:
        """Take a score of the run, some time after the record.

        Args:
            metric_key: The event key of the metric.
            score: A number from 0 to 1.
            judge_key: The key of the judge; ``None`` if the application gave the score itself.
        """


class RunBinding(Protocol):
    """What must be current while one piece of code of a run works.

    A generator's binding is entered and left at every step, in whatever thread or task takes the step.
    """

    def enter(self) -> object:
        """Make it current; return what was current before."""

    def leave(self, before: Any) -> None:
        """Restore what was current before. Called in the context of ``enter``, or not at all."""


class TokenCounter(Protocol):
    """A function that counts the tokens of a text. It must not raise and must not use the network."""

    def __call__(self, text: str, /) -> int:
        """Return the number of tokens, zero or more."""


class FeedbackStore(Protocol):
    """A store of the first vote of each run, and of the rate limit, for all processes that share it.

    It is called from any thread, never from an event loop. If it raises, the vote is answered with a 503 and not
    counted.
    """

    def keep(self, run_id: str, kind: str, *, seconds: int) -> str | None:
        """Keep a vote for that many seconds, unless the run has one. The check and the write are one atomic step.

        Returns:
            The earlier vote of the run, or ``None`` if this is its first.
        """

    def discard(self, run_id: str) -> None:
        """Remove the vote of a run, because it could not be sent."""

    def count(self, client: str, minute: int) -> int:
        """Count a request to vote. A count may be forgotten when its minute is over.

        Args:
            client: The address of the client.
            minute: The number of the minute since the epoch.

        Returns:
            How many requests the client has sent in this minute, with this one.
        """


class JudgeModel(Protocol):
    """A function that calls the model of a judge: a plain function, which may block, or a coroutine function.

    It is called outside of the request, on a thread or an event loop of the library, within ``JudgeSettings.timeout``.
    An exception, or an answer without a score, loses the score and nothing else.
    """

    def __call__(
        self, messages: list[dict[str, str]], config: AIJudgeConfig, /
    ) -> JudgeAnswer | Awaitable[JudgeAnswer]:
        """Return what the model answered.

        Args:
            messages: The messages for the model: ``{"role": …, "content": …}`` each.
            config: The judge's AI Config, with the model and its parameters.
        """
