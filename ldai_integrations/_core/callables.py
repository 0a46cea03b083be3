"""A callable object, tracked: a framework that looks at it sees the object that it was."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any


class TrackedCallable:
    """Stand in for a callable object or a ``functools.partial``, and call ``wrapper`` in its place.

    Frameworks ask what an endpoint is before they call it: Starlette takes a function for a handler of requests and
    any other object for an ASGI application. Everything but the call goes to the object; a copy is a copy of it,
    decorated again by ``decorate``.
    """

    def __init__(self, target: Any, wrapper: Callable[..., Any], decorate: Callable[[Any], Any]) -> None:
        # Not by assignment, which reaches the object. "__call__" is for whoever asks whether it must be awaited.
        self.__dict__.update(__wrapped__=target, __call__=wrapper, __decorate__=decorate)
        signature = getattr(wrapper, "__signature__", None)
        if signature is not None:
            self.__dict__.update(__signature__=signature, __annotations__=_annotations(signature))

    @property  # type: ignore[misc]  # isinstance() asks an object for its __class__
    def __class__(self) -> type:
        kind: type = self.__wrapped__.__class__  # not its type: it may be decorated as well
        return kind

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__dict__["__call__"](*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["__wrapped__"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__wrapped__, name, value)

    def __repr__(self) -> str:
        return repr(self.__wrapped__)

    def __copy__(self) -> Any:
        return self.__decorate__(copy.copy(self.__wrapped__))

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self.__decorate__(copy.deepcopy(self.__wrapped__, memo))


def _annotations(signature: inspect.Signature) -> dict[str, Any]:
    """Return the annotations of a signature, as ``typing.get_type_hints`` looks for them."""
    kinds = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    kinds["return"] = signature.return_annotation
    return {name: kind for name, kind in kinds.items() if kind is not inspect.Signature.empty}
