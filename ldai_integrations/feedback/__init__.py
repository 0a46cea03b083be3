"""Thumbs up and down from the browser, on the very run that they are about.

A run hands out a signed token, the browser sends it back to an endpoint with a thumb, and the vote lands on the run in
LaunchDarkly. Nothing is kept between the two but which runs have been voted on.
"""

from __future__ import annotations

from ._answers import Answer, widget
from ._body import FORM, MOST_BYTES, fields_of, length_of
from ._feedback import Feedback, too_long
from ._memory import MemoryVotes
from ._settings import FeedbackSettings, Secret

__all__ = [
    "FORM",
    "MOST_BYTES",
    "Answer",
    "Feedback",
    "FeedbackSettings",
    "MemoryVotes",
    "Secret",
    "fields_of",
    "length_of",
    "too_long",
    "widget",
]
