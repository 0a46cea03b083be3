"""A dev server in the place of LaunchDarkly, which shows the warnings of the library on its page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from functools import partial

import urllib3

from .._diagnostics import receivers
from ._connection import DEV_KEY, DEV_SERVER, SDK_KEY
from ._threads import start_thread

_SECONDS = 2.0


def watch_dev_server(environ: Mapping[str, str]) -> DevWarnings | None:
    """Show the library's warnings on the page of the dev server.

    Args:
        environ: The environment variables.

    Returns:
        What shows the warnings, or ``None`` without a dev server.
    """
    key, server = (environ.get(name, "").strip() for name in (SDK_KEY, DEV_SERVER))
    return DevWarnings(server.rstrip("/"), key or DEV_KEY) if server else None


class DevWarnings:
    """A receiver of the library's log lines that shows them on the page of a dev server.

    A line is sent once, as it is logged: it names AI Configs and settings, and contains no prompt, answer or key.

    Args:
        url: The address of the dev server.
        sdk_key: The key that a dev server with ``--sdk-key`` asks for.
    """

    def __init__(self, url: str, sdk_key: str) -> None:
        self._headers = {"Authorization": sdk_key, "Content-Type": "application/json"}
        self._url = f"{url}/dev/warnings"
        receivers.append(self.send)

    def send(self, kind: str, text: str) -> None:
        """Send one line, on another thread, for which the end of the process waits."""
        start_thread(partial(self._post, kind, text), "ldai-dev-warning", daemon=False)

    def close(self) -> None:
        """Send no more lines."""
        with suppress(ValueError):
            receivers.remove(self.send)

    def _post(self, kind: str, text: str) -> None:
        with suppress(urllib3.exceptions.HTTPError), urllib3.PoolManager() as pool:  # it is only a page
            body = json.dumps({"kind": kind, "text": text})
            pool.request("POST", self._url, body=body, headers=self._headers, timeout=_SECONDS, retries=False)
