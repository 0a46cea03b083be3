"""The OpenAPI description of the server is complete, and no request that it allows makes the server fail."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from ldai_integrations.devserver import DevServer

_STREAMS = ("/all", "/dev/monitor/live")
_CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance"
)


def test_paths_are_described(raw: httpx.Client) -> None:
    """The description has the server's own paths and those of SDKs, with the limits of what they take."""
    paths = raw.get("/openapi.json").json()["paths"]
    assert {"/", "/all", "/bulk", "/dev/events", "/dev/faults", "/dev/monitor", "/dev/runs"} <= paths.keys()
    [limit] = [one for one in paths["/dev/runs"]["get"]["parameters"] if one["name"] == "limit"]
    assert (limit["schema"]["minimum"], limit["schema"]["maximum"]) == (1, 500)
    fault = paths["/dev/faults"]["put"]["requestBody"]["content"]["application/json"]["schema"]["items"]
    assert fault["required"] == ["path"]
    assert "422" not in {status for path in paths.values() for one in path.values() for status in one["responses"]}


def test_parameters_are_described(raw: httpx.Client) -> None:
    """Each parameter of the server's own paths and of the metrics has a description; times say their unit."""
    paths = raw.get("/openapi.json").json()["paths"]
    parameters = [
        (path, one["name"], one.get("description", ""))
        for path, methods in paths.items()
        if path.startswith(("/dev/", "/api/"))
        for method in methods.values()
        for one in method.get("parameters", ())
    ]
    assert [found for found in parameters if not found[2]] == []
    times = [text for path, name, text in parameters if name in ("from", "to")]
    assert len(times) == 6
    assert all("milliseconds since 1970" in text for text in times)


def test_other_methods_are_refused(raw: httpx.Client) -> None:
    """A method that a path does not have gets 405, and the answer names one that it has."""
    answer = raw.request("TRACE", "/dev/faults")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET")


@pytest.mark.skipif(find_spec("schemathesis") is None, reason="schemathesis is not installed")
def test_requests_of_the_description(server: DevServer, tmp_path: Path) -> None:
    """Requests that schemathesis makes of the description, right and wrong ones, get the answers in it."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json", "--no-color"]
    command += ["--phases", "fuzzing", "--max-time", "6", "--checks", _CHECKS, "--generation-database", "none"]
    command += ["--header", "Authorization: api-token", "--suppress-health-check", "all"]
    command += [word for path in _STREAMS for word in ("--exclude-path", path)]
    command += ["--exclude-method", "PUT"]  # sets faults, which change the answers of other paths; see test_fuzz.py
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50)
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-2000:]
