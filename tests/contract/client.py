"""A plain HTTP client that can hang up."""

from __future__ import annotations

import http.client
from dataclasses import dataclass

from .servers import Address


@dataclass(frozen=True)
class Answer:
    """What the client saw.

    Attributes:
        status: The HTTP status.
        body: As much of the body as arrived.
        truncated: Whether the server broke it off.
    """

    status: int
    body: bytes
    truncated: bool = False


def request(address: Address, path: str, *, method: str = "GET", hangs_up: bool = False) -> Answer:
    """Send one request on a connection of its own and read the answer, or its first bytes only."""
    connection = http.client.HTTPConnection(*address, timeout=60)
    try:
        connection.request(method, path, headers={"Connection": "close"})
        response = connection.getresponse()
        if hangs_up:
            return Answer(response.status, response.read(20))
        try:
            return Answer(response.status, response.read())
        except http.client.IncompleteRead as exc:
            return Answer(response.status, exc.partial, truncated=True)
    finally:
        connection.close()
