"""What can be wrong with flags, said so that a person can repair it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

Severity = Literal["structure", "unreadable", "suspect"]


@dataclass(frozen=True)
class Problem:
    """Name one thing that is wrong in a flag file.

    Attributes:
        item: What it is found in, such as ``flag 'support-bot'``.
        field: Where in the item, such as ``variations[1].model.name``; empty for the item as a whole.
        text: What is wrong there, and what to do.
        severity: ``structure`` when an SDK would throw away every flag because of it, ``unreadable`` when
            LaunchDarkly's AI SDK raises on it or drops it, ``suspect`` when it works but is hardly what was meant.
    """

    item: str
    field: str
    text: str
    severity: Severity

    def __str__(self) -> str:
        """Write the problem as one line."""
        return f"{self.item}: {self.field} {self.text}" if self.field else f"{self.item}: {self.text}"


class FlagFileError(ValueError):
    """Say why these flags cannot be served, one problem per line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Keep the problems.

        Args:
            problems: At least one.
        """
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)
