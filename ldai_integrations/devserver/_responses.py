"""The answers that several endpoints share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send


def error(status: int, code: str, message: str) -> JSONResponse:
    """Answer with an error the way LaunchDarkly words them."""
    return JSONResponse({"code": code, "message": message}, status_code=status)


class HangUp(Response):
    """Close the connection instead of answering."""

    def __init__(self, abort: Callable[[Any], None]) -> None:
        """Prepare to hang up.

        Args:
            abort: Given the address of a client, ends its connection at once.
        """
        super().__init__()
        self._abort = abort

    async def __call__(self, scope: Scope, receive: Receive, _send: Send) -> None:
        """Hang up, and wait until that has happened."""
        self._abort(scope["client"])
        while (await receive())["type"] != "http.disconnect":
            pass
