"""Processes that end or fork while a thread loads an encoding or counts tokens."""

from __future__ import annotations

import subprocess
import sys

import pytest

_COUNTING = """
import threading
from ldai_integrations.usage import count_tokens, warm_up

counting = threading.Semaphore(0)

def count():
    while True:
        count_tokens("some words of an answer " * 50)
        counting.release()

warm_up(timeout=30)
for _ in range(2):
    threading.Thread(target=count, daemon=True).start()
for _ in range(100):
    counting.acquire()
"""
_LOADING = """
import sys
from ldai_integrations.usage import warm_up

warm_up()
while "tiktoken" not in sys.modules:
    pass
"""
_FORKING = """
import os, sys
from ldai_integrations.usage import warm_up

warm_up()
while "tiktoken" not in sys.modules:
    pass
if os.fork() == 0:
    import tiktoken
    os._exit(0)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
"""


@pytest.mark.parametrize("program", [_COUNTING, _LOADING], ids=["counting", "loading"])
def test_a_process_ends_while_a_thread_is_in_tiktoken(program: str) -> None:
    """Daemon threads in native code end with the interpreter, which tiktoken before 0.14 aborted."""
    for _ in range(3):
        subprocess.run([sys.executable, "-c", program], check=True, timeout=50)


def test_a_fork_waits_for_the_imports_of_the_loading_thread() -> None:
    """A child that is forked while encodings load can load them too."""
    subprocess.run([sys.executable, "-c", _FORKING], check=True, timeout=50)
