"""Whether a model's tokens can be counted exactly on this machine."""

from __future__ import annotations

from ._models import encoding_of, family_of
from ._rank_files import find


def encoding_at_hand(model: str) -> tuple[str, bool]:
    """Tell which encoding counts the tokens of a model, and whether it lies on this machine.

    Args:
        model: Name of the model; an unknown one has the encoding that is used for it.
    """
    spec = encoding_of(family_of(model))
    return spec.name, find(spec) is not None
