"""The client: metrics of one AI Config, in total, by variation and over time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, TypeVar
from urllib.parse import quote

from ..exceptions import ConfigurationError, MetricsError
from ._combine import combine, combine_variations
from ._http import Connection
from ._values import Metrics, VariationMetrics, metrics_from_json, variations_from_json

T = TypeVar("T")
Moment = datetime | int
OnProgress = Callable[[int, int], object]

_DAY_MS = 24 * 3600 * 1000
_MAX_RANGE_MS = 100 * _DAY_MS  # LaunchDarkly's own limit for one request
_MAX_TOTAL_MS = 3660 * _DAY_MS  # ten years: 37 requests
_EARLIEST_MS = 100_000_000_000  # March 1973: a smaller number was meant in seconds

_TOKEN_FORM = re.compile(r"[\x21-\x7e]{1,4096}")


@dataclass(frozen=True, slots=True)
class MetricsPoint:
    """Hold the metrics of one step of time.

    Attributes:
        start_ms: Its first millisecond since the epoch.
        end_ms: The first one after it.
        variations: Metrics by variation key; the key ``None`` holds the total where that was asked for.
    """

    start_ms: int
    end_ms: int
    variations: dict[str | None, Metrics]


class MetricsClient:
    """Read metrics of AI Configs from LaunchDarkly or the dev server.

    Thread-safe and synchronous: call it in a thread where there is an event loop. Nothing is requested before a method
    is called. A request that fails is tried up to 5 times; a rate limit is waited for, up to ``max_wait`` each time.

    Args:
        api_token: An API access token whose role may read AI Configs; never logged or shown.
        project_key: Key of the LaunchDarkly project.
        base_url: ``"launchdarkly"``, ``"eu"`` or ``"federal"``, or the address of a dev server.
        timeout: Seconds for one try, more than 0, at most 300.
        max_wait: Seconds to wait at most for one rate limit to pass; 0 or more.

    Raises:
        ConfigurationError: If a value cannot work.
    """

    def __init__(
        self,
        api_token: str,
        project_key: str,
        *,
        base_url: str = "launchdarkly",
        timeout: float = 30.0,
        max_wait: float = 60.0,
    ) -> None:
        self._project = _checked_key("project_key", project_key)
        if not 0 < timeout <= 300:
            raise ConfigurationError(f"timeout is {timeout!r}; use seconds, more than 0 and at most 300")
        if max_wait < 0:
            raise ConfigurationError(f"max_wait is {max_wait!r}; use 0 or more seconds")
        self._connection = Connection(base_url, _checked_token(api_token), timeout=timeout, max_wait=max_wait)

    def __repr__(self) -> str:
        return f"MetricsClient(project_key={self._project!r}, base_url={self._connection.base_url!r})"

    def metrics(
        self,
        config_key: str,
        *,
        env: str,
        start: Moment,
        end: Moment | None = None,
        on_progress: OnProgress | None = None,
    ) -> Metrics:
        """Return the metrics of an AI Config over all its variations.

        More than 100 days are asked for in several requests, and put together as the table in ``_combine`` says.

        Args:
            config_key: Key of the AI Config.
            env: Key of the environment.
            start: The first moment that counts: an aware datetime, or milliseconds since the epoch.
            end: The first moment that does not count any more; now unless told.
            on_progress: Called with (requests done, requests in all).

        Raises:
            ConfigurationError: If a value cannot work.
            MetricsError: If LaunchDarkly cannot be reached, or refuses; the text says what to do.
        """
        parts = self._ask(config_key, "metrics", metrics_from_json, env, _ranges(start, end), on_progress)
        return combine(parts)

    def metrics_by_variation(
        self,
        config_key: str,
        *,
        env: str,
        start: Moment,
        end: Moment | None = None,
        on_progress: OnProgress | None = None,
    ) -> list[VariationMetrics]:
        """Return the metrics of each variation; arguments and errors as for :meth:`metrics`."""
        ranges = _ranges(start, end)
        parts = self._ask(config_key, "metrics-by-variation", variations_from_json, env, ranges, on_progress)
        return combine_variations(parts)

    def metrics_over_time(
        self,
        config_key: str,
        *,
        env: str,
        start: Moment,
        end: Moment | None = None,
        points: int = 24,
        by_variation: bool = False,
        on_progress: OnProgress | None = None,
    ) -> list[MetricsPoint]:
        """Return the metrics of equal steps of time, oldest first; one request each.

        Args:
            points: How many steps, 1 to 200.
            by_variation: Tell the variations apart; else each point holds the total under ``None``.

        The other arguments and the errors are those of :meth:`metrics`.
        """
        ranges = _steps(start, end, points)
        if by_variation:
            found = self._ask(config_key, "metrics-by-variation", variations_from_json, env, ranges, on_progress)
            parts: list[dict[str | None, Metrics]] = [{v.variation_key: v.metrics for v in part} for part in found]
        else:
            totals = self._ask(config_key, "metrics", metrics_from_json, env, ranges, on_progress)
            parts = [{None: total} for total in totals]
        return [MetricsPoint(first, last, part) for (first, last), part in zip(ranges, parts, strict=True)]

    def _ask(
        self,
        config_key: str,
        what: str,
        read: Callable[[Any], T],
        env: str,
        ranges: list[tuple[int, int]],
        on_progress: OnProgress | None,
    ) -> list[T]:
        config, query = _checked_key("config_key", config_key), {"env": _checked_key("env", env)}
        path = f"/api/v2/projects/{quote(self._project, safe='')}/ai-configs/{quote(config, safe='')}/{what}"
        answers = []
        for done, (first, last) in enumerate(ranges, 1):
            answer = self._connection.get(path, {**query, "from": str(first), "to": str(last)})
            try:
                answers.append(read(answer))
            except ValueError as exc:
                raise MetricsError(
                    f"{self._connection.base_url} sent metrics that cannot be read: {exc}; check the address, "
                    "or look for a newer ldai-integrations",
                    status=200,
                ) from exc
            if on_progress is not None:
                on_progress(done, len(ranges))
        return answers


def _checked_token(token: str) -> str:
    """Refuse what is no access token, without showing it."""
    token = token.strip() if isinstance(token, str) else ""
    if not _TOKEN_FORM.fullmatch(token):
        raise ConfigurationError("api_token is empty or has characters that no access token has; copy it whole")
    if token.startswith(("sdk-", "mob-")):
        raise ConfigurationError(
            f"api_token begins with {token[:4]!r}: that is the key of an SDK; give an API access token (api-…), "
            "from LaunchDarkly's Authorization page"
        )
    return token


def _checked_key(name: str, key: str) -> str:
    if not isinstance(key, str) or not key.strip():
        raise ConfigurationError(f"{name} is {key!r}; give the key as LaunchDarkly shows it")
    return key.strip()


def _span(start: Moment, end: Moment | None) -> tuple[int, int]:
    first = _ms("start", start)
    last = _ms("end", datetime.now(timezone.utc) if end is None else end)
    if not first < last <= first + _MAX_TOTAL_MS:
        raise ConfigurationError(f"start is {start!r} and end {end!r}; end must follow start by at most ten years")
    return first, last


def _ranges(start: Moment, end: Moment | None) -> list[tuple[int, int]]:
    """Split a time range into the fewest parts that LaunchDarkly allows; they touch and do not overlap."""
    return list(_split(*_span(start, end), _MAX_RANGE_MS))


def _steps(start: Moment, end: Moment | None, points: int) -> list[tuple[int, int]]:
    if not isinstance(points, int) or not 1 <= points <= 200:
        raise ConfigurationError(f"points is {points!r}; use 1 to 200")
    first, last = _span(start, end)
    step = -(-(last - first) // points)
    if step > _MAX_RANGE_MS:
        raise ConfigurationError(f"{points} points make steps of more than 100 days; ask for more points")
    return list(_split(first, last, step))


def _split(first: int, last: int, step: int) -> Iterator[tuple[int, int]]:
    for begin in range(first, last, step):
        yield begin, min(begin + step, last)


def _ms(name: str, moment: Moment) -> int:
    if isinstance(moment, datetime):
        if moment.utcoffset() is None:
            raise ConfigurationError(f"{name} is {moment!r} without a time zone; use datetime.now(timezone.utc)")
        return round(moment.timestamp() * 1000)
    if isinstance(moment, bool) or not isinstance(moment, int) or moment < _EARLIEST_MS:
        raise ConfigurationError(
            f"{name} is {moment!r}; give an aware datetime or milliseconds since the epoch (not seconds)"
        )
    return moment
