"""The options of a Tracking."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, fields
from typing import Literal, get_args, get_origin, get_type_hints

from ._service_settings import FeedbackSettings, JudgeSettings
from .exceptions import ConfigurationError

FlushWhen = Literal["auto", "request", "shutdown", "never"]
CancelledAs = Literal["cancelled", "error", "success"]
CaughtFailures = Literal["error", "success"]
Framework = Literal[
    "langchain", "openai_agents", "pydantic_ai", "llama_index", "litellm", "dspy", "adk", "crewai", "strands"
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """The options of a :class:`~ldai_integrations.Tracking`, checked when they are made.

    Attributes:
        flush: When buffered events are sent. ``"auto"``: at shutdown, and after each request on serverless platforms;
            ``"request"``: after each request that had a run, once its last byte is sent;
            ``"shutdown"``: at shutdown only; ``"never"``: only when the application asks for it.
        flush_timeout: The longest time for one flush, in seconds; more than 0, at most 60.
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

    Raises:
        ConfigurationError: If a value is out of its range.
    """

    flush: FlushWhen = "auto"
    flush_timeout: float = 5.0
    cancelled_as: CancelledAs = "cancelled"
    caught_failures: CaughtFailures = "error"
    report_estimates: bool = True
    costs: bool = True
    error_statuses: Collection[int] = range(500, 600)
    max_body_bytes: int = 1_000_000
    usage_wait: float = 0.5
    frameworks: Collection[Framework] = get_args(Framework)
    feedback: FeedbackSettings | None = None
    judges: JudgeSettings | None = field(default_factory=JudgeSettings)

    def __post_init__(self) -> None:
        self._check_choices()
        if not _is_number(self.flush_timeout) or not 0 < self.flush_timeout <= 60:
            raise ConfigurationError(
                f"Settings.flush_timeout is {self.flush_timeout!r}; use seconds, more than 0 and at most 60"
            )
        if not _is_number(self.usage_wait) or not 0 <= self.usage_wait <= 10:
            raise ConfigurationError(f"Settings.usage_wait is {self.usage_wait!r}; use seconds, 0 to 10")
        if not _is_statuses(self.error_statuses):
            raise ConfigurationError(
                f"Settings.error_statuses is {self.error_statuses!r}; use a set, list or range of statuses, 400 to 599"
            )
        if not isinstance(self.max_body_bytes, int) or self.max_body_bytes < 0:
            raise ConfigurationError(f"Settings.max_body_bytes is {self.max_body_bytes!r}; use 0 or more bytes")
        unknown = [name for name in self.frameworks if name not in get_args(Framework)]
        if isinstance(self.frameworks, str) or unknown:
            raise ConfigurationError(
                f"Settings.frameworks is {self.frameworks!r}; use a collection of {', '.join(get_args(Framework))}"
            )
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

    def _check_choices(self) -> None:
        """Refuse a value that is not one of the words of its option, or not a boolean."""
        hints = get_type_hints(Settings)
        for item in fields(self):
            hint, value = hints[item.name], getattr(self, item.name)
            if get_origin(hint) is Literal and value not in get_args(hint):
                choices = ", ".join(map(repr, get_args(hint)))
                raise ConfigurationError(f"Settings.{item.name} is {value!r}; use one of {choices}")
            if hint is bool and not isinstance(value, bool):
                raise ConfigurationError(f"Settings.{item.name} is {value!r}; use True or False")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_statuses(value: object) -> bool:
    return isinstance(value, Collection) and all(isinstance(item, int) and 400 <= item <= 599 for item in value)
