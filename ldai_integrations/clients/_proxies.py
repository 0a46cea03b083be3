"""A client, its resources and its methods, in a wrapper that answers as they do."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from types import MethodType
from typing import Any

from .._core.asked import Asked
from .._core.current import get_current
from .._core.observing import observe
from .._core.run import Run
from ._place import Place
from ._providers import RAW, Again, Call, Part
from ._usage_option import with_usage


class Wrapped:
    """Be whatever is wrapped; what the place's tree names of it comes out wrapped."""

    __slots__ = ("__weakref__", "_ldai_inner", "_ldai_made", "_ldai_place")

    def __init__(self, inner: Any, place: Place) -> None:
        object.__setattr__(self, "_ldai_inner", inner)
        object.__setattr__(self, "_ldai_place", place)
        object.__setattr__(self, "_ldai_made", {})

    _ldai_inner: Any
    _ldai_place: Place
    _ldai_made: dict[str, tuple[Any, Any]]

    @property  # type: ignore[misc]  # isinstance() asks an object for its __class__
    def __class__(self) -> type:
        return type(self._ldai_inner)

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]  # vars() asks for the inner one's
        inner: dict[str, Any] = vars(self._ldai_inner)
        return inner

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]  # help() asks for the inner one's
        inner: str | None = self._ldai_inner.__doc__
        return inner

    def __init_subclass__(cls) -> None:
        cls.__doc__ = vars(Wrapped)["__doc__"]  # type: ignore[method-assign]  # else the class's own would be shown

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._ldai_inner, name)
        place = self._ldai_place
        part = place.tree.get(name)
        if part is None and name not in RAW:
            return value
        made = self._ldai_made.get(name)
        if made is not None and (made[0] is value or (type(value) is MethodType and made[0] == value)):
            return made[1]
        wrapped = wrap(value, place.with_raw()) if part is None else _part(value, part, self)
        self._ldai_made[name] = value, wrapped
        return wrapped

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._ldai_inner, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._ldai_inner, name)

    def __dir__(self) -> list[str]:
        return dir(self._ldai_inner)

    def __repr__(self) -> str:
        return repr(self._ldai_inner)

    def __eq__(self, other: object) -> bool:
        return bool(self._ldai_inner == unwrapped(other))

    def __hash__(self) -> int:
        return hash(self._ldai_inner)

    def __copy__(self) -> Any:
        return self._ldai_again(copy.copy(self._ldai_inner))

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self._ldai_again(copy.deepcopy(self._ldai_inner, memo))

    def __reduce_ex__(self, protocol: Any) -> Any:  # what cannot be pickled says so itself
        return wrap, (self._ldai_inner, self._ldai_place)

    def _ldai_again(self, inner: Any) -> Any:
        """Wrap another object of the same kind; a client is the client of its own place."""
        place = self._ldai_place
        return wrap(inner, place.in_client(inner) if place.client is self._ldai_inner else place)


class _Entered(Wrapped):
    """Be a client for a ``with`` block."""

    __slots__ = ()

    def __enter__(self) -> Any:
        entered = self._ldai_inner.__enter__()
        return self if entered is self._ldai_inner else self._ldai_again(entered)

    def __exit__(self, *exc_info: Any) -> Any:
        return self._ldai_inner.__exit__(*exc_info)


class _EnteredAsync(Wrapped):
    """Be a client for an ``async with`` block."""

    __slots__ = ()

    async def __aenter__(self) -> Any:
        entered = await self._ldai_inner.__aenter__()
        return self if entered is self._ldai_inner else self._ldai_again(entered)

    async def __aexit__(self, *exc_info: Any) -> Any:
        return await self._ldai_inner.__aexit__(*exc_info)


class _EnteredBoth(_Entered, _EnteredAsync):
    """Be a client for either."""

    __slots__ = ()


class _Method(Wrapped):
    """Be a method of a client; subclasses say what a call does."""

    __slots__ = ("_ldai_detail", "_ldai_owner")
    _ldai_owner: Wrapped
    _ldai_detail: Any

    def __init__(self, inner: Any, owner: Wrapped, detail: Any = None) -> None:
        super().__init__(inner, owner._ldai_place.with_tree({}))
        object.__setattr__(self, "_ldai_owner", owner)
        object.__setattr__(self, "_ldai_detail", detail)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return getattr(copy.deepcopy(self._ldai_owner, memo), self._ldai_inner.__name__)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return getattr, (self._ldai_owner, self._ldai_inner.__name__)


class _Seen(_Method):
    """Be a method that calls a model, and have the run in which it is called learn from the answer."""

    __slots__ = ()
    _ldai_detail: Call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        run = get_current()
        if not isinstance(run, Run) or run.finished:
            return self._ldai_inner(*args, **kwargs)
        call, place = self._ldai_detail, self._ldai_place
        asked = Asked(call.api, kwargs)
        if place.include_usage and call.streams_usage_on_demand and not place.raw:
            kwargs, hides_usage = with_usage(kwargs, place.client, place.include_usage)
            return observe(run, self._ldai_inner(*args, **kwargs), asked=asked, hides_usage=hides_usage)
        return observe(run, self._ldai_inner(*args, **kwargs), asked=asked)


class _Self(Wrapped):
    """Be the ``self`` of a method that calls others, which are called on it in turn: its tree is seen from within."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        value = super().__getattr__(name)
        if type(value) is MethodType and value.__self__ is self._ldai_inner:
            return MethodType(value.__func__, self)
        return value


class _Again(_Method):
    """Be a method that makes a client, which is wrapped as the one that makes it."""

    __slots__ = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._ldai_owner._ldai_again(self._ldai_inner(*args, **kwargs))


_KINDS = {
    (False, False): Wrapped,
    (True, False): _Entered,
    (False, True): _EnteredAsync,
    (True, True): _EnteredBoth,
}


def wrap(inner: Any, place: Place) -> Any:
    """Wrap a client or a resource of one."""
    kind = type(inner)
    return _KINDS[hasattr(kind, "__enter__"), hasattr(kind, "__aenter__")](inner, place)


def unwrapped(value: Any) -> Any:
    """Return what is in a wrapper; anything else as it is."""
    return value._ldai_inner if issubclass(type(value), Wrapped) else value


def _part(value: Any, part: Part, owner: Wrapped) -> Any:
    place = owner._ldai_place
    if isinstance(part, Mapping):
        return wrap(value, place.with_tree(part))
    if isinstance(part, Again):
        return _Again(value, owner)
    if isinstance(part, Call):
        return _Seen(value, owner, part)
    holder = getattr(value, "__self__", None)
    if type(value) is MethodType and any(hasattr(holder, name) for name in part.tree):
        return MethodType(value.__func__, _Self(holder, place.with_tree(part.tree)))
    return value if part.otherwise is None else _part(value, part.otherwise, owner)
