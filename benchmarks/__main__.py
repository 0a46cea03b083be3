"""Measure everything: ``python -m benchmarks [part …]``. Exits with 1 if a figure is outside of its bar."""

from __future__ import annotations

import argparse
import logging
import os
import sys

from . import (
    asgi_overhead,
    blocks,
    chunks,
    clients,
    counting,
    event_cost,
    flatness,
    framework_hooks,
    imports,
    resolution,
    tracked_call,
    uvicorn_rate,
)

_PARTS = {
    part.__name__.rpartition(".")[2]: part
    for part in (
        asgi_overhead,
        uvicorn_rate,
        tracked_call,
        flatness,
        event_cost,
        resolution,
        chunks,
        clients,
        counting,
        blocks,
        imports,
        framework_hooks,
    )
}


def main(names: list[str]) -> int:
    """Measure one part after the other; print each figure beside its bar, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what the library costs.")
    parser.add_argument("part", nargs="*", help=f"one of {', '.join(_PARTS)}; without one, all")
    parts = parser.parse_args(names).part
    if unknown := sorted(set(parts) - set(_PARTS)):
        parser.error(f"there is no part {', '.join(unknown)}; use {', '.join(_PARTS)}")
    logging.disable(logging.WARNING)
    print(f"{os.cpu_count()} processors, {_load()}", flush=True)
    missed = []
    for name in parts or _PARTS:
        for figure in _PARTS[name].figures():
            print(figure, flush=True)
            if not figure.holds:
                missed.append(figure.what)
    print(_load())
    if missed:
        print(f"{len(missed)} outside of their bars: {'; '.join(missed)}")
    return 1 if missed else 0


def _load() -> str:
    return f"load average {os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
