"""The endpoints that LaunchDarkly's server SDKs call."""

from __future__ import annotations

import asyncio
import gzip
import hmac
import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from ._events import InvalidPayloadError
from ._http import MAX_BYTES, SMALL_BYTES, BodyTooLargeError, BodyUnreadableError, HangUp, error
from ._json import parse_json

if TYPE_CHECKING:
    from ._stores import Stores

logger = logging.getLogger("ldai_integrations.devserver")

# SDK hooks receive it as the environment id.
ENVIRONMENT = {"X-LD-EnvID": "ldai-dev"}
# The largest integer that every JSON reader takes exactly.
MAX_DROPPED = 2**53

Endpoint = Callable[[Request], Awaitable[Response]]


class SDKEndpoints:
    """Paths that send flags to SDKs and receive their events."""

    def __init__(self, stores: Stores, *, hang_up: HangUp, sdk_key: str | None) -> None:
        """Connect the endpoints to the stores.

        Args:
            stores: Contain the flags, and receive the events.
            hang_up: The response to a body that is too large.
            sdk_key: The only accepted key; ``None`` accepts any.
        """
        self._stores = stores
        self._hang_up = hang_up
        self._sdk_key = sdk_key

    @property
    def routes(self) -> list[Route]:
        """Return the paths of the streaming, polling and event protocols."""
        diagnostic = self._read_body_for(self._diagnostic, limit=SMALL_BYTES)
        return [
            Route("/all", self._require_key(self._stream)),
            Route("/sdk/latest-all", self._require_key(self._poll)),
            Route("/sdk/stream", self._require_key(self._second_protocol)),
            Route("/sdk/poll", self._require_key(self._second_protocol)),
            Route("/bulk", self._require_key(self._read_body_for(self._bulk)), methods=["POST"]),
            Route("/diagnostic", self._require_key(diagnostic), methods=["POST"]),
        ]

    def _require_key(self, endpoint: Endpoint) -> Endpoint:
        """Return an endpoint that checks the SDK key first."""

        async def check(request: Request) -> Response:
            given = request.headers.get("authorization", "").encode()
            if self._sdk_key is not None and not hmac.compare_digest(given, self._sdk_key.encode()):
                return error(401, "unauthorized", "This server was started with another SDK key.")
            return await endpoint(request)

        return check

    def _read_body_for(
        self, handle: Callable[[Request, bytes], Awaitable[Response]], *, limit: int = MAX_BYTES
    ) -> Endpoint:
        """Return an endpoint that reads the body and answers all errors in it."""

        async def endpoint(request: Request) -> Response:
            try:
                async with self._stores.bodies.read(request, limit=limit) as body:
                    return await handle(request, body)
            except ClientDisconnect:
                return self._hang_up
            except BodyTooLargeError:
                self._report_refusal(
                    request, "the body is over the limit, or others use the memory. The connection was closed"
                )
                return self._hang_up
            except (BodyUnreadableError, InvalidPayloadError) as problem:
                self._report_refusal(request, str(problem))
                return error(400, "invalid_request", str(problem))

        return endpoint

    def _report_refusal(self, request: Request, reason: str) -> None:
        self._stores.refused_payloads += 1
        logger.warning("Refused a request of an SDK to %s: %s.", request.url.path, reason)

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
        """Make SDKs that try LaunchDarkly's newer protocol fall back to the first one."""
        response = error(404, "not_found", "This server supports the first flag delivery protocol only.")
        response.headers["X-LD-FD-Fallback"] = "true"
        return response

    async def _bulk(self, request: Request, body: bytes) -> Response:
        payload_id = request.headers.get("x-launchdarkly-payload-id") or uuid.uuid4().hex
        await asyncio.to_thread(self._stores.events.add, payload_id, body)
        return Response(status_code=202)

    async def _diagnostic(self, _request: Request, body: bytes) -> Response:
        try:
            report = parse_json(body)
        except ValueError as problem:
            raise InvalidPayloadError("the diagnostic is not valid JSON") from problem
        dropped = report.get("droppedEvents") if isinstance(report, dict) else None
        if isinstance(dropped, int) and 0 < dropped <= MAX_DROPPED:
            self._stores.dropped_events += dropped
            logger.warning("An SDK dropped %d events before sending them, because its buffer was full.", dropped)
        return Response(status_code=202)
