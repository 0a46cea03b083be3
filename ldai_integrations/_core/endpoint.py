"""Where votes come in: what every door's endpoint does with a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..exceptions import ConfigurationError
from .contexts import check_context_callable
from .current import Frame, get_current
from .off_loop import off_loop
from .run import Run

if TYPE_CHECKING:
    from ldclient import Context

    from ..feedback import Answer, Feedback, Secret
    from .tracking import Tracking


class Endpoint:
    """Take the votes of one application.

    Args:
        tracking: The application's; its settings ask for feedback.
        ld_context: Called with the request, returns the LaunchDarkly context of whoever votes; without it the one that
            the middleware in front has for the request.
        secrets: The framework's own, for feedback tokens; the last one signs.

    Raises:
        ConfigurationError: If feedback is not asked for, there is no secret, or ``ld_context`` cannot work.
    """

    def __init__(
        self,
        tracking: Tracking,
        *,
        ld_context: Callable[[Any], Context | None] | None = None,
        secrets: Sequence[Secret] = (),
    ) -> None:
        check_context_callable(ld_context)
        if tracking.feedback is None:
            raise ConfigurationError(
                "The Tracking takes no feedback; make it with settings=Settings(feedback=FeedbackSettings(…))"
            )
        tracking.feedback.require_secret(secrets)
        self._tracking = tracking
        self._ld_context = ld_context
        self._feedback: Feedback = tracking.feedback

    def refuse(self, method: str, client: str, length: int) -> Answer | None:
        """Return the answer to a request that need not be read, or ``None``; called first of all."""
        self._tracking.wake()  # a vote may be the first that a forked process does
        self.keep_out_of_runs()
        return self._feedback.refuse(method, client, length)

    def vote(self, request: Any, fields: Mapping[str, object]) -> Answer:
        """Take the vote of a request that was read; may block on the store of votes."""
        frame = self._frame_of(request)
        return self._feedback.vote(fields, lambda: self._voter(frame))

    async def avote(self, request: Any, fields: Mapping[str, object]) -> Answer:
        """Do the same from a coroutine, without blocking its event loop."""
        frame = self._frame_of(request)
        _ = frame.ld_context  # found here, where the application's own context variables are
        return await off_loop(lambda: self._feedback.vote(fields, lambda: self._voter(frame)))

    def _frame_of(self, request: Any) -> Frame:
        current = get_current()
        if current is None:
            return Frame(self._tracking, request, self._ld_context)
        current.frame.had_runs = True  # a vote is an event to flush
        return current.frame if self._ld_context is None else Frame(self._tracking, request, self._ld_context)

    def _voter(self, frame: Frame) -> Context:
        ld_context = frame.ld_context
        if frame.made_up(ld_context):
            self._tracking.diagnostics.note(
                "feedback",
                "ld_context",
                "A vote cannot be matched with its user: its request has no LaunchDarkly context. Put the middleware "
                "in front of the feedback endpoint, or give the endpoint ld_context=….",
            )
        return ld_context

    def keep_out_of_runs(self) -> None:
        """Discard the run that a middleware has opened for this request: no generation takes place."""
        current = get_current()
        while isinstance(current, Run):
            current.evidence.no_generation = True
            current = current.outer
