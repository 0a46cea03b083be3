"""One real event, sent the way an application sends them."""

from __future__ import annotations

from ldclient import Context, LDClient

from .connection import Target, heard_from
from .findings import Finding, ok, problem

EVENT = "ldai-doctor"


def check_event(target: Target) -> Finding:
    """Send one custom event of an anonymous context through the SDK, and see whether it was taken.

    Closing the client sends what is buffered and waits; what goes wrong then, the SDK tells its log only.
    """
    with heard_from("ldclient") as lines:
        client = LDClient(target.config(send_events=True), start_wait=0)
        before = len(lines)
        client.track(EVENT, Context.builder(EVENT).kind(EVENT).anonymous(True).build())
        client.close()
    said = [line for line in lines[before:] if "event" in line.lower()]
    if not said:
        return ok("event", f"one named {EVENT!r} was sent and taken")
    return problem(
        "event",
        f"it was not taken: {said[-1]}",
        "check the SDK key, and that this machine reaches the events host; until then no metrics arrive",
    )
