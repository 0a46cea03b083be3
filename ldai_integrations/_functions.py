"""Tracked functions of every kind: each call is a run, or part of the run that is open."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ldclient import Context

from ._run.background import call_off_loop
from ._run.context import RequestScope, bind, binder, current_scope, get_current, unbind
from ._run.current import idle_scope
from ._run.events import find_worker
from ._run.ledger import refer_to
from ._run.middleware import remember_decorated
from ._run.options import RunOptions, check_arguments, check_on_disabled, variables_for
from ._run.response import RunHooks, follow
from ._run.run import run_of
from ._run.signatures import RunPlace, find_place, set_signature
from ._run.state import RunState, open_run, run_in
from ._run.stream import StreamHooks, TrackedAsyncStream, end_of_step
from ._run.web import responses_among
from .tracking import Tracking, process, services_of


@dataclass(frozen=True, slots=True, eq=False)
class Opener:
    """The part of one ``track_ai`` that opens its runs.

    Attributes:
        options: The options of the runs.
        variables: Values for the prompt, or a function that returns them for the arguments of a call.
        ld_context: Returns the LD context for the arguments of a call.
        on_disabled: Called in place of a handler whose AI Config is disabled.
        tracking: The application's Tracking; without one, that of the request or of the process.
    """

    options: RunOptions
    variables: Mapping[str, object] | Callable[..., Mapping[str, object]] | None
    ld_context: Callable[..., Context | None] | None
    on_disabled: Callable[..., object] | None
    tracking: Tracking | None

    def open(self, args: tuple[object, ...], kwargs: dict[str, Any]) -> tuple[RunState, bool]:
        """Return the run of a call, and whether the caller must finish it: a joined run belongs to another caller.

        Args:
            args: The positional arguments of the call, without the run.
            kwargs: The keyword arguments.
        """
        scope = find_scope(self.tracking)
        parent = run_in(scope)
        joined = parent.find_run(self.options.config_key) if parent is not None else None
        variables = variables_for(self.variables, scope.services.diagnostics, self.options, args, kwargs)
        if joined is not None:
            joined.counts_without_call = True  # the decorator says that this is a generation
            if variables and not (joined.variables or joined.is_resolved):
                joined.fill_in(variables)
            return joined, False
        if not scope.services.start.is_over:
            scope.services.start.wait()
        ld_context = scope.context_from(self.ld_context, *args, **kwargs) if self.ld_context is not None else None
        run = open_run(scope, self.options, variables=variables, ld_context=ld_context, parent=parent)
        run.worker = refer_to(find_worker())
        return run, not scope.services.is_idle


async def prepare(tracking: Tracking | None) -> None:
    """Wait for the Tracking and its AI Configs without blocking the event loop, if this is a first call."""
    current = get_current()
    if current is None or tracking is not None:
        tracking = tracking or process.tracking or await call_off_loop(process.make_tracking)
        services = services_of(tracking) if tracking is not None else None
    else:
        services = current.services
    if services is not None and not services.start.is_over:
        await services.start.await_end()


def find_scope(tracking: Tracking | None) -> RequestScope:
    """Return the scope of the current request, if it belongs to the given Tracking; otherwise one without a request."""
    scope = current_scope()
    if tracking is None and scope is not None:
        return scope
    tracking = tracking or process.tracking or process.make_tracking()
    if tracking is None:
        return idle_scope()
    services = services_of(tracking)
    return scope if scope is not None and scope.services is services else RequestScope(services)


@dataclass(frozen=True, slots=True, eq=False)
class _Handler:
    """A decorated function.

    Attributes:
        func: The function.
        opener: Opens the runs of its calls.
        place: Where it takes the run; ``None`` if it does not.
    """

    func: Callable[..., Any]
    opener: Opener
    place: RunPlace | None

    def open(self, args: tuple[object, ...], kwargs: dict[str, Any]) -> tuple[RunState, bool]:
        """Return the run of a call, and whether the caller must finish it.

        An argument for the run is removed: some frameworks, such as Slack's Bolt, look through decorators and fill in
        every parameter.
        """
        if self.place is not None:
            kwargs.pop(self.place.name, None)
        return self.opener.open(args, kwargs)

    def call(self, run: RunState, args: tuple[object, ...], kwargs: dict[str, object]) -> Any:
        """Call the function with the run in its place; if the AI Config is disabled, call ``on_disabled``."""
        place, on_disabled = self.place, self.opener.on_disabled
        if on_disabled is not None and not run.config.enabled:
            return on_disabled(*args, **kwargs)
        if place is None:
            return self.func(*args, **kwargs)
        index = place.index
        if index is not None and len(args) >= index:  # the caller's arguments belong to the other parameters
            return self.func(*args[:index], run_of(run), *args[index:], **kwargs)
        return self.func(*args, **{**kwargs, place.name: run_of(run)})

    def call_generator(
        self, args: tuple[object, ...], kwargs: dict[str, object], *, is_async: bool = False
    ) -> tuple[Any, RunState, bool]:
        """Open a run, and create the generator or call ``on_disabled``; the generator's steps bind the run.

        Returns:
            The generator, the run, and whether the caller must finish it.
        """
        run, is_owner = self.open(args, kwargs)
        try:
            steps = self.call(run, args, kwargs)
            if not hasattr(steps, "__anext__" if is_async else "__next__"):
                steps = _items_of(steps) if is_async else iter((steps,))
            return steps, run, is_owner
        except BaseException as exc:
            end_after_exception(run, is_owner, exc)
            raise


def track_function(func: Callable[..., object], opener: Opener) -> Callable[..., object]:
    """Return a function of the same kind as ``func``, with its name and signature, that tracks its calls."""
    is_function = inspect.isroutine(func) or isinstance(func, functools.partial)
    call = func if is_function else getattr(func, "__call__")  # noqa: B004, B009  # the method itself is asked for its kind
    if inspect.isasyncgenfunction(call):
        track = _track_async_generator
    elif inspect.isgeneratorfunction(call):
        track = _track_generator
    elif inspect.iscoroutinefunction(call):
        track = _track_coroutine
    else:
        track = _track_plain
    place = find_place(func)
    remember_decorated(func)
    wrapper = functools.update_wrapper(track(_Handler(func, opener, place)), func)
    signature = set_signature(wrapper, func, place)
    if not hasattr(func, "__wrapped__"):  # a decorator below may fill in parameters, or return what is awaited
        is_awaited = track in (_track_coroutine, _track_async_generator)
        check_on_disabled(opener.on_disabled, signature, is_awaited=is_awaited)
        check_arguments("ld_context", opener.ld_context, signature)
        check_arguments("variables", opener.variables, signature)
    return wrapper


def end_after_exception(run: RunState, is_owner: bool, exc: BaseException) -> None:
    """Report the exception of a handler to its run; a run that the caller opened ends by it.

    The code that opened a joined run may catch the exception.
    """
    if is_owner:
        run.end(exc)
    elif not run.options.sees_exceptions:
        run.fail(exc)


def _track_plain(handler: _Handler) -> Callable[..., object]:
    def wrapper(*args: object, **kwargs: object) -> object:
        responses = responses_among(args, kwargs)
        run, is_owner = handler.open(args, kwargs)
        token = bind(run)
        try:
            result = handler.call(run, args, kwargs)
        except BaseException as exc:
            end_after_exception(run, is_owner, exc)
            raise
        finally:
            unbind(token)
        return follow(run, result, responses=responses) if is_owner else result

    return wrapper


def _track_coroutine(handler: _Handler) -> Callable[..., object]:
    async def wrapper(*args: object, **kwargs: object) -> object:
        await prepare(handler.opener.tracking)
        responses = responses_among(args, kwargs)
        run, is_owner = handler.open(args, kwargs)
        token = bind(run)
        try:
            result = handler.call(run, args, kwargs)
            if inspect.isawaitable(result):  # on_disabled may be a plain function
                result = await result
        except BaseException as exc:
            if is_owner:
                await run.settle(exc)
            end_after_exception(run, is_owner, exc)
            if is_owner and not isinstance(exc, GeneratorExit):  # a coroutine that is being closed must not wait
                await flush_after_run(run)
            raise
        finally:
            unbind(token)
        if is_owner:
            await run.settle()
            result = follow(run, result, responses=responses)
            await flush_after_run(run)
        return result

    return wrapper


async def flush_after_run(run: RunState) -> None:
    """Flush after the last run of code without a request, such as a function of a serverless platform."""
    if run.scope.had_runs and run.scope.needs_flush:
        await run.services.flushing.aflush_after_request()


def _track_generator(handler: _Handler) -> Callable[..., object]:
    def wrapper(*args: object, **kwargs: object) -> Any:
        steps, run, is_owner = handler.call_generator(args, kwargs)
        if not is_owner:
            return (yield from steps)
        # What follows is TrackedStream and HandlerOutput.add, written out: their calls would be most of the cost.
        # ``room`` is 0 until ``add`` has found that the output is plain text, so that ``add`` takes the first item.
        run.worker = None  # nobody is in a generator between its steps
        output, clock = run.output, run.services.clock
        send = steps.send if hasattr(steps, "send") else lambda _nothing: next(steps)
        bind, unbind = binder(run)
        step, value = send, None
        while True:
            token = bind(run)
            try:
                item = step(value)
            except StopIteration as stop:
                run.end(None)
                return stop.value
            except BaseException as exc:
                run.end(end_of_step(exc, value))
                raise
            finally:
                unbind(token)
            if type(item) is str and len(item) < output.room:
                output.last_item_at = clock()
                output.room -= len(item)
                output.chunks.append(item)
            else:
                output.add(item)
            try:
                step, value = send, (yield item)
            except GeneratorExit:  # closed by the consumer, or by the garbage collector: another thread reports it
                token = bind(run)
                try:
                    if hasattr(steps, "close"):
                        steps.close()
                finally:
                    unbind(token)
                    run.end_from_finalizer()
                raise
            except BaseException as exc:
                step, value = steps.throw, exc

    return wrapper


def _track_async_generator(handler: _Handler) -> Callable[..., object]:
    async def wrapper(*args: object, **kwargs: object) -> object:
        await prepare(handler.opener.tracking)
        steps, run, is_owner = handler.call_generator(args, kwargs, is_async=True)
        hooks = RunHooks(run) if is_owner else StreamHooks(run)
        # What follows is TrackedAsyncStream and HandlerOutput.add, written out for the same reason.
        output, clock = run.output, run.services.clock
        nothing: tuple[Any, ...] = ()
        bind, unbind = hooks.binder
        try:
            anext_: Callable[..., Any] = steps.__anext__
            step, sent = anext_, nothing
            while True:
                token = bind(run)
                try:
                    item = await step(*sent)
                except StopAsyncIteration:
                    await hooks.aread_rest()
                    hooks.on_end(None)
                    break
                except BaseException as exc:
                    await hooks.aread_rest(exc)
                    hooks.on_end(end_of_step(exc, *sent))
                    raise
                finally:
                    try:
                        unbind(token)
                    except ValueError:  # the garbage collector closes the generator in another context
                        pass
                if is_owner and type(item) is str and len(item) < output.room:
                    output.last_item_at = clock()
                    output.room -= len(item)
                    output.chunks.append(item)
                elif is_owner:
                    output.add(item)
                try:
                    value = yield item
                    step, sent = (anext_, nothing) if value is None else (steps.asend, (value,))
                except GeneratorExit:
                    await TrackedAsyncStream(steps, hooks).aclose()
                    raise
                except BaseException as exc:
                    step, sent = steps.athrow, (exc,)
        finally:
            hooks.on_drop()  # nothing, if the run has ended
        await flush_after_run(run)

    return wrapper


async def _items_of(answer: Any) -> AsyncIterator[object]:
    """Yield the items of what ``on_disabled`` returned in place of an async generator; a value is the only one."""
    if inspect.isawaitable(answer):
        answer = await answer
    for item in answer if hasattr(answer, "__next__") else (answer,):
        yield item
