"""The provider calls of one run: those that we have seen, and those that only others tell of."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .overheard import Overheard

if TYPE_CHECKING:
    from .observing import Observation
    from .output import Output


class Calls:
    """Collect the provider calls of one run; may be written from whatever thread makes them."""

    __slots__ = ("_observed", "_overheard", "_seen", "asked_chars")

    def __init__(self) -> None:
        #: Length of the requests that are kept for estimates.
        self.asked_chars = 0
        self._observed: list[Observation] = []
        self._overheard: Overheard | None = None
        self._seen: dict[int, Callable[[], Any]] = {}

    def add(self, observation: Observation) -> None:
        """Take a call that tells, when asked, what is known of it."""
        self._observed.append(observation)

    def saw(self, response: Any) -> None:
        """Remember an object that has been read, without keeping it alive where that can be helped."""
        try:
            self._seen[id(response)] = weakref.ref(response)
        except TypeError:  # dicts, and what boto3 puts into them
            self._seen[id(response)] = lambda: response

    def has_seen(self, response: Any) -> bool:
        """Tell whether this very object has been read."""
        seen = self._seen.get(id(response))
        return seen is not None and seen() is response

    @property
    def overheard(self) -> Overheard:
        """Calls that others have seen, which may be among the observed."""
        if self._overheard is None:
            self._overheard = Overheard()
        return self._overheard

    def observed(self) -> list[Output]:
        """Return what was observed; what a handler tells of a call that a wrapped client saw is left out."""
        outputs = [(one.by_client, one.output()) for one in self._observed]
        known = {name for by_client, output in outputs if by_client and output is not None for name in output.ids}
        return [
            output
            for by_client, output in outputs
            if output is not None and (by_client or not output.ids or not known.issuperset(output.ids))
        ]

    @property
    def were_overheard(self) -> bool:
        """Whether anybody else has told of what happens in the run."""
        return self._overheard is not None

    def told(self) -> list[Output]:
        """Return what others have told."""
        return self._overheard.outputs() if self._overheard is not None else []

    def last_asked(self) -> str:
        """Return the messages of the last request that a wrapped client made; empty where none was kept."""
        kept = [one.asked for one in self._observed if one.asked is not None]
        return kept[-1].text() if kept else ""

    def release(self) -> None:
        """Forget what was asked, answered and seen."""
        for observation in self._observed:
            observation.release()
        self._observed, self._overheard, self._seen = [], None, {}
