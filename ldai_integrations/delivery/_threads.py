"""The start of threads, which is possible until the interpreter shuts down."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable


def start_thread(work: Callable[[], object], name: str, *, daemon: bool = True) -> threading.Thread | None:
    """Start a thread; return ``None`` if the interpreter is shutting down and starts no more threads."""
    if sys.is_finalizing():  # before Python 3.12, start() waits for ever
        return None
    thread = threading.Thread(target=work, name=name, daemon=daemon)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread
