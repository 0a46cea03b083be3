"""Write the lowest version of every direct dependency, as setup.cfg allows it, to a file of constraints for pip."""

from __future__ import annotations

import configparser
import sys
from pathlib import Path

from packaging.requirements import Requirement


def lowest(requirement: Requirement) -> str:
    """Turn ``name>=1.2`` into ``name==1.2``."""
    bounds = [specifier.version for specifier in requirement.specifier if specifier.operator == ">="]
    if len(bounds) != 1:
        raise SystemExit(f"setup.cfg: {requirement} has no lower bound, or more than one")
    return f"{requirement.name}=={bounds[0]}"


def main(target: str) -> None:
    """Write one constraint a line."""
    config = configparser.ConfigParser()
    config.read(Path(__file__).parents[1] / "setup.cfg", encoding="utf-8")
    listed = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    requirements = (Requirement(line) for line in "\n".join(listed).splitlines() if line.strip())
    Path(target).write_text("\n".join(sorted({lowest(requirement) for requirement in requirements})), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
