"""Whether a model's tokens can be counted exactly on this machine."""

from __future__ import annotations

from pathlib import Path

from ._encodings import CL100K, O200K
from ._models import encoding_of, family_of
from ._rank_files import find, locate


def encoding_at_hand(model: str) -> tuple[str, bool]:
    """Tell which encoding counts the tokens of a model, and whether it lies on this machine.

    Args:
        model: Name of the model; an unknown one has the encoding that is used for it.
    """
    spec = encoding_of(family_of(model))
    return spec.name, find(spec) is not None


def rank_files(directory: Path | None = None) -> dict[str, Path | None]:
    """Return where the rank file of each encoding lies, by the encoding's name; ``None`` where it is lacking.

    Args:
        directory: A further directory to look in.
    """
    found = {spec.name: locate(spec, directory) for spec in (O200K, CL100K)}
    return {name: None if file is None else file[0] for name, file in found.items()}
