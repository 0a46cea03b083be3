"""A real LDClient without a network: its flags come from a file, and its events are counted and dropped."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from ldclient import Config, LDClient
from ldclient.integrations import Files
from ldclient.interfaces import EventProcessor

KEY, JUDGED_KEY, ALWAYS_JUDGED_KEY = "support-bot", "judged-bot", "always-judged-bot"


class CountedEvents(EventProcessor):
    """An event processor that counts the events and drops them."""

    def __init__(self) -> None:
        self.count = 0

    def send_event(self, event: Any) -> None:
        """Count an event."""
        self.count += 1

    def flush(self) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""


def _flag(key: str, *, mode: str = "completion", **fields: Any) -> dict[str, Any]:
    variation = {
        "_ldMeta": {"enabled": True, "variationKey": "only", "version": 1, "mode": mode},
        "model": {"name": "gpt-4o-mini", "parameters": {"temperature": 0.2}},
        "provider": {"name": "OpenAI"},
        "messages": [{"role": "system", "content": "You help customers of {{shop}}. Be brief."}],
        **fields,
    }
    return {"key": key, "version": 1, "on": True, "fallthrough": {"variation": 0}, "variations": [variation]}


def _judges(sampling_rate: float) -> dict[str, Any]:
    return {"judges": [{"key": "relevance", "samplingRate": sampling_rate}]}


FLAGS = {
    "flags": {
        KEY: _flag(KEY),
        JUDGED_KEY: _flag(JUDGED_KEY, judgeConfiguration=_judges(0.1)),
        ALWAYS_JUDGED_KEY: _flag(ALWAYS_JUDGED_KEY, judgeConfiguration=_judges(1.0)),
        "relevance": _flag("relevance", mode="judge", evaluationMetricKey="$ld:ai:judge:relevance"),
    }
}


@contextmanager
def local_client() -> Iterator[tuple[LDClient, CountedEvents]]:
    """Create a client; yield it and the counter of its events."""
    events = CountedEvents()
    with client_with_file(event_processor_class=lambda _config: events) as client:
        yield client, events


@contextmanager
def client_with_file(**options: Any) -> Iterator[LDClient]:
    """Create a client whose flags come from a file; yield it.

    Args:
        options: More options of the ``Config``.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flags.json"
        path.write_text(json.dumps(FLAGS))
        source = Files.new_data_source(paths=[str(path)])
        with closing(LDClient(Config("benchmark", update_processor_class=source, **options))) as client:
            yield client
