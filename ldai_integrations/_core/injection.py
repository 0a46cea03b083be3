"""A parameter annotated ``Run``: filled in by us, and hidden from whoever inspects the handler."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from .run import Run


def run_parameter(func: Callable[..., Any]) -> str | None:
    """Return the name of the parameter of ``func`` that is annotated ``Run``, if there is one."""
    parameters = _parameters(func)
    return next((parameter.name for parameter in parameters if parameter.annotation is Run), None)


def keep_signature(wrapper: Callable[..., Any], func: Callable[..., Any], hidden: str | None) -> None:
    """Give ``wrapper`` the signature of ``func`` without the hidden parameter.

    String annotations are evaluated where they were written: a framework that evaluates them on the wrapper would
    look for their names in our module.
    """
    try:
        signature = inspect.signature(func)
    except (TypeError, ValueError):  # builtins without a signature
        return
    shown = [parameter for parameter in _parameters(func) if parameter.name != hidden]
    returned = _evaluated(signature.return_annotation, func)
    wrapper.__signature__ = signature.replace(  # type: ignore[attr-defined]  # read by inspect.signature
        parameters=shown, return_annotation=returned
    )
    if hidden is not None:
        wrapper.__annotations__ = {name: kind for name, kind in wrapper.__annotations__.items() if name != hidden}


def _parameters(func: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        parameters = inspect.signature(func).parameters.values()
    except (TypeError, ValueError):
        return []
    return [parameter.replace(annotation=_evaluated(parameter.annotation, func)) for parameter in parameters]


def _evaluated(annotation: Any, func: Callable[..., Any]) -> Any:
    """Evaluate a string annotation in the module of a function, a partial or an object; if it cannot be, keep it."""
    if not isinstance(annotation, str):
        return annotation
    target = inspect.unwrap(func)
    homes: tuple[Any, ...] = (target, getattr(target, "func", None), type(target).__call__)
    names: dict[str, Any] = next((home.__globals__ for home in homes if hasattr(home, "__globals__")), {})
    try:
        return eval(annotation, names)  # what typing.get_type_hints does, one annotation at a time
    except Exception:
        return annotation
