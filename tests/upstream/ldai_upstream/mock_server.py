"""A mock server for the tests of openai's or anthropic's resources: ``python -m ldai_upstream.mock_server openai``.

It answers each request with an example of the type that the package's method expects. Methods, paths and types are read
from the source of the package's resources.
"""

from __future__ import annotations

import ast
import json
import pkgutil
import re
import sys
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

_VERBS = {"_get": "GET", "_post": "POST", "_put": "PUT", "_patch": "PATCH", "_delete": "DELETE"}
# The arguments of methods that decide about the type of their response.
_ARGUMENTS = {"response_format": "json"}
_FORMATS = {"date-time": "2026-11-01T12:00:00Z", "date": "2026-11-01", "uri": "https://example.com"}

# The method, the pattern of the path, its query, and the type of the response.
_Route = tuple[str, re.Pattern[str], str, Any]


def find_routes(package: str) -> list[_Route]:
    """Return the routes of a package's resources, those with the fewest placeholders first."""
    root = import_module(f"{package}.resources")
    names = [found.name for found in pkgutil.walk_packages(root.__path__, f"{root.__name__}.") if not found.ispkg]
    found = [route for name in names for route in _routes_of(import_module(name))]
    return sorted(found, key=lambda route: route[1].pattern.count("[^/]+"))


def _routes_of(module: Any) -> Iterator[_Route]:
    for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        verb, is_list = _VERBS.get(node.func.attr), node.func.attr == "_get_api_list"
        kind = given.get("page" if is_list else "cast_to")
        if kind is None or not node.args or not (verb or is_list):
            continue
        if is_list:
            verb = ast.literal_eval(given["method"]).upper() if "method" in given else "GET"
        first: Any = node.args[0]
        path = first.args[0] if isinstance(first, ast.Call) else first
        if not isinstance(path, ast.Constant):
            continue
        whole, _, query = str(path.value).partition("?")
        pattern = "[^/]+".join(map(re.escape, re.split(r"\{\w+\}", whole)))
        yield str(verb), re.compile(rf"{pattern}/?"), query, eval(ast.unparse(kind), {**vars(module), **_ARGUMENTS})


@cache
def example_of(kind: Any) -> bytes:
    """Return an example of a type as JSON; nothing for ``None`` and for binary content."""
    if kind is type(None) or getattr(kind, "__name__", "").endswith(("NoneType", "Content", "BinaryAPIResponse")):
        return b""
    schema = TypeAdapter(kind).json_schema(by_alias=True)
    return json.dumps(_example(schema, schema.get("$defs", {}), 0)).encode()


def _example(schema: Any, definitions: Any, depth: int) -> Any:
    if "$ref" in schema:
        return _example(definitions[schema["$ref"].rpartition("/")[2]], definitions, depth + 1)
    for name in ("const", "default"):
        if schema.get(name) is not None:
            return schema[name]
    if "enum" in schema:
        return schema["enum"][0]
    for name in ("anyOf", "oneOf", "allOf"):
        if name in schema:
            return _example(schema[name][0], definitions, depth)
    kind = schema.get("type")
    if kind == "object":
        required = set(schema.get("required", ()))
        # Optional parts are given near the top only: types refer to each other.
        chosen = {name: one for name, one in schema.get("properties", {}).items() if name in required or depth < 3}
        return {name: _example(one, definitions, depth + 1) for name, one in chosen.items()}
    if kind == "array":
        return [_example(schema["items"], definitions, depth + 1)] if schema.get("items") and depth < 6 else []
    values = {"integer": 7, "number": 7.5, "boolean": True, "null": None}
    return values[kind] if kind in values else _FORMATS.get(schema.get("format"), "text")


def make_handler(routes: list[_Route]) -> type[BaseHTTPRequestHandler]:
    """Return a handler that answers the requests of some routes."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self._read_body()
            path, _, query = self.path.partition("?")
            kinds = [
                kind
                for verb, pattern, needed, kind in routes
                if verb == self.command and pattern.fullmatch(path) and needed in query
            ]
            body = example_of(kinds[0]) if kinds else b'{"error": {"message": "no such route"}}'
            self.send_response(200 if kinds else 404)
            self.send_header("Content-Type", "application/json" if body else "application/octet-stream")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def __getattr__(self, name: str) -> Any:
            """Answer every kind of request: ``do_GET``, ``do_POST`` and so on."""
            if name.startswith("do_"):
                return self.answer
            raise AttributeError(name)

        def _read_body(self) -> None:
            if self.headers.get("Transfer-Encoding") == "chunked":
                while size := int(self.rfile.readline(), 16):
                    self.rfile.read(size + 2)
                self.rfile.readline()
            else:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    return Handler


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", 4010), make_handler(find_routes(sys.argv[1]))).serve_forever()
