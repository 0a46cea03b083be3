"""The feedback endpoint as an ASGI application."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..feedback import MOST_BYTES, Answer, fields_of, length_of, too_long, widget
from .endpoint import Endpoint

if TYPE_CHECKING:
    from ldclient import Context

    from ..typing import Receive, Scope, Send
    from .tracking import Tracking


class ASGIFeedback:
    """Take votes, and serve the widget, as an ASGI application of its own that any other can mount.

    ``POST`` a JSON object or a form with ``token`` and ``kind`` (``"positive"`` or ``"negative"``) to it; every path
    that ends in ``/widget.js`` is the widget.

    Args:
        tracking: The application's :class:`~ldai_integrations.Tracking`, with ``Settings.feedback``.
        ld_context: Called with the scope, returns the LaunchDarkly context of whoever votes; without it the one that
            the middleware in front has for the request.

    Raises:
        ConfigurationError: If feedback is not asked for, has no secret, or ``ld_context`` cannot work.
    """

    def __init__(self, tracking: Tracking, *, ld_context: Callable[[Scope], Context | None] | None = None) -> None:
        self._endpoint = Endpoint(tracking, ld_context=ld_context)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise RuntimeError(
                f"The feedback endpoint serves HTTP only, not {scope['type']!r}; mount it in an application"
            )
        answer = await self._answer(scope, receive)
        if answer is None:
            return
        headers = [(name.lower().encode(), value.encode()) for name, value in answer.headers]
        if answer.status != 204:
            headers.append((b"content-length", str(len(answer.body)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})

    async def _answer(self, scope: Scope, receive: Receive) -> Answer | None:
        """Return the answer; ``None`` for a client that has left."""
        if scope["path"].endswith("/widget.js") and scope["method"] in ("GET", "HEAD"):
            self._endpoint.keep_out_of_runs()
            return widget()
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        client = scope.get("client")
        length = length_of(headers.get(b"content-length", ""))
        answer = self._endpoint.refuse(scope["method"], client[0] if client else "", length)
        if answer is not None:
            return answer
        body, more = b"", True
        while more and len(body) <= MOST_BYTES:
            message = await receive()
            if message["type"] != "http.request":
                return None
            body += message.get("body", b"")
            more = message.get("more_body", False)
        if len(body) > MOST_BYTES:
            return too_long()
        return await self._endpoint.avote(scope, fields_of(headers.get(b"content-type", ""), body))
