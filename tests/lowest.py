"""Print the lowest version of every direct dependency, as setup.cfg allows it, for pip to install."""

from __future__ import annotations

import configparser
from pathlib import Path

from packaging.requirements import Requirement


def lowest(requirement: Requirement) -> str:
    """Turn ``name>=1.2`` into ``name==1.2``."""
    bounds = [specifier.version for specifier in requirement.specifier if specifier.operator == ">="]
    if len(bounds) != 1:
        raise SystemExit(f"setup.cfg: {requirement} has no lower bound, or more than one")
    return f"{requirement.name}=={bounds[0]}"


def main() -> None:
    """Print one requirement a line."""
    config = configparser.ConfigParser()
    config.read(Path(__file__).parents[1] / "setup.cfg", encoding="utf-8")
    listed = config["options"]["install_requires"] + config["options.extras_require"]["tests"]
    requirements = (Requirement(line) for line in listed.splitlines() if line.strip())
    print("\n".join(sorted({lowest(requirement) for requirement in requirements})))


if __name__ == "__main__":
    main()
