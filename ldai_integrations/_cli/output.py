"""How commands say that something went wrong."""

from __future__ import annotations

import sys

COULD_NOT_RUN = 2


def failed(message: str) -> int:
    """Say why a command could not run, and return its exit status."""
    print(f"ldai: {message}", file=sys.stderr)
    return COULD_NOT_RUN
