"""Print the table."""

from __future__ import annotations

import logging

from . import (
    asgi_overhead,
    chunks,
    clients,
    counting,
    event_cost,
    flatness,
    imports,
    resolution,
    tracked_call,
    uvicorn_rate,
)


def main() -> None:
    """Measure one thing after the other, and print each when it is known."""
    logging.disable(logging.WARNING)
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
        imports,
    ):
        for figure in part.figures():
            print(f"{figure.what:34} {figure.value:>10}   {figure.bar}", flush=True)


if __name__ == "__main__":
    main()
