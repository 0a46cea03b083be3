"""Options of online evaluations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..exceptions import ConfigurationError

if TYPE_CHECKING:
    from ..typing import JudgeModel


# Of streamed answers the usage room keeps 262,144 characters.
_MOST_CHARS = 250_000


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeSettings:
    """Hold the options of online evaluations; checked when made, never changed.

    Attributes:
        model: Asks the models of judges, see :class:`~ldai_integrations.typing.JudgeModel`. Without it they are asked
            through the AI SDK's provider packages, such as ``launchdarkly-server-sdk-ai-openai``.
        concurrency: How many evaluations may go on at a time in a process; 1 to 100.
        timeout: How long one evaluation may take, in seconds; more than 0, at most 600.
        queue: How many evaluations may wait for a place; more are shed and counted. 0 to 10,000.
        max_chars: How long what was asked and what was answered may be together, in characters; a longer run is not
            judged, and counted. 1 to 250,000. With a full queue, this much text waits that many times.

    Raises:
        ConfigurationError: If a value is out of its range.
    """

    model: JudgeModel | None = None
    concurrency: int = 4
    timeout: float = 60.0
    queue: int = 100
    max_chars: int = 200_000

    def __post_init__(self) -> None:
        if self.model is not None and not callable(self.model):
            raise ConfigurationError(
                f"JudgeSettings.model is of type {type(self.model).__name__}; give a function of messages and config"
            )
        for name, least, most in (("concurrency", 1, 100), ("queue", 0, 10_000), ("max_chars", 1, _MOST_CHARS)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
                raise ConfigurationError(
                    f"JudgeSettings.{name} is {value!r}; use a whole number from {least} to {most}"
                )
        seconds = self.timeout
        if not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or not 0 < seconds <= 600:
            raise ConfigurationError(f"JudgeSettings.timeout is {seconds!r}; use seconds, more than 0 and at most 600")
