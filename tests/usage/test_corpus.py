"""Recorded responses of real providers, which are not part of the project, are read to the token."""

from __future__ import annotations

import json
import lzma
import os
from collections.abc import Iterator
from typing import Any

import pytest

from ldai_integrations.usage import extract, extract_stream

from .test_sums import is_consistent

_CORPUS = os.environ.get("LDAI_USAGE_CORPUS", "")


def _records() -> Iterator[dict[str, Any]]:
    with lzma.open(_CORPUS, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


@pytest.mark.skipif(not _CORPUS, reason="LDAI_USAGE_CORPUS names no file of recorded responses")
@pytest.mark.timeout(300)
def test_every_recorded_usage_is_read_exactly() -> None:
    """Input, output and total are the provider's own, of whole responses and of streams, and they are consistent."""
    wrong, seen = [], 0
    for record in _records():
        truth = record.get("usage_true")
        if record.get("set") == "no_usage" or not truth:
            continue
        seen += 1
        usage = extract_stream(record["response_chunks"]) if record["streaming"] else extract(record["response_json"])
        found = {name: getattr(usage, f"{name}_tokens", None) for name in ("input", "output", "total")}
        is_wrong = any(truth.get(name) not in (None, count) for name, count in found.items())
        if is_wrong or not is_consistent(usage):
            wrong.append(record["id"])
    assert seen
    assert wrong == []
