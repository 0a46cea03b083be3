"""Compare what was reported with what must be: run by run, and the table with both the ledger and the raw rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .figures import Bounds, Figures, as_row
from .ledger import Call, bounds_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .plan import Variation
    from .readback import RunKey
    from .traffic import Exchange


@dataclass(frozen=True, slots=True)
class Report:
    """What was sent, what the model server billed for it, and what was reported.

    Attributes:
        exchanges: What the clients saw.
        bill: Every call of the model server.
        runs: Figures of each run, from the raw rows.
        table: Figures of each variation, from the REST API.
    """

    exchanges: Sequence[Exchange]
    bill: Sequence[Call]
    runs: dict[RunKey, Figures]
    table: dict[Variation, Figures]

    def sums(self) -> dict[Variation, Figures]:
        """Add the runs up by variation."""
        sums: defaultdict[Variation, Figures] = defaultdict(Counter)
        for (variation, _), figures in self.runs.items():
            sums[variation].update(figures)
        return dict(sums)

    def differences(self) -> list[str]:
        """Say everything that does not agree; an empty list where all does."""
        found = [problem for exchange in self.exchanges for problem in exchange.problems()]
        expected = self._expected(found)
        found += _run_differences(expected, dict(self.runs))
        ledger: defaultdict[Variation, Bounds] = defaultdict(Bounds)
        for exchange, bounds in expected:
            assert exchange.step.variation is not None
            ledger[exchange.step.variation] += bounds
        sums = self.sums()
        for variation in sorted(ledger.keys() | self.table.keys() | sums.keys()):
            name, row = "/".join(variation), self.table.get(variation, Counter())
            found += [f"{name}, ledger: {text}" for text in ledger[variation].as_row().differences(row)]
            rows = as_row(sums.get(variation, Counter()))
            found += [f"{name}, database: {text}" for text in Bounds(rows, rows).differences(row)]
        return found

    def _expected(self, found: list[str]) -> list[tuple[Exchange, Bounds]]:
        """Return what must be reported for each exchange that makes a run; say where the bill does not fit."""
        calls: defaultdict[str, list[Call]] = defaultdict(list)
        for call in self.bill:
            calls[call["question"]].append(call)
        expected = []
        for exchange in self.exchanges:
            billed = calls.pop(exchange.question, [])
            if bool(billed) != bool(exchange.step.variation):
                said = "was asked" if billed else "was not asked"
                found.append(f"{exchange.app}, {exchange.step.title}: the model {said}")
            elif billed:
                expected.append((exchange, bounds_of(exchange, billed)))
        found += [f"the model was asked something else: {question}" for question in calls]
        return expected


def _run_differences(expected: list[tuple[Exchange, Bounds]], left: dict[RunKey, Figures]) -> list[str]:
    """Compare run by run; a run whose id the client never got is found by its figures."""
    found = []
    nameless = []
    for exchange, bounds in expected:
        assert exchange.step.variation is not None
        if not exchange.run_id:
            nameless.append((exchange, bounds))
            continue
        figures = left.pop((exchange.step.variation, exchange.run_id), Counter())
        found += [f"{exchange.app}, {exchange.step.title}: {text}" for text in bounds.differences(figures)]
    for exchange, bounds in nameless:
        same = [key for key in left if key[0] == exchange.step.variation and not bounds.differences(left[key])]
        if same:
            del left[same[0]]
        else:
            found.append(f"{exchange.app}, {exchange.step.title}: no such run was reported")
    found += [
        f"{'/'.join(variation)}: a run that nobody asked for: {dict(figures)}"
        for (variation, _), figures in left.items()
    ]
    return found
