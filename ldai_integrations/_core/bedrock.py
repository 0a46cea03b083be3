"""Bedrock's InvokeModel: a body that can be read once, and figures in the headers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..records import Usage
from ..usage import extract
from .output import Output

Feed = Callable[[Any], object]

# https://docs.aws.amazon.com/bedrock/latest/userguide/inference-invoke.html, and the metrics that streams end with
_HEADERS = {
    "x-amzn-bedrock-input-token-count": "inputTokenCount",
    "x-amzn-bedrock-output-token-count": "outputTokenCount",
    "x-amzn-bedrock-cache-read-input-token-count": "cacheReadInputTokenCount",
    "x-amzn-bedrock-cache-write-input-token-count": "cacheWriteInputTokenCount",
}


def readable_once(body: Any) -> bool:
    """Tell whether a value is a ``botocore`` body that is read from the network."""
    kind = type(body)
    return hasattr(kind, "iter_chunks") and hasattr(kind, "set_socket_timeout") and not hasattr(kind, "__aenter__")


def read_through(body: Any, feed: Feed) -> Any:
    """Return another body of the same class that reads the given one, and has ``feed`` take what is read."""
    return type(body)(_Passing(body, feed), None)


class _Passing:
    """Be the raw stream of a body; attributes are the inner body's own."""

    def __init__(self, body: Any, feed: Feed) -> None:
        self._body = body
        self._feed = feed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)

    def read(self, amt: int | None = None, *more: Any) -> Any:
        data = self._body.read(amt, *more)
        self._feed(data)
        return data

    def readinto(self, buffer: Any) -> Any:
        size = self._body.readinto(buffer)
        if size:
            self._feed(bytes(memoryview(buffer)[:size]))
        return size

    def readlines(self, *hint: Any) -> Any:
        lines = self._body.readlines(*hint)
        self._feed(b"".join(lines))
        return lines


def metered(output: Output | None, usage: Usage | None) -> Output | None:
    """Fill what a body leaves out with the figures in the headers."""
    if usage is None:
        return output
    if output is None:
        return Output(usage, lambda _request: usage, 0, from_provider=True)
    said = output.usage
    if said is None:
        return replace(output, usage=usage)
    if said.input_tokens is not None and said.output_tokens is not None:
        return output
    return replace(output, usage=replace(said.filled_from(usage), estimated=said.estimated))


def usage_in_headers(response: Mapping[str, Any]) -> Usage | None:
    """Return what the headers of an InvokeModel response count; ``None`` where they do not."""
    headers = (response.get("ResponseMetadata") or {}).get("HTTPHeaders") or {}
    counts = {name: int(headers[key]) for key, name in _HEADERS.items() if str(headers.get(key, "")).isdigit()}
    return extract({"amazon-bedrock-invocationMetrics": counts}) if counts else None
