"""The options of feedback, of judges and of visitors, which ``Settings`` holds.

They are shared definitions, below the services that use them. Users import them as
``ldai_integrations.feedback.FeedbackSettings``, ``ldai_integrations.judges.JudgeSettings`` and
``ldai_integrations.visitors.VisitorSettings``.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._options import Kind, check_options, option, options_of, pattern, seconds, split, switch, whole
from .exceptions import ConfigurationError

if TYPE_CHECKING:
    from .typing import FeedbackStore, JudgeModel

Secret = str | bytes

DAY = 24 * 3600
_MAX_AGE = 90 * DAY
_MIN_SECRET_CHARS = 16
FEEDBACK_CONFIG_KEYS = "LDAI_FEEDBACK_CONFIG_KEYS"
#: How the address of an SQLite file begins, and those of Redis as redis.Redis.from_url takes them.
SQLITE = "sqlite:///"
_STORES = (SQLITE, "redis://", "rediss://", "unix://")

# usage keeps at most 262,144 characters of a streamed answer.
_MAX_JUDGED_CHARS = 250_000
# The checks of these two are _check_secrets and _check_store, whose messages say more.
_SECRETS = Kind("one or several secrets", lambda _value: True, split, is_secret=True)
_STORE = Kind("the address of a store", lambda _value: True, str, is_secret=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedbackSettings:
    """The options of thumbs up and down, for ``Settings(feedback=…)``.

    They are checked when the object is made, and never change.

    Attributes:
        config_keys: The keys of the AI Configs that users vote on. Runs of other AI Configs have no token.
        secret: The key that signs the tokens: one secret of at least 16 characters, the same in every process; or
            several, of which the last one signs and all are accepted. Without it, the ``SECRET_KEY`` of Flask or Django
            is used, with its fallbacks.
        max_age: For how many seconds a token is valid, from 1 second to 90 days.
        header: The name of the response header with the token, such as ``"X-Feedback-Token"``. Without a name, no
            header is added.
        event: The name of the Server-Sent Event with the token at the end of a streamed answer, such as
            ``"feedback"``. Without a name, no event is added.
        store: Where the first vote of each run and the rate limit are stored: ``"sqlite:///votes.db"`` for the workers
            of one machine (four slashes begin an absolute path), ``"redis://host:6379/0"`` for several machines, or a
            :class:`~ldai_integrations.typing.FeedbackStore`. Without one, it is this process's memory, which no other
            process sees.
        requests_per_minute: How many votes one client address may send; 0 for any number.

    Raises:
        ConfigurationError: If a value is out of its range.
    """

    config_keys: Collection[str]
    secret: Secret | Sequence[Secret] | None = option(None, _SECRETS, "LDAI_FEEDBACK_SECRET")
    max_age: int = option(7 * DAY, whole(1, _MAX_AGE, "seconds"), "LDAI_FEEDBACK_MAX_AGE")
    header: str | None = option(None, pattern("[A-Za-z0-9-]+", "letters, digits and hyphens"), "LDAI_FEEDBACK_HEADER")
    event: str | None = option(
        None, pattern("[A-Za-z0-9_.-]+", "letters, digits, hyphens, dots and underscores"), "LDAI_FEEDBACK_EVENT"
    )
    store: str | FeedbackStore | None = option(None, _STORE, "LDAI_FEEDBACK_STORE")
    requests_per_minute: int = option(60, whole(0, 1_000_000), "LDAI_FEEDBACK_REQUESTS_PER_MINUTE")

    def __post_init__(self) -> None:
        keys = self.config_keys
        if isinstance(keys, (str, bytes)) or not keys or not all(isinstance(key, str) and key for key in keys):
            raise ConfigurationError(
                f"FeedbackSettings.config_keys is {keys!r}; give the keys of the AI Configs that are voted on, in a set"
            )
        check_options(self)
        _check_store(_name_of(self, "store"), self.store)
        if self.secret is not None:
            _check_secrets(_name_of(self, "secret"), self.secrets)

    @property
    def secrets(self) -> list[Secret]:
        """The given secrets; the last one signs."""
        return _secrets_in(self.secret)


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeSettings:
    """The options of online evaluations, for ``Settings(judges=…)``.

    They are checked when the object is made, and never change.

    Attributes:
        model: A function that calls the models of judges, see :class:`~ldai_integrations.typing.JudgeModel`. Without
            one, the AI SDK's provider packages call them, such as ``launchdarkly-server-sdk-ai-openai``.
        concurrency: How many evaluations may run at a time in a process; 1 to 100.
        timeout: How long one evaluation may take, in seconds; more than 0, at most 600.
        queue: How many evaluations may wait; 0 to 10,000. Further ones are dropped and counted.
        max_chars: How long the question and the answer may be together, in characters; 1 to 250,000. A run with longer
            texts is not judged, which is counted. A full queue holds this much text for each of its evaluations.

    Raises:
        ConfigurationError: If a value is out of its range.
    """

    model: JudgeModel | None = None
    concurrency: int = option(4, whole(1, 100), "LDAI_JUDGES_CONCURRENCY")
    timeout: float = option(60.0, seconds(0, 600, above=True), "LDAI_JUDGES_TIMEOUT")
    queue: int = option(100, whole(0, 10_000), "LDAI_JUDGES_QUEUE")
    max_chars: int = option(200_000, whole(1, _MAX_JUDGED_CHARS, "characters"), "LDAI_JUDGES_MAX_CHARS")

    def __post_init__(self) -> None:
        if self.model is not None and not callable(self.model):
            raise ConfigurationError(
                f"JudgeSettings.model is of type {type(self.model).__name__}; give a function of messages and config"
            )
        check_options(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class VisitorSettings:
    """The options of the cookie that recognizes visitors, for ``Settings(visitors=…)``.

    They are checked when the object is made, and never change.

    Attributes:
        secret: The key that signs the cookie: one secret of at least 16 characters, the same in every process; or
            several, of which the last one signs and all are accepted. Without it, the ``SECRET_KEY`` of Flask or Django
            is used, with its fallbacks.
        cookie: The name of the cookie.
        max_age: For how many seconds a browser keeps the cookie, from 1 hour to 400 days.
        always_secure: Whether the cookie is ``Secure`` in every response. Otherwise it is if the request came over
            https, as far as the application knows.

    Raises:
        ConfigurationError: If a value is out of its range.
    """

    secret: Secret | Sequence[Secret] | None = option(None, _SECRETS, "LDAI_VISITORS_SECRET")
    cookie: str = option(
        "ldai_visitor",
        pattern("[A-Za-z0-9_.-]+", "letters, digits, hyphens, dots and underscores"),
        "LDAI_VISITORS_COOKIE",
    )
    max_age: int = option(365 * DAY, whole(3600, 400 * DAY, "seconds"), "LDAI_VISITORS_MAX_AGE")
    always_secure: bool = option(False, switch(), "LDAI_VISITORS_ALWAYS_SECURE")

    def __post_init__(self) -> None:
        check_options(self)
        if self.secret is not None:
            _check_secrets(_name_of(self, "secret"), self.secrets)

    @property
    def secrets(self) -> list[Secret]:
        """The given secrets; the last one signs."""
        return _secrets_in(self.secret)


def feedback_from_environment() -> FeedbackSettings | None:
    """Return the options that the environment describes; ``None`` if no variable names the AI Configs."""
    keys = split(os.environ.get(FEEDBACK_CONFIG_KEYS, ""))
    return FeedbackSettings(config_keys=keys) if keys else None


def _name_of(settings: FeedbackSettings | VisitorSettings, field: str) -> str:
    """Return the name of a setting for an error: that of the variable if the value comes from it."""
    value, found = getattr(settings, field), options_of(settings)[field]
    return found.variable if value is not None and value == found.read() else f"{type(settings).__name__}.{field}"


def _check_store(name: str, store: object) -> None:
    """Refuse a store that cannot work, without showing an address, which may contain a password."""
    if isinstance(store, str):
        if not store.startswith(_STORES) or not store.removeprefix(SQLITE).strip():
            raise ConfigurationError(f"{name} is no address of a store; use sqlite:///votes.db or redis://host:6379/0")
        if store == f"{SQLITE}:memory:":  # each call opens the store anew, and would find it empty
            raise ConfigurationError(
                f"{name} is an SQLite database in memory, which counts nothing; name a file, or leave "
                "store out for the memory of this process"
            )
    elif store is not None and not all(callable(getattr(store, name, None)) for name in ("keep", "discard", "count")):
        raise ConfigurationError(
            f"{name} is of type {type(store).__name__}, which has no keep, discard and count; "
            "see ldai_integrations.typing.FeedbackStore"
        )


def _secrets_in(secret: Secret | Sequence[Secret] | None) -> list[Secret]:
    if secret is None:
        return []
    return [secret] if isinstance(secret, (str, bytes)) else list(secret)


def _check_secrets(name: str, secrets: Sequence[object]) -> None:
    """Refuse secrets that can be guessed, without showing them."""
    if not secrets or not all(isinstance(item, (str, bytes)) and len(item) >= _MIN_SECRET_CHARS for item in secrets):
        raise ConfigurationError(
            f"{name} is empty, shorter than {_MIN_SECRET_CHARS} characters or no text. Make one with "
            "python -c 'import secrets; print(secrets.token_urlsafe(32))', keep it out of the code, and give every "
            "process the same"
        )
