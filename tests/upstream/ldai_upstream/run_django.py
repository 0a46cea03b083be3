"""Django's own suite is no pytest suite: ``python -m ldai_upstream.run_django runtests.py handlers asgi …``.

``LDAI_UPSTREAM`` says how, as for the plugin. A test that makes the library fail is an error of that test.
"""

from __future__ import annotations

import os
import runpy
import sys
import unittest
from pathlib import Path

from .frameworks import instrument_all
from .modes import make_instrument


def main() -> None:
    """Run the script that is named first, with its arguments, below the instrument."""
    instrument = make_instrument(os.environ.get("LDAI_UPSTREAM", ""))
    instrument_all(instrument)
    run = unittest.TestCase.run

    def watched(case: unittest.TestCase, result: unittest.TestResult | None = None) -> unittest.TestResult | None:
        os.environ["PYTEST_CURRENT_TEST"] = case.id()
        outcome = run(case, result)
        for breach in instrument.breaches():
            print(f"BREACH: {case.id()}: {breach}", file=sys.stderr)
        return outcome

    unittest.TestCase.run = watched  # type: ignore[assignment, method-assign]
    sys.argv = sys.argv[1:]
    sys.path.insert(0, str(Path(sys.argv[0]).resolve().parent))
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    finally:
        for test in instrument.left_open():
            print(f"BREACH: a run was left open in {test}", file=sys.stderr)
        print(instrument.summary(), file=sys.stderr)


if __name__ == "__main__":
    main()
