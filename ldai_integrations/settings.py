"""The options of a Tracking, and of feedback, judges and visitors."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, get_args

from ._files import is_memory_or_uri
from ._options import (
    Kind,
    Option,
    check_options,
    choice,
    names,
    option,
    options_of,
    pattern,
    seconds,
    split,
    statuses,
    switch,
    whole,
)
from .exceptions import ConfigurationError

if TYPE_CHECKING:
    from .typing import FeedbackStore, JudgeModel

__all__ = ["FeedbackSettings", "JudgeSettings", "Settings", "VisitorSettings"]

FlushWhen = Literal["auto", "request", "shutdown", "never"]
CancelledAs = Literal["cancelled", "error", "success"]
CaughtFailures = Literal["error", "success"]
Framework = Literal[
    "langchain", "openai_agents", "pydantic_ai", "llama_index", "litellm", "dspy", "adk", "crewai", "strands"
]
Secret = str | bytes

DAY = 24 * 3600
_MIN_SECRET_CHARS = 16
#: How the address of an SQLite file begins, and those of Redis as redis.Redis.from_url takes them.
SQLITE = "sqlite:///"
_STORES = (SQLITE, "redis://", "rediss://", "unix://")
# The headers of responses in RFC 9110 to 9113 (HTTP) and 6265 (cookies). A token would change what they say.
_HEADERS_OF_HTTP = (
    "accept|accept-encoding|accept-ranges|age|allow|authentication-info|cache-control|close|connection|content-encoding|"
    "content-language|content-length|content-location|content-range|content-type|date|etag|expires|keep-alive|"
    "last-modified|location|mime-version|pragma|proxy-authenticate|proxy-authentication-info|proxy-connection|"
    "retry-after|server|set-cookie|trailer|transfer-encoding|upgrade|vary|via|warning|www-authenticate"
)
# usage keeps at most 262,144 characters of a streamed answer.
_MAX_JUDGED_CHARS = 250_000
_FRAMEWORKS: tuple[Framework, ...] = get_args(Framework)

# The variables that turn on a service, and those that are no option of a class.
_FEEDBACK, _JUDGES, _VISITORS = "LDAI_FEEDBACK", "LDAI_JUDGES", "LDAI_VISITORS"
_FEEDBACK_KEYS = "LDAI_FEEDBACK_CONFIG_KEYS"
_OF_NO_CLASS = ("LDAI_DEV_SERVER", "LDAI_CONFIG_FILE", _FEEDBACK, _FEEDBACK_KEYS, _JUDGES, _VISITORS)


def _problem_with_secrets(secret: Any) -> str | None:
    """Return why secrets can be guessed, without showing them."""
    secrets = _secrets_in(secret) if isinstance(secret, Sequence) else []
    if secrets and all(isinstance(item, (str, bytes)) and len(item) >= _MIN_SECRET_CHARS for item in secrets):
        return None
    return (
        f"is empty, shorter than {_MIN_SECRET_CHARS} characters or no text. Make one with "
        "python -c 'import secrets; print(secrets.token_urlsafe(32))', keep it out of the code, and give every "
        "process the same"
    )


def _secrets_in(secret: Secret | Sequence[Secret]) -> list[Secret]:
    return [secret] if isinstance(secret, (str, bytes)) else list(secret)


def _problem_with_store(store: object) -> str | None:
    """Return why a store cannot work, without showing an address, which may contain a password."""
    if isinstance(store, str):
        if not store.startswith(_STORES) or not store.removeprefix(SQLITE).strip():
            return "is not the address of a store; use sqlite:///votes.db or redis://host:6379/0"
        if is_memory_or_uri(store.removeprefix(SQLITE)):  # each call opens the store anew, and would find it empty
            return (
                "is an SQLite database in memory, which counts nothing, or a URI of SQLite; name a file, or leave "
                "store out for the memory of this process"
            )
    elif not all(callable(getattr(store, name, None)) for name in ("keep", "discard", "count")):
        return (
            f"is of type {type(store).__name__}, which has no keep, discard and count; "
            "see ldai_integrations.typing.FeedbackStore"
        )
    return None


_HEADER = pattern(
    f"(?ai)(?!({_HEADERS_OF_HTTP})$)[a-z0-9-]+",
    "letters, digits and hyphens, but not the name of a header of HTTP itself",
)
_SECRETS = Kind("one or several secrets", split, problem=_problem_with_secrets)
_STORE = Kind("the address of a store", str, problem=_problem_with_store)


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
        header: The name of the response header with the token, such as ``"X-Feedback-Token"``. The headers of HTTP
            itself are refused. Without a name, no header is added.
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
    max_age: int = option(7 * DAY, whole(1, 90 * DAY, "seconds"), "LDAI_FEEDBACK_MAX_AGE")
    header: str | None = option(None, _HEADER, "LDAI_FEEDBACK_HEADER")
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

    @property
    def secrets(self) -> list[Secret]:
        """The given secrets; the last one signs."""
        return [] if self.secret is None else _secrets_in(self.secret)


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

    @property
    def secrets(self) -> list[Secret]:
        """The given secrets; the last one signs."""
        return [] if self.secret is None else _secrets_in(self.secret)


def _feedback_from_environment() -> FeedbackSettings | None:
    is_on = Option(_FEEDBACK, None, switch()).read()
    if is_on is False:
        return None
    keys: Any = Option(_FEEDBACK_KEYS, None, Kind("keys of AI Configs, separated by commas", split)).read()
    if keys is None and is_on:
        raise ConfigurationError(
            f"{_FEEDBACK} is on; set {_FEEDBACK_KEYS} as well, to the keys of the AI Configs that users vote on"
        )
    return None if keys is None else FeedbackSettings(config_keys=keys)


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
        caught_failures: The outcome of a run whose last provider call failed or was stopped although the handler
            returned normally: ``"error"`` or ``"success"``.
        report_estimates: Whether estimated token counts are sent to LaunchDarkly.
        costs: Whether records carry the cost of a run, where its price is known. The price list is loaded at start.
        error_statuses: The HTTP statuses, 400 to 599, that make a run an error. ``{429, *range(500, 600)}`` also counts
            refusals for too many requests.
        max_body_bytes: How much of a JSON response body is kept to find usage in it, in bytes; 0 or more.
        usage_wait: The longest time that a closed provider stream is read further to get its usage, in seconds; 0 to
            10. It matters only if the consumer stopped at the finish reason, before the usage arrived. All
            streams of a run share it. The report of a run waits as long for frameworks that deliver the usage from a
            thread of their own; nothing else waits then.
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
    feedback: FeedbackSettings | None = field(default_factory=_feedback_from_environment)
    judges: JudgeSettings | None = field(
        default_factory=lambda: JudgeSettings() if Option(_JUDGES, True, switch()).read() else None
    )
    visitors: VisitorSettings | None = field(
        default_factory=lambda: VisitorSettings() if Option(_VISITORS, False, switch()).read() else None
    )

    def __post_init__(self) -> None:
        check_options(self)
        for name, cls in (("feedback", FeedbackSettings), ("judges", JudgeSettings), ("visitors", VisitorSettings)):
            value = getattr(self, name)
            if value is not None and not isinstance(value, cls):
                raise ConfigurationError(
                    f"Settings.{name} is of type {type(value).__name__}; "
                    f"give a ldai_integrations.{name}.{cls.__name__}, or None"
                )


def find_mistakes(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield the variables that have no effect, although they look as if they had, each with what to do.

    Args:
        settings: The settings that are used.
    """
    given = {name for name, value in os.environ.items() if name.startswith("LDAI_") and value.strip()}
    classes = (Settings, FeedbackSettings, JudgeSettings, VisitorSettings)
    known = {*_OF_NO_CLASS, *(found.variable for cls in classes for found in options_of(cls).values())}
    for name in sorted(given - known):
        for similar in get_close_matches(name, known, n=1, cutoff=0.85):
            yield name, f"{similar} is similar; correct the name"
    for cls, service, switched_by, needed in (
        (FeedbackSettings, settings.feedback, {_FEEDBACK, _FEEDBACK_KEYS}, _FEEDBACK_KEYS),
        (VisitorSettings, settings.visitors, {_VISITORS}, _VISITORS),
    ):
        if service is None and not given & switched_by:
            for found in options_of(cls).values():
                if found.variable in given:
                    yield found.variable, f"set {needed} as well"
