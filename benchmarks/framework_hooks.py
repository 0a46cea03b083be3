"""The cost of the connections to LLM frameworks for an application that uses none: imports, and a tracked call."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from ldai_integrations import Settings, Tracking

from ._launchdarkly import local_client
from ._measure import Contestant, Figure, interleaved, ratio
from .tracked_call import times_of, tracked

_IMPORT_ROUNDS, _CALL_ROUNDS = 9, 50
_WITHOUT, _WITH = "Settings(frameworks=())", "Settings()"
# Modules of Python that the library does not import. They, and those that they import, ask the import hooks.
_IMPORTS = "import ctypes, optparse, sqlite3, unittest.mock, wsgiref.simple_server, xml.dom.minidom, xmlrpc.client"
_PROGRAM = """
import time
from ldai_integrations import Settings
from ldai_integrations.testing import OfflineLaunchDarkly
with OfflineLaunchDarkly({{}}, settings={settings}):
    begun = time.process_time()
    {imports}
    print(time.process_time() - begun)
"""


def figures() -> list[Figure]:
    """Measure an application whose Tracking connects every framework, against one whose Tracking connects none."""
    imports = interleaved({name: _importing(name) for name in (_WITHOUT, _WITH)}, rounds=_IMPORT_ROUNDS)
    with local_client() as (client, _events):
        trackings = {_WITHOUT: Tracking(client, settings=Settings(frameworks=())), _WITH: Tracking(client)}
        contestants = {
            name: times_of(tracked(tracking), tracking, time.thread_time) for name, tracking in trackings.items()
        }
        calls = interleaved(contestants, rounds=_CALL_ROUNDS)
    return [
        Figure(what="imports with frameworks / without", value=ratio(imports, _WITH, _WITHOUT), at_most=1.05),
        Figure(what="tracked call with frameworks / without", value=ratio(calls, _WITH, _WITHOUT), at_most=1.05),
    ]


def _importing(settings: str) -> Contestant:
    command = [sys.executable, "-c", _PROGRAM.format(settings=settings, imports=_IMPORTS)]
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def contestant() -> float:
        return float(subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout)

    return contestant
