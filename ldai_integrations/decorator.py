"""``track_ai``: one line on a handler, or a ``with`` block."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextvars import Token
from typing import TYPE_CHECKING, Any, TypeVar

from ._core.callables import TrackedCallable
from ._core.contexts import check_context_callable
from ._core.current import Frame, bind, get_current, unbind
from ._core.opener import Opener, raised
from ._core.run import Run
from ._core.run_spec import RunSpec
from ._core.tail import aflush_after_run
from ._core.wrapping import wrapped
from .exceptions import ConfigurationError
from .records import Mode

if TYPE_CHECKING:
    from types import TracebackType

    from ldclient import Context

    from ._core.resolver import AIConfigDefault
    from ._core.tracking import Tracking

F = TypeVar("F", bound=Callable[..., Any])

__all__ = ["track_ai"]


class track_ai:  # noqa: N801  # a decorator is used like a function
    """Track every call of a handler as one run of an AI Config; also a context manager, sync and async.

    ::

        @app.post("/chat")
        @track_ai(config_key="support-bot")
        def chat(run: Run) -> str: ...

        with track_ai(config_key="support-bot") as run: ...

    Put it directly above the function, below the route. It takes functions, coroutine functions, generators,
    async generators, methods and callable objects, and what they return is followed to its true end. Below a
    middleware or another decorator with the same config key it joins the run that is open there.

    Args:
        config_key: Key of the AI Config.
        mode: ``"completion"``, or ``"agent"`` for an AI Config with instructions.
        default: Served where LaunchDarkly has nothing usable: an ``AICompletionConfigDefault`` or
            ``AIAgentConfigDefault``. Without one, a disabled AI Config is served.
        variables: Values for the ``{{variables}}`` of the prompt: a mapping, or a callable that is given the
            handler's arguments.
        ld_context: Called with the handler's arguments, returns the LaunchDarkly context; without it the request's
            is used, or an anonymous one.
        is_error: Called with what the handler returned; says whether the run is an error.
        on_disabled: Called in place of the handler where the AI Config is disabled, with the same arguments.
        tracking: The application's :class:`~ldai_integrations.Tracking`; needed only where no door and no environment
            variable gives one.

    Raises:
        ConfigurationError: If a value cannot work.
    """

    def __init__(
        self,
        config_key: str,
        *,
        mode: Mode = "completion",
        default: AIConfigDefault | None = None,
        variables: Mapping[str, Any] | Callable[..., Mapping[str, Any]] | None = None,
        ld_context: Callable[..., Context | None] | None = None,
        is_error: Callable[[Any], bool] | None = None,
        on_disabled: Callable[..., Any] | None = None,
        tracking: Tracking | None = None,
    ) -> None:
        spec = RunSpec(config_key=config_key, mode=mode, default=default, is_error=is_error)
        check_context_callable(ld_context)
        if variables is not None and not callable(variables) and not isinstance(variables, Mapping):
            raise ConfigurationError(f"variables is {variables!r}; give a mapping, or a callable that returns one")
        self._opener = Opener(spec, variables, ld_context, on_disabled, tracking)
        self._entered: list[tuple[Run, bool, Token[Frame | Run | None]]] = []

    # As a decorator

    def __call__(self, func: F) -> F:
        """Return ``func`` tracked; it looks and behaves as before."""
        if isinstance(func, (staticmethod, classmethod)):
            return type(func)(self(func.__func__))
        if inspect.isclass(func) or not callable(func):
            raise ConfigurationError(
                f"track_ai was put on {func!r}; put it on the function or method that handles the request"
            )
        wrapper = wrapped(func, self._opener)
        # Only a function may come back as a function: frameworks treat other callables differently.
        tracked = wrapper if inspect.isroutine(func) else TrackedCallable(func, wrapper, self)
        return tracked  # type: ignore[return-value]  # the same callable to whoever calls it

    # As a context manager

    def __enter__(self) -> Run:
        """Open a run, or join the one that is open with the same config key."""
        run, owned = self._opener.open((), {})
        self._entered.append((run, owned, bind(run)))
        return run

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        """Finish the run, with the exception that left the block if one did."""
        self._exit(exc)

    async def __aenter__(self) -> Run:
        """Do what ``with`` does, without blocking the event loop."""
        await self._opener.ready()
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Finish the run, with the exception that left the block if one did."""
        run, owned = self._exit(exc)
        if owned:
            await aflush_after_run(run, exc)

    def _exit(self, exc: BaseException | None) -> tuple[Run, bool]:
        run, owned, token = self._leave()
        unbind(token)
        if exc is not None:
            raised(run, owned, exc)
        elif owned:
            run.finish()
        return run, owned

    def _leave(self) -> tuple[Run, bool, Token[Frame | Run | None]]:
        """Find what this block entered: one object may be entered by many threads and tasks at once."""
        current = get_current()
        entered = next((entry for entry in reversed(self._entered) if entry[0] is current), self._entered[-1])
        self._entered.remove(entered)
        return entered
