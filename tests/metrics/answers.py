"""A REST API with prepared answers that records its requests."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

#: Shaped as in LaunchDarkly's OpenAPI text (``Metrics``), every field set.
FULL = {
    "inputTokens": 120_000,
    "outputTokens": 30_000,
    "totalTokens": 150_000,
    "generationCount": 400,
    "generationSuccessCount": 380,
    "generationErrorCount": 20,
    "thumbsUp": 30,
    "thumbsDown": 10,
    "durationMs": 600_000,
    "timeToFirstTokenMs": 250,
    "satisfactionRating": 0.75,
    "inputCost": 0.018,
    "outputCost": 0.018,
    "judgeAccuracy": 0.9,
    "judgeRelevance": 0.8,
    "judgeToxicity": 0.01,
}


@dataclass
class Answer:
    """One answer: a status, headers, and a body that is JSON unless it is bytes or an iterator of its parts.

    Attributes:
        delay: The time before the answer in seconds.
        pause: The time before each header in seconds.
    """

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    pause: float = 0.0


@dataclass
class API:
    """The prepared answers and the recorded requests."""

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    queries: list[dict[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def will_answer(self, *bodies: Any) -> None:
        """Prepare the answers to the next requests."""
        self.answers += [body if isinstance(body, Answer) else Answer(body) for body in bodies]


@contextmanager
def serving() -> Iterator[API]:
    """Serve on a free port of this machine. An unexpected request is answered with 418."""
    api = API()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            api.paths.append(parts.path)
            api.queries.append({name: values[0] for name, values in parse_qs(parts.query).items()})
            api.headers.append({name.lower(): value for name, value in self.headers.items()})
            answer = api.answers.pop(0) if api.answers else Answer({"message": "nothing is left to answer"}, 418)
            time.sleep(answer.delay)
            body, headers = answer.body, dict(answer.headers)
            if isinstance(body, Iterator):
                headers["Connection"] = "close"
            else:
                body = [body if isinstance(body, bytes) else json.dumps(body).encode()]
                headers["Content-Length"] = str(len(body[0]))
            self.send_response(answer.status)
            for name, value in headers.items():
                self.flush_headers()
                time.sleep(answer.pause)
                self.send_header(name, value)
            self.end_headers()
            for part in body:
                self.wfile.write(part)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Log nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """Ignore a client that does not wait for its answer."""

    with Server(("127.0.0.1", 0), Handler) as server:
        api.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield api
        finally:
            server.shutdown()
            thread.join()
