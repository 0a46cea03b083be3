"""Where a decorated call, or a ``with`` block, finds its run: the one it joins, or a new one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .current import Frame, get_current
from .default import default_tracking
from .idle import IdleRun
from .off_loop import off_loop
from .run import Run, enclosing

if TYPE_CHECKING:
    from ldclient import Context

    from .run_spec import RunSpec
    from .tracking import Tracking


@dataclass(frozen=True)
class Opener:
    """Open the runs of one ``track_ai``.

    Attributes:
        spec: What the runs are of.
        variables: Values for the prompt, or what gives them for the arguments of a call.
        ld_context: What gives the LaunchDarkly context for the arguments of a call.
        on_disabled: What is called in place of a handler where the AI Config is disabled.
        tracking: The application's; where it is ``None``, that of the request or of the process.
    """

    spec: RunSpec
    variables: Mapping[str, Any] | Callable[..., Mapping[str, Any]] | None
    ld_context: Callable[..., Context | None] | None
    on_disabled: Callable[..., Any] | None
    tracking: Tracking | None

    def open(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Run, bool]:
        """Return the run of a call with these arguments, and whether it is the caller's to finish."""
        current = get_current()
        frame = current.frame if current is not None else None
        if self.tracking is not None and (frame is None or frame.tracking is not self.tracking):
            current, frame = None, Frame(self.tracking)
        joined = enclosing(current, self.spec.config_key)
        if joined is not None:
            return joined, False
        if frame is None:
            tracking = default_tracking.made or default_tracking.make()
            if tracking is None:
                return IdleRun(), False
            frame = Frame(tracking)
        run = frame.tracking.open_run(
            frame,
            self.spec,
            variables=self._variables_for(frame, args, kwargs),
            ld_context=frame.context_from(self.ld_context, *args, **kwargs) if self.ld_context is not None else None,
            outer=current if isinstance(current, Run) else None,
        )
        return run, True

    def handler(self, func: Callable[..., Any], run: Run) -> Callable[..., Any]:
        """Return what is to be called in a run: ``func``, unless the AI Config is disabled."""
        if self.on_disabled is None or run.config.enabled:
            return func
        return self.on_disabled

    async def ready(self) -> None:
        """Have the process's tracking made off the event loop, if this call is the first to need it."""
        if self.tracking is None and default_tracking.made is None and get_current() is None:
            await off_loop(default_tracking.make)

    def _variables_for(self, frame: Frame, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Mapping[str, Any]:
        variables: Any = self.variables
        if callable(variables):
            with frame.tracking.diagnostics.guard("variables", self.spec.config_key):
                variables = dict(variables(*args, **kwargs))
        return variables if isinstance(variables, Mapping) else {}


def raised(run: Run, owned: bool, exc: BaseException) -> None:
    """Tell a run what a call of its handler raised; a run of one's own ends by it."""
    if owned:
        run.end(exc)
    else:
        run.fail(exc)
