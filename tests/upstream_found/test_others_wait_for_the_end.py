"""Who has been answered may look at once at what the end of the handler leaves: no other thread is let in before it."""

from __future__ import annotations

import threading
import uuid
from unittest.mock import patch

from ldai_integrations import Tracking, track_ai


def test_random_bytes_are_drawn_when_a_run_opens(tracking: Tracking) -> None:
    """To ask the operating system for them lets other threads run; the end of a run asks on a thread of ours."""
    here, ended, asked_after = threading.get_ident(), threading.Event(), set[int]()

    def asked() -> uuid.UUID:
        if ended.is_set():
            asked_after.add(threading.get_ident())
        return drawn()

    @track_ai(config_key="chat", tracking=tracking)
    def handler() -> str:
        ended.set()
        return "Hello"

    drawn = uuid.uuid4
    with patch("uuid.uuid4", asked):
        handler()
        tracking.flush()

    assert asked_after - {here}, "the run has no id"
    assert here not in asked_after
