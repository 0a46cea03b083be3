"""A child that is forked while another thread of its parent holds a lock of ours can take it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_PROGRAM = """
import os, signal, sys, threading
from ldai_integrations import track_ai
from ldai_integrations.feedback import MemoryStore

votes, stop = MemoryStore(), threading.Event()
sys.setswitchinterval(1e-6)  # a fork may come in the middle of anything

def vote():
    while not stop.is_set():
        votes.keep("run", "positive", seconds=10)

@track_ai("bot")
def answer():
    return "Hello"

def serve():
    while not stop.is_set():
        answer()

threads = [threading.Thread(target=work) for work in (vote, serve)]
for thread in threads:
    thread.start()
for number in range(20):
    if os.fork() == 0:
        signal.alarm(20)  # it kills a child that waits for ever
        assert votes.keep(str(number), "positive", seconds=10) is None
        assert answer() == "Hello"
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
stop.set()
for thread in threads:
    thread.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
def test_a_child_waits_for_no_thread_of_its_parent() -> None:
    """Votes and the tracking of the process work in a child, whatever its parent's threads were doing."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("LAUNCHDARKLY_", "LDAI_"))}
    subprocess.run([sys.executable, "-W", "ignore", "-c", _PROGRAM], check=True, timeout=50, env=environ)
