"""One post to LaunchDarkly's events endpoint, and its answer, in a limited time."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from typing import Any

import urllib3
from ldclient import Config

from .._http import limit_heads
from ._batch import Batch
from ._sdk import Engine

# If a server asks for a longer delay than this, it is tried again earlier.
_MAX_RETRY_AFTER_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The endpoint's answer to one post.

    Attributes:
        status: The HTTP status, or ``None`` if there was no answer.
        retry_after: For how many seconds the endpoint asks not to be tried again.
    """

    status: int | None
    retry_after: float = 0.0

    @property
    def is_accepted(self) -> bool:
        """Whether the batch has arrived."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_too_large(self) -> bool:
        """Whether a smaller batch may be accepted."""
        return self.status == 413

    @property
    def is_refusal(self) -> bool:
        """Whether every batch gets the same answer until somebody changes a key, an address or a proxy."""
        return self.status is not None and 300 <= self.status < 500 and self.status not in (400, 408, 413, 429)

    def __str__(self) -> str:
        """Return the words of ``Stats.endpoint`` and of the log."""
        return "unreachable" if self.status is None else f"HTTP {self.status}"


class Poster:
    """A connection to the events endpoint. For one thread."""

    def __init__(self, config: Config, engine: Engine) -> None:
        self._uri = config.events_uri
        self._headers, self._answered = engine.headers, engine.answered
        self._pool = engine.pool()
        limit_heads(self._pool)
        self._is_compressed = config.enable_event_compression
        self._timeout = urllib3.Timeout(connect=config.http.connect_timeout, read=config.http.read_timeout)

    def post(self, batch: Batch) -> Answer:
        """Post a batch once. A retry carries the same payload id, so LaunchDarkly can ignore a duplicate."""
        headers = {**self._headers, "X-LaunchDarkly-Payload-ID": batch.id}
        body = batch.body
        if self._is_compressed:
            headers["Content-Encoding"], body = "gzip", gzip.compress(body)
        try:
            response = self._pool.request(
                "POST",
                self._uri,
                headers=headers,
                body=body,
                timeout=self._timeout,
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except Exception:
            return Answer(None)
        if response.length_remaining == 0:
            response.drain_conn()  # leaves the connection open for the next post
        else:  # nobody needs the body, which may be endless
            response.close()
        answer = Answer(response.status, _read_retry_after(response))
        if answer.is_accepted:
            self._answered(response)  # the SDK reads the server's time, which ends the debugging of flags
        return answer

    def close(self) -> None:
        """Close the connection."""
        self._pool.clear()


def _read_retry_after(response: Any) -> float:
    value = response.headers.get("Retry-After")
    if value is None:
        return 0.0
    try:
        return min(urllib3.Retry().parse_retry_after(value), _MAX_RETRY_AFTER_SECONDS)
    except Exception:  # no number and no date, or a date out of range
        return 0.0
