"""A stand-in for LaunchDarkly that fails as it is told and counts what arrives. It shares no code with the library."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections import defaultdict
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Mode = Literal["ok", "hang", "500", "429", "lost answer"]

_SUCCESS, _VOTE = "$ld:ai:generation:success", "$ld:ai:feedback:user:positive"


class Receiver:
    """The endpoints of an SDK, on a port that stays the same while nobody listens."""

    def __init__(self, flags: Any) -> None:
        self.flags = {"path": "/", "data": {"flags": flags["flags"], "segments": {}}}
        self.changed = threading.Condition()
        self.mode: Mode = "ok"
        #: When each run, and each vote on a run, has arrived, which may be more than once.
        self.runs: defaultdict[str, list[float]] = defaultdict(list)
        self.votes: defaultdict[str, list[float]] = defaultdict(list)
        self._batches: set[str] = set()
        self._connections: set[socket.socket] = set()
        self._port = 0
        self._server: ThreadingHTTPServer | None = None
        self.listen()

    @property
    def url(self) -> str:
        """The address for an SDK."""
        return f"http://127.0.0.1:{self._port}"

    def listen(self) -> None:
        """Accept connections."""
        self._server = server = _Server(("127.0.0.1", self._port), _Handler, receiver=self)
        self._port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def refuse(self) -> None:
        """Refuse connections, and close those that are open, until :meth:`listen`."""
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()
        self.hang_up()

    def hang_up(self) -> None:
        """Close all connections."""
        with self.changed:
            connections, self._connections = self._connections, set()
            self.changed.notify_all()
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def behave(self, mode: Mode) -> None:
        """Answer in another way from now on; requests that wait for an answer do not get one."""
        with self.changed:
            was, self.mode = self.mode, mode
        if was == "hang":
            self.hang_up()

    def add(self, connection: socket.socket) -> None:
        """Note a connection."""
        with self.changed:
            self._connections.add(connection)

    def discard(self, connection: socket.socket) -> None:
        """Forget a connection."""
        with self.changed:
            self._connections.discard(connection)

    def is_open(self, connection: socket.socket) -> bool:
        """Return whether a connection was not closed from here."""
        return connection in self._connections

    def take(self, batch: str, body: bytes) -> None:
        """Count the events of a batch, unless it has arrived before: LaunchDarkly drops a repeated batch as well."""
        with self.changed:
            if batch in self._batches:
                return
            self._batches.add(batch)
            for event in json.loads(body):
                if event["kind"] == "custom" and event["key"] in (_SUCCESS, _VOTE):
                    arrived = self.runs if event["key"] == _SUCCESS else self.votes
                    arrived[event["data"]["runId"]].append(time.time())


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, *args: Any, receiver: Receiver) -> None:
        self.receiver = receiver
        super().__init__(*args)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing about connections that were closed."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        self.receiver = self.server.receiver
        self.receiver.add(self.request)
        super().setup()

    def finish(self) -> None:
        self.receiver.discard(self.request)
        super().finish()

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        if not self._fails():
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            event = f"event: put\ndata: {json.dumps(self.receiver.flags)}\n\n".encode()
            self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
            with self.receiver.changed:
                while self.receiver.is_open(self.connection):
                    self.receiver.changed.wait(1)
        self.close_connection = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        mode = self.receiver.mode
        if self._fails():
            return
        if self.path == "/bulk":
            self.receiver.take(self.headers["X-LaunchDarkly-Payload-ID"], body)
        if mode == "lost answer":
            self.close_connection = True
        else:
            self._answer(202)

    def _fails(self) -> bool:
        """Fail as the receiver was told; return whether it was."""
        mode = self.receiver.mode
        if mode == "hang":
            with self.receiver.changed:
                while self.receiver.is_open(self.connection):
                    self.receiver.changed.wait(1)
            self.close_connection = True
        elif mode in ("500", "429"):
            self._answer(int(mode))
        return mode in ("hang", "500", "429")

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        if status == 429:
            self.send_header("Retry-After", "1")
        self.end_headers()
