"""What other code sees of a tracked function: its signature, and the stand-in for a callable object."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .._diagnostics import logger
from ..exceptions import ConfigurationError
from .proxy import Proxy
from .run import Run


@dataclass(frozen=True, slots=True)
class RunPlace:
    """The place of the run among the parameters of a function.

    Attributes:
        name: The name of the parameter.
        index: Its position; ``None`` if it can be given by name only.
    """

    name: str
    index: int | None


def find_place(func: Callable[..., object]) -> RunPlace | None:
    """Return the place of the parameter of ``func`` that is annotated ``Run`` or ``Run | None``, if there is one."""
    parameters = _parameters(func)
    for index, parameter in enumerate(parameters):
        if parameter.annotation in (Run, Run | None):
            is_positional = parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
            return RunPlace(parameter.name, index if is_positional else None)
    if any(one.name == "run" and one.default is one.empty and _is_unknown(one.annotation) for one in parameters):
        logger.warning(
            "The parameter 'run' of %r has no annotation, or one whose name is not known, so track_ai does not fill it "
            "in. Write run: Run for the run, and import Run outside of 'if TYPE_CHECKING:'. If the caller passes the "
            "argument, annotate it with another type.",
            getattr(func, "__qualname__", func.__class__.__qualname__),
            extra={"ldai_kind": "track_ai"},
        )
    return None


def _is_unknown(annotation: object) -> bool:
    """Return whether there is no annotation, or a string that cannot be evaluated."""
    return annotation is inspect.Parameter.empty or isinstance(annotation, str)


def set_signature(
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

    Raises:
        ConfigurationError: If the object has other methods that call its function, like a task.
    """
    other_call = _find_other_call(target)
    if other_call:
        raise ConfigurationError(
            f"track_ai was put on {target!r}, whose method {other_call}() calls the function without track_ai. Put "
            "@track_ai directly above the function, below the other decorator"
        )
    is_iterable = hasattr(type(target), "__iter__") or hasattr(type(target), "__getitem__")
    return (_TrackedIterable if is_iterable else TrackedCallable)(target, wrapper, decorate)


def _find_other_call(target: object) -> str:
    """Return a method that calls the function of an object without the object's own call; empty if there is none.

    A decorator of a task queue makes an object of a function. Its methods take the arguments of any function:
    ``delay(*args, **kwargs)``. A ``functools.partial`` has none.
    """
    held = [value for name, value in getattr(target, "__dict__", {}).items() if not name.startswith("_")]
    if not any(map(inspect.isfunction, [getattr(target, "__wrapped__", None), *held])):
        return ""
    members = {name: member for kind in reversed(target.__class__.__mro__) for name, member in vars(kind).items()}
    return next((name for name, member in members.items() if name[0] != "_" and _takes_anything(member)), "")


def _takes_anything(member: object) -> bool:
    """Return whether a member of a class is a method with the parameters ``(self, *args, **kwargs)``."""
    if not inspect.isfunction(member):
        return False
    kinds = [parameter.kind for parameter in inspect.signature(member).parameters.values()]
    return kinds[1:] == [inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD]
