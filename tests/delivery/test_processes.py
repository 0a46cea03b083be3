"""Events of forked children arrive, and signals and threads lose none."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from ldai_integrations.delivery import exits
from ldai_integrations.devserver import DevServer

from ..exits.process import arrived, start
from ..exits.test_servers import ask, serve

pytestmark = pytest.mark.exits

_PROGRAMS = "tests.delivery.programs"
_APPS = "tests.delivery.applications"


def names(server: DevServer) -> dict[str, int]:
    """Return how many events of each name of the application have arrived."""
    keys = [str(event["key"]) for event in server.events(kind="custom")]
    return dict(Counter(key for key in keys if not key.startswith("$ld:")))


@pytest.mark.parametrize(
    ("name", "processor", "expected"),
    [
        ("raw_client", "ours", {"parent": 5, "child": 5, "grandchild": 5}),
        ("raw_client", "the SDK's", {"parent": 5, "child": 5, "grandchild": 5}),
        ("started_first", "the SDK's", {"child": 5}),
        ("multiprocessing_child", "ours", {"child": 5}),
        ("multiprocessing_child", "the SDK's", {"child": 5}),
        ("idle_child", "ours", {"parent": 5}),
        ("closing_child", "ours", {"parent": 5}),
        ("closed_client", "the SDK's", {}),
    ],
)
def test_a_forked_child_that_opens_no_run(
    dev_server: DevServer, tmp_path: Path, name: str, processor: str, expected: dict[str, int]
) -> None:
    """The events that a child sends through the LDClient arrive, each once."""
    with start([_PROGRAMS, name, str(tmp_path / "done")], dev_server, tmp_path, PROCESSOR=processor) as program:
        assert program.end() == 0, program.log()
    assert (tmp_path / "done").exists(), program.log()
    assert names(dev_server) == expected, program.log()
    if name != "closed_client":
        assert "postfork" not in program.log(), "the SDK demands what is done already"


def test_a_child_that_is_forked_inside_of_a_run(dev_server: DevServer, tmp_path: Path) -> None:
    """The run stays in the parent. In the child, a call outside of a run is logged, and a new run is one of its own."""
    with start([_PROGRAMS, "child_of_a_run", str(tmp_path / "done")], dev_server, tmp_path) as program:
        assert program.end() == 0, program.log()
    tokens = [event["metricValue"] for event in dev_server.events(kind="custom", key="$ld:ai:tokens:input")]
    assert tokens == [1013, 1013], program.log()
    assert program.log().count("A model was called after the end of a run of 'chat'") == 1


def test_a_child_that_tracks_too_much(dev_server: DevServer, tmp_path: Path) -> None:
    """Events beyond those that wait for the restart of an inherited client are counted as lost, and logged once."""
    with start([_PROGRAMS, "crowded_child", str(tmp_path / "done")], dev_server, tmp_path) as program:
        assert program.end() == 0, program.log()
    assert program.log().count("Create the LDClient after the fork") == 1


@pytest.mark.parametrize("processor", ["ours", "the SDK's"])
def test_preloaded_views_that_only_track(dev_server: DevServer, tmp_path: Path, processor: str) -> None:
    """With ``gunicorn --preload``, the events of a view that opens no run arrive."""
    gunicorn = ["gunicorn", "--bind", "fd://{fd}", "--log-level", "warning", "--preload", f"{_APPS}:wsgi"]
    environ = {"APPLICATION": "preloaded", "PROCESSOR": processor}
    with serve(gunicorn, dev_server, tmp_path, **environ) as (program, address):
        ask(address)
        assert program.end(signal.SIGTERM) == 0, program.log()
    assert names(dev_server) == {"view": 5}, program.log()


_UVICORN = ["uvicorn", "--fd", "{fd}", "--log-level", "warning", "--lifespan"]
_GTHREAD = ["gunicorn", "--bind", "fd://{fd}", "--log-level", "warning", "--worker-class", "gthread"]


@pytest.mark.parametrize(
    ("server", "status"),
    [
        ([*_UVICORN, "on", f"{_APPS}:asgi"], -signal.SIGTERM),
        ([*_UVICORN, "off", f"{_APPS}:asgi"], -signal.SIGTERM),
        (["tests.exits.waitress_server", "{fd}", f"{_APPS}:lazy_wsgi"], -signal.SIGTERM),
        ([*_GTHREAD, f"{_APPS}:lazy_wsgi"], 0),
    ],
    ids=["uvicorn", "uvicorn without lifespan", "waitress", "gunicorn gthread"],
)
def test_a_tracking_that_a_worker_thread_makes(
    dev_server: DevServer, tmp_path: Path, server: list[str], status: int
) -> None:
    """A bare ``@track_ai`` on a plain function, whose first call makes the tracking, loses no run at SIGTERM."""
    with serve(server, dev_server, tmp_path) as (program, address):
        answers = [ask(address) for _ in range(3)]
        assert program.end(signal.SIGTERM) == status, program.log()
    assert sorted(arrived(dev_server)) == sorted(answers), program.log()


def test_signal_handlers_are_set_from_any_thread() -> None:
    """A tracking of another thread is flushed when a signal arrives that has a handler."""
    from ldai_integrations._diagnostics import Diagnostics

    class Watched:
        diagnostics = Diagnostics()

        def __getattr__(self, name: str) -> object:
            return lambda *_args: called.append(name)

    called: list[str] = []
    watched, seen = Watched(), threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: seen.set())
    try:
        thread = threading.Thread(target=lambda: exits.watch(watched, seconds=1.0))  # type: ignore[arg-type]
        thread.start()
        thread.join()
        signal.raise_signal(signal.SIGTERM)
        deadline = time.monotonic() + 20
        while not seen.is_set() and time.monotonic() < deadline:
            time.sleep(0.005)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert called[:2] == ["expect_end", "flush_at_end"]
    assert watched.diagnostics.counts() == {}


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="the module that makes sub-interpreters has another name")
@pytest.mark.parametrize("where", ["main thread", "worker thread"])
def test_a_sub_interpreter_has_no_signal_handlers(capfd: pytest.CaptureFixture[str], where: str) -> None:
    """In a sub-interpreter, as mod_wsgi makes one, nothing raises and the log says what to do."""
    import _xxsubinterpreters as interpreters  # type: ignore[import-not-found]

    program = """
import sys, threading
from ldai_integrations._diagnostics import Diagnostics
from ldai_integrations.delivery import exits

class Watched:
    diagnostics = Diagnostics()
    def __getattr__(self, name):
        return lambda *args: None

watched = Watched()
def watch():
    exits.watch(watched, seconds=1.0)
    exits.watch(watched, seconds=1.0)
if where == "main thread":
    watch()
else:
    thread = threading.Thread(target=watch)
    thread.start()
    thread.join()
assert watched.diagnostics.counts() == {"exit": 2}, watched.diagnostics.counts()
print("done", file=sys.stderr)
"""
    interpreter = interpreters.create(isolated=False)
    try:
        interpreters.run_string(interpreter, f"import sys; sys.path = {sys.path!r}; where = {where!r}\n{program}")
    finally:
        interpreters.destroy(interpreter)
    output = capfd.readouterr().err
    assert "done" in output
    assert output.count("Events may be lost when a signal ends this process") == 1
    assert "WSGIApplicationGroup %{GLOBAL}" in output
