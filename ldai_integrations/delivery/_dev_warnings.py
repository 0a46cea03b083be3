"""Warnings of the library on the page of the dev server."""

from __future__ import annotations

import threading
from contextlib import suppress

import urllib3

from .._diagnostics import receivers

_SECONDS = 2.0


class DevWarnings:
    """A receiver of the library's log lines that shows them on the page of a dev server.

    A line is sent once, as it is logged: it names AI Configs and settings, and contains no prompt, answer or key.
    """

    def __init__(self, url: str) -> None:
        self._url = f"{url}/dev/warnings"
        receivers.append(self.send)

    def send(self, kind: str, text: str) -> None:
        """Send one line, on another thread."""
        thread = threading.Thread(target=self._post, args=(kind, text), name="ldai-dev-warning")
        with suppress(RuntimeError):  # the interpreter is shutting down and starts no more threads
            thread.start()

    def close(self) -> None:
        """Send no more lines."""
        with suppress(ValueError):
            receivers.remove(self.send)

    def _post(self, kind: str, text: str) -> None:
        with suppress(urllib3.exceptions.HTTPError), urllib3.PoolManager() as pool:  # it is only a page
            pool.request("POST", self._url, json={"kind": kind, "text": text}, timeout=_SECONDS, retries=False)
