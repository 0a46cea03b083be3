"""The id of a conversation: on records and spans, and not in LaunchDarkly's events."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from ldai_integrations import RunRecord, Tracking, current_run, run_finished, track_ai
from ldai_integrations.testing import OfflineLaunchDarkly, ai_config

from ..conftest import Events


def test_the_record_has_the_id(tracking: Tracking, records: list[RunRecord], events: Events) -> None:
    """An id that the handler gives is on the record, and in no event."""
    with track_ai("chat", tracking=tracking) as run:
        assert run.conversation_id is None
        run.conversation_id = "thread-7"

    assert [record.conversation_id for record in records] == ["thread-7"]
    assert events.of_runs()
    assert "thread-7" not in str([event.data for event in events.custom])


def test_nested_runs_are_of_the_same_conversation(tracking: Tracking, records: list[RunRecord]) -> None:
    """A nested run has the id of the run around it, and may have another one."""
    with track_ai("chat", tracking=tracking) as outer:
        outer.conversation_id = "thread-7"
        with track_ai("agent", mode="agent", tracking=tracking):
            pass
        with track_ai("summary", tracking=tracking) as inner:
            inner.conversation_id = "thread-8"

    found = {record.config_key: record.conversation_id for record in records}
    assert found == {"agent": "thread-7", "summary": "thread-8", "chat": "thread-7"}


@pytest.mark.parametrize(
    ("given", "recorded"),
    [
        (None, ""),
        ("", ""),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (42, "42"),
        ("x" * 300, "x" * 256),
        pytest.param(10**5000, "", id="a number that Python does not write as a text"),
    ],
)
def test_what_may_be_an_id(tracking: Tracking, records: list[RunRecord], given: Any, recorded: str) -> None:
    """A session without a conversation gives ``None``, databases give numbers, and a header may have any length."""
    with track_ai("chat", tracking=tracking) as run:
        run.conversation_id = given

    assert [record.conversation_id for record in records] == [recorded]


def test_a_run_without_an_id(tracking: Tracking, records: list[RunRecord]) -> None:
    """Without an id, the record has an empty one; outside of any run, setting one does nothing."""
    current_run().conversation_id = "nobody's"
    with track_ai("chat", tracking=tracking):
        pass

    assert [record.conversation_id for record in records] == [""]


def test_receivers_see_the_id() -> None:
    """The receivers of ``run_finished`` get it with the record."""
    seen: list[str] = []

    def receive(_config_key: str, *, record: RunRecord) -> None:
        seen.append(record.conversation_id)

    with OfflineLaunchDarkly({"bot": ai_config()}), run_finished.connected_to(receive), track_ai("bot") as run:
        run.conversation_id = "thread-7"

    assert seen == ["thread-7"]
