"""The findings of the doctor."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

Level = Literal["ok", "skipped", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        level: ``ok``; ``skipped`` (not checked); ``warning`` (often a mistake); ``problem`` (does not work).
        about: The subject of the check.
        text: The result; never contains a secret.
        remedy: What to do; empty if nothing has to be done.
    """

    level: Level
    about: str
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{self.level:<8} {self.about}: {self.text}"
        return f"{line}\n{'':<8} → {self.remedy}" if self.remedy else line

    def to_json(self) -> dict[str, str]:
        """Return the fields."""
        return asdict(self)


def ok(about: str, text: str) -> Finding:
    """Return a finding without a problem."""
    return Finding("ok", about, text)


def skipped(about: str, text: str) -> Finding:
    """Return a finding about something that was not checked, and why."""
    return Finding("skipped", about, text)


def warning(about: str, text: str, remedy: str) -> Finding:
    """Return a finding about something that is often a mistake."""
    return Finding("warning", about, text, remedy)


def problem(about: str, text: str, remedy: str) -> Finding:
    """Return a finding about something that does not work."""
    return Finding("problem", about, text, remedy)
