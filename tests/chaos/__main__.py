"""``python -m tests.chaos --minutes N [SERVER …]``: servers under traffic while everything fails; then a table.

Each server that is installed runs for its share of the time, three at a time by default, on loopback addresses. Its
line is printed when it and those before it are done. A receiver that shares no code with the library counts runs and
votes. Exits with 1 if any was lost or duplicated. Losses that the documentation describes have columns of their own:

- ``killed``: of a process that the test has killed (SIGKILL) before it could send them;
- ``by server``: of a worker that its server has killed, because it did not end in time or gave no sign of life;
- ``too late``: of a process that has logged that ``Settings.flush_timeout`` was too short;
- ``store``: votes whose store was stopped meanwhile.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from .deployments import SERVERS
from .scenario import Result, Scenario

_DOCUMENTED = ("killed", "by server", "too late", "store")


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("servers", nargs="*", metavar="SERVER", help=", ".join(SERVERS))
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--at-once", type=int, default=3, help="fewer on a busy machine, where events are sent later")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    unknown = set(options.servers) - SERVERS.keys()
    if unknown:
        parser.error(f"no such server: {', '.join(unknown)}")
    chosen = {name: server for name, server in SERVERS.items() if not options.servers or name in options.servers}
    installed = {name: server for name, server in chosen.items() if server.is_installed}
    if not installed:
        parser.error(f"not installed: {', '.join(chosen)}")
    print(f"seed {options.seed}; not installed: {', '.join(chosen.keys() - installed.keys()) or 'none'}", flush=True)
    seconds = options.minutes * 60 / -(-len(installed) // options.at_once)
    scenarios = [Scenario(name, server, options.seed) for name, server in installed.items()]

    def stop(number: int, _frame: object) -> None:
        for scenario in scenarios:
            scenario.stop()
        os._exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # servers would inherit that SIGHUP is ignored
        signal.signal(number, stop)
    results = []
    print(f"{'server':28} {'runs':>7} {'votes':>6} {'lost':>5} {'duplicated':>10}{_columns(_DOCUMENTED)}  actions")
    with ThreadPoolExecutor(options.at_once) as pool:
        for result in pool.map(lambda scenario: scenario.run(seconds), scenarios):
            _print(result)
            results.append(result)
    bad = [result for result in results if not result.is_good]
    for result in bad:
        print(f"\n{result.name}:", *result.problems[:8], result.log, sep="\n")
    print(f"{len(results) - len(bad)} passed, {len(bad)} failed")
    return min(1, len(bad))


def _print(result: Result) -> None:
    documented = _columns(result.documented[case] for case in _DOCUMENTED)
    figures = f"{result.runs:7} {result.votes:6} {result.lost:5} {result.duplicated:10}{documented}"
    actions = ", ".join(f"{count} {name}" for name, count in sorted(result.actions.items()))
    print(f"{result.name:28} {figures}  {actions}", flush=True)


def _columns(values: Iterable[object]) -> str:
    return "".join(f"{value:>11}" for value in values)


if __name__ == "__main__":
    sys.exit(_main())
