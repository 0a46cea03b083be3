"""Commands of ``ldai`` on a pseudo-terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_on_a_terminal(arguments: Sequence[str], environ: Mapping[str, str]) -> str:
    """Run a command on a terminal and return what it shows, with control sequences."""
    import pty

    shown, screen = pty.openpty()
    inherited = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "NO_COLOR")}
    environment = {**inherited, "TERM": "xterm", "PYTHONPATH": str(ROOT), **{k: v for k, v in environ.items() if v}}
    command = [sys.executable, "-m", "ldai_integrations", *arguments]
    with subprocess.Popen(command, env=environment, stdout=screen, stderr=screen) as process:
        os.close(screen)
        drawn = []
        while True:
            try:
                part = os.read(shown, 10_000)
            except OSError:  # the terminal was closed
                break
            if not part:
                break
            drawn.append(part)
        process.wait(60)
    os.close(shown)
    return b"".join(drawn).decode()
