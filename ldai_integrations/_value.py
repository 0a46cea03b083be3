"""Classes of values, such as the usage and the record of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from typing_extensions import dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value_class(cls: type[T]) -> type[T]:
    """Make a class a dataclass of values: type checkers refuse to assign to a field.

    Each run makes several of them. To make a dataclass that is frozen at run time as well takes four times as long.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)
