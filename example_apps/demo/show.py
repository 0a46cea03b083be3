"""The output of the demo."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldai_integrations._cli.figures import UNKNOWN
from ldai_integrations._cli.output import print_columns

from .services import CONFIGS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from .check import Report
    from .services import Services
    from .traffic import Exchange

# The label of each figure.
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
    "cost": "cost",
}


def print_table(console: Console, report: Report) -> None:
    """Print a table of the metrics from LaunchDarkly's REST API, with a column for each variation.

    That API has no number of runs. The mean duration and the cancelled runs are computed with that of the database.
    """
    sums, names, columns = report.sums(), [], []
    for variation, row in sorted(report.table.items()):
        runs = sums[variation]["runs"] if variation in sums else 0
        more = {
            "cancelled": runs - row["generations"],
            "mean_ms": round(row["duration_ms"] / max(1, runs)),
            "cost": f"${report.costs.get(variation, 0):.6f}",
        }
        columns.append({**row, **more})
        names.append("\n".join(variation))
    absent = {"first_token_ms": UNKNOWN}  # without a stream; any other absent figure is 0
    rows = [
        (label, [str(column.get(name, absent.get(name, 0))) for column in columns]) for name, label in LABELS.items()
    ]
    console.print("Reported figures", style="italic")
    print_columns(console, names, rows)


def print_verdict(console: Console, report: Report, differences: Sequence[str]) -> None:
    """Print what was compared and what differs."""
    runs = sum(exchange.step.variation is not None for exchange in report.exchanges)
    broken = sum(call["state"] in ("broken", "abandoned", "open") for call in report.bill)
    console.print(
        f"{len(report.exchanges)} requests made {runs} runs. The other requests made no provider call: pages, unknown"
        " paths, bad requests, and an AI Config that is off."
    )
    console.print(
        "Each run was compared with its request. The table was compared with the bill of the model server, the prices"
        " of the models, and the events in the database."
    )
    console.print(
        "Exact: runs, successes, errors, tool calls, thumbs, and the tokens of every complete answer. Within bounds:"
        " times, which are between those of the model server and those of the clients, and the estimated tokens of"
        f" {broken} incomplete streams, for which no provider sends the usage."
    )
    _print_differences(console, differences, "Everything agrees.")


def print_live_verdict(console: Console, exchanges: Sequence[Exchange], differences: Sequence[str]) -> None:
    """Print what was sent to LaunchDarkly and OpenAI. An SDK key cannot read the figures back."""
    console.print(
        f"{len(exchanges)} requests were sent, without those that OpenAI cannot answer, such as failures on request."
        " LaunchDarkly shows the figures within two minutes, in the Monitoring tab of each AI Config. They were not"
        f" compared, because an SDK key cannot read them. Your environment needs AI Configs like those in {CONFIGS}."
    )
    _print_differences(console, differences, "Every answer is as expected.")


def _print_differences(console: Console, differences: Sequence[str], success: str) -> None:
    for difference in differences:
        console.print(f"DIFFERENT: {difference}", style="red", markup=False)
    if differences:
        console.print(f"{len(differences)} differences.", style="bold red")
    else:
        console.print(success, style="bold green")


def print_page(console: Console, services: Services, label: str = "The figures appear at") -> None:
    """Print the address of the page with the figures, after a label."""
    if services.dev_server:
        console.print(f"{label} http://{services.dev_server}/#range=1m", markup=False, soft_wrap=True)


def print_addresses(console: Console, services: Services) -> None:
    """Print the addresses of everything that keeps running, and an example for the shell."""
    console.print()
    print_page(console, services, "Figures at")
    for name, address in services.apps.items():
        console.print(f"Chat and vote at http://{address}/ ({name})", markup=False, soft_wrap=True)
    address = next(iter(services.apps.values()))
    console.print(
        f"\ncurl -N http://{address}/chat/stream -H 'Content-Type: application/json' -H 'X-User: ada'"
        """ -d '{"question": "Where is my parcel?"}'""",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    more = " Until then, a request is sent every other second." if services.model_server else ""
    console.print(f"\nPress Ctrl-C to stop.{more}", markup=False)
