"""``track_ai``: one line on a handler, or a ``with`` block."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

from ldclient import Context

from ._functions import Opener, end_after_exception, flush_after_run, prepare, track_function
from ._launchdarkly.configs import AIConfigDefault
from ._run.context import Binding, bind, get_current, unbind
from ._run.options import RunOptions, check_ld_context, check_on_disabled, check_variables
from ._run.run import Run, run_of
from ._run.signatures import track_object
from ._run.state import RunState
from .exceptions import ConfigurationError
from .records import Mode
from .tracking import Tracking, check_tracking

__all__ = ["track_ai"]


class _Foreign:
    """A type that no handler names."""


# A function whose first parameter accepts any object. The string is for Python 3.10, which cannot evaluate it.
A = TypeVar("A", bound="Callable[Concatenate[_Foreign, ...], object]")
F = TypeVar("F", bound=Callable[..., object])
P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")
U = TypeVar("U")


class track_ai:  # noqa: N801  # a decorator is used like a function
    """A decorator that tracks every call of a handler as one run of an AI Config, and a context manager.

    ::

        @app.post("/chat")
        @track_ai(config_key="support-bot")
        def chat(run: Run) -> str: ...

        with track_ai(config_key="support-bot") as run: ...

    Put it directly above the function, below the route. It accepts functions, coroutine functions, generators,
    async generators, methods and callable objects, and follows what they return to its end. If a middleware or another
    decorator has opened a run with the same config key, it joins that run.

    The parameter with the annotation ``Run`` gets the run, at any position. If it is the first one of a function, type
    checkers know the exact signature for callers. As the second or third one, also after ``self``, they do not check
    the arguments. At a later position or after ``*``, they ask callers for the run, although the call is right.

    Args:
        config_key: The key of the AI Config.
        mode: ``"completion"``, or ``"agent"`` for an AI Config with instructions.
        default: Used if LaunchDarkly has no usable variation: an ``AICompletionConfigDefault`` or
            ``AIAgentConfigDefault``. Without one, the AI Config is disabled then.
        variables: Values for the ``{{variables}}`` of the prompt: a mapping, or a callable that is called with the
            handler's arguments.
        ld_context: Called with the handler's arguments, returns the LD context. Without it, the LD context of the
            request is used, or an anonymous one.
        is_error: Called with what the handler returned; returns whether the run is an error.
        on_disabled: Called in place of the handler if the AI Config is disabled, with the arguments of the caller and
            without the run. For a generator, it returns an iterator, or a value that is the only item.
        tracking: The application's :class:`~ldai_integrations.Tracking`. Needed only if no middleware and no
            environment variable provides one.

    Raises:
        ConfigurationError: If a value cannot work, or if it is put above the decorator of a task queue.
    """

    def __init__(
        self,
        config_key: str,
        *,
        mode: Mode = "completion",
        default: AIConfigDefault | None = None,
        variables: Mapping[str, object] | Callable[..., Mapping[str, object]] | None = None,
        ld_context: Callable[..., Context | None] | None = None,
        is_error: Callable[[Any], bool] | None = None,
        on_disabled: Callable[..., object] | None = None,
        tracking: Tracking | None = None,
    ) -> None:
        options = RunOptions(config_key=config_key, mode=mode, default=default, is_error=is_error)
        check_ld_context(ld_context)
        check_variables(variables)
        check_on_disabled(on_disabled)
        check_tracking(tracking)
        self._opener = Opener(options, variables, ld_context, on_disabled, tracking)
        self._blocks: list[_Block] = []

    # Such a function accepts a run as well, but does not ask for one.

    @overload
    def __call__(self, func: A) -> A: ...

    @overload
    def __call__(self, func: Callable[Concatenate[Run, P], T]) -> Callable[P, T]: ...

    # No type expresses a function without a parameter in the middle whose others keep their names. Such calls are not
    # checked, because a mistake in a correct call would be worse.

    @overload
    def __call__(self, func: Callable[Concatenate[S, Run, P], T]) -> Callable[..., T]: ...

    @overload
    def __call__(self, func: Callable[Concatenate[S, U, Run, P], T]) -> Callable[..., T]: ...

    @overload
    def __call__(self, func: F) -> F: ...

    def __call__(self, func: object) -> Any:
        """Return ``func`` tracked; it looks and behaves as before."""
        if isinstance(func, (staticmethod, classmethod)):
            return type(func)(self(func.__func__))
        if inspect.isclass(func) or not callable(func):
            raise ConfigurationError(
                f"track_ai was put on {func!r}; put it on the function or method that handles the request"
            )
        wrapper = track_function(func, self._opener)
        # Only a function may become a function: frameworks treat other callables differently. From Python 3.14 on, a
        # functools.partial counts as a routine.
        is_function = inspect.isroutine(func) and not isinstance(func, functools.partial)
        return wrapper if is_function else track_object(func, wrapper, self)

    def __enter__(self) -> Run:
        """Open a run, or join the one that is open with the same config key."""
        frame = sys._getframe(1)
        return self._enter(id(frame), is_generator=bool(frame.f_code.co_flags & inspect.CO_GENERATOR))

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        """Finish the run, with the exception that left the block if one did."""
        self._pop(id(sys._getframe(1))).end(exc)

    # Plain functions that return coroutines: a coroutine function could not see the stack frame of its caller.

    def __aenter__(self) -> Coroutine[Any, Any, Run]:
        """Do what ``with`` does, without blocking the event loop."""
        return self._aenter(id(sys._getframe(1)))

    def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> Coroutine[Any, Any, None]:
        """Finish the run, with the exception that left the block if one did."""
        return self._pop(id(sys._getframe(1))).aend(exc)

    def _enter(self, frame_id: int, *, is_generator: bool = False) -> Run:
        run, is_owner = self._opener.open((), {})
        if is_owner and is_generator:
            run.worker = None  # nobody is in a generator between its steps
        self._blocks.append(_Block(run, is_owner, bind(run), frame_id))
        return run_of(run)

    async def _aenter(self, frame_id: int) -> Run:
        await prepare(self._opener.tracking)
        return self._enter(frame_id)

    def _pop(self, frame_id: int) -> _Block:
        """Return the block that ends: that of the same stack frame, or else of the current run.

        Threads, tasks and generators may be in blocks of one object at the same time, and leave them in any order. An
        ``ExitStack`` enters and leaves a block in different stack frames.
        """
        blocks, current = self._blocks[::-1], get_current()
        block = next((block for block in blocks if block.frame_id == frame_id), None)
        block = block or next((block for block in blocks if block.run is current), blocks[0])
        self._blocks.remove(block)
        return block


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """One ``with`` block that was entered.

    Attributes:
        run: The run of the block.
        is_owner: Whether the block has opened the run, and not joined it.
        binding: What binds the run.
        frame_id: The id of the stack frame that the block is in.
    """

    run: RunState
    is_owner: bool
    binding: Binding
    frame_id: int

    def end(self, exc: BaseException | None) -> None:
        """Finish the run, unless it belongs to other code."""
        unbind(self.binding)
        if exc is not None:
            end_after_exception(self.run, self.is_owner, exc)
        elif self.is_owner:
            self.run.end()

    async def aend(self, exc: BaseException | None) -> None:
        """Finish the run without blocking the event loop."""
        may_wait = self.is_owner and not isinstance(exc, GeneratorExit)  # a coroutine that is being closed must not
        if may_wait:
            await self.run.settle(exc)
        self.end(exc)
        if may_wait:
            await flush_after_run(self.run)
