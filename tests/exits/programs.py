"""``python -m tests.exits.programs NAME``: programs that make runs, tell their ids, and end in some way."""

from __future__ import annotations

import asyncio
import concurrent.futures
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import flask
from ldclient import Context

from ldai_integrations import Tracking, run_finished, track_ai
from ldai_integrations.flask import AITracking, feedback_blueprint

from ..waiting import eventually
from .reporting import make_run, make_tracking, ready, write_down

#: Made before anything is forked, as an application does at import.
tracking: Tracking
_session: Session


def make_runs(count: int = 5) -> None:
    """Make runs, and write down the id of each when it has finished."""
    for _ in range(count):
        write_down(make_run(tracking))


def stay() -> None:
    """Wait for the end in short steps: Python does not see a signal that comes in the moment when a sleep begins."""
    while True:
        time.sleep(0.05)


def wait() -> None:
    """Make runs, and wait for what the test does."""
    make_runs()
    ready()
    stay()


# Ends of one process


def returns() -> None:
    """Come to an end."""
    make_runs()


class Session:
    """An object that makes a run when it is deleted."""

    def __del__(self) -> None:
        make_run(tracking)


def run_in_finalizer() -> None:
    """Make runs, and one more while Python shuts down. The underscore lets Python delete the object first."""
    global _session
    _session = Session()
    make_runs()


def only_run_in_finalizer() -> None:
    """Make the only run while Python shuts down."""
    global _session
    _session = Session()


def exits() -> None:
    """Leave with a status."""
    make_runs()
    sys.exit(3)


def raises() -> None:
    """Die of an exception."""
    make_runs()
    raise RuntimeError("on purpose")


def own_handler() -> None:
    """Have a handler that lets no other code run."""

    def leave(_number: int, _frame: object) -> None:
        os._exit(7)

    signal.signal(signal.SIGTERM, leave)
    make()
    wait()


def reloads() -> None:
    """Have a handler of SIGHUP that reads the configuration again, and end by oneself."""
    reloaded = []
    signal.signal(signal.SIGHUP, lambda *_: reloaded.append(True))
    handler = signal.getsignal(signal.SIGHUP)
    make()
    assert signal.getsignal(signal.SIGHUP) is handler
    make_runs()
    ready()
    assert eventually(lambda: bool(reloaded), timeout=50)
    sys.exit(7)


def default_interrupt() -> None:
    """Have SIGINT kill at once, as SIGTERM does."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    make()
    wait()


def ignored() -> None:
    """Ignore SIGTERM, and end by SIGINT."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    make()
    wait()


def busy() -> None:
    """Go on making runs on several threads, and tell of each as soon as it is over."""

    def go_on() -> None:
        while True:
            make_runs(1)
            time.sleep(0.002)  # what the client can hold is not the question here

    for _ in range(4):
        threading.Thread(target=go_on, daemon=True).start()
    time.sleep(0.3)
    ready()
    go_on()


def daemon_threads() -> None:
    """Come to an end while daemon threads still make runs, and tell of each as soon as it is over."""

    def go_on() -> None:
        while True:
            make_runs(1)
            time.sleep(0.002)

    for _ in range(4):
        threading.Thread(target=go_on, daemon=True).start()
    time.sleep(0.5)


def in_block() -> None:
    """Stay in the middle of a run."""
    with track_ai(config_key="chat", tracking=tracking) as run:
        run.add_usage(input_tokens=3)
        write_down(run.id)
        ready()
        stay()


def ends_block() -> None:
    """Come to the end of a run shortly after the signal."""
    with track_ai(config_key="chat", tracking=tracking) as run:
        write_down(run.id)
        ready()
        time.sleep(0.3)
    stay()


def end_one_by_one() -> None:
    """Come to the end of many runs at different times after the signal, and tell of each that has ended."""

    def run_for(seconds: float) -> None:
        with track_ai(config_key="chat", tracking=tracking) as run:
            is_open.wait()
            time.sleep(seconds)
        write_down(run.id)

    is_open = threading.Barrier(17)
    for number in range(16):
        threading.Thread(target=run_for, args=(0.25 * number,), daemon=True).start()
    ready()
    is_open.wait()
    stay()


def receiver_hangs() -> None:
    """Have a receiver that does not return, in the middle of a run."""
    make_runs()
    assert eventually(lambda: tracking.stats().runs == 5)
    run_finished.connect(lambda _key, **_: time.sleep(60), weak=False)
    in_block()


def wrapped() -> None:
    """Put a handler in front that goes on to the one before it, and another tracking's in front of that."""
    previous: Any = signal.getsignal(signal.SIGTERM)

    def tell(number: int, frame: Any) -> None:
        os.write(1, b"told\n")
        previous(number, frame)

    signal.signal(signal.SIGTERM, tell)
    make_runs()
    first = tracking
    make()
    assert signal.getsignal(signal.SIGTERM) is not tell
    make_runs()
    with track_ai(config_key="chat", tracking=first) as run:
        write_down(run.id)
        in_block()


def both_sides() -> None:
    """Have a handler of the application's on either side of ours, and get two signals."""
    told: list[int] = []

    def behind(number: int, _frame: object) -> None:
        os.write(1, f"behind, {tracking.stats().pending} pending\n".encode())
        told.append(number)

    signal.signal(signal.SIGTERM, behind)
    make()
    ours: Any = signal.getsignal(signal.SIGTERM)

    def front(number: int, frame: Any) -> None:
        os.write(1, b"front\n")
        ours(number, frame)

    signal.signal(signal.SIGTERM, front)
    make_runs()
    for count in (1, 2):
        os.kill(os.getpid(), signal.SIGTERM)
        assert eventually(lambda count=count: len(told) == count)  # type: ignore[misc]
        assert signal.getsignal(signal.SIGTERM) is front


def ends_meanwhile() -> None:
    """Come to an end while what a signal has set off is still under way."""
    make_runs()
    os.kill(os.getpid(), signal.SIGTERM)


def repeated() -> None:
    """Get the signal again and again while events are sent, as gunicorn's workers do that are replaced."""
    make_runs()
    for _ in range(3):
        signal.raise_signal(signal.SIGTERM)
    time.sleep(0.3)
    signal.raise_signal(signal.SIGTERM)
    stay()


def loop_handler() -> None:
    """Let an event loop handle the signal; a second one would be one too many."""

    async def main() -> None:
        told: list[int] = []
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.append, 1)
        make()
        make_runs()
        ready()
        while not told:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        sys.exit(len(told))

    asyncio.run(main())


def gevent_handler() -> None:
    """Let gevent's loop handle the signal, below Python, which does not know of it."""
    import gevent

    told: list[int] = []
    gevent.signal_handler(signal.SIGTERM, told.append, 1)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    make()
    make_runs()
    ready()
    while not told:
        gevent.sleep(0.01)
    gevent.sleep(0.3)
    make_runs()
    sys.exit(len(told))


# Forks


def in_child() -> None:
    """Do the work of a child: the first use, by several threads at once."""
    threads = [threading.Thread(target=make_runs) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def forks() -> None:
    """Fork after runs of the parent, with one of them open, and go on in both."""
    make_runs()
    with track_ai(config_key="chat", tracking=tracking) as run:
        pid = os.fork()
        if pid == 0:
            in_child()
    if pid == 0:
        sys.exit(0)
    write_down(run.id)
    os.waitpid(pid, 0)
    make_runs()


def closes_in_child() -> None:
    """Close in a child that has made no run: what is open there is the parent's."""
    make_runs()
    pid = os.fork()
    if pid == 0:
        tracking.close()
        tracking.flush()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    make_runs()


def votes_in_child() -> None:
    """Take a vote on a run of the parent, as the first thing that the child does."""
    voter = Context.create("ada")
    with track_ai(config_key="chat", tracking=tracking, ld_context=lambda: voter) as run:
        token = run.feedback_token
    write_down(run.id)
    if os.fork() == 0:
        client = _make_voting(voter).test_client()
        assert client.post("/feedback", json={"token": token, "kind": "positive"}).status_code < 300
        sys.exit(0)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 0


def votes() -> None:
    """Vote on several threads, and write down each vote as soon as it is confirmed."""
    voter = Context.create("ada")
    app = _make_voting(voter)

    def go_on() -> None:
        while True:
            with track_ai(config_key="chat", tracking=tracking, ld_context=lambda: voter) as run:
                token = run.feedback_token
            assert app.test_client().post("/feedback", json={"token": token, "kind": "positive"}).status_code == 204
            write_down(run.id)

    for _ in range(4):
        threading.Thread(target=go_on, daemon=True).start()
    time.sleep(0.5)
    ready()
    stay()


def _make_voting(voter: Context) -> flask.Flask:
    app = flask.Flask(__name__)
    AITracking(app, tracking, ld_context=lambda _request: voter)
    app.register_blueprint(feedback_blueprint())
    return app


def _children(method: str) -> None:
    make_runs()
    context: Any = multiprocessing.get_context(method)
    children = [context.Process(target=in_spawned if method != "fork" else in_child) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0


def in_spawned(*_args: object) -> None:
    """Begin from nothing in a child that has inherited nothing."""
    make()
    in_child()


def process_fork() -> None:
    """Run children that inherit."""
    _children("fork")


def process_spawn() -> None:
    """Run children that begin anew."""
    _children("spawn")


def process_forkserver() -> None:
    """Run children that begin anew, and end by os._exit."""
    _children("forkserver")


def pool_is_terminated() -> None:
    """Use a pool as its documentation shows; leaving the block kills the workers."""
    make_runs()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(make_runs, [3] * 4)


def executor() -> None:
    """Use a process pool, which is shut down."""
    make_runs()
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        list(pool.map(make_runs, [3] * 4))


def client_of_parent() -> None:
    """Make the LDClient in the parent, and the Tracking in the child."""
    global tracking
    client = tracking.client
    pid = os.fork()
    if pid == 0:
        tracking = Tracking(client)
        make_runs()
        sys.exit(0)
    os.waitpid(pid, 0)


def make() -> None:
    """Make the tracking."""
    global tracking
    tracking = make_tracking()


#: Programs that choose when the tracking is made.
LATE: tuple[Callable[[], None], ...] = (
    reloads,
    own_handler,
    default_interrupt,
    ignored,
    loop_handler,
    gevent_handler,
    both_sides,
)

if __name__ == "__main__":
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup ignores it
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it for what they run in the background
    program = globals()[sys.argv[1]]
    if program not in LATE:
        make()
    program()
