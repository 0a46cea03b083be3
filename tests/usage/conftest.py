"""What tests of usage share."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ldai_integrations.usage import _encoding_files as download
from ldai_integrations.usage._encoding_files import EncodingSpec


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """Serve encoding files by the names of the encodings; one that ends in dots stops after its first bytes."""
    files: dict[str, bytes] = {}
    silence = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = files.get(self.path.strip("/"), b"")
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[:5])
            if data.endswith(b"..."):
                silence.wait()
            self.wfile.write(data[5:])

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    for name in ("O200K", "CL100K"):
        spec: EncodingSpec = getattr(download, name)
        files[spec.name] = f"{name} ranks".encode()
        url = f"http://127.0.0.1:{server.server_port}/{spec.name}"
        mine = replace(spec, url=url, sha256=hashlib.sha256(files[spec.name]).hexdigest())
        monkeypatch.setattr(download, name, mine)
    yield files
    silence.set()
    server.shutdown()
    server.server_close()
    thread.join()
