"""``python -m tests.pitfalls.greenlets``: interleaved greenlets, and how many of them saw another's run."""

from gevent import monkey

monkey.patch_all()

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import gevent
from ldclient import Config, LDClient
from ldclient.integrations import Files

from ldai_integrations import RunRecord, Tracking, current_run, run_finished, track_ai
from ldai_integrations.wsgi import WSGITrackingMiddleware

from ..conftest import always_chat
from ..flags import FLAGS

_GREENLETS = 250


def _turns() -> Iterator[str]:
    for _ in range(3):
        yield current_run().id
        gevent.sleep(0)


def _report(name: str, ask: Callable[[], Iterable[Any]]) -> None:
    records: list[RunRecord] = []

    def keep(config_key: str, *, record: RunRecord) -> None:
        records.append(record)

    with run_finished.connected_to(keep):
        greenlets = [gevent.spawn(lambda: list(ask())) for _ in range(_GREENLETS)]
        gevent.joinall(greenlets, timeout=150, raise_error=True)
    seen = [set(greenlet.value) for greenlet in greenlets]
    print(name, len(set().union(*seen)), len(records), sum(len(ids) != 1 for ids in seen))


def _main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "flags.json"
        file.write_text(json.dumps(FLAGS))
        source = Files.new_data_source(paths=[str(file)])
        tracking = Tracking(LDClient(Config("test", update_processor_class=source, send_events=False)))

        def app(environ: Any, start_response: Any) -> Iterable[bytes]:
            start_response("200 OK", [("Content-Type", "text/plain")])
            return (turn.encode() for turn in _turns())

        tracked = track_ai(config_key="chat", tracking=tracking)(_turns)

        def answer(environ: Any, start_response: Any) -> Iterable[bytes]:
            start_response("200 OK", [("Content-Type", "text/plain")])
            request = current_run().id
            for turn in tracked():
                yield f"{request} {turn} {current_run().id}".encode()

        served: Any = WSGITrackingMiddleware(app, tracking, config_key=always_chat)
        _report("decorated", tracked)
        _report("middleware", lambda: served({"REQUEST_METHOD": "GET"}, lambda *args: print))
        both: Any = WSGITrackingMiddleware(answer, tracking, config_key="summary")
        _report("both", lambda: both({"REQUEST_METHOD": "GET"}, lambda *args: print))
        tracking.client.close()


if __name__ == "__main__":
    _main()
