"""Events out before an ASGI server is told that the application has shut down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .off_loop import off_loop

if TYPE_CHECKING:
    from ..typing import ASGIApp, Message, Receive, Scope, Send
    from .tracking import Tracking

# Servers cancel what goes on too long and say at once that they shut down; unwinding takes a few turns of the loop.
_UNWINDING_SECONDS = 1.0


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
    """Flush at shutdown, unless the settings say never; a failure of ours must not fail the shutdown.

    Streams that the server has just broken off are given time to end their runs: some servers end the process by a
    signal afterwards, and what is reported later is lost.
    """
    if tracking.settings.flush != "never":
        with tracking.troubles.guard("flush", "shutdown"):
            await off_loop(lambda: tracking.wait_for_open_runs(_UNWINDING_SECONDS))
            await tracking.aflush()
