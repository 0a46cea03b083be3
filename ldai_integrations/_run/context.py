"""The current run or request: what the calling code belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from functools import partial, wraps
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from .scope import RequestScope

if TYPE_CHECKING:
    from .._diagnostics import Guard
    from ..typing import RunBinding

P = ParamSpec("P")
T = TypeVar("T")

# A run while one is in progress; otherwise the scope of the request.
_current: ContextVar[Any] = ContextVar("ldai_integrations", default=None)

#: Return what is bound here: a Run, a RequestScope or ``None``.
get_current = _current.get


def bind(current: Any) -> Any:
    """Bind a Run or a RequestScope; return what :func:`unbind` takes."""
    return binder(current)[0](current) if current.companions else _current.set(current)


def unbind(bound: Any) -> None:
    """Restore what :func:`bind` replaced.

    A suspended coroutine that the garbage collector closes runs in another context, where nothing is to be restored.
    """
    token, leave = bound if type(bound) is tuple else (bound, None)
    try:
        _current.reset(token)
    except ValueError:
        return
    if leave is not None:
        leave()


def binder(current: Any) -> tuple[Callable[[Any], Any], Callable[[Any], object]]:
    """Return functions that bind and unbind ``current`` for code that takes many steps, such as one generator.

    The second one raises ``ValueError`` in another context. If no sink accompanies the run, they are as fast as the
    context variable. Otherwise, the bindings of the sinks last as long as the code.
    """
    if not current.companions:
        return _current.set, _current.reset
    bindings = _Bindings(current, [companion.binding for companion in current.companions.values()])

    def bind_with_companions(current: Any) -> Any:
        if get_current() is current:  # code of the run has called this, and may have made something else current
            return _current.set(current)
        leave = bindings.enter()
        return _current.set(current), leave

    return bind_with_companions, unbind


def outside(run: Any, call: Callable[[], T]) -> T:
    """Return what a function returns that is called as if no sink accompanied the run.

    LaunchDarkly's own telemetry writes each evaluation, with LD context and prompts, into the span that is current.
    """
    leave = _Bindings(run, [companion.outside for companion in run.companions.values()]).enter()
    try:
        return call()
    finally:
        leave()


class _Bindings:
    """The bindings of all sinks that accompany a run, for one piece of its code. Their exceptions are diagnostics."""

    __slots__ = ("_bindings", "_run")

    def __init__(self, run: Any, makers: Iterable[Callable[[], RunBinding]]) -> None:
        self._run = run
        self._bindings: list[RunBinding] = []
        for make in makers:
            with self._guard():
                self._bindings.append(make())

    def enter(self) -> Callable[[], None]:
        """Enter the bindings; return a function that leaves them."""
        entered: list[tuple[RunBinding, object]] = []
        for binding in self._bindings:
            with self._guard():
                entered.append((binding, binding.enter()))
        return partial(self._leave, entered)

    def _leave(self, entered: list[tuple[RunBinding, object]]) -> None:
        for binding, before in reversed(entered):
            with self._guard():
                binding.leave(before)

    def _guard(self) -> Guard:
        guard: Guard = self._run.services.diagnostics.guard("sink", self._run.config_key)
        return guard


def bound_to(current: Any, func: Callable[P, T]) -> Callable[P, T]:
    """Return a function that is called while a run or a scope is bound, on any thread or in any task."""
    if iscoroutinefunction(func):

        @wraps(func)
        async def bound_async(*args: Any, **kwargs: Any) -> Any:
            token = bind(current)
            try:
                return await func(*args, **kwargs)
            finally:
                unbind(token)

        return bound_async  # type: ignore[return-value]  # it is a coroutine function, like func

    @wraps(func)
    def bound(*args: P.args, **kwargs: P.kwargs) -> T:
        token = bind(current)
        try:
            return func(*args, **kwargs)
        finally:
            unbind(token)

    return bound


def scope_of(current: Any) -> RequestScope | None:
    """Return the request scope of a bound object, which is a run, a scope or ``None``."""
    if current is None or isinstance(current, RequestScope):
        return current
    scope: RequestScope = current.scope
    return scope


def innermost(scope: RequestScope) -> Any:
    """Return what is bound here if it is a run in this scope, else the scope."""
    current = get_current()
    return current if scope_of(current) is scope else scope
