"""The plugin that puts the library into a framework's suite does so in each mode, and notices what goes wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1] / "upstream"
SUITE = """
import sys

import pytest
from flask import Flask
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

MODE = {mode!r}


def test_flask():
    app = Flask(__name__)

    @app.get("/")
    def hello():
        return "Hello"

    assert app.view_functions["hello"] is hello
    assert hello.__wrapped__
    assert app.test_client().get("/").data == b"Hello"
    assert ("ldai" in app.extensions) is (MODE == "extension")


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_starlette(kind):
    async def later(request):
        return PlainTextResponse("Hello")

    def now(request):
        return PlainTextResponse("Hello")

    if kind == "async":
        undecorated, route = later, Route("/", endpoint=later)
        assert route.endpoint is later
    else:
        undecorated, route = now, Route("/", now)
        assert route.endpoint is now
    assert route.endpoint is not undecorated
    assert TestClient(Starlette(routes=[route])).get("/").text == "Hello"


def test_the_library():
    assert ("ldai_integrations" in sys.modules) is (MODE != "bare")
"""
LEFT_OPEN = """
from flask import Flask, Response

left = []


def leave_open():
    app = Flask(__name__)
    app.get("/")(lambda: Response(iter("Hello")))
    left.append(app.test_client().get("/", buffered=False))


def test_that_leaves_a_run_open():
    leave_open()


def test_that_fails():
    leave_open()
    raise ValueError
"""
BROKEN = """
from ldai_integrations import track_ai
from ldai_integrations.testing import OfflineLaunchDarkly, ai_config

launchdarkly = OfflineLaunchDarkly({"bot": ai_config()})
block = track_ai("bot", tracking=launchdarkly.tracking)


def test_that_leaves_a_run_bound():
    block.__enter__().finish()
"""


def _run(suite: Path, mode: str) -> str:
    """Run a suite with the plugin, and return what pytest says of it."""
    path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    here = {"LDAI_UPSTREAM": mode, "PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "ldai_upstream.plugin", "-p", "no:cacheprovider", str(suite)]
    done = subprocess.run(
        command, cwd=suite.parent, env={**os.environ, **here}, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize(("mode", "runs"), [("bare", 0), ("tracking", 3), ("nested", 9), ("extension", 4)])
def test_everything_is_instrumented(tmp_path: Path, mode: str, runs: int) -> None:
    """Handlers are decorated under their own names, applications served, and without the library nothing is tracked."""
    suite = tmp_path / "test_suite.py"
    suite.write_text(SUITE.format(mode=mode))

    said = _run(suite, mode)

    assert "4 passed" in said, said
    assert (f"{runs} runs were tracked" if runs else "nothing was tracked") in said.splitlines()


def test_a_broken_promise_is_an_error(tmp_path: Path) -> None:
    """A run that is left bound fails the test that left it."""
    suite = tmp_path / "test_suite.py"
    suite.write_text(BROKEN)

    said = _run(suite, "tracking")

    assert "was left bound" in said
    assert "1 passed, 1 error" in said


def test_a_run_that_is_left_open_is_an_error(tmp_path: Path) -> None:
    """It is told after the last test; of a test that fails, whose traceback is kept, nothing is told."""
    suite = tmp_path / "test_suite.py"
    suite.write_text(LEFT_OPEN)

    said = _run(suite, "tracking")

    assert "a run was left open in test_suite.py::test_that_leaves_a_run_open (call)" in said
    assert "left open in test_suite.py::test_that_fails" not in said
    assert "1 failed, 1 passed, 1 error" in said


def test_an_unknown_mode_is_named(tmp_path: Path) -> None:
    """It is an error of usage that names the modes."""
    assert "LDAI_UPSTREAM is 'lazzy'; set it to one of bare, lazy, tracking" in _run(tmp_path / "none.py", "lazzy")
