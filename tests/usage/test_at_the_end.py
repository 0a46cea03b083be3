"""A process that ends while a thread counts tokens ends with its own status."""

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


@pytest.mark.parametrize("program", [_COUNTING, _LOADING], ids=["counting", "loading"])
def test_a_process_ends_while_a_thread_is_in_tiktoken(program: str) -> None:
    """Daemon threads in native code end with the interpreter, which tiktoken before 0.14 aborted."""
    for _ in range(3):
        subprocess.run([sys.executable, "-c", program], check=True, timeout=50)
