"""A callable object, tracked: a framework that looks at it sees the object that it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class TrackedCallable:
    """Stand in for a callable object or a ``functools.partial``, and call ``wrapper`` in its place.

    Frameworks ask what an endpoint is before they call it: Starlette takes a function for a handler of requests and
    any other object for an ASGI application. Everything but the call goes to the object.
    """

    def __init__(self, target: Any, wrapper: Callable[..., Any]) -> None:
        # Not by assignment, which reaches the object. "__call__" is for whoever asks whether it must be awaited.
        own = {"__wrapped__": target, "__call__": wrapper}
        signature = getattr(wrapper, "__signature__", None)
        self.__dict__.update(own if signature is None else {**own, "__signature__": signature})

    @property  # type: ignore[misc]  # isinstance() asks an object for its __class__
    def __class__(self) -> type:
        return type(self.__wrapped__)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__dict__["__call__"](*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name == "__wrapped__":  # while it is being copied there is none yet
            raise AttributeError(name)
        return getattr(self.__wrapped__, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__wrapped__, name, value)

    def __repr__(self) -> str:
        return repr(self.__wrapped__)
