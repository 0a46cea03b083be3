"""The client for the metrics of an AI Config, in total, by variation and over time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TypeVar
from urllib.parse import quote

from ..exceptions import ConfigurationError, MetricsError
from ._http import Connection
from ._values import Metrics, VariationMetrics, combine, combine_variations, metrics_from_json, variations_from_json

T = TypeVar("T")
Moment = datetime | int
OnProgress = Callable[[int, int], object]

_DAY_MS = 24 * 3600 * 1000
_MAX_RANGE_MS = 100 * _DAY_MS  # LaunchDarkly's limit for one request
_MAX_TOTAL_MS = 3660 * _DAY_MS  # ten years: 37 requests
_EARLIEST_MS = 100_000_000_000  # March 1973: a smaller number is probably in seconds


@dataclass(frozen=True, slots=True)
class MetricsPoint:
    """The metrics of one time step.

    Attributes:
        start_ms: Its first millisecond since the epoch.
        end_ms: The first millisecond after it.
        variations: The metrics by variation key. The total, if that was requested, has the key ``None``.
    """

    start_ms: int
    end_ms: int
    variations: dict[str | None, Metrics]


class MetricsClient:
    """A client that reads the metrics of AI Configs from LaunchDarkly or the dev server.

    Thread-safe and synchronous: in an application with an event loop, call it on a thread. It requests nothing before
    a method is called. A request that fails is tried up to 5 times. It waits for a rate limit, up to ``max_wait`` each
    time.

    Args:
        api_token: An API access token whose role may read AI Configs. It is never logged or shown.
        project_key: The key of the LaunchDarkly project.
        base_url: ``"launchdarkly"``, ``"eu"`` or ``"federal"``, or the address of a dev server.
        timeout: The time for one try in seconds; more than 0, at most 300.
        max_wait: The longest wait for one rate limit in seconds; 0 or more.

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
        self._project = _check_key("project_key", project_key)
        if not 0 < timeout <= 300:
            raise ConfigurationError(f"timeout is {timeout!r}; use seconds, more than 0 and at most 300")
        if max_wait < 0:
            raise ConfigurationError(f"max_wait is {max_wait!r}; use 0 or more seconds")
        self._connection = Connection(base_url, api_token, timeout=timeout, max_wait=max_wait)

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

        More than 100 days take several requests, whose metrics are combined: counts are added, means are weighted by
        number of generations.

        Args:
            config_key: The key of the AI Config.
            env: The key of the environment.
            start: The first moment: an aware datetime, or milliseconds since the epoch.
            end: The first moment that is not included; the default is now.
            on_progress: Called with the number of requests that are done and of all requests.

        Raises:
            ConfigurationError: If a value cannot work.
            MetricsError: If LaunchDarkly cannot be reached or refuses. The text says what to do.
        """
        parts = self._ask(config_key, "metrics", metrics_from_json, env, _split_range(start, end), on_progress)
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
        """Return the metrics of each variation. Arguments and errors are those of :meth:`metrics`."""
        ranges = _split_range(start, end)
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
        """Return the metrics of equal time steps, oldest first, with one request each.

        Args:
            points: The number of steps, 1 to 200.
            by_variation: Whether to return each variation; otherwise each point has the total under ``None``.

        The other arguments and the errors are those of :meth:`metrics`.
        """
        ranges = _split_range(start, end, points)
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
        read: Callable[[object], T],
        env: str,
        ranges: list[tuple[int, int]],
        on_progress: OnProgress | None,
    ) -> list[T]:
        config, query = _check_key("config_key", config_key), {"env": _check_key("env", env)}
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


def _check_key(name: str, key: str) -> str:
    if not isinstance(key, str) or not key.strip():
        raise ConfigurationError(f"{name} is {key!r}; give the key as LaunchDarkly shows it")
    return key.strip()


def _split_range(start: Moment, end: Moment | None, points: int | None = None) -> list[tuple[int, int]]:
    """Split a time range into equal steps, or without ``points`` into the fewest parts that LaunchDarkly allows."""
    first = _to_ms("start", start)
    last = _to_ms("end", datetime.now(timezone.utc) if end is None else end)
    if not first < last <= first + _MAX_TOTAL_MS:
        raise ConfigurationError(f"start is {start} and end {end}; end must follow start by at most ten years")
    step = _MAX_RANGE_MS
    if points is not None:
        if not isinstance(points, int) or not 1 <= points <= 200:
            raise ConfigurationError(f"points is {points!r}; use 1 to 200")
        step = -(-(last - first) // points)
        if step > _MAX_RANGE_MS:
            raise ConfigurationError(f"{points} points make steps of more than 100 days; ask for more points")
    return [(begin, min(begin + step, last)) for begin in range(first, last, step)]


def _to_ms(name: str, moment: Moment) -> int:
    if isinstance(moment, datetime):
        if moment.utcoffset() is None:
            raise ConfigurationError(f"{name} is {moment!r} without a time zone; use datetime.now(timezone.utc)")
        return round(moment.timestamp() * 1000)
    if isinstance(moment, bool) or not isinstance(moment, int) or moment < _EARLIEST_MS:
        raise ConfigurationError(
            f"{name} is {moment!r}; give an aware datetime or milliseconds since the epoch (not seconds)"
        )
    return moment
