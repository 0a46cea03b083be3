"""What every middleware is told: whose tracking, which AI Config, which LaunchDarkly context."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..delivery import NOT_CONFIGURED
from ..exceptions import ConfigurationError, TrackingNotConfiguredError
from ..records import Mode
from .contexts import check_context_callable
from .current import Frame, get_current
from .default import default_tracking
from .offer import Offer
from .run import Run, enclosing
from .run_spec import RunSpec

if TYPE_CHECKING:
    from ldclient import Context

    from ..feedback import Secret
    from .resolver import AIConfigDefault
    from .tracking import Tracking

ConfigKeyFrom = Callable[[Any], "str | None"]


class Door:
    """Open frames and runs for the requests that come through one middleware.

    Args:
        tracking: The application's Tracking; without one, that of the process.
        config_key: Track each request as a run of this AI Config, or of the one that a callable names; a callable
            is given the request and may return ``None``. Without it, only decorated code opens runs.
        mode: ``"completion"`` or ``"agent"``.
        default: Served where LaunchDarkly has nothing usable.
        variables: Values for the prompt's ``{{variables}}``: a mapping, or a callable that is given the request.
        ld_context: Called with the request when its LaunchDarkly context is first needed.
        secrets: The framework's own, for feedback tokens; the last one signs.

    Raises:
        ConfigurationError: If a value cannot work.
        TrackingNotConfiguredError: If there is no tracking and nothing to make one of.
    """

    def __init__(
        self,
        tracking: Tracking | None,
        *,
        config_key: str | ConfigKeyFrom | None = None,
        mode: Mode = "completion",
        default: AIConfigDefault | None = None,
        variables: Mapping[str, Any] | Callable[[Any], Mapping[str, Any]] | None = None,
        ld_context: Callable[[Any], Context | None] | None = None,
        secrets: Sequence[Secret] = (),
    ) -> None:
        check_context_callable(ld_context)
        if inspect.iscoroutinefunction(config_key):
            raise ConfigurationError("config_key is a coroutine function; give a plain function")
        if variables is not None and not callable(variables) and not isinstance(variables, Mapping):
            raise ConfigurationError(f"variables is {variables!r}; give a mapping, or a callable that returns one")
        self._config_key = config_key
        #: Whether it tracks requests, some at least; otherwise only decorated code opens runs.
        self.opens_runs = config_key is not None
        # Made here even for a callable, so that a wrong mode or default shows at start.
        known = "given later" if config_key is None or callable(config_key) else config_key
        self._spec = RunSpec(config_key=known, mode=mode, default=default)
        self._variables = variables
        self._ld_context = ld_context
        self.tracking = tracking if tracking is not None else process_tracking()
        self._feedback = self.tracking.feedback
        if self._feedback is not None:
            self._feedback.require_secret(secrets)

    def frame(self, request: Any) -> Frame:
        """Make the frame of a request."""
        offer = Offer.of(self._feedback) if self._feedback is not None else None
        return Frame(self.tracking, request, self._ld_context, offer)

    def open_run(self, frame: Frame, request: Any) -> Run | None:
        """Open the run of a request, if this door tracks requests and nobody outside has opened it."""
        if not self.opens_runs:
            return None
        with self.tracking.diagnostics.guard(
            "config_key", str(getattr(self._config_key, "__name__", self._config_key))
        ):
            key = self._config_key(request) if callable(self._config_key) else self._config_key
            if key is None:
                return None
            spec = self._spec if key == self._spec.config_key else replace(self._spec, config_key=key)
            outer = get_current()
            outer = outer if isinstance(outer, Run) and outer.frame is frame else None
            if enclosing(outer, key) is not None:
                return None
            return self.tracking.open_run(frame, spec, variables=self._variables_of(request), outer=outer)
        return None

    def _variables_of(self, request: Any) -> Mapping[str, Any]:
        if not callable(self._variables):
            return self._variables or {}
        with self.tracking.diagnostics.guard("variables", "middleware"):
            return dict(self._variables(request))
        return {}


def process_tracking() -> Tracking:
    """Return the tracking of the process, for a door that was given none.

    Raises:
        TrackingNotConfiguredError: If there is nothing to make one of.
    """
    tracking = default_tracking.make()
    if tracking is None:
        raise TrackingNotConfiguredError(NOT_CONFIGURED)
    return tracking
