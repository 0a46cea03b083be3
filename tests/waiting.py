"""Waiting for what nothing announces."""

from __future__ import annotations

import time
from collections.abc import Callable


def eventually(condition: Callable[[], bool], *, timeout: float = 20) -> bool:
    """Tell whether a condition comes true within ``timeout`` seconds; look often, and leave the others some time."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True
