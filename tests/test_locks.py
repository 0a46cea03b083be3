"""A child that is forked while another thread of its parent holds a lock of ours can take it."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref

from ldai_integrations import _locks as room
from ldai_integrations._locks import ForkSafeLock

_PROGRAM = """
import os, signal, threading
from ldai_integrations._core.default import default_tracking
from ldai_integrations.feedback import MemoryVotes
from ldai_integrations.feedback._memory import RateLimit

votes, limit = MemoryVotes(), RateLimit(1)
holding, let_go = threading.Event(), threading.Event()

def hold():
    with votes._lock, limit._lock, default_tracking._lock:
        holding.set()
        let_go.wait()

thread = threading.Thread(target=hold)
thread.start()
holding.wait()
if os.fork() == 0:
    signal.alarm(20)
    assert votes.keep("run", "positive", seconds=10) is None
    assert limit.seconds_to_wait("ada") == 0
    default_tracking.make()
    os._exit(0)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
assert not votes._lock._lock.acquire(blocking=False), "the parent's is still held"
let_go.set()
thread.join()
assert votes.keep("run", "positive", seconds=10) is None
"""


def test_a_child_waits_for_no_thread_of_its_parent() -> None:
    """Votes, limits and the tracking of the process work there; in the parent the lock stays held."""
    subprocess.run([sys.executable, "-c", _PROGRAM], check=True, timeout=50)


def test_locks_are_not_kept_alive() -> None:
    """One that nobody has is gone."""
    lock = ForkSafeLock()
    seen = weakref.ref(lock)
    assert lock in room._locks
    del lock
    gc.collect()
    assert seen() is None
