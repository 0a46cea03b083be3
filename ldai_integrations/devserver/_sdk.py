"""The endpoints that LaunchDarkly's server SDKs call."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import logging
import uuid
from collections.abc import AsyncIterator

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import Response

from .._files import parse_json
from ._http import ERRORS, MAX_BYTES, SMALL_BYTES, BodyTooLargeError, EventStream, describe_body, error
from ._schema import MAX_VALUE
from ._stores import ServerStores, Stores, check_key

logger = logging.getLogger("ldai_integrations.devserver")

# SDK hooks receive it as the environment id.
ENVIRONMENT = {"X-LD-EnvID": "ldai-dev"}

sdk = APIRouter(dependencies=[Depends(check_key)], responses=ERRORS)


@sdk.get("/all", response_class=EventStream)
async def stream_flags(stores: ServerStores) -> EventStream:
    """Send the flags, and send them again after each change."""
    return EventStream(stores.flags.stream(), headers={**ENVIRONMENT, "Cache-Control": "no-cache"})


@sdk.get("/sdk/latest-all", responses={304: {"description": "The flags have not changed"}})
async def send_flags(request: Request, stores: ServerStores) -> Response:
    """Send the flags."""
    headers = {**ENVIRONMENT, "ETag": stores.flags.etag, "Vary": "Accept-Encoding"}
    if request.headers.get("if-none-match") == stores.flags.etag:
        return Response(status_code=304, headers=headers)
    body = stores.flags.body
    if "gzip" in request.headers.get("accept-encoding", ""):
        body = gzip.compress(body, compresslevel=1)
        headers["Content-Encoding"] = "gzip"
    return Response(body, media_type="application/json", headers=headers)


@sdk.get("/sdk/stream")
@sdk.get("/sdk/poll")
async def refuse_second_protocol() -> Response:
    """Make SDKs that try LaunchDarkly's newer protocol fall back to the first one."""
    response = error(404, "This server supports the first flag delivery protocol only.")
    response.headers["X-LD-FD-Fallback"] = "true"
    return response


_EVENTS = {"type": "array", "items": {"type": "object"}}


@sdk.post("/bulk", status_code=202, response_class=Response, openapi_extra=describe_body(_EVENTS))
async def receive_events(request: Request, stores: ServerStores) -> Response:
    """Receive events."""
    payload_id = request.headers.get("x-launchdarkly-payload-id") or uuid.uuid4().hex
    async with _read_body(request, stores, MAX_BYTES) as body:
        await asyncio.to_thread(stores.events.add, payload_id, body)
    return Response(status_code=202)


@sdk.post("/diagnostic", status_code=202, response_class=Response, openapi_extra=describe_body({}))
async def receive_diagnostic(request: Request, stores: ServerStores) -> Response:
    """Receive a diagnostic."""
    async with _read_body(request, stores, SMALL_BYTES) as body:
        try:
            report = parse_json(body)
        except ValueError as problem:
            raise ValueError("the diagnostic is not valid JSON") from problem
    dropped = report.get("droppedEvents") if isinstance(report, dict) else None
    if isinstance(dropped, int) and 0 < dropped <= MAX_VALUE:
        stores.dropped_events += dropped
        logger.warning("An SDK dropped %d events before sending them, because its buffer was full.", dropped)
    return Response(status_code=202)


@contextlib.asynccontextmanager
async def _read_body(request: Request, stores: Stores, limit: int) -> AsyncIterator[bytes]:
    """Read a body, and report one that cannot be used."""
    try:
        async with stores.bodies.read(request, limit=limit) as body:
            yield body
    except BodyTooLargeError:
        _report_refusal(
            request, stores, "the body is over the limit, or others use the memory. The connection was closed"
        )
        raise
    except ValueError as problem:
        _report_refusal(request, stores, str(problem))
        raise HTTPException(400, str(problem)) from problem


def _report_refusal(request: Request, stores: Stores, reason: str) -> None:
    stores.refused_payloads += 1
    logger.warning("Refused a request of an SDK to %s: %s.", request.url.path, reason)
