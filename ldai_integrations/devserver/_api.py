"""Two JSON APIs: LaunchDarkly's paths for AI Config metrics, and the server's own under ``/dev``.

FastAPI runs endpoints that are plain functions in worker threads, so they may read the database.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Annotated, TypeAlias

from fastapi import APIRouter, Depends, Header, HTTPException, Path, Query, Request
from fastapi.responses import JSONResponse, Response

from .._ai_configs import agents_of
from .._files import parse_json
from ._checks import list_ai_configs
from ._faults import Fault, make_fault
from ._http import ERRORS, BodyTooLargeError, describe_body
from ._json import Json
from ._metrics import Selection, compute_further_figures, compute_metrics, compute_metrics_by_variation
from ._stores import ServerStores, Stores, check_key

logger = logging.getLogger("ldai_integrations.devserver")

MAX_RANGE_MS = 100 * 24 * 3600 * 1000  # LaunchDarkly's own limit
MAX_INTEGER = 2**63 - 1  # SQLite's limit
# In milliseconds this is a day of 1973, and in seconds a year that nobody means.
SECONDS_BELOW = 10**11
MAX_EVENTS = 1000
MAX_FAULTS_BYTES = 2**20
MAX_WARNING_BYTES = 2**16
# The most keys of AI Configs that an error names.
MAX_KEYS = 20

_PATTERN = {"pattern": "^[A-Za-z0-9._-]+$"}
ConfigKey: TypeAlias = Annotated[str, Path(description="The key of the AI Config.", json_schema_extra=_PATTERN)]
ProjectKey: TypeAlias = Annotated[
    str, Path(description="Any key: all projects are the same.", json_schema_extra=_PATTERN)
]


async def _check_token(authorization: Annotated[str, Header(include_in_schema=False)] = "") -> None:
    if not authorization or authorization.startswith("sdk-"):
        raise HTTPException(401, "Send an API access token in Authorization; an SDK key does not work here.")


def _check_query(
    request: Request,
    stores: ServerStores,
    config: ConfigKey,
    env: Annotated[  # noqa: ARG001
        str, Query(min_length=1, description="The key of the environment; any text: all environments are the same.")
    ],
    since: Annotated[
        int, Query(alias="from", ge=0, le=MAX_INTEGER, description="The first moment, in milliseconds since 1970, UTC.")
    ],
    until: Annotated[
        int,
        Query(
            alias="to",
            ge=0,
            le=MAX_INTEGER,
            description="The end, which is not included, in milliseconds since 1970, UTC.",
        ),
    ],
) -> Selection:
    """Check the request as LaunchDarkly does; return the events that it is about."""
    if request.query_params.keys() & {"contextKind", "contextKey"}:
        raise HTTPException(400, "this server cannot select by context")
    if 0 < until < SECONDS_BELOW:
        # Code that prints zeros for what is missing often shows the status only, so that it is logged, too.
        logger.warning(
            "A request for the metrics of %r gives its time range in seconds. Give milliseconds: multiply by 1000.",
            config,
        )
        raise HTTPException(400, "from and to are in seconds; give milliseconds: multiply by 1000")
    longest = MAX_RANGE_MS if request.url.path.startswith("/api/") else MAX_INTEGER
    if not 0 <= until - since <= longest:
        raise HTTPException(400, "to must not be before from, or more than 100 days after it")
    flags = stores.flags.payload["flags"]
    agents = _agents_in(flags.get(config))
    if agents and request.url.path.startswith("/api/"):
        known = ", ".join(agents[:MAX_KEYS])
        raise HTTPException(404, f"this is an agent graph, which has no such metrics; ask for its agents: {known}")
    if config not in flags and not stores.events.count({"config_key": config}):
        known = ", ".join(found.key for found in list_ai_configs(flags)[:MAX_KEYS])
        raise HTTPException(404, f"there is no AI Config with this key, and no event of one; known: {known}")
    return stores.select(config, since, until)


def _agents_in(flag: Json | None) -> list[str]:
    """Return the keys of the agents of an agent graph; empty for any other flag."""
    graphs = [value for value in (flag or {}).get("variations", ()) if isinstance(value, dict) and "root" in value]
    return [*dict.fromkeys(key for graph in graphs for _, key in agents_of(graph))]


RequestedSelection: TypeAlias = Annotated[Selection, Depends(_check_query)]
metrics = APIRouter(dependencies=[Depends(_check_token)], responses=ERRORS)


@metrics.get("/api/v2/projects/{project}/ai-configs/{config}/metrics")
def read_metrics(project: ProjectKey, selection: RequestedSelection) -> JSONResponse:  # noqa: ARG001  # all projects are the same
    """Return the metrics of an AI Config."""
    return JSONResponse(compute_metrics(selection))


@metrics.get("/api/v2/projects/{project}/ai-configs/{config}/metrics-by-variation")
def read_metrics_by_variation(project: ProjectKey, selection: RequestedSelection) -> JSONResponse:  # noqa: ARG001
    """Return the metrics of each variation."""
    return JSONResponse(compute_metrics_by_variation(selection))


@metrics.get("/dev/figures/{config}")
def read_further_figures(selection: RequestedSelection) -> JSONResponse:
    """Return the figures that LaunchDarkly's paths do not have: percentiles, scores, and runs without an outcome."""
    return JSONResponse(compute_further_figures(selection))


inspection = APIRouter(prefix="/dev", responses=ERRORS)
# What changes something needs the key of the SDK. The page only reads, and has no key.
_WITH_KEY = [Depends(check_key)]


@inspection.get("/events")
def list_events(
    stores: ServerStores,
    kind: Annotated[str | None, Query(description="Only events of this kind, such as `custom`.")] = None,
    key: Annotated[str | None, Query(description="Only events with this key.")] = None,
    config_key: Annotated[str | None, Query(description="Only events of this AI Config.")] = None,
    run_id: Annotated[str | None, Query(description="Only events of this run.")] = None,
    since: Annotated[
        int, Query(ge=0, le=MAX_INTEGER, description="Only events after this number, which is `last` of an answer.")
    ] = 0,
    limit: Annotated[int, Query(description=f"The most events to return, at most {MAX_EVENTS}.")] = MAX_EVENTS,
) -> Response:
    """List events, oldest first."""
    filters = {"kind": kind, "key": key, "config_key": config_key, "run_id": run_id}
    rows = stores.events.rows(filters, since=since, limit=max(0, min(limit, MAX_EVENTS)))
    last = rows[-1][0] if rows else since
    return Response(f'{{"events":[{",".join(raw for _, raw in rows)}],"last":{last}}}', media_type="application/json")


@inspection.delete("/events", status_code=204, dependencies=_WITH_KEY)
def delete_events(request: Request, stores: ServerStores) -> Response:
    """Delete all events."""
    if request.query_params:
        raise HTTPException(400, "This deletes all events, and takes no parameters.")
    stores.events.clear()
    return Response(status_code=204)


@inspection.get("/totals")
def count_events(stores: ServerStores) -> JSONResponse:
    """Return count and sum of the custom events."""
    return JSONResponse({"totals": stores.events.totals()})


@inspection.get("/status")
def count_arrivals(stores: ServerStores) -> JSONResponse:
    """Count what has arrived, and what was lost."""
    return JSONResponse(stores.status())


@inspection.get("/faults")
def list_faults(stores: ServerStores) -> list[Fault]:
    """List the faults."""
    return stores.faults.pending()


@inspection.put(
    "/faults",
    openapi_extra=describe_body({"type": "array", "items": Fault.model_json_schema()}),
    dependencies=_WITH_KEY,
)
async def replace_faults(request: Request, stores: ServerStores) -> list[Fault]:
    """Replace the faults."""
    async with _read_json(request, stores, MAX_FAULTS_BYTES) as faults:
        if not isinstance(faults, list):
            raise ValueError("the body must be an array of faults")
        stores.faults.replace([make_fault(fault) for fault in faults])
    return stores.faults.pending()


@inspection.get("/warnings")
def list_warnings(stores: ServerStores) -> JSONResponse:
    """List the warnings of applications."""
    return JSONResponse({"warnings": stores.warnings.to_json()})


_TEXT = {"type": "string"}
_WARNING = {"type": "object", "required": ["kind", "text"], "properties": {"kind": _TEXT, "text": _TEXT}}


@inspection.post("/warnings", status_code=204, openapi_extra=describe_body(_WARNING), dependencies=_WITH_KEY)
async def add_warning(request: Request, stores: ServerStores) -> Response:
    """Receive a warning of an application."""
    async with _read_json(request, stores, MAX_WARNING_BYTES) as warning:
        stores.warnings.add(warning)
    return Response(status_code=204)


@contextlib.asynccontextmanager
async def _read_json(request: Request, stores: Stores, limit: int) -> AsyncIterator[object]:
    """Read a body of JSON, and answer 400 if it or what it contains is wrong."""
    try:
        async with stores.bodies.read(request, limit=limit) as body:
            try:
                content = parse_json(body)
            except ValueError as problem:
                raise ValueError(f"the body is not JSON: {problem}") from problem
            yield content
    except BodyTooLargeError:
        raise HTTPException(400, f"the body is larger than {limit} bytes") from None
    except ValueError as problem:
        raise HTTPException(400, str(problem)) from problem
