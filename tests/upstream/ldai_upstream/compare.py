"""Compare two JUnit files of the same suite: ``python -m ldai_upstream.compare without.xml with.xml``."""

from __future__ import annotations

import sys
from xml.etree import ElementTree


def results(path: str) -> dict[str, str]:
    """Return the result of each test in a JUnit file: ``passed``, ``failure``, ``error`` or ``skipped``."""
    found: dict[str, str] = {}
    for case in ElementTree.parse(path).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        ends = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        found[name] = " ".join(filter(None, (found.get(name), *(ends or ["passed"]))))
    return found


def main() -> int:
    """Print every test whose result differs; return 1 if there is one."""
    without, together = (results(path) for path in sys.argv[1:3])
    differing = [name for name in sorted({*without, *together}) if without.get(name) != together.get(name)]
    for name in differing:
        print(f"{name}: {without.get(name, 'absent')} without, {together.get(name, 'absent')} with")
    print(f"{len(without)} tests, {len(differing)} differ")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
