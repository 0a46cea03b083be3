"""Helpers that execute the code on the pages in docs/, as a reader would."""

from __future__ import annotations

import gc
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ldai_integrations import RunRecord
from ldai_integrations._example_apps.model_server import create_app
from ldai_integrations.devserver import DevServer

from ..conftest import EndProcess
from ..example_apps.servers import serving_asgi
from ..flags import CHAT

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
KEYS = ("support-bot", "nightly-report")


def block(page: str, start: str, *, language: str = "python") -> str:
    """Return the only block of code in a language on a page that contains a text."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found: list[str] = [
        code for code in re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL) if start in code
    ]
    assert len(found) == 1, f"{page} has {len(found)} blocks with {start!r}"
    return found[0]


def run_block(page: str, start: str, *, replace: dict[str, str] | None = None, **names: Any) -> dict[str, Any]:
    """Execute the only block on a page that contains a text, as a module of its own.

    Args:
        page: The name of the page.
        start: The text.
        replace: Replacements for the reader's addresses and names. Each name occurs once in the block.
        names: Names that the block needs and does not define.

    Returns:
        The names that the block defines.
    """
    code = block(page, start)
    for old, new in (replace or {}).items():
        assert code.count(old) == 1, old
        code = code.replace(old, new)
    space: dict[str, Any] = {"__name__": "page", **names}
    exec(compile(code, page, "exec", dont_inherit=True), space)
    return space


@pytest.fixture
def launchdarkly(monkeypatch: pytest.MonkeyPatch, fresh_process: EndProcess, o200k: None) -> Iterator[DevServer]:
    """Set the environment of a reader who runs a dev server and a model server, in a new process."""
    flags = {key: {**CHAT, "key": key} for key in KEYS}
    with DevServer({"flags": flags, "segments": {}}) as server, serving_asgi(create_app()) as model_server:
        monkeypatch.setenv("LDAI_DEV_SERVER", server.url)
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://{model_server}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        yield server
        fresh_process()  # while there is a server to send the last events to
    with warnings.catch_warnings():  # the pages' clients live as long as their processes, and nobody closes them
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def summaries(records: list[RunRecord]) -> list[tuple[str, str, str]]:
    """Return config key, outcome and user of each record; the user is empty if it is anonymous."""
    contexts = [(record, record.ld_context) for record in records]
    return [
        (record.config_key, record.outcome, context.key if context is not None and not context.anonymous else "")
        for record, context in contexts
    ]
