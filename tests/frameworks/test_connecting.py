"""Frameworks are connected when Python imports them, and nothing else is taken for one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_SCRIPT = """
from ldai_integrations.testing import OfflineLaunchDarkly

with OfflineLaunchDarkly() as launchdarkly:
    import agents.tracing, agents.models

    stats = launchdarkly.tracking.stats()
    print(agents.__file__, stats.frameworks, dict(stats.diagnostics), sep="\\n")
"""


def test_a_package_of_the_application_is_no_framework(tmp_path: Path) -> None:
    """An application may have a package named like openai-agents, with the same modules."""
    package = tmp_path / "agents"
    package.mkdir()
    for name in ("__init__", "tracing", "models"):
        (package / f"{name}.py").touch()
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])

    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines() == [str(package / "__init__.py"), "()", "{}"]
    assert done.stderr == ""
