"""A real LDClient without a network: flags from memory, events counted and dropped."""

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

KEY, JUDGED_KEY = "support-bot", "judged-bot"


class CountedEvents(EventProcessor):
    """Count events."""

    def __init__(self) -> None:
        self.count = 0

    def send_event(self, event: Any) -> None:
        """Count one."""
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


_JUDGE = {"judges": [{"key": "relevance", "samplingRate": 0.1}]}
FLAGS = {
    "flags": {
        KEY: _flag(KEY),
        JUDGED_KEY: _flag(JUDGED_KEY, judgeConfiguration=_JUDGE),
        "relevance": _flag("relevance", mode="judge", evaluationMetricKey="$ld:ai:judge:relevance"),
    }
}


@contextmanager
def local_client() -> Iterator[tuple[LDClient, CountedEvents]]:
    """Give a client and what counts its events."""
    events = CountedEvents()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flags.json"
        path.write_text(json.dumps(FLAGS))
        source = Files.new_data_source(paths=[str(path)])
        config = Config("benchmark", update_processor_class=source, event_processor_class=lambda _config: events)
        with closing(LDClient(config)) as client:
            yield client, events
