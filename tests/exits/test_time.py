"""Nothing of an ending, a fork or a platform holds a process up for longer than it says."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
import time
import weakref
from pathlib import Path

import pytest

from ldai_integrations import Tracking
from ldai_integrations.devserver import DevServer

from .process import arrived, start
from .test_servers import SERVERS, ask, serve

_NO_THREAD_AT_EXIT = pytest.mark.skipif(
    (3, 12) <= sys.version_info < (3, 12, 3),
    reason="this Python starts no thread at exit; the SDK's own timeouts end the wait",
)


@pytest.mark.parametrize(
    ("name", "number", "status"),
    [
        pytest.param("returns", None, 0, marks=_NO_THREAD_AT_EXIT),
        ("wait", signal.SIGTERM, -signal.SIGTERM),
    ],
)
def test_an_endpoint_that_hangs_is_waited_for_once(
    dev_server: DevServer, tmp_path: Path, name: str, number: int | None, status: int
) -> None:
    """All hooks together take the time of one flush; the SDK alone would take half a minute."""
    with start(["tests.exits.programs", name], dev_server, tmp_path, FLUSH_TIMEOUT="1") as program:
        dev_server.inject("/bulk", count=None, delay=60)
        if number is not None:
            program.await_ready()
        begun = time.monotonic()
        assert program.end(number) == status, program.log()
        assert time.monotonic() - begun < 15  # it is two seconds; 31 are what the SDK's own close() takes


@pytest.mark.parametrize(
    ("name", "number"), [pytest.param("returns", None, marks=_NO_THREAD_AT_EXIT), ("wait", signal.SIGTERM)]
)
def test_events_that_cannot_be_sent_in_time_are_logged(
    dev_server: DevServer, tmp_path: Path, name: str, number: int | None
) -> None:
    """One line at the end of the process says that events are lost, and which setting gives them more time."""
    program_of = ["tests.exits.programs", name]
    with start(program_of, dev_server, tmp_path, FLUSH_TIMEOUT="1", FROM_ENV="1") as program:
        dev_server.inject("/bulk", count=None, delay=60)
        if number is not None:
            program.await_ready()
        program.end(number)

    lines = [line for line in program.log().splitlines() if line.startswith("The process ends before ")]
    assert len(lines) == 1, program.log()
    assert "Settings.flush_timeout (1 seconds)" in lines[0]


@_NO_THREAD_AT_EXIT
def test_events_that_nobody_receives_are_logged() -> None:
    """If there is no server at all, the line does not take it for reachable."""
    code = (
        "import logging; logging.basicConfig(format='%(message)s')\n"
        "from ldclient import Context; from ldai_integrations import Settings, Tracking\n"
        "tracking = Tracking.from_env(settings=Settings(start_wait=0, flush_timeout=1))\n"
        "tracking.client.track('event', Context.create('ada'))\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "LDAI_DEV_SERVER": url}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)

    [line] = [line for line in done.stderr.splitlines() if line.startswith("The process ends before ")]
    assert line.endswith(
        "Check that it can be reached; if it can, but is slow, raise Settings.flush_timeout (1 seconds)."
    )


@pytest.mark.parametrize("name", ["run_in_finalizer", "only_run_in_finalizer"])
def test_a_run_while_python_shuts_down_is_logged(dev_server: DevServer, tmp_path: Path, name: str) -> None:
    """No thread sends events any more. So nothing waits for one, and a line of the log says that the run is lost."""
    with start(["tests.exits.programs", name], dev_server, tmp_path, FLUSH_TIMEOUT="20", FROM_ENV="1") as program:
        begun = time.monotonic()
        assert program.end() == 0, program.log()
        assert time.monotonic() - begun < 15

    assert program.log().count("A run is lost, because it ended while Python was shutting down") == 1, program.log()
    assert sorted(arrived(dev_server)) == sorted(program.made())


def test_a_receiver_that_hangs_leaves_time_for_the_rest(dev_server: DevServer, tmp_path: Path) -> None:
    """A signal has its effect in time, with what is buffered sent, where an open run's end does not return."""
    with start(["tests.exits.programs", "receiver_hangs"], dev_server, tmp_path, FLUSH_TIMEOUT="6") as program:
        program.await_ready()
        begun = time.monotonic()
        assert program.end(signal.SIGTERM) == -signal.SIGTERM, program.log()
        assert time.monotonic() - begun < 40  # it is some four seconds; the receiver takes 60

    assert sorted(arrived(dev_server)) == sorted(program.made()[:-1]), program.log()


def test_a_child_serves_at_once_where_launchdarkly_hangs(dev_server: DevServer, tmp_path: Path) -> None:
    """The first request of a forked worker gets the flags of its parent, and waits for nobody."""
    server = SERVERS["gunicorn gthread, preloaded"]
    with serve(server, dev_server, tmp_path, FLUSH_TIMEOUT="1") as (program, address):
        ask(address)
        dev_server.inject("/all", count=None, delay=60)
        answers = [ask(address) for _ in range(6)]
        assert program.end(signal.SIGTERM) == 0, program.log()

    assert set(answers) <= set(arrived(dev_server)), program.log()


def test_trackings_are_not_kept_alive(http_tracking: Tracking) -> None:
    """A tracking that nobody has is gone, with all that it was watched for."""
    client = http_tracking.client
    references = [weakref.ref(Tracking(client)) for _ in range(100)]
    gc.collect()

    assert not any(reference() for reference in references)
