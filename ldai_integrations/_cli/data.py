"""Metrics for programs: JSON and CSV."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from typing import Any

from ..metrics import Metrics

_FIELDS = [field.name for field in fields(Metrics) if field.name != "approximate"]
_COMPUTED = ["generations", "error_rate", "mean_duration_ms", "total_cost"]


def print_json(about: Mapping[str, str], start: datetime, end: datetime, columns: Mapping[str, Metrics]) -> None:
    """Print one object; an unknown figure is null."""
    found = [{"variation": name, **_figures(metrics, float)} for name, metrics in columns.items()]
    json.dump({**about, "from": start.isoformat(), "to": end.isoformat(), "metrics": found}, sys.stdout, indent=2)
    print()


def print_csv(about: Mapping[str, str], start: datetime, end: datetime, columns: Mapping[str, Metrics]) -> None:
    """Print one line per variation below a line of names; an unknown figure is empty."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*about, "from", "to", "variation", *_FIELDS, *_COMPUTED, "approximate"])
    for name, metrics in columns.items():
        figures = _figures(metrics, lambda money: format(money, "f"))
        figures["approximate"] = " ".join(figures["approximate"])
        writer.writerow([*about.values(), start.isoformat(), end.isoformat(), name, *figures.values()])


def _figures(metrics: Metrics, write_money: Any) -> dict[str, Any]:
    found = {name: getattr(metrics, name) for name in (*_FIELDS, *_COMPUTED)}
    written = {name: write_money(value) if isinstance(value, Decimal) else value for name, value in found.items()}
    return {**written, "approximate": sorted(metrics.approximate)}
