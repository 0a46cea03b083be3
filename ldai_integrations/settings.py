"""The options of a Tracking."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal, get_args

from ._options import Option, check_options, choice, names, option, seconds, statuses, switch, whole
from ._service_settings import (
    FeedbackSettings,
    JudgeSettings,
    VisitorSettings,
    feedback_from_environment,
)
from .exceptions import ConfigurationError

FlushWhen = Literal["auto", "request", "shutdown", "never"]
CancelledAs = Literal["cancelled", "error", "success"]
CaughtFailures = Literal["error", "success"]
Framework = Literal[
    "langchain", "openai_agents", "pydantic_ai", "llama_index", "litellm", "dspy", "adk", "crewai", "strands"
]

_FRAMEWORKS: tuple[Framework, ...] = get_args(Framework)
_JUDGES = Option("LDAI_JUDGES", True, switch())
_VISITORS = Option("LDAI_VISITORS", False, switch())


def _judges_from_environment() -> JudgeSettings | None:
    return JudgeSettings() if _JUDGES.read() else None


def _visitors_from_environment() -> VisitorSettings | None:
    return VisitorSettings() if _VISITORS.read() else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """The options of a :class:`~ldai_integrations.Tracking`, checked when they are made.

    An option that the code does not give has the value of its environment variable, such as ``LDAI_FLUSH_TIMEOUT``, or
    its default.

    Attributes:
        flush: When buffered events are sent. ``"auto"``: at shutdown, and after each request on serverless platforms;
            ``"request"``: after each request that had a run, once its last byte is sent;
            ``"shutdown"``: at shutdown only; ``"never"``: only when the application asks for it.
        flush_timeout: The longest time for one flush, in seconds; more than 0, at most 60.
        start_wait: The longest time that ``Tracking.from_env()``, the start of an ASGI application with a middleware,
            and the first runs wait for AI Configs, in seconds; 0 to 300. Then the default is served.
        cancelled_as: What LaunchDarkly receives for a run that the client or a task cancelled:
            ``"cancelled"`` sends times and tokens, but neither success nor error.
        caught_failures: The outcome of a run whose last provider call failed although the handler returned normally:
            ``"error"`` or ``"success"``.
        report_estimates: Whether estimated token counts are sent to LaunchDarkly.
        costs: Whether records carry the cost of a run, where its price is known. The price list is loaded at start.
        error_statuses: The HTTP statuses, 400 to 599, that make a run an error. ``{429, *range(500, 600)}`` also counts
            refusals for too many requests.
        max_body_bytes: How much of a JSON response body is kept to find usage in it, in bytes; 0 or more.
        usage_wait: The longest time that a closed provider stream is read further to get its usage, in seconds; 0 to
            10. It matters only if the consumer stopped at the finish reason, before the usage arrived. Streams that are
            open when their handler ends share it. The report of a run waits as long for frameworks that deliver the
            usage from a thread of their own; nothing else waits then.
        frameworks: The LLM frameworks whose provider calls are reported to the current run; all supported ones by
            default. An empty collection turns this off.
        feedback: Options of thumbs up and down; ``None`` for none.
        judges: Options of the judges that are attached to AI Configs; ``None`` if they must not run.
        visitors: Options of the cookie that recognizes visitors without an LD context of their own; ``None`` for no
            cookie.

    Raises:
        ConfigurationError: If a value or a variable is out of its range.
    """

    flush: FlushWhen = option("auto", choice(get_args(FlushWhen)), "LDAI_FLUSH")
    flush_timeout: float = option(5.0, seconds(0, 60, above=True), "LDAI_FLUSH_TIMEOUT")
    start_wait: float = option(2.0, seconds(0, 300), "LDAI_START_WAIT")
    cancelled_as: CancelledAs = option("cancelled", choice(get_args(CancelledAs)), "LDAI_CANCELLED_AS")
    caught_failures: CaughtFailures = option("error", choice(get_args(CaughtFailures)), "LDAI_CAUGHT_FAILURES")
    report_estimates: bool = option(True, switch(), "LDAI_REPORT_ESTIMATES")
    costs: bool = option(True, switch(), "LDAI_COSTS")
    error_statuses: Collection[int] = option(range(500, 600), statuses(400, 599), "LDAI_ERROR_STATUSES")
    max_body_bytes: int = option(1_000_000, whole(0, None, "bytes"), "LDAI_MAX_BODY_BYTES")
    usage_wait: float = option(0.5, seconds(0, 10), "LDAI_USAGE_WAIT")
    frameworks: Collection[Framework] = option(_FRAMEWORKS, names(_FRAMEWORKS), "LDAI_FRAMEWORKS")
    feedback: FeedbackSettings | None = field(default_factory=feedback_from_environment)
    judges: JudgeSettings | None = field(default_factory=_judges_from_environment)
    visitors: VisitorSettings | None = field(default_factory=_visitors_from_environment)

    def __post_init__(self) -> None:
        check_options(self)
        if self.feedback is not None and not isinstance(self.feedback, FeedbackSettings):
            raise ConfigurationError(
                f"Settings.feedback is of type {type(self.feedback).__name__}; "
                "give a ldai_integrations.feedback.FeedbackSettings"
            )
        if self.judges is not None and not isinstance(self.judges, JudgeSettings):
            raise ConfigurationError(
                f"Settings.judges is of type {type(self.judges).__name__}; "
                "give a ldai_integrations.judges.JudgeSettings, or None"
            )
        if self.visitors is not None and not isinstance(self.visitors, VisitorSettings):
            raise ConfigurationError(
                f"Settings.visitors is of type {type(self.visitors).__name__}; "
                "give a ldai_integrations.visitors.VisitorSettings"
            )
