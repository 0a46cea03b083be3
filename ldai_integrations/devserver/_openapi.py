"""The OpenAPI description of the server, which a test compares with the routes and with their answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ._api import MAX_INTEGER, PREFIX
from ._events import FILTERS
from ._faults import MAX_DELAY_MS
from ._page import MAX_BUCKETS, MAX_RUNS, MAX_STEP_MS

Json = dict[str, Any]

_TEXT: Json = {"type": "string"}
_SINCE = {"type": "integer", "minimum": 0, "maximum": MAX_INTEGER}
_SPAN = {
    "config_key": _TEXT,
    "step_ms": {"type": "integer", "minimum": 1000, "maximum": MAX_STEP_MS},
    "buckets": {"type": "integer", "minimum": 1, "maximum": MAX_BUCKETS},
    "since": _TEXT,
}
_FAULT: Json = {
    "type": "object",
    "required": ["path"],
    "additionalProperties": False,
    "properties": {
        "path": _TEXT,
        "status": {"type": ["integer", "null"], "minimum": 200, "maximum": 599},
        "count": {"type": ["integer", "null"], "minimum": 1},
        "delay_ms": {"type": "number", "minimum": 0, "maximum": MAX_DELAY_MS},
        "close": {"type": "boolean"},
        "handled": {"type": "boolean"},
    },
}
_WARNING: Json = {"type": "object", "required": ["kind", "text"], "properties": {"kind": _TEXT, "text": _TEXT}}
_EVENTS: Json = {"type": "array", "items": {"type": "object"}}
_ERROR: Json = {
    "type": "object",
    "required": ["code", "message"],
    "properties": {"code": _TEXT, "message": _TEXT},
}


def _operation(
    summary: str,
    *statuses: int,
    query: Mapping[str, Json] | None = None,
    required: tuple[str, ...] = (),
    body: Json | None = None,
    media_type: str = "application/json",
    answer: Json | None = None,
) -> Json:
    """Describe an operation; ``answer`` is the schema of a 200, and each status of 400 or more has an error."""
    parameters = [
        {"name": name, "in": "query", "required": name in required, "schema": schema}
        for name, schema in (query or {}).items()
    ]
    responses: Json = {}
    for status in statuses:
        responses[str(status)] = {"description": "An error" if status >= 400 else summary}
        if status >= 400:
            responses[str(status)]["content"] = {"application/json": {"schema": _ERROR}}
        elif status == 200:
            responses[str(status)]["content"] = {media_type: {"schema": answer or {}}}
    operation: Json = {"summary": summary, "parameters": parameters, "responses": responses}
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return operation


def _metrics(summary: str, *path: str) -> Json:
    milliseconds = {"type": "integer", "minimum": 0, "maximum": MAX_INTEGER}
    query = {"env": {"type": "string", "minLength": 1}, "from": milliseconds, "to": milliseconds}
    operation = _operation(summary, 200, 400, 401, 404, query=query, required=("env", "from", "to"))
    operation["security"] = [{"token": []}]
    operation["parameters"] += [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]+$"}}
        for name in path or ("project", "config")
    ]
    return operation


_STREAM = "text/event-stream"
_OBJECT: Json = {"type": "object"}
_PATHS: Json = {
    "/": {"get": _operation("Show the page.", 200, media_type="text/html")},
    "/all": {"get": _operation("Send the flags, and then each change.", 200, 401, media_type=_STREAM)},
    "/sdk/latest-all": {"get": _operation("Send the flags.", 200, 304, 401, answer=_OBJECT)},
    "/sdk/stream": {"get": _operation("Refuse the second protocol.", 401, 404)},
    "/sdk/poll": {"get": _operation("Refuse the second protocol.", 401, 404)},
    "/bulk": {"post": _operation("Receive events.", 202, 400, 401, body=_EVENTS)},
    "/diagnostic": {"post": _operation("Receive a diagnostic.", 202, 400, 401, body={})},
    "/dev/percentiles/{config}": {"get": _metrics("Return the percentiles of the times.", "config")},
    f"{PREFIX}/metrics": {"get": _metrics("Return the metrics of an AI Config.")},
    f"{PREFIX}/metrics-by-variation": {"get": _metrics("Return the metrics of each variation.")},
    "/dev/events": {
        "get": _operation(
            "List events.",
            200,
            400,
            query={
                **dict.fromkeys(FILTERS, _TEXT),
                "since": _SINCE,
                "limit": {"type": "integer"},
            },
            answer=_OBJECT,
        ),
        "delete": _operation("Delete all events.", 204),
    },
    "/dev/totals": {"get": _operation("Count events.", 200, answer=_OBJECT)},
    "/dev/status": {"get": _operation("Count what has arrived.", 200, answer=_OBJECT)},
    "/dev/faults": {
        "get": _operation("List the faults.", 200, answer={"type": "array", "items": _FAULT}),
        "put": _operation(
            "Replace the faults.",
            200,
            400,
            body={"type": "array", "items": _FAULT},
            answer={"type": "array", "items": _FAULT},
        ),
    },
    "/dev/monitor": {"get": _operation("Return the data of the page.", 200, 400, query=_SPAN, answer=_OBJECT)},
    "/dev/monitor/live": {"get": _operation("Send each change.", 200, 400, query=_SPAN, media_type=_STREAM)},
    "/dev/runs": {
        "get": _operation(
            "List runs.",
            200,
            400,
            query={
                "config_key": _TEXT,
                "warnings": _TEXT,
                "limit": {"type": "integer", "minimum": 1, "maximum": MAX_RUNS},
                "before": {"type": "integer", "minimum": 1, "maximum": 2**62},
            },
            answer=_OBJECT,
        )
    },
    "/dev/runs/tree": {
        "get": _operation("List a run with those around it and in it.", 200, query={"run_id": _TEXT}, answer=_OBJECT)
    },
    "/dev/warnings": {
        "get": _operation("List the warnings of applications.", 200, answer=_OBJECT),
        "post": _operation("Receive a warning of an application.", 204, 400, body=_WARNING),
    },
    "/openapi.json": {"get": _operation("Return this description.", 200, answer=_OBJECT)},
}
_DESCRIPTION: Json = {
    "openapi": "3.1.0",
    "info": {"title": "The dev server of ldai-integrations", "version": "1"},
    "paths": _PATHS,
    "components": {"securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "Authorization"}}},
}


def _describe(_request: Request) -> Response:
    return JSONResponse(_DESCRIPTION)


#: The path of the description.
DESCRIPTION: Route = Route("/openapi.json", _describe)
