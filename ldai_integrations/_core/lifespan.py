"""Events out before an ASGI server is told that the application has shut down."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..typing import ASGIApp, Message, Receive, Scope, Send
    from .tracking import Tracking


async def flush_at_shutdown(app: ASGIApp, tracking: Tracking, scope: Scope, receive: Receive, send: Send) -> None:
    """Pass the lifespan on to the application; when it has shut down, flush off the loop, then say so.

    An application without lifespan raises or returns, as it would without us; ``atexit`` flushes then.
    """

    async def flushing(message: Message) -> None:
        if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
            await flush(tracking)
        await send(message)

    return await app(scope, receive, flushing)


async def flush(tracking: Tracking) -> None:
    """Flush at shutdown, unless the settings say never; a failure of ours must not fail the shutdown."""
    if tracking.settings.flush != "never":
        with tracking.troubles.guard("flush", "shutdown"):
            await tracking.aflush()
