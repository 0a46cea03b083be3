"""Compare the reported figures with the expected ones: run by run, and the table with the bill and the database."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from .expected import Bounds, Call, Figures, as_row, bounds_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .plan import Variation
    from .readback import RunKey
    from .traffic import Exchange


@dataclass(frozen=True, slots=True)
class Report:
    """The requests, the model server's bill for them, and the reported figures.

    Attributes:
        exchanges: The requests as the clients saw them.
        bill: All calls of the model server.
        runs: The figures of each run, from the database.
        table: The figures of each variation, from the REST API.
        costs: The cost of each variation in USD, from the REST API.
        prices: The prices of an input token and an output token of each variation in USD.
    """

    exchanges: Sequence[Exchange]
    bill: Sequence[Call]
    runs: dict[RunKey, Figures]
    table: dict[Variation, Figures]
    costs: dict[Variation, Decimal]
    prices: dict[Variation, tuple[Decimal, Decimal]]

    def sums(self) -> dict[Variation, Figures]:
        """Return the sums of the runs by variation."""
        sums: defaultdict[Variation, Figures] = defaultdict(Counter)
        for (variation, _), figures in self.runs.items():
            sums[variation].update(figures)
        return dict(sums)

    def differences(self) -> list[str]:
        """Return all differences; an empty list if everything agrees."""
        found = [problem for exchange in self.exchanges for problem in exchange.problems()]
        expected = self._expected(found)
        found += _run_differences(expected, dict(self.runs))
        billed_sums: defaultdict[Variation, Bounds] = defaultdict(Bounds)
        for exchange, bounds in expected:
            assert exchange.step.variation is not None
            billed_sums[exchange.step.variation] += bounds
        sums = self.sums()
        for variation in sorted(billed_sums.keys() | self.table.keys() | sums.keys()):
            name, row = "/".join(variation), self.table.get(variation, Counter())
            found += [f"{name}, bill: {text}" for text in billed_sums[variation].as_row().differences(row)]
            rows = as_row(sums.get(variation, Counter()))
            found += [f"{name}, database: {text}" for text in Bounds(rows, rows).differences(row)]
            read, written = self.prices.get(variation, (Decimal(), Decimal()))
            cost, shown = row["input_tokens"] * read + row["output_tokens"] * written, self.costs.get(variation, 0)
            if shown != cost:
                found.append(f"{name}, prices: the cost is {shown} USD, must be {cost} USD")
        return found

    def _expected(self, found: list[str]) -> list[tuple[Exchange, Bounds]]:
        """Return the expected figures of each exchange with a run, and add differences of the bill to ``found``."""
        calls: defaultdict[str, list[Call]] = defaultdict(list)
        for call in self.bill:
            calls[call["question"]].append(call)
        expected = []
        for exchange in self.exchanges:
            billed = calls.pop(exchange.question, [])
            if bool(billed) != bool(exchange.step.variation):
                text = "was called" if billed else "was not called"
                found.append(f"{exchange.app}, {exchange.step.title}: the model {text}")
            elif billed:
                expected.append((exchange, bounds_of(exchange, billed)))
        found += [f"the model was called with another question: {question}" for question in calls]
        return expected


def _run_differences(expected: list[tuple[Exchange, Bounds]], left: dict[RunKey, Figures]) -> list[str]:
    """Compare each run. If the client got no run id, the run is identified by its figures."""
    found = []
    without_id = []
    for exchange, bounds in expected:
        assert exchange.step.variation is not None
        if not exchange.run_id:
            without_id.append((exchange, bounds))
            continue
        figures = left.pop((exchange.step.variation, exchange.run_id), Counter())
        found += [f"{exchange.app}, {exchange.step.title}: {text}" for text in bounds.differences(figures)]
    for exchange, bounds in without_id:
        same = [key for key in left if key[0] == exchange.step.variation and not bounds.differences(left[key])]
        if same:
            del left[same[0]]
        else:
            found.append(f"{exchange.app}, {exchange.step.title}: no such run was reported")
    found += [f"{'/'.join(variation)}: an unexpected run: {dict(figures)}" for (variation, _), figures in left.items()]
    return found
