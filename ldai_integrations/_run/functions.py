"""Tracked functions of every kind: each call is a run, or part of the run that is open."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import ref

from .context import bind, binder, unbind
from .current import run_of
from .hooks import StreamHooks
from .options import check_on_disabled
from .proxy import Proxy
from .response import HandlerHooks, follow
from .run import Run
from .state import RunState
from .stream import TrackedAsyncStream, end_of_step

# The functions that are decorated, as they were before, by their ids: each request looks for its handler here.
_decorated: dict[int, ref[object]] = {}


@dataclass(frozen=True, slots=True)
class RunPlace:
    """The place of the run among the parameters of a function.

    Attributes:
        name: The name of the parameter.
        index: Its position; ``None`` if it can be given by name only.
    """

    name: str
    index: int | None


class Opener(Protocol):
    """An object that opens the runs of a decorator.

    Attributes:
        on_disabled: Called in place of a handler whose AI Config is disabled.
    """

    on_disabled: Callable[..., Any] | None

    def open(self, args: tuple[object, ...], kwargs: dict[str, object]) -> tuple[RunState, bool]:
        """Return the run of a call, and whether the caller must finish it."""

    async def prepare(self) -> None:
        """Do what must not block the event loop, before a run is opened."""


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
    place = _find_place(func)
    if inspect.isroutine(func):
        _remember(func)
    wrapper = functools.update_wrapper(track(func, opener, place), func)
    signature = _set_signature(wrapper, func, place)
    # A decorator below this one may fill in parameters that its signature still has.
    check_on_disabled(opener.on_disabled, signature if not hasattr(func, "__wrapped__") else None)
    return wrapper


def is_bypassed(handler: object) -> bool:
    """Return whether ``track_ai`` decorates this object, so that whoever calls the object itself is not tracked."""
    found = _decorated.get(id(handler))
    return found is not None and found() is handler


def _remember(func: object) -> None:
    key = id(func)
    with suppress(TypeError):  # builtin functions have no weak references
        _decorated[key] = ref(func, lambda dead: _decorated.pop(key) if _decorated.get(key) is dead else None)


def end_after_exception(run: RunState, is_owner: bool, exc: BaseException) -> None:
    """Report the exception of a handler to its run; a run that the caller opened ends by it."""
    if is_owner:
        run.end(exc)
    else:
        run.fail(exc)


def _track_plain(func: Callable[..., object], opener: Opener, place: RunPlace | None) -> Callable[..., object]:
    def wrapper(*args: object, **kwargs: object) -> object:
        run, is_owner = opener.open(args, kwargs)
        token = bind(run)
        try:
            result = _call(func, opener, place, run, args, kwargs)
        except BaseException as exc:
            end_after_exception(run, is_owner, exc)
            raise
        finally:
            unbind(token)
        return follow(run, result) if is_owner else result

    return wrapper


def _track_coroutine(func: Callable[..., object], opener: Opener, place: RunPlace | None) -> Callable[..., object]:
    async def wrapper(*args: object, **kwargs: object) -> object:
        await opener.prepare()
        run, is_owner = opener.open(args, kwargs)
        token = bind(run)
        try:
            result = _call(func, opener, place, run, args, kwargs)
            if inspect.isawaitable(result):  # on_disabled may be a plain function
                result = await result
        except BaseException as exc:
            end_after_exception(run, is_owner, exc)
            if is_owner and not isinstance(exc, GeneratorExit):  # a coroutine that is being closed must not wait
                await flush_after_run(run)
            raise
        finally:
            unbind(token)
        if is_owner:
            await run.settle()
            result = follow(run, result)
            await flush_after_run(run)
        return result

    return wrapper


async def flush_after_run(run: RunState) -> None:
    """Flush after the last run of code without a request, such as a function of a serverless platform."""
    if run.finished and run.scope.had_runs and not (run.scope.is_request or run.scope.open_runs):
        await run.services.flushing.aflush_after_request()


def _track_generator(func: Callable[..., object], opener: Opener, place: RunPlace | None) -> Callable[..., object]:
    def wrapper(*args: object, **kwargs: object) -> Any:
        steps, run, is_owner = _call_generator(func, opener, place, args, kwargs)
        if not is_owner:
            return (yield from steps)
        # What follows is TrackedStream and HandlerOutput.add, written out: their calls would be most of the cost.
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
                run.leave()
                if hasattr(steps, "close"):
                    token = bind(run)
                    try:
                        steps.close()
                    finally:
                        unbind(token)
                raise
            except BaseException as exc:
                step, value = steps.throw, exc

    return wrapper


def _track_async_generator(
    func: Callable[..., object], opener: Opener, place: RunPlace | None
) -> Callable[..., object]:
    async def wrapper(*args: object, **kwargs: object) -> object:
        await opener.prepare()
        steps, run, is_owner = _call_generator(func, opener, place, args, kwargs)
        hooks = HandlerHooks(run) if is_owner else StreamHooks()
        # What follows is TrackedAsyncStream, written out for the same reason.
        output, clock = run.output, run.services.clock
        nothing: tuple[Any, ...] = ()
        bind, unbind = hooks.binder if is_owner else binder(run)
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
                    hooks.on_end(end_of_step(exc, *sent))
                    raise
                finally:
                    try:
                        unbind(token)
                    except ValueError:  # see unbind
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


def _call_generator(
    func: Callable[..., object],
    opener: Opener,
    place: RunPlace | None,
    args: tuple[object, ...],
    kwargs: dict[str, object],
) -> tuple[Any, RunState, bool]:
    """Create the generator of a handler; the run is bound in its steps only."""
    run, is_owner = opener.open(args, kwargs)
    try:
        return _call(func, opener, place, run, args, kwargs), run, is_owner
    except BaseException as exc:
        end_after_exception(run, is_owner, exc)
        raise


def _call(
    func: Callable[..., Any],
    opener: Opener,
    place: RunPlace | None,
    run: RunState,
    args: tuple[object, ...],
    kwargs: dict[str, object],
) -> Any:
    """Call ``func`` with the run in its place; for a disabled AI Config, call ``on_disabled`` as the caller did."""
    if opener.on_disabled is not None and not run.config.enabled:
        return opener.on_disabled(*args, **kwargs)
    if place is None:
        return func(*args, **kwargs)
    index = place.index
    if index is not None and len(args) >= index:  # the caller's arguments belong to the other parameters
        return func(*args[:index], run_of(run), *args[index:], **kwargs)
    return func(*args, **{**kwargs, place.name: run_of(run)})


class TrackedCallable(Proxy):
    """A callable object or a ``functools.partial`` whose calls are tracked.

    Frameworks look at an endpoint before they call it: Starlette calls a function as a handler of requests, and any
    other object as an ASGI application. Everything but the call is that of the object. A copy is tracked as well.
    """

    def __init__(self, target: object, wrapper: Callable[..., object], decorate: Callable[[Any], object]) -> None:
        super().__init__(target)
        self._self_wrapper = wrapper
        self._self_decorate = decorate

    @property
    def __call__(self) -> Callable[..., object]:
        """The tracked call; ``inspect`` looks here to learn whether it must be awaited."""
        return self._self_wrapper

    @property
    def __signature__(self) -> inspect.Signature:
        """The signature without the parameter that is filled in."""
        return inspect.signature(self._self_wrapper)

    @property
    def __annotations__(self) -> dict[str, object]:  # type: ignore[override]  # computed, as in wrapt
        """The annotations without the parameter that is filled in, for ``typing.get_type_hints``."""
        signature = self.__signature__
        kinds = {name: parameter.annotation for name, parameter in signature.parameters.items()}
        kinds["return"] = signature.return_annotation
        return {name: kind for name, kind in kinds.items() if kind is not inspect.Signature.empty}

    def _self_wrap(self, other: object) -> object:
        return self._self_decorate(other)


class _TrackedIterable(TrackedCallable):
    """A callable object that can be iterated as well. Other objects must not look as if they could."""

    def __iter__(self) -> Iterator[object]:
        return iter(self.__wrapped__)


def track_object(target: object, wrapper: Callable[..., object], decorate: Callable[[Any], object]) -> TrackedCallable:
    """Return a stand-in for a callable object whose calls are tracked.

    Args:
        target: The object.
        wrapper: Its tracked call, from :func:`track_function`.
        decorate: Decorates a copy of the object.
    """
    is_iterable = hasattr(type(target), "__iter__") or hasattr(type(target), "__getitem__")
    return (_TrackedIterable if is_iterable else TrackedCallable)(target, wrapper, decorate)


def _find_place(func: Callable[..., object]) -> RunPlace | None:
    """Return the place of the parameter of ``func`` that is annotated ``Run``, if there is one."""
    for index, parameter in enumerate(_parameters(func)):
        if parameter.annotation is Run:
            is_positional = parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
            return RunPlace(parameter.name, index if is_positional else None)
    return None


def _set_signature(
    wrapper: Callable[..., object], func: Callable[..., object], place: RunPlace | None
) -> inspect.Signature | None:
    """Give ``wrapper`` the signature of ``func`` without the parameter that is filled in, and return it.

    String annotations are evaluated in the module of ``func``: a framework that evaluates them on the wrapper would
    look for their names in this module.
    """
    try:
        signature = inspect.signature(func)
    except (TypeError, ValueError):  # builtins without a signature
        return None
    filled_in = place.name if place is not None else None
    shown = [parameter for parameter in _parameters(func) if parameter.name != filled_in]
    returned = _evaluate(signature.return_annotation, func)
    signature = signature.replace(parameters=shown, return_annotation=returned)
    wrapper.__signature__ = signature  # type: ignore[attr-defined]  # read by inspect.signature
    if place is not None:
        wrapper.__annotations__ = {name: kind for name, kind in wrapper.__annotations__.items() if name != filled_in}
    return signature


def _parameters(func: Callable[..., object]) -> list[inspect.Parameter]:
    try:
        parameters = inspect.signature(func).parameters.values()
    except (TypeError, ValueError):
        return []
    return [parameter.replace(annotation=_evaluate(parameter.annotation, func)) for parameter in parameters]


def _evaluate(annotation: object, func: Callable[..., object]) -> object:
    """Evaluate a string annotation in the module of a function, a partial or an object; keep it if that fails."""
    if not isinstance(annotation, str):
        return annotation
    target = inspect.unwrap(func)
    owners: tuple[object, ...] = (target, getattr(target, "func", None), type(target).__call__)
    names: dict[str, object] = next((owner.__globals__ for owner in owners if hasattr(owner, "__globals__")), {})
    try:
        return eval(annotation, names)  # what typing.get_type_hints does, one annotation at a time
    except Exception:
        return annotation
