"""A Celery application whose tasks make runs; broker and results are folders."""

from __future__ import annotations

from celery import Celery

from .reporting import RUNS, make_run, make_tracking, write_down

# At import, which is before the prefork pool forks.
tracking = make_tracking()

_FOLDER = RUNS.parent / "broker"
for _name in ("queue", "processed", "control"):
    (_FOLDER / _name).mkdir(parents=True, exist_ok=True)

app = Celery("exits", broker="filesystem://")
app.conf.update(
    broker_transport_options={
        "data_folder_in": str(_FOLDER / "queue"),
        "data_folder_out": str(_FOLDER / "queue"),
        "control_folder": str(_FOLDER / "control"),
        "polling_interval": 0.05,
    },
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)


@app.task(name="answer")  # type: ignore[untyped-decorator]  # celery has no types
def answer() -> None:
    """Make a run, and write down its id."""
    write_down(make_run(tracking))


if __name__ == "__main__":
    for _ in range(3):
        answer.delay()
