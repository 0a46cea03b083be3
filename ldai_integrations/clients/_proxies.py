"""Stand-ins for a client, its resources and its methods."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MethodType
from typing import Any

from .._run.current import get_open_run
from .._run.proxy import Proxy
from ..providers._servers import server_owner
from ._calls import ASKING, IncludeUsage, asks_for_usage, call_and_parse, call_model, call_outside_run
from ._connections import ConnectionManager
from ._providers import RAW, Another, CallKind, Connect, Part, Post, Through, Tree

# The header by which the clients of openai and anthropic return the response itself.
_RAW_HEADER = "X-Stainless-Raw-Response"


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a wrapped object in a client.

    Attributes:
        client: The provider's client.
        tree: The tracked attributes of the object.
        include_usage: The option of :func:`~ldai_integrations.wrap_client`.
        is_raw: Whether calls return the HTTP response.
    """

    client: object
    tree: Tree
    include_usage: IncludeUsage
    is_raw: bool = False


class Wrapped(Proxy):
    """A client or a resource of one, whose tracked attributes are wrapped too."""

    def __init__(self, inner: object, place: Place) -> None:
        super().__init__(inner)
        self._self_place = place
        self._self_made: dict[str, tuple[object, object]] = {}

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.__wrapped__, name)
        part = self._self_place.tree.get(name)
        if part is None and name not in RAW:
            return value
        made = self._self_made.get(name)
        if made is not None and (made[0] is value or (type(value) is MethodType and made[0] == value)):
            return made[1]
        if part is None:
            wrapped: object = wrap(value, replace(self._self_place, is_raw=True))
        else:
            wrapped = _wrap_part(value, part, self)
        self._self_made[name] = value, wrapped
        return wrapped

    def __reduce_ex__(self, protocol: object) -> Any:  # an object that cannot be pickled says so itself
        return wrap, (self.__wrapped__, self._self_place)

    def _self_entered(self, entered: object) -> object:
        return self if entered is self.__wrapped__ else self._self_wrap(entered)

    def _self_wrap(self, other: object) -> object:
        place = self._self_place
        return wrap(other, replace(place, client=other) if place.client is self.__wrapped__ else place)


class _WrappedManager(Wrapped):
    """A client for a ``with`` block."""

    def __enter__(self) -> object:
        return self._self_entered(self.__wrapped__.__enter__())

    def __exit__(self, *exc_info: object) -> object:
        run = get_open_run()
        if run is not None:  # closing the client closes its streams
            run.read_rest()
        return self.__wrapped__.__exit__(*exc_info)


class _WrappedAsyncManager(Wrapped):
    """A client for an ``async with`` block."""

    async def __aenter__(self) -> object:
        return self._self_entered(await self.__wrapped__.__aenter__())

    async def __aexit__(self, *exc_info: object) -> object:
        run = get_open_run()
        if run is not None:
            await run.settle()
        return await self.__wrapped__.__aexit__(*exc_info)


class _WrappedEitherManager(_WrappedManager, _WrappedAsyncManager):
    """A client for both kinds of blocks."""


_KINDS = {
    (False, False): Wrapped,
    (True, False): _WrappedManager,
    (False, True): _WrappedAsyncManager,
    (True, True): _WrappedEitherManager,
}


def wrap(inner: object, place: Place) -> Wrapped:
    """Wrap a client or a resource of one."""
    kind = type(inner)
    return _KINDS[hasattr(kind, "__enter__"), hasattr(kind, "__aenter__")](inner, place)


class _Method(Proxy):
    """A method of a client, and what it is. Subclasses define its call."""

    def __init__(self, inner: object, owner: Wrapped, part: Part) -> None:
        super().__init__(inner)
        self._self_owner = owner
        self._self_part: Any = part

    def __copy__(self) -> object:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> object:
        return getattr(copy.deepcopy(self._self_owner, memo), self.__wrapped__.__name__)

    def __reduce_ex__(self, protocol: object) -> Any:
        return getattr, (self._self_owner, self.__wrapped__.__name__)


class _TrackedMethod(_Method):
    """A method that calls a model. The call is added to the ledger of the current run."""

    def __call__(self, *args: object, **kwargs: object) -> object:
        kind: CallKind = self._self_part
        method, place = self.__wrapped__, self._self_owner._self_place
        run = get_open_run()
        if run is None:
            return call_outside_run(kind, method, args, kwargs)
        if not place.is_raw and kind.parses and (raw := self._self_raw_method()) is not None:
            return call_and_parse(run, kind, raw, args, kwargs)
        hides_usage = asks_for_usage(kind, kwargs, place.client, place.include_usage)
        if hides_usage:
            kwargs = {**kwargs, **ASKING}
        return call_model(run, kind, method, args, kwargs, hides_usage=hides_usage)

    def _self_raw_method(self) -> Any:
        """Return the method that returns the raw response of this one; ``None`` if there is none."""
        raw = getattr(self._self_owner.__wrapped__, "with_raw_response", None)
        if raw is None:
            return None
        return getattr(raw, self.__wrapped__.__name__, None) or partial(_call_raw, self.__wrapped__)


def _call_raw(method: Callable[..., object], *args: object, **kwargs: Any) -> object:
    """Call a method as ``with_raw_response`` does, which lacks ``messages.parse`` of anthropic."""
    headers = {**(kwargs.get("extra_headers") or {}), _RAW_HEADER: "raw"}
    return method(*args, **{**kwargs, "extra_headers": headers})


class _PostMethod(_Method):
    """A method that sends requests to any path; the ones to models are tracked."""

    def __call__(self, *args: object, **kwargs: object) -> object:
        kind = self._self_part.call_of(args[0] if args else kwargs.get("path"))
        if kind is None:
            return self.__wrapped__(*args, **kwargs)
        run = get_open_run()
        if run is None:
            return call_outside_run(kind, self.__wrapped__, args, kwargs)
        body, options, place = kwargs.get("body"), kwargs.get("options"), self._self_owner._self_place
        arguments = body if isinstance(body, Mapping) else {}
        extra = options.get("extra_json") if isinstance(options, Mapping) else None
        asked = {**arguments, "extra_body": extra}
        hides_usage = asks_for_usage(kind, asked, place.client, place.include_usage)
        if hides_usage:
            kwargs = {**kwargs, "body": {**arguments, **ASKING}}
        return call_model(run, kind, self.__wrapped__, args, kwargs, arguments=arguments, hides_usage=hides_usage)


class _Self(Wrapped):
    """The ``self`` of a method that calls other methods: these are the tracked ones."""

    def __getattr__(self, name: str) -> Any:
        return self._self_bind(super().__getattr__(name))


class _ConnectMethod(_Method):
    """A method that opens a connection."""

    def __call__(self, *args: object, **kwargs: object) -> object:
        return ConnectionManager(self.__wrapped__(*args, **kwargs), self._self_part.response)


class _AnotherClient(_Method):
    """A method that makes a client, which is wrapped like the one that makes it."""

    def __call__(self, *args: object, **kwargs: object) -> object:
        return self._self_owner._self_wrap(self.__wrapped__(*args, **kwargs))


def unwrap(value: Any) -> object:
    """Return the object in a stand-in; any other object unchanged."""
    return value.__wrapped__ if issubclass(type(value), Wrapped) else value


def _wrap_part(value: object, part: Part, owner: Wrapped) -> object:
    place = owner._self_place
    if isinstance(part, Mapping):
        return wrap(value, replace(place, tree=part))
    if isinstance(part, Another):
        return _AnotherClient(value, owner, part)
    if isinstance(part, Connect):
        return _ConnectMethod(value, owner, part)
    if isinstance(part, CallKind):
        part = replace(part, provider=server_owner(place.client))
        if part.has_usage_option and place.include_usage and not _takes_stream_options(value):
            part = replace(part, has_usage_option=False)
        return _TrackedMethod(value, owner, part)
    if isinstance(part, Post):
        return _PostMethod(value, owner, part)
    assert isinstance(part, Through)
    holder = getattr(value, "__self__", None)
    if type(value) is MethodType and any(hasattr(holder, name) for name in part.tree):
        return MethodType(value.__func__, _Self(holder, replace(place, tree=part.tree)))
    return value if part.otherwise is None else _wrap_part(value, part.otherwise, owner)


def _takes_stream_options(method: Any) -> bool:
    """Return whether a method takes ``stream_options``. Groq's does not, and its streams report their usage anyway."""
    try:
        parameters = inspect.signature(method).parameters.values()
    except (TypeError, ValueError):  # it has no signature
        return False
    return any(one.name == "stream_options" or one.kind is one.VAR_KEYWORD for one in parameters)
