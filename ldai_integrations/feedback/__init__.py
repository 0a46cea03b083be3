"""Thumbs up and down from the browser, on the run that they are about.

A run has a signed token. The browser sends the token and a vote to an endpoint, and the vote is reported to
LaunchDarkly for that run. Between the two, only the runs that have a vote are stored.
"""

from __future__ import annotations

from ..settings import FeedbackSettings, Secret
from ._feedback import Feedback
from ._http import FORM, MOST_BYTES, Answer, fields_of, length_of, no_fields_if_unreadable, too_long, widget
from ._stores import MemoryStore, RedisStore, SQLiteStore

__all__ = [
    "FORM",
    "MOST_BYTES",
    "Answer",
    "Feedback",
    "FeedbackSettings",
    "MemoryStore",
    "RedisStore",
    "SQLiteStore",
    "Secret",
    "fields_of",
    "length_of",
    "no_fields_if_unreadable",
    "too_long",
    "widget",
]
