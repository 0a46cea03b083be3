"""Where we are: the one ContextVar, and the frame a door puts into it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ldclient import Context

    from .offer import Offer
    from .resolver import AIConfig
    from .run import Run
    from .tracking import Tracking

#: Under this key a door leaves the frame in the ASGI scope and the WSGI environ, for code that
#: runs where the ContextVar of the request cannot be seen.
FRAME_KEY = "ldai_integrations.frame"

LDContextFrom = Callable[[Any], "Context | None"]

# What code below a door sees: the request's frame, or the run that is under way in it.
_current: ContextVar[Frame | Run | None] = ContextVar("ldai_integrations", default=None)

get_current = _current.get
bind = _current.set
#: Puts back what :func:`bind` replaced in this very Context.
restore = _current.reset


def unbind(token: Token[Frame | Run | None]) -> None:
    """Put back what :func:`bind` replaced.

    A step that is torn down from outside (a suspended coroutine that the garbage collector closes) runs in
    another Context, where there is nothing of ours to put back.
    """
    try:
        restore(token)
    except ValueError:
        pass


class Frame:
    """What a door knows about one request, and the runs that are open in it.

    Cheap to make: nothing is looked up or evaluated until a run asks for it.
    """

    __slots__ = (
        "_anonymous",
        "_ld_context",
        "_ld_context_from",
        "_request",
        "had_runs",
        "is_request",
        "judging",
        "offer",
        "open_runs",
        "resolved",
        "tracking",
    )

    def __init__(
        self,
        tracking: Tracking,
        request: Any = None,
        ld_context_from: LDContextFrom | None = None,
        offer: Offer | None = None,
    ) -> None:
        self.tracking = tracking
        #: Only the frame of a door has one, where feedback tokens go out with responses.
        self.offer = offer
        self.open_runs: set[Run] = set()
        self.had_runs = False
        #: Whether what happens here is the work of a judge, and not judged.
        self.judging = False
        self.is_request = request is not None
        self.resolved: dict[tuple[str, str, str], list[tuple[Mapping[str, Any], AIConfig]]] = {}
        self._request = request
        self._ld_context_from = ld_context_from
        self._ld_context: Context | None = None
        self._anonymous: Context | None = None

    @property
    def frame(self) -> Frame:
        """Return itself: a Run has a frame as well, and both answer where the request is."""
        return self

    @property
    def is_anonymous(self) -> bool:
        """Whether no application is asked for the LaunchDarkly context; a run then takes it when it opens.

        Random bytes make Python let other threads run, and at a run's end one may be waiting to look at what is done.
        """
        return self._ld_context_from is None

    @property
    def ld_context(self) -> Context:
        """Return the request's LaunchDarkly context, found once, when first asked for."""
        if self._ld_context is None:
            self._ld_context = self.context_from(self._ld_context_from, self._request)
        return self._ld_context

    def context_from(self, source: Callable[..., Any] | None, *args: Any, **kwargs: Any) -> Context:
        """Return the LaunchDarkly context that ``source`` gives, or the anonymous one of this request."""
        found = self.tracking.contexts.call(source, args, kwargs) if source is not None else None
        return found if found is not None else self.anonymous

    @property
    def anonymous(self) -> Context:
        """Return an anonymous LaunchDarkly context whose key stays the same for the request."""
        if self._anonymous is None:
            self._anonymous = self.tracking.contexts.anonymous(str(uuid.uuid4()))
        return self._anonymous

    def made_up(self, ld_context: Context) -> bool:
        """Tell whether a LaunchDarkly context is the anonymous one of this request, which no other request has."""
        return ld_context is self._anonymous

    def close(self) -> None:
        """Finish every run that is still open: the request is over and nothing waits for the garbage collector."""
        if self.open_runs:
            for run in tuple(self.open_runs):
                run.abandon()
        self.offer = None  # it knows a run, and the run knows this frame
        if self._ld_context is not None:
            self._request = None  # a tracker that is kept for later feedback must not keep the request


def within(frame: Frame) -> Frame | Run:
    """Return what is bound of a frame already: the run that is under way in it, else the frame itself."""
    current = get_current()
    return current if current is not None and current.frame is frame else frame
