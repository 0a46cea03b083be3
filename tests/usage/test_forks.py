"""A child that is forked while encodings load can load them too."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
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


def test_a_fork_waits_for_the_imports_of_the_loading_thread() -> None:
    """Otherwise the child would wait for ever for a lock that a thread of its parent holds."""
    subprocess.run([sys.executable, "-c", _PROGRAM], check=True, timeout=50)
