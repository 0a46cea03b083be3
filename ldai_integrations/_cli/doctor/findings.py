"""What the doctor says."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

Level = Literal["ok", "skipped", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """Say one thing.

    Attributes:
        level: ``ok``; ``skipped`` (could not be looked at, or was not asked for); ``warning`` (may be meant);
            ``problem`` (something will not work).
        about: What was looked at.
        text: What was found; never a secret.
        remedy: What to do; empty where nothing is to be done.
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
    """Say that something is as it should be."""
    return Finding("ok", about, text)


def skipped(about: str, text: str) -> Finding:
    """Say that something was not looked at, and why."""
    return Finding("skipped", about, text)


def warning(about: str, text: str, remedy: str) -> Finding:
    """Say that something may be meant, but often is not."""
    return Finding("warning", about, text, remedy)


def problem(about: str, text: str, remedy: str) -> Finding:
    """Say that something will not work."""
    return Finding("problem", about, text, remedy)
