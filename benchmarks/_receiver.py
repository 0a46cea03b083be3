"""A process in place of LaunchDarkly that counts the events of each run and can fail."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.request import urlopen

from ._launchdarkly import FLAGS

_RUN_ID = re.compile(rb'"runId": ?"([^"]+)"')


@dataclass(frozen=True)
class Faults:
    """The answers to posts of events.

    Attributes:
        delay: Seconds that each post takes.
        statuses: The statuses of the first answers.
        down: For so many seconds after the first post, every answer is 503.
    """

    delay: float = 0.0
    statuses: tuple[int, ...] = ()
    down: float = 0.0


class _Receiver(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, faults: Faults) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.Lock()
        self.faults, self.statuses, self.first_post = faults, list(faults.statuses), 0.0
        self.payloads: set[str] = set()
        self.runs: Counter[bytes] = Counter()

    def status(self) -> int:
        """Return the status of the next answer."""
        with self.lock:
            now = time.monotonic()
            self.first_post = self.first_post or now
            if now < self.first_post + self.faults.down:
                return 503
            return self.statuses.pop(0) if self.statuses else 202

    def take(self, payload_id: str, body: bytes) -> None:
        """Count the events of a payload, once."""
        with self.lock:
            if payload_id not in self.payloads:
                self.payloads.add(payload_id)
                self.runs.update(_RUN_ID.findall(body))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Receiver
    timeout = 300

    def do_GET(self) -> None:
        """Stream the flags, or return how many runs arrived with how many events."""
        if self.path == "/counts":
            with self.server.lock:
                self._answer(200, json.dumps(Counter(self.server.runs.values())).encode())
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        put = f"event: put\ndata: {json.dumps({'data': {'segments': {}, **FLAGS}})}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(put), put))
        threading.Event().wait()

    def do_POST(self) -> None:
        """Receive events, or fail."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != "/bulk":
            self._answer(202, b"")
            return
        status = self.server.status()
        time.sleep(self.server.faults.delay)
        if status == 202:
            self.server.take(self.headers.get("X-LaunchDarkly-Payload-ID", ""), body)
        self._answer(status, b"")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: Any) -> None:
        """Log nothing."""


@contextmanager
def receiving(faults: Faults) -> Iterator[str]:
    """Start a receiver; yield its address."""
    command = [sys.executable, "-m", __name__, json.dumps(asdict(faults))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def counts(url: str) -> dict[int, int]:
    """Return how many runs have arrived, by the number of their events."""
    with urlopen(f"{url}/counts", timeout=60) as answer:
        return {int(events): runs for events, runs in json.load(answer).items()}


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    receiver = _Receiver(Faults(**{**given, "statuses": tuple(given["statuses"])}))
    print(f"http://127.0.0.1:{receiver.server_port}", flush=True)
    receiver.serve_forever()
