"""Every provider at once, on a port of this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .answers import ANSWERS, Answer, Answering


class Provider:
    """Hold what was asked, and what is answered in place of the usual."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[dict[str, Any]] = []
        self.queued: list[Answering] = []

    def fail(self, times: int = 1, status: int = 500) -> None:
        """Answer the next requests with an error."""
        error = {"type": "error", "error": {"type": "overloaded", "message": "no", "code": status, "status": "NO"}}
        answer = Answer([json.dumps(error).encode()], status=status, headers={"retry-after-ms": "1"})
        self.queued += [lambda _request: answer] * times

    def answer(self, path: str, request: dict[str, Any]) -> Answer:
        """Return the answer to a request."""
        self.requests.append(request)
        if self.queued:
            return self.queued.pop(0)(request)
        return next(answering for end, answering in ANSWERS if path.endswith(end))(request)


@contextmanager
def serving(make: type[Provider] = Provider) -> Iterator[Provider]:
    """Serve until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            has_file = str(self.headers["content-type"]).startswith("multipart/")
            self._answer({} if has_file else json.loads(body))

        def _answer(self, request: dict[str, Any]) -> None:
            answer = provider.answer(self.path.partition("?")[0], request)
            self.send_response(answer.status)
            self.send_header("content-type", answer.content_type)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            for part in answer.parts:
                self.wfile.write(part)
                self.wfile.flush()

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider = make(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
