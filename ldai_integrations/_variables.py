"""Mistakes in environment variables that no value shows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from difflib import get_close_matches

from ._options import options_of
from ._service_settings import FEEDBACK_CONFIG_KEYS, FeedbackSettings, JudgeSettings, VisitorSettings
from .settings import Settings

VISITORS = "LDAI_VISITORS"
# The variables that are no option of a class.
_OF_NO_CLASS = ("LDAI_DEV_SERVER", "LDAI_CONFIG_FILE", "LDAI_JUDGES", FEEDBACK_CONFIG_KEYS, VISITORS)


def find_mistakes(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield the variables that have no effect, although they look as if they had, each with what to do.

    Args:
        settings: The settings that are used.
    """
    given = {name for name, value in os.environ.items() if name.startswith("LDAI_") and value.strip()}
    classes = (Settings, FeedbackSettings, JudgeSettings, VisitorSettings)
    known = {*_OF_NO_CLASS, *(found.variable for cls in classes for found in options_of(cls).values())}
    for name in sorted(given - known):
        for similar in get_close_matches(name, known, n=1, cutoff=0.85):
            yield name, f"{similar} is similar; correct the name"
    for cls, service, needed in (
        (FeedbackSettings, settings.feedback, FEEDBACK_CONFIG_KEYS),
        (VisitorSettings, settings.visitors, VISITORS),
    ):
        if service is None and needed not in given:
            for found in options_of(cls).values():
                if found.variable in given:
                    yield found.variable, f"set {needed} as well"
