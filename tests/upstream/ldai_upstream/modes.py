"""What ``LDAI_UPSTREAM`` may say."""

from __future__ import annotations

import tempfile
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from .instrument import Instrument


class Mode(NamedTuple):
    """The config keys of every middleware and of every decorator, the outermost first, and of Flask's extension."""

    middleware: tuple[str | None, ...]
    decorators: tuple[str, ...]
    extension: str | None = None


#: In ``nested`` runs are joined, and followed in one another, in every way. Without a mode the library is not there.
MODES: dict[str, Mode | None] = {
    "bare": None,
    "lazy": Mode((None,), ("handler",)),
    "tracking": Mode(("handler",), ("handler",)),
    "nested": Mode(("request", "request"), ("request", "outer", "handler", "handler")),
    "extension": Mode((None,), ("handler",), extension="request"),
}


def make_instrument(name: str) -> Instrument:
    """Return what a mode puts around everything.

    Raises:
        ValueError: If there is no such mode.
    """
    if name not in MODES:
        raise ValueError(f"LDAI_UPSTREAM is {name!r}; set it to one of {', '.join(MODES)}")
    mode = MODES[name]
    if mode is None:
        return Instrument()
    with tempfile.TemporaryDirectory() as directory:
        made: Instrument = import_module(f"{__package__}.offline").TrackingInstrument(
            Path(directory, "flags.json"), mode
        )
    return made
