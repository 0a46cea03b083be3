"""Events out before an ASGI server is told that the application has shut down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .tail import flush_at_shutdown

if TYPE_CHECKING:
    from ..typing import ASGIApp, Message, Receive, Scope, Send
    from .tracking import Tracking


async def serve_lifespan(app: ASGIApp, tracking: Tracking, scope: Scope, receive: Receive, send: Send) -> None:
    """Pass the lifespan on to the application; when it has shut down, flush off the loop, then say so.

    An application without lifespan raises or returns, as it would without us; the end of the process flushes then.
    """
    tracking.wake()  # a server may have forked after the import: now is better than in the first request

    async def flushing(message: Message) -> None:
        if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
            await flush_at_shutdown(tracking)
        await send(message)

    return await app(scope, receive, flushing)
