"""``ldai dev``: run a local stand-in for LaunchDarkly."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._diagnostics import escape
from .init import DEFAULT_FILE, read_sample
from .terminal import COULD_NOT_RUN, fail, file_argument, number_argument, tell, text_argument

if TYPE_CHECKING:
    from ..devserver import DevServer

DEFAULT_PORT = 8765
# How often the command looks for a signal.
_POLL_SECONDS = 0.1
PORT = number_argument(int, lambda port: 0 <= port <= 65535, "a port, 0 to 65535")


def add_to(commands: Any) -> None:
    """Add the command to ``ldai``."""
    parser = commands.add_parser(
        "dev",
        help="run a local stand-in for LaunchDarkly",
        description="Run a local stand-in for LaunchDarkly: it serves AI Configs from a file and shows their metrics.",
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "--configs",
        type=file_argument,
        metavar="FILE",
        help=f"JSON flag file; edits take effect at once. Default: {DEFAULT_FILE} if it exists, otherwise a sample",
    )
    parser.add_argument("--port", type=PORT, default=DEFAULT_PORT, help=f"default {DEFAULT_PORT}; 0 takes a free port")
    parser.add_argument("--host", default="127.0.0.1", help="loopback address to listen on, default %(default)s")
    parser.add_argument(
        "--db", type=file_argument, metavar="FILE", help="SQLite file for the events; default: in memory"
    )
    parser.add_argument("--sdk-key", type=text_argument, metavar="KEY", help="the only accepted SDK key; default: any")


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    try:
        from ..devserver import DevServer, FlagFileError
    except ImportError as missing:
        return fail(f"{missing.name} is not installed: pip install 'ldai-integrations[dev]'")
    path = args.configs or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)
    if path is not None and not path.exists():
        return fail(f"{path} does not exist; write a file with `ldai init {path}`, or correct the path")
    configs = path if path is not None else json.loads(read_sample())
    prices = _load_prices()
    with _print_log("ldai_integrations.devserver"), _handle_stop_signals() as received, ExitStack() as running:
        try:
            server = running.enter_context(
                DevServer(configs, db=args.db, host=args.host, port=args.port, sdk_key=args.sdk_key, list_prices=prices)
            )
        except FlagFileError as refusal:
            for problem in refusal.problems:
                tell(_begin_with(path.name if path is not None else "the sample", str(problem)))
            return COULD_NOT_RUN
        except ValueError as problem:
            return fail(str(problem))
        except sqlite3.Error as problem:
            return fail(f"{args.db} cannot store the events: {problem}")
        except OSError as problem:
            return fail(f"{args.host} port {args.port}: {problem.strerror}; choose another with --port")
        _print_introduction(server, args, path, list_prices=prices is not None)
        while not received:
            time.sleep(_POLL_SECONDS)
    return 0


def _begin_with(file_name: str, problem: str) -> str:
    """Return a problem as a line that begins with the name of the file. Some problems begin with it already."""
    start = f"{file_name}: "
    return problem if problem.startswith(start) else start + problem.removeprefix("the file: ")


def _load_prices() -> Callable[[str, str], Mapping[str, Decimal]] | None:
    """Return a function that looks up list prices; ``None`` if ``genai-prices`` is not installed."""
    try:
        from .._prices import PriceList

        prices = PriceList()
    except ImportError:
        return None

    def look_up(model_name: str, provider_name: str) -> Mapping[str, Decimal]:
        # The price of a short prompt: events do not contain the size of each prompt.
        found = prices.price(model_name, provider_name, input_tokens=0, at=datetime.now(timezone.utc))
        sides = {"input": found.input, "output": found.output} if found is not None else {}
        return {side: price for side, price in sides.items() if price is not None}

    return look_up


def _print_introduction(server: DevServer, args: argparse.Namespace, path: Path | None, *, list_prices: bool) -> None:
    """Print the address, the variable to set, and the AI Configs."""
    print(f"Local stand-in for LaunchDarkly: {server.url}")
    print(f"  for your application  LDAI_DEV_SERVER={server.url}")
    print(f"  for your browser      {server.url}/")
    source = f"{path}, edits take effect at once" if path is not None else "a sample; `ldai init` writes it to a file"
    print(escape(f"  flags                 {source}"))
    print(escape(f"  events                {args.db or 'in memory'}"))
    if list_prices:
        source = f"genai-prices {version('genai-prices')}"
        print(f"  prices                those of the AI Configs, otherwise the list prices of {source}")
    else:
        print("  prices                those of the AI Configs; `pip install genai-prices` adds list prices")
    if os.environ.get("http_proxy") and "127.0.0.1" not in os.environ.get("no_proxy", ""):
        print("  note                  http_proxy is set; the SDK also uses it for 127.0.0.1: set no_proxy=127.0.0.1")
    print("AI Configs")
    for config in server.ai_configs:
        print(escape(f"  {config.key:<20}  {config.mode:<10}  {', '.join(config.variations)}"))
    print("Press Ctrl-C to stop.", flush=True)


class _OneLineFormatter(logging.Formatter):
    """A formatter that writes each message as one line without control characters."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the message."""
        return escape(super().format(record))


@contextmanager
def _print_log(name: str) -> Iterator[None]:
    """Print the messages of a logger, one per line."""
    logger, handler = logging.getLogger(name), logging.StreamHandler(sys.stdout)
    handler.setFormatter(_OneLineFormatter())
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@contextmanager
def _handle_stop_signals() -> Iterator[list[int]]:
    """Append Ctrl-C and SIGTERM to a list in a ``with`` block. That takes no lock, unlike setting an event."""
    received: list[int] = []
    former = {
        number: signal.signal(number, lambda number, _frame: received.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield received
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
