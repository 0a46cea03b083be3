"""The endpoints that LaunchDarkly's server SDKs call."""

from __future__ import annotations

import asyncio
import gzip
import hmac
import json
import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from ._bodies import BodyTooLargeError, BodyUnreadableError, read_body
from ._events import InvalidPayloadError
from ._responses import HangUp, error

if TYPE_CHECKING:
    from ._stores import Stores

logger = logging.getLogger("ldai_integrations.devserver")

# SDK hooks see it as the environment id.
ENVIRONMENT = {"X-LD-EnvID": "ldai-dev"}

Endpoint = Callable[[Request], Awaitable[Response]]


class SDKEndpoints:
    """Serve flags to SDKs and take their events."""

    def __init__(self, stores: Stores, *, hang_up: HangUp, sdk_key: str | None) -> None:
        """Put the endpoints in front of the stores.

        Args:
            stores: What to serve from, and where events go.
            hang_up: The answer to a body that is too large.
            sdk_key: The only key to accept; ``None`` accepts any.
        """
        self._stores = stores
        self._hang_up = hang_up
        self._sdk_key = sdk_key

    @property
    def routes(self) -> list[Route]:
        """List the paths of the streaming, polling and event protocols."""
        return [
            Route("/all", self._for_key(self._stream)),
            Route("/sdk/latest-all", self._for_key(self._poll)),
            Route("/sdk/stream", self._for_key(self._second_protocol)),
            Route("/sdk/poll", self._for_key(self._second_protocol)),
            Route("/bulk", self._for_key(self._with_body(self._bulk)), methods=["POST"]),
            Route("/diagnostic", self._for_key(self._with_body(self._diagnostic)), methods=["POST"]),
        ]

    def _for_key(self, endpoint: Endpoint) -> Endpoint:
        """Let an endpoint answer to the right SDK key only."""

        async def checked(request: Request) -> Response:
            given = request.headers.get("authorization", "").encode()
            if self._sdk_key is not None and not hmac.compare_digest(given, self._sdk_key.encode()):
                return error(401, "unauthorized", "This server was started with another SDK key.")
            return await endpoint(request)

        return checked

    def _with_body(self, receive: Callable[[Request, bytes], Awaitable[Response]]) -> Endpoint:
        """Read the body for an endpoint; say what is wrong with it in one place."""

        async def endpoint(request: Request) -> Response:
            try:
                return await receive(request, await read_body(request))
            except ClientDisconnect:
                return self._hang_up
            except BodyTooLargeError:
                self._refuse(request, "its body is over the limit; hung up")
                return self._hang_up
            except (BodyUnreadableError, InvalidPayloadError) as problem:
                self._refuse(request, str(problem))
                return error(400, "invalid_request", str(problem))

        return endpoint

    def _refuse(self, request: Request, reason: str) -> None:
        self._stores.losses.refused_payloads += 1
        logger.warning("Refused what an SDK sent to %s: %s.", request.url.path, reason)

    async def _stream(self, _request: Request) -> Response:
        headers = {**ENVIRONMENT, "Cache-Control": "no-cache"}
        return StreamingResponse(self._stores.streams.stream(), media_type="text/event-stream", headers=headers)

    async def _poll(self, request: Request) -> Response:
        headers = {**ENVIRONMENT, "ETag": self._stores.flags.etag, "Vary": "Accept-Encoding"}
        if request.headers.get("if-none-match") == self._stores.flags.etag:
            return Response(status_code=304, headers=headers)
        body = self._stores.flags.body
        if "gzip" in request.headers.get("accept-encoding", ""):
            body = gzip.compress(body, compresslevel=1)
            headers["Content-Encoding"] = "gzip"
        return Response(body, media_type="application/json", headers=headers)

    async def _second_protocol(self, _request: Request) -> Response:
        """Send SDKs that try LaunchDarkly's newer protocol back to the first one."""
        response = error(404, "not_found", "This server speaks the first flag delivery protocol.")
        response.headers["X-LD-FD-Fallback"] = "true"
        return response

    async def _bulk(self, request: Request, body: bytes) -> Response:
        payload_id = request.headers.get("x-launchdarkly-payload-id") or uuid.uuid4().hex
        await asyncio.to_thread(self._stores.events.add, payload_id, body)
        return Response(status_code=202)

    async def _diagnostic(self, _request: Request, body: bytes) -> Response:
        try:
            report = json.loads(body)
        except ValueError as problem:
            raise InvalidPayloadError("the diagnostic is not valid JSON") from problem
        dropped = report.get("droppedEvents") if isinstance(report, dict) else None
        if isinstance(dropped, int) and dropped > 0:
            self._stores.losses.dropped_events += dropped
            logger.warning("An SDK dropped %d events before sending them: its buffer was full.", dropped)
        return Response(status_code=202)
