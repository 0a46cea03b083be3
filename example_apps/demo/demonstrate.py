"""The course of the demo, from the start of the processes to their end."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from . import show
from .check import Report
from .plan import CONFIG_KEYS, PLAN
from .readback import read_bill, read_costs, read_prices, read_runs, read_table
from .services import CONFIGS, ServiceError, Services, running
from .traffic import Exchange, send_all

if TYPE_CHECKING:
    from .plan import Step

ARRIVAL_SECONDS = 20.0  # a busy machine may take some of them
QUIET_SECONDS = 1.0
SENDING_SECONDS = 5.0  # the requests are spread over this time, so that the charts have a shape
PAUSE_SECONDS = 2.0  # between further requests
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Console(Console):
    """A console that leaves a closed pipe to the command. That of rich ends the process with status 1."""

    def on_broken_pipe(self) -> NoReturn:
        """Raise the error again."""
        raise BrokenPipeError


def demonstrate(*, serve: bool, live: bool) -> int:
    """Run the demo.

    Args:
        serve: Keep everything running, with a request now and then, until Ctrl-C.
        live: Use LaunchDarkly and OpenAI.

    Returns:
        The exit status: 0 if every figure agrees, 1 if a figure differs or a process does not start, 130 if Ctrl-C or
        SIGTERM ends the demo before all figures are checked. Ctrl-C after that does not change the status.
    """
    console = _Console(highlight=False)
    for number in SIGNALS:  # a shell makes its background jobs ignore SIGINT
        signal.signal(number, _interrupt)
    try:
        with tempfile.TemporaryDirectory(prefix="ldai-demo-") as directory:
            return run(console, Path(directory), serve=serve, live=live)
    except ServiceError as error:
        console.print(str(error), style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped.")
        return 130


def _interrupt(_number: int, _frame: object) -> NoReturn:
    """Raise KeyboardInterrupt once. A second Ctrl-C must not disturb the stopping of processes."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def run(console: Console, directory: Path, *, serve: bool, live: bool) -> int:
    """Start the processes, send the requests, check the figures, and return the exit status."""
    console.print(
        "Starting the apps with " + ("LaunchDarkly and OpenAI." if live else "a dev server and a model server.")
    )
    with running(directory, os.environ, live=live) as services:
        if serve:  # otherwise the address would be of no use at the end
            show.print_page(console, services)
        exchanges = send(console, services)
        differences = check_live(console, exchanges) if live else check(console, services, exchanges)
        if serve:
            show.print_addresses(console, services)
            with suppress(KeyboardInterrupt):
                keep_serving(services)
            console.print("Stopping.")
    return 1 if differences else 0


def send(console: Console, services: Services) -> list[Exchange]:
    """Send the plan to every app, one step after the other, and show the progress."""
    plan = possible_steps(services)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("Sending", total=len(plan) * len(services.apps))

        def done(exchange: Exchange) -> None:
            progress.update(task, advance=1, description=f"{exchange.app}: {exchange.step.title}")

        exchanges = send_all(services.apps, plan, done, seconds=SENDING_SECONDS)
        progress.update(task, description="Sent")
    return exchanges


def possible_steps(services: Services) -> list[Step]:
    """Return the steps of the plan that the model can follow."""
    return [step for step in PLAN if services.model_server or not step.needs_model_server]


def keep_serving(services: Services) -> NoReturn:
    """Wait for Ctrl-C. Without a real model, which costs money, the apps get further requests, so that charts grow."""
    steps = cycle(possible_steps(services))
    while True:
        time.sleep(PAUSE_SECONDS)
        if services.model_server:
            send_all(services.apps, [next(steps)], lambda _: None)


def check(console: Console, services: Services, exchanges: list[Exchange]) -> list[str]:
    """Wait for the events, print the table, and return the differences."""
    assert services.database is not None
    database, prices = services.database, read_prices(CONFIGS)

    def read() -> Report:
        return Report(
            exchanges,
            read_bill(services.model_server),
            read_runs(database),
            read_table(services.dev_server, CONFIG_KEYS),
            read_costs(services.dev_server, CONFIG_KEYS),
            prices,
        )

    with console.status("Waiting for the events ..."):
        deadline = time.monotonic() + ARRIVAL_SECONDS
        while read().differences() and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(QUIET_SECONDS)  # an event that is reported twice arrives late
        report = read()
    differences = report.differences()
    show.print_table(console, report)
    show.print_verdict(console, report, differences)
    return differences


def check_live(console: Console, exchanges: list[Exchange]) -> list[str]:
    """Print what was sent to LaunchDarkly and OpenAI, and return what was wrong with the answers."""
    differences = [problem for exchange in exchanges for problem in exchange.problems()]
    show.print_live_verdict(console, exchanges, differences)
    return differences
