"""Recorded responses of real providers, with their true usage."""

from __future__ import annotations

import base64
import json
import lzma
import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Record = Mapping[str, Any]

# The text in the corpus in place of the data of an image.
_CUT_IMAGE = re.compile(r"<<b64 removed [^<>]*?kind=(?!pdf|wav|mp3)\w+ w=(?P<width>\d+) h=(?P<height>\d+)[^<>]*>>")


def records_in(path: Path) -> Iterator[Record]:
    """Yield the records of a corpus."""
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(_CUT_IMAGE.sub(_image_head, line))


def half_of(records: list[Record], half: int | None) -> list[Record]:
    """Return the records of every other repository, sorted by name; all records if ``half`` is ``None``.

    Estimates that are fitted to one half are checked on the other, because records of one repository are similar.
    """
    repositories = sorted({record["source_repo"] for record in records})
    chosen = set(repositories if half is None else repositories[half - 1 :: 2])
    return [record for record in records if record["source_repo"] in chosen]


def model_of(record: Record) -> str:
    """Return the name of the model that answered; without it, that of the requested model."""
    return record.get("response_model") or record.get("model") or ""


def _image_head(cut: re.Match[str]) -> str:
    """Return the first bytes of a PNG of the size that the corpus notes where it left an image out."""
    size = struct.pack(">II", int(cut["width"]), int(cut["height"]))
    return base64.b64encode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + size + b"\x08\x06").decode()
