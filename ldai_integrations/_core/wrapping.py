"""Functions of every kind, tracked: each call of one is a run, or part of the run that is open."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from .current import bind, unbind
from .follow import follow
from .injection import keep_signature, run_parameter
from .opener import Opener, raised
from .run import Run
from .streams import async_stepper, stepped
from .tail import aflush_after_run


def wrapped(func: Callable[..., Any], opener: Opener) -> Callable[..., Any]:
    """Return a function of the same kind as ``func``, with its looks, that tracks its calls."""
    call = func if inspect.isroutine(func) or isinstance(func, functools.partial) else getattr(func, "__call__")  # noqa: B004, B009  # the method itself is asked
    if inspect.isasyncgenfunction(call):
        wrap = _wrap_async_generator
    elif inspect.isgeneratorfunction(call):
        wrap = _wrap_generator
    elif inspect.iscoroutinefunction(call):
        wrap = _wrap_async
    else:
        wrap = _wrap_sync
    hidden = run_parameter(func)
    wrapper = functools.update_wrapper(wrap(func, opener, hidden), func)
    keep_signature(wrapper, func, hidden)
    return wrapper


def _wrap_sync(func: Callable[..., Any], opener: Opener, hidden: str | None) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        run, owned = opener.open(args, kwargs)
        token = bind(run)
        try:
            result = opener.handler(func, run)(*args, **_given(kwargs, hidden, run))
        except BaseException as exc:
            raised(run, owned, exc)
            raise
        finally:
            unbind(token)
        return follow(run, result) if owned else result

    return wrapper


def _wrap_async(func: Callable[..., Any], opener: Opener, hidden: str | None) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        await opener.ready()
        run, owned = opener.open(args, kwargs)
        token = bind(run)
        try:
            result = await opener.handler(func, run)(*args, **_given(kwargs, hidden, run))
        except BaseException as exc:
            raised(run, owned, exc)
            if owned:
                await aflush_after_run(run, exc)
            raise
        finally:
            unbind(token)
        if owned:
            result = follow(run, result)
            await aflush_after_run(run)
        return result

    return wrapper


def _wrap_generator(func: Callable[..., Any], opener: Opener, hidden: str | None) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        steps, run, owned = _begin(func, opener, hidden, args, kwargs)
        return (yield from stepped(steps, run) if owned else steps)

    return wrapper


def _wrap_async_generator(func: Callable[..., Any], opener: Opener, hidden: str | None) -> Callable[..., Any]:
    async def begin(*args: Any, **kwargs: Any) -> tuple[Any, Run, bool]:
        await opener.ready()
        return _begin(func, opener, hidden, args, kwargs)

    return async_stepper(begin)


def _begin(
    func: Callable[..., Any], opener: Opener, hidden: str | None, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, Run, bool]:
    """Make a generator of a handler's, in whose steps the run is bound, and not before."""
    run, owned = opener.open(args, kwargs)
    try:
        return opener.handler(func, run)(*args, **_given(kwargs, hidden, run)), run, owned
    except BaseException as exc:
        raised(run, owned, exc)
        raise


def _given(kwargs: dict[str, Any], hidden: str | None, run: Run) -> dict[str, Any]:
    return kwargs if hidden is None else {**kwargs, hidden: run}
