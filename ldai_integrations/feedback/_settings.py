"""What an application says about feedback."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..exceptions import ConfigurationError

if TYPE_CHECKING:
    from ..typing import VoteStore

Secret = str | bytes

DAY = 24 * 3600
_LONGEST_AGE = 90 * DAY
_SHORTEST_SECRET = 16
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]+")
_EVENT_NAME = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedbackSettings:
    """Hold the options of thumbs up and down, for ``Settings(feedback=…)``; checked when made, never changed.

    Attributes:
        config_keys: Keys of the AI Configs that are voted on; the runs of all others have no token.
        secret: Signs the tokens: one secret of at least 16 characters, the same in every process, or several, of which
            the last signs and all are accepted. Without it Flask's ``SECRET_KEY`` or Django's is used, with its
            fallbacks.
        max_age: How long a token may be voted with, in seconds; 1 to 90 days of them.
        header: Name of the response header that carries the token, such as ``"X-Feedback-Token"``; without one no
            header is added.
        event: Name of the Server-Sent Event that carries the token at the end of a streamed answer, such as
            ``"feedback"``; without one no event is added.
        votes: Where the first vote of each run is kept; without one in this process's memory, which no other sees.
        requests_per_minute: How many votes one client address may send; 0 for any number.

    Raises:
        ConfigurationError: If a value is out of its range.
    """

    config_keys: Collection[str]
    secret: Secret | Sequence[Secret] | None = field(default=None, repr=False)
    max_age: int = 7 * DAY
    header: str | None = None
    event: str | None = None
    votes: VoteStore | None = None
    requests_per_minute: int = 60

    def __post_init__(self) -> None:
        keys = self.config_keys
        if isinstance(keys, (str, bytes)) or not keys or not all(isinstance(key, str) and key for key in keys):
            raise ConfigurationError(
                f"FeedbackSettings.config_keys is {keys!r}; give the keys of the AI Configs that are voted on, in a set"
            )
        self._check_numbers()
        for name, pattern in (("header", _HEADER_NAME), ("event", _EVENT_NAME)):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and pattern.fullmatch(value)):
                raise ConfigurationError(f"FeedbackSettings.{name} is {value!r}; use letters, digits and hyphens")
        if self.votes is not None and not callable(getattr(self.votes, "keep", None)):
            raise ConfigurationError(
                f"FeedbackSettings.votes is {self.votes!r}, which has no keep(run_id, kind, seconds=…); "
                "see ldai_integrations.typing.VoteStore"
            )
        if self.secret is not None:
            _check_secrets(self.secrets)

    @property
    def secrets(self) -> list[Secret]:
        """The secrets that were given, the one that signs last."""
        if self.secret is None:
            return []
        return [self.secret] if isinstance(self.secret, (str, bytes)) else list(self.secret)

    def _check_numbers(self) -> None:
        for name, low, high in (("max_age", 1, _LONGEST_AGE), ("requests_per_minute", 0, 1_000_000)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise ConfigurationError(f"FeedbackSettings.{name} is {value!r}; use a whole number, {low} to {high}")


def _check_secrets(secrets: Sequence[object]) -> None:
    """Refuse secrets that can be guessed; says nothing of what they are."""
    if not secrets or not all(isinstance(item, (str, bytes)) and len(item) >= _SHORTEST_SECRET for item in secrets):
        raise ConfigurationError(
            f"FeedbackSettings.secret is empty, shorter than {_SHORTEST_SECRET} characters or no text. Make one with "
            "python -c 'import secrets; print(secrets.token_urlsafe(32))', keep it out of the code, and give every "
            "process the same"
        )
