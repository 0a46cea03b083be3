"""Which time a command is about."""

from __future__ import annotations

import argparse
from datetime import datetime, timedelta, timezone

DEFAULT_HOURS = 24.0


def moment(text: str) -> datetime:
    """Read a date or a time of ISO 8601; without an offset it is UTC."""
    try:
        found = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no date or time; write 2026-11-20 or 2026-11-20T08:30+01:00 (UTC without an offset)"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def hours(text: str) -> float:
    """Read a number of hours."""
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found <= 24 * 3660:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of hours, more than 0 and at most ten years")
    return found


def window(args: argparse.Namespace, now: datetime) -> tuple[datetime, datetime]:
    """Return the first moment that counts and the first that does not any more.

    Raises:
        ValueError: If the arguments contradict each other.
    """
    if args.start is not None and args.hours is not None:
        raise ValueError("--hours and --from contradict each other; give one of them")
    end = args.end or now
    start = args.start or end - timedelta(hours=args.hours or DEFAULT_HOURS)
    if start >= end:
        raise ValueError(f"--from {start.isoformat()} is not before --to {end.isoformat()}")
    return start, end
