"""Stand-ins for objects of other libraries.

A stand-in behaves like the object that it wraps, also for ``isinstance``, ``copy``, ``len``, ``hash`` and pickling.
"""

from __future__ import annotations

import copy
from types import MethodType
from typing import Any

import wrapt


class _MissingError(AttributeError, TypeError):
    """The error for a special method that the wrapped object lacks: ``hasattr`` is false, and ``len`` a TypeError."""


class _OfWrapped:
    """A special method that exists if the wrapped object has it, although wrapt defines it for every stand-in."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, proxy: Any, owner: type) -> Any:
        try:
            return self if proxy is None else getattr(proxy.__wrapped__, self._name)
        except AttributeError as exc:
            raise _MissingError(str(exc)) from None

    def __call__(self, proxy: Any, *args: object) -> Any:
        """Call the method as ``contextlib.ExitStack`` does, which looks it up in the class."""
        return self.__get__(proxy, type(proxy))(*args)


class _Copy:
    """``__copy__`` for ``copy.copy``, which looks it up in the class.

    ``itertools.tee`` looks it up in an iterator, and would let two copies share one stream.
    """

    def __get__(self, proxy: Any, owner: type) -> Any:
        if proxy is None:
            return lambda proxy: proxy._self_wrap(copy.copy(proxy.__wrapped__))
        if not hasattr(proxy.__wrapped__, "__copy__"):
            raise AttributeError("__copy__")
        return MethodType(self.__get__(None, owner), proxy)


class _IterableProxy(wrapt.ObjectProxy):  # type: ignore[misc,type-arg,unused-ignore]  # see below
    """The base of a stand-in before wrapt 2, which makes every stand-in iterable."""

    __iter__ = None  # type: ignore[assignment,unused-ignore]

    def __getattribute__(self, name: str) -> Any:
        if name == "__iter__" and type(self).__iter__ is None:
            return self.__wrapped__.__iter__
        return super().__getattribute__(name)


# Any, because its type hints name the arguments of methods that are passed on here. OpenTelemetry's instrumentations
# needed wrapt 1 for a long time.
_Base: Any = getattr(wrapt, "BaseObjectProxy", _IterableProxy)


class Proxy(_Base):  # type: ignore[misc]  # see above
    """A stand-in for another object."""

    __copy__ = _Copy()
    __len__ = _OfWrapped()
    __enter__ = _OfWrapped()
    __exit__ = _OfWrapped()
    __aenter__ = _OfWrapped()
    __aexit__ = _OfWrapped()

    def __repr__(self) -> str:
        return repr(self.__wrapped__)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self._self_wrap(copy.deepcopy(self.__wrapped__, memo))

    def __reduce__(self) -> Any:
        return self.__wrapped__.__reduce__()

    def __reduce_ex__(self, protocol: object) -> Any:
        return self.__wrapped__.__reduce_ex__(protocol)

    def _self_bind(self, value: Any) -> Any:
        """Return a method of the wrapped object as one of the stand-in; return any other value unchanged."""
        is_own = type(value) is MethodType and value.__self__ is self.__wrapped__
        return MethodType(value.__func__, self) if is_own else value

    def _self_wrap(self, other: object) -> Any:
        """Return a stand-in like this one for a copy of the wrapped object."""
        raise NotImplementedError
