"""The texts of a run, for its judges and for sinks that ask for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..records import RunTexts
from .state import RunState


def texts_of(run: RunState) -> RunTexts:
    """Return what the model was given last, and everything that it answered."""
    return RunTexts(prompt=tuple(prompt_of(run)), completions=tuple(completions_of(run)))


def prompt_of(run: RunState) -> list[tuple[str, str]]:
    """Return the role and the text of the messages of the last request; empty if they are not known."""
    return run.ledger.turns_of_last_request() or turns_of(run.prompt or ())


def completions_of(run: RunState) -> list[str]:
    """Return the text of each provider call; without one, the text of the handler's output."""
    calls = run.counted_calls()
    texts = [call.reading.text for call in calls] if calls else [run.output.text()]
    return [text for text in texts if text]


def turns_of(messages: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return the role and the text of each message of an AI Config."""
    return [(str(message["role"]), str(message["content"])) for message in messages]
