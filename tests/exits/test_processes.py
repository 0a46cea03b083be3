"""However a process ends that gets to run any code, its runs have arrived."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from ldai_integrations.devserver import DevServer

from .process import arrived, evaluations, outcomes, start

_PROGRAMS = "tests.exits.programs"


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("returns", 0),
        ("exits", 3),
        ("raises", 1),
        ("forks", 0),
        ("closes_in_child", 0),
        ("client_of_parent", 0),
        ("process_fork", 0),
        ("process_spawn", 0),
        ("process_forkserver", 0),
        ("pool_is_terminated", 0),
        ("executor", 0),
    ],
)
def test_a_process_that_ends_by_itself(dev_server: DevServer, tmp_path: Path, name: str, status: int) -> None:
    """The runs of the process and of its children arrive, each once, and the exit status is its own."""
    with start([_PROGRAMS, name], dev_server, tmp_path) as program:
        assert program.end() == status, program.log()

    assert program.made()
    assert sorted(arrived(dev_server)) == sorted(program.made()), program.log()
    assert evaluations(dev_server) == len(program.made()), program.log()
    assert "postfork" not in program.log(), "the SDK asks for what is done already"


def test_a_process_that_ends_while_daemon_threads_make_runs(dev_server: DevServer, tmp_path: Path) -> None:
    """A run that ends during the last flush, or after it, arrives before its thread goes on."""
    with start([_PROGRAMS, "daemon_threads"], dev_server, tmp_path, FROM_ENV="1") as program:
        assert program.end() == 0, program.log()

    assert len(program.made()) > 5  # fewer on a busy machine
    assert set(program.made()) <= set(arrived(dev_server)), program.log()


@pytest.mark.parametrize("name", ["returns", "forks", "process_fork", "pool_is_terminated"])
def test_a_client_of_the_environment(dev_server: DevServer, tmp_path: Path, name: str) -> None:
    """A client that we made, whose events wait in a spool of ours, loses none and sends none twice."""
    with start([_PROGRAMS, name], dev_server, tmp_path, FROM_ENV="1") as program:
        assert program.end() == 0, program.log()

    assert sorted(arrived(dev_server)) == sorted(program.made()), program.log()


def test_a_vote_is_the_first_that_a_child_does(dev_server: DevServer, tmp_path: Path) -> None:
    """It arrives, though nobody has opened a run in that process."""
    with start([_PROGRAMS, "votes_in_child"], dev_server, tmp_path) as program:
        assert program.end() == 0, program.log()

    votes = [event for event in dev_server.events() if event.get("key") == "$ld:ai:feedback:user:positive"]
    assert [vote["data"]["runId"] for vote in votes] == program.made(), program.log()


@pytest.mark.parametrize(
    ("name", "number", "status"),
    [
        ("wait", signal.SIGTERM, -signal.SIGTERM),
        ("wait", signal.SIGINT, -signal.SIGINT),
        ("wait", signal.SIGHUP, -signal.SIGHUP),
        ("reloads", signal.SIGHUP, 7),
        ("own_handler", signal.SIGTERM, 7),
        ("default_interrupt", signal.SIGINT, -signal.SIGINT),
        ("busy", signal.SIGTERM, -signal.SIGTERM),
        ("loop_handler", signal.SIGTERM, 1),
        ("gevent_handler", signal.SIGTERM, 1),
    ],
)
def test_a_process_that_a_signal_ends(
    dev_server: DevServer, tmp_path: Path, name: str, number: int, status: int
) -> None:
    """Runs arrive before the signal has the effect that it had without us, and its status."""
    with start([_PROGRAMS, name], dev_server, tmp_path) as program:
        program.await_ready()
        assert program.end(number) == status, program.log()

    assert program.made()
    assert set(program.made()) <= set(arrived(dev_server)), program.log()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_votes_that_a_signal_interrupts(dev_server: DevServer, tmp_path: Path, number: int) -> None:
    """A vote that the store has, confirmed or not, has arrived: its repetition would be confirmed and not sent."""
    with start([_PROGRAMS, "votes"], dev_server, tmp_path, FROM_ENV="1", STORE=f"{tmp_path}/votes") as program:
        program.await_ready()
        assert program.end(number) == -number, program.log()

    with closing(sqlite3.connect(tmp_path / "votes")) as store:
        stored = {run for (run,) in store.execute("SELECT run_id FROM votes")}
    told = {
        event["data"]["runId"] for event in dev_server.events() if event.get("key") == "$ld:ai:feedback:user:positive"
    }
    assert len(program.made()) > 5
    assert set(program.made()) <= stored == told, program.log()


@pytest.mark.parametrize(("name", "outcome"), [("in_block", "cancelled"), ("ends_block", "success")])
def test_a_signal_that_kills_in_the_middle_of_a_run(
    dev_server: DevServer, tmp_path: Path, name: str, outcome: str
) -> None:
    """The run arrives: with its own outcome if it ends within a second, else cancelled."""
    with start([_PROGRAMS, name], dev_server, tmp_path) as program:
        program.await_ready()
        assert program.end(signal.SIGTERM) == -signal.SIGTERM, program.log()

    assert outcomes(dev_server) == dict.fromkeys(program.made(), outcome), program.log()


def test_a_signal_that_kills_while_runs_end(dev_server: DevServer, tmp_path: Path) -> None:
    """A run that is over when its thread goes on has its own outcome; the others are cancelled."""
    with start([_PROGRAMS, "end_one_by_one"], dev_server, tmp_path, FROM_ENV="1") as program:
        program.await_ready()
        dev_server.inject("/bulk", count=None, delay=1)
        assert program.end(signal.SIGTERM) == -signal.SIGTERM, program.log()

    told = outcomes(dev_server)
    assert len(told) == 16
    assert set(program.made()) == {run for run, outcome in told.items() if outcome == "success"}, program.log()
    assert set(told.values()) == {"success", "cancelled"}


def test_a_handler_that_was_put_in_front_of_ours(dev_server: DevServer, tmp_path: Path) -> None:
    """It is told of a signal once, whatever is sent before the signal has its effect, and nothing is sent twice."""
    with start([_PROGRAMS, "wrapped"], dev_server, tmp_path) as program:
        program.await_ready()
        assert program.end(signal.SIGTERM) == -signal.SIGTERM, program.log()

    *ended, outer, inner = program.made()
    assert outcomes(dev_server) == {**dict.fromkeys(ended, "success"), outer: "cancelled", inner: "cancelled"}
    assert program.log().count("told") == 1


def test_handlers_on_both_sides_of_ours(dev_server: DevServer, tmp_path: Path) -> None:
    """The one in front is called when a signal comes, the one behind when the events are sent; each once a signal."""
    with start([_PROGRAMS, "both_sides"], dev_server, tmp_path, FROM_ENV="1") as program:
        assert program.end() == 0, program.log()

    lines = [line for line in program.log().splitlines() if line.startswith(("front", "behind"))]
    assert lines == ["front", "behind, 0 pending"] * 2
    assert sorted(arrived(dev_server)) == sorted(program.made()), program.log()


def test_a_process_that_ends_while_its_events_are_sent(dev_server: DevServer, tmp_path: Path) -> None:
    """It dies of the signal that it got, though it came to an end by itself before the signal had its effect."""
    dev_server.inject("/bulk", delay=1)
    with start([_PROGRAMS, "ends_meanwhile"], dev_server, tmp_path) as program:
        assert program.end() == -signal.SIGTERM, program.log()

    assert sorted(arrived(dev_server)) == sorted(program.made()), program.log()


def test_a_signal_that_is_repeated_while_events_are_sent(dev_server: DevServer, tmp_path: Path) -> None:
    """The process dies of it once all events are sent, no earlier."""
    dev_server.inject("/bulk", delay=1)
    with start([_PROGRAMS, "repeated"], dev_server, tmp_path) as program:
        assert program.end() == -signal.SIGTERM, program.log()

    assert sorted(arrived(dev_server)) == sorted(program.made()), program.log()


def test_signals_are_left_alone_where_nothing_is_flushed(dev_server: DevServer, tmp_path: Path) -> None:
    """Nobody hooks into them for settings that say never."""
    program = (
        "import signal; from ldai_integrations import Settings, Tracking\n"
        "Tracking.from_env(settings=Settings(flush={!r}))\n"
        "print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)"
    )
    environ = {**os.environ, "LDAI_DEV_SERVER": dev_server.url}
    alone = [
        subprocess.run([sys.executable, "-c", program.format(when)], env=environ, cwd=tmp_path, capture_output=True)
        for when in ("never", "auto")
    ]
    assert [result.stdout.decode().strip() for result in alone] == ["True", "False"]


def test_a_signal_that_is_ignored_stays_ignored(dev_server: DevServer, tmp_path: Path) -> None:
    """Where SIGTERM was ignored it still is."""
    with start([_PROGRAMS, "ignored"], dev_server, tmp_path) as program:
        program.await_ready()
        program.send(signal.SIGTERM)
        time.sleep(0.3)
        assert program.end(signal.SIGINT) == -signal.SIGINT

    assert sorted(arrived(dev_server)) == sorted(program.made()), program.log()
