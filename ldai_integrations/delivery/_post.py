"""One post of a batch to LaunchDarkly's events endpoint, and what its answer means."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from typing import Any

import urllib3
from ldclient import Config

from ._batch import Batch
from ._sdk import Engine

# A server that asks for more than this is tried again earlier.
_MAX_RETRY_AFTER_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint said to one post.

    Attributes:
        status: The HTTP status; ``None`` where there was no answer.
        retry_after: Seconds for which it asks not to be tried again; 0 where it does not.
    """

    status: int | None
    retry_after: float = 0.0

    @property
    def took_it(self) -> bool:
        """Whether the batch has arrived."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_too_large(self) -> bool:
        """Whether a smaller batch may be taken."""
        return self.status == 413

    @property
    def is_refusal(self) -> bool:
        """Whether the same will be said to every batch, until somebody changes a key, an address or a proxy."""
        return self.status is not None and 300 <= self.status < 500 and self.status not in (400, 408, 413, 429)

    def __str__(self) -> str:
        """Say it as ``stats()`` and log lines do."""
        return "unreachable" if self.status is None else f"HTTP {self.status}"


class Poster:
    """Post batches over one connection; for one thread."""

    def __init__(self, config: Config, engine: Engine) -> None:
        self._uri = config.events_uri
        self._headers, self._answered = engine.headers, engine.answered
        self._pool = engine.pool()
        self._compress = config.enable_event_compression
        self._timeout = urllib3.Timeout(connect=config.http.connect_timeout, read=config.http.read_timeout)

    def post(self, batch: Batch) -> Answer:
        """Post a batch, once; a retry carries the same payload id, by which LaunchDarkly knows it."""
        headers = {**self._headers, "X-LaunchDarkly-Payload-ID": batch.id}
        body = batch.body
        if self._compress:
            headers["Content-Encoding"], body = "gzip", gzip.compress(body)
        try:
            response = self._pool.request(
                "POST", self._uri, headers=headers, body=body, timeout=self._timeout, retries=False, redirect=False
            )
        except Exception:
            return Answer(None)
        answer = Answer(response.status, _retry_after(response))
        if answer.took_it:
            self._answered(response)  # the SDK takes the time from it, for flags that are being debugged
        return answer

    def close(self) -> None:
        """Let go of the connection."""
        self._pool.clear()


def _retry_after(response: Any) -> float:
    value = response.headers.get("Retry-After")
    if value is None:
        return 0.0
    try:
        return min(urllib3.Retry().parse_retry_after(value), _MAX_RETRY_AFTER_SECONDS)
    except Exception:
        return 0.0
