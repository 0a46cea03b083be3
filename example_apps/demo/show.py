"""What the demo prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from .check import Report
    from .services import Services
    from .traffic import Exchange

# Names in a row of figures, and what they are called here.
LABELS = {
    "generations": "generations",
    "success": "success",
    "errors": "errors",
    "cancelled": "cancelled (neither)",
    "input_tokens": "input tokens",
    "output_tokens": "output tokens",
    "total_tokens": "total tokens",
    "mean_ms": "mean duration, ms",
    "first_token_ms": "mean time to first token, ms",
    "thumbs_up": "thumbs up",
    "thumbs_down": "thumbs down",
}


def table_of(report: Report) -> Table:
    """Return the table: a column for each variation of each AI Config, as LaunchDarkly's REST API tells it.

    That API has no number of runs, which the mean duration and the cancelled ones need: it is the database's.
    """
    table = Table("", title="What was reported", title_justify="left")
    sums, columns = report.sums(), []
    for variation, row in sorted(report.table.items()):
        runs = sums[variation]["runs"] if variation in sums else 0
        more = {"cancelled": runs - row["generations"], "mean_ms": round(row["duration_ms"] / max(1, runs))}
        columns.append({**row, **more})
        table.add_column("\n".join(variation), justify="right")
    for name, label in LABELS.items():
        absent = "" if name == "first_token_ms" else 0  # nothing was streamed; a count that is absent is none
        table.add_row(label, *(str(column.get(name, absent)) for column in columns))
    return table


def verdict(console: Console, report: Report, differences: Sequence[str]) -> None:
    """Say what was compared and what differs."""
    runs = sum(exchange.step.variation is not None for exchange in report.exchanges)
    broken = sum(call["state"] in ("broken", "abandoned", "open") for call in report.bill)
    console.print(
        f"{len(report.exchanges)} requests made {runs} runs. Each run was compared with what was sent, and the table"
        " with the ledger and with the raw rows in the database."
    )
    console.print(
        "Exact: runs, successes, errors, tool calls, thumbs, and the tokens of every answer that came to its end."
        " Bounded: times, by what the model server and the clients measured around them; and the tokens of the"
        f" {broken} streams that broke off, for which no provider sends usage and the library estimates."
    )
    _list(console, differences)


def real_verdict(console: Console, exchanges: Sequence[Exchange], differences: Sequence[str]) -> None:
    """Say what was sent to the real services, where nothing can be read back with an SDK key."""
    console.print(
        f"{len(exchanges)} requests sent. Failures and hang-ups on demand were left out: OpenAI has none. The figures"
        " show in LaunchDarkly under Monitoring of each AI Config within two minutes; an SDK key cannot read them back,"
        " so they were not compared. Your environment needs AI Configs like those of example_apps/configs.json."
    )
    _list(console, differences)


def _list(console: Console, differences: Sequence[str]) -> None:
    for difference in differences:
        console.print(f"DIFFERENT: {difference}", style="red", markup=False)
    if differences:
        console.print(f"{len(differences)} differences.", style="bold red")
    else:
        console.print("Everything agrees.", style="bold green")


def addresses(console: Console, services: Services) -> None:
    """Say what to open, and give a line for the shell."""
    console.print()
    for name, address in services.apps.items():
        console.print(f"{name:<12} http://{address}/", markup=False)
    if services.dev_server:
        console.print(f"dev server   http://{services.dev_server}/", markup=False)
    address = next(iter(services.apps.values()))
    console.print(
        f"\ncurl -N http://{address}/chat/stream -H 'Content-Type: application/json' -H 'X-User: ada'"
        """ -d '{"question": "Where is my parcel?"}'""",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    console.print("\nCtrl-C stops everything.", markup=False)
