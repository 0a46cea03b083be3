"""Send the plan over real sockets, and note what a client sees of it."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .plan import Step

CLIENTS = 8
TIMEOUT_SECONDS = 30.0


@dataclass(slots=True)
class Exchange:
    """What a client saw of one step.

    Attributes:
        app: Name of the app.
        step: What was asked for.
        question: The question as it was sent, with a number that no other has.
        status: HTTP status; 0 before there is one.
        run_id: The id that the app gave the run; empty where it gave none.
        token: What a vote is sent back with: of a stream its last event, else a header; empty where there is none.
        words: How many pieces of a stream came.
        ended: Whether the answer came to its end.
        first_ms: Until the first piece, milliseconds.
        duration_ms: Until the end or until the socket was closed, milliseconds.
        voted: Whether the app took the vote.
    """

    app: str
    step: Step
    question: str
    status: int = 0
    run_id: str = ""
    token: str = ""
    words: int = 0
    ended: bool = False
    first_ms: float = 0.0
    duration_ms: float = 0.0
    voted: bool = False

    def problems(self) -> list[str]:
        """Say what a client should not have seen."""
        step, found = self.step, []
        if self.status not in step.status:
            found.append(f"status {self.status} in place of {' or '.join(map(str, sorted(step.status)))}")
        if self.ended != (step.status != {200} or step.outcome == "success"):
            found.append("the answer came to its end" if self.ended else "the answer did not come to its end")
        if step.vote is not None and not self.voted:
            found.append("the thumb was refused")
        return [f"{self.app}, {step.title}: {problem}" for problem in found]


def send_all(apps: Mapping[str, str], plan: Iterable[Step], done: Callable[[Exchange], None]) -> list[Exchange]:
    """Send every step to every app, several at a time; ``done`` is called after each."""
    steps = [(name, step) for step in plan for name in apps]

    def send(number: int, name: str, step: Step) -> Exchange:
        exchange = Exchange(name, step, f"{step.question} ({name} {number})" if step.question else "")
        _ask(apps[name], exchange)
        if step.vote is not None and exchange.token:
            exchange.voted = _vote(apps[name], exchange)
        done(exchange)
        return exchange

    with ThreadPoolExecutor(CLIENTS) as pool:
        futures = [pool.submit(send, number, name, step) for number, (name, step) in enumerate(steps)]
        return [future.result() for future in futures]


def _ask(address: str, exchange: Exchange) -> None:
    step = exchange.step
    connection = HTTPConnection(address, timeout=TIMEOUT_SECONDS)
    headers = {"X-User": step.user, "Content-Type": "application/json"}
    started = time.monotonic()
    try:
        if step.question is None:
            connection.request("GET", step.path, headers=headers)
        else:
            connection.request("POST", step.path, json.dumps({"question": exchange.question}), headers)
        response = connection.getresponse()
        exchange.status, exchange.run_id = response.status, response.headers.get("X-Run-Id", "")
        if response.headers.get_content_type() == "text/event-stream":
            _read_stream(response, exchange, started)
        else:
            response.read()
            exchange.ended, exchange.token = True, response.headers.get("X-Feedback-Token", "")
    except (OSError, HTTPException):
        pass  # the app broke off, or is not there: status and `ended` say so
    finally:
        connection.close()
        exchange.duration_ms = 1000 * (time.monotonic() - started)


def _read_stream(response: HTTPResponse, exchange: Exchange, started: float) -> None:
    """Read server-sent events to their end, or as many as the step wants."""
    name = b""
    for line in response:
        field, _, value = line.strip().partition(b": ")
        if field == b"event":
            name = value
        elif not field:
            name = b""
        elif name == b"feedback":
            exchange.token = value.decode()
        elif value == b"[DONE]":
            exchange.ended = True
        else:
            exchange.first_ms = exchange.first_ms or 1000 * (time.monotonic() - started)
            exchange.words += 1
            if exchange.words == exchange.step.hang_up_after:
                return


def _vote(address: str, exchange: Exchange) -> bool:
    connection = HTTPConnection(address, timeout=TIMEOUT_SECONDS)
    body = json.dumps({"token": exchange.token, "kind": exchange.step.vote})
    headers = {"X-User": exchange.step.user, "Content-Type": "application/json"}
    try:
        connection.request("POST", "/feedback", body, headers)
        return connection.getresponse().status == 204
    finally:
        connection.close()
