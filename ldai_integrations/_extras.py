"""Imports of packages that an extra installs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs_extra(name: str) -> Iterator[None]:
    """Name the extra that is missing if an import in the block fails.

    Args:
        name: The name of the extra.

    Raises:
        ModuleNotFoundError: If a package of the extra is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as missing:
        package = (missing.name or "").partition(".")[0]
        raise ModuleNotFoundError(
            f"{package} is not installed; run pip install 'ldai-integrations[{name}]'", name=missing.name
        ) from missing
