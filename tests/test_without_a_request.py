"""Code with no request at all: a script, and a task of Celery's."""

from __future__ import annotations

from typing import Any, cast

import celery
import pytest
from ldclient import Context
from werkzeug.local import LocalProxy

from ldai_integrations import Run, RunRecord, Tracking, track_ai

from .conftest import Events


@pytest.fixture
def tracked(tracking: Tracking) -> Any:
    """Give a function that names its LaunchDarkly context by its arguments."""

    @track_ai(
        config_key="chat",
        tracking=tracking,
        ld_context=lambda user, **_: Context.builder(user).set("plan", "premium").build(),
        variables=lambda user, company: {"company": company},
    )
    def ask(user: str, company: str, run: Run) -> str:
        run.add_usage(input_tokens=3, output_tokens=2)
        return f"{run.model} {run.ld_context.key}"

    return ask


def test_a_script(tracked: Any, records: list[RunRecord], events: Events) -> None:
    """The variation is that of the context that the arguments give, and the events are the run's."""
    assert tracked("ada", company="Acme") == "gpt-4o ada"

    assert [(record.variation_key, record.outcome) for record in records] == [("large", "success")]
    assert [name for name, _ in events.of_runs()].count("generation:success") == 1


def test_functions_that_fail(tracking: Tracking, caplog: pytest.LogCaptureFixture) -> None:
    """The log names the line of ``ld_context`` or ``variables`` that raised an exception, and not what it says."""

    def find(user: str) -> Any:
        raise LookupError(f"no user {user}")

    @track_ai(config_key="chat", tracking=tracking, ld_context=find, variables=find)
    def ask(user: str, run: Run) -> bool:
        return run.ld_context.anonymous

    assert ask("ada@example.com")
    assert "ada@example.com" not in caplog.text
    assert caplog.text.count("LookupError at test_without_a_request.py:") == 2


def test_a_lazy_object_that_fails(tracking: Tracking, caplog: pytest.LogCaptureFixture) -> None:
    """A lazy object whose lookup raises an exception fails no request, as a function that raises does not."""

    def find() -> Any:
        raise LookupError("no user ada@example.com")

    @track_ai(config_key="chat", tracking=tracking, ld_context=lambda: cast(Any, LocalProxy(find)))
    def ask(run: Run) -> bool:
        return run.ld_context.anonymous

    assert ask()
    assert "ld_context raised LookupError" in caplog.text
    assert "ada@example.com" not in caplog.text


@pytest.mark.parametrize("order", ["task above", "task below"])
def test_a_celery_task(tracked: Any, tracking: Tracking, records: list[RunRecord], order: str) -> None:
    """A task is a function: decorated below, or called by one that is, it is a run of its own for each message."""
    app = celery.Celery("shop", broker="memory://", backend="cache+memory://")
    app.conf.task_always_eager = True

    if order == "task above":
        task = app.task(name="ask")(tracked)
    else:

        @app.task(name="calls")  # type: ignore[untyped-decorator]
        def task(user: str, company: str) -> str:
            return str(tracked(user, company=company))

    assert [task.delay(user, company="Acme").get(timeout=10) for user in ("ada", "bob")] == ["gpt-4o ada", "gpt-4o bob"]
    assert [record.ld_context and record.ld_context.key for record in records] == ["ada", "bob"]
    assert len({record.run_id for record in records}) == 2
