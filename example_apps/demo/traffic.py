"""Send the plan over real sockets, and record the answers."""

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
    """One step and its answer.

    Attributes:
        app: Name of the app.
        step: The step.
        question: The question as sent, with a unique number.
        status: HTTP status; 0 before the answer.
        run_id: The run id; empty if the answer had none.
        token: The feedback token, from the last event of a stream or from a header; empty if there is none.
        words: The number of events with text.
        ended: Whether the answer is complete.
        first_ms: Milliseconds until the first event with text.
        duration_ms: Milliseconds until the end, or until the socket was closed.
        voted: Whether the app accepted the feedback.
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
        """Return what is wrong with the answer."""
        step, found = self.step, []
        if self.status not in step.status:
            found.append(f"status {self.status} instead of {' or '.join(map(str, sorted(step.status)))}")
        if self.ended != (step.status != {200} or step.outcome == "success"):
            found.append("the answer is complete" if self.ended else "the answer is not complete")
        if step.vote is not None and not self.voted:
            found.append("the feedback was refused")
        return [f"{self.app}, {step.title}: {problem}" for problem in found]


def send_all(
    apps: Mapping[str, str], plan: Iterable[Step], done: Callable[[Exchange], None], *, seconds: float = 0.0
) -> list[Exchange]:
    """Send every step to every app, several at the same time, spread over some seconds; call ``done`` after each."""
    steps = [(name, step) for step in plan for name in apps]
    begun = time.monotonic()

    def send(number: int, name: str, step: Step) -> Exchange:
        time.sleep(max(0.0, begun + seconds * number / len(steps) - time.monotonic()))
        exchange = Exchange(name, step, f"{step.question} ({name} {number})" if step.question else "")
        _ask(apps[name], exchange)
        if step.vote is not None and exchange.token:
            exchange.voted = _vote(apps[name], exchange)
        done(exchange)
        return exchange

    pool = ThreadPoolExecutor(CLIENTS)
    try:
        futures = [pool.submit(send, number, name, step) for number, (name, step) in enumerate(steps)]
        return [future.result() for future in futures]
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C, the other steps are not sent


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
        pass  # the app closed the connection or does not run: status and `ended` show it
    finally:
        connection.close()
        exchange.duration_ms = 1000 * (time.monotonic() - started)


def _read_stream(response: HTTPResponse, exchange: Exchange, started: float) -> None:
    """Read server-sent events, all or as many as the step says."""
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
