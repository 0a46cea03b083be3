"""Answer only to programs and pages of this machine."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from ._responses import error

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


class LoopbackGuard:
    """Refuse requests that a foreign web page may have caused.

    A page whose name was rebound to 127.0.0.1 shows in the Host header; one that posts across origins shows in Origin.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Guard an application.

        Args:
            app: What to protect.
        """
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 403 with a sentence."""
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if not is_loopback(host):
            refusal = "This server answers on loopback names only: open it as http://127.0.0.1 with its port."
        elif origin is not None and origin != f"http://{host}":
            refusal = "This server answers to its own pages only: the Origin header names another one."
        else:
            await self.app(scope, receive, send)
            return
        await error(403, "forbidden", refusal)(scope, receive, send)


def is_loopback(netloc: str) -> bool:
    """Tell whether ``host`` or ``host:port`` names this machine and nothing else."""
    try:
        parts = urlsplit(f"//{netloc}")
        _ = parts.port
    except ValueError:
        return False
    if parts.hostname is None or parts.netloc != netloc or parts.username is not None:
        return False
    if parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname).is_loopback
    except ValueError:
        return False
