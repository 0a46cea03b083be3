"""Stand-ins for a client, its resources and its methods."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MethodType
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

from .._run.context import get_current
from .._run.current import note_call_outside
from .._run.observe import note_failure, observe
from .._run.request import ProviderRequest
from .._run.run import Run
from .._run.stream import Proxy
from ._providers import RAW, Another, Call, Part, Through, Tree

IncludeUsage: TypeAlias = 'bool | Literal["always"]'


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
        return self.__wrapped__.__exit__(*exc_info)


class _WrappedAsyncManager(Wrapped):
    """A client for an ``async with`` block."""

    async def __aenter__(self) -> object:
        return self._self_entered(await self.__wrapped__.__aenter__())

    async def __aexit__(self, *exc_info: object) -> object:
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
    """A method of a client. Subclasses define its call."""

    def __init__(self, inner: object, owner: Wrapped) -> None:
        super().__init__(inner)
        self._self_owner = owner

    def __copy__(self) -> object:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> object:
        return getattr(copy.deepcopy(self._self_owner, memo), self.__wrapped__.__name__)

    def __reduce_ex__(self, protocol: object) -> Any:
        return getattr, (self._self_owner, self.__wrapped__.__name__)


class _TrackedMethod(_Method):
    """A method that calls a model. The call is added to the ledger of the current run."""

    def __init__(self, inner: object, owner: Wrapped, call: Call) -> None:
        super().__init__(inner, owner)
        self._self_call = call

    def __call__(self, *args: object, **kwargs: object) -> object:
        run, method = get_current(), self.__wrapped__
        if not isinstance(run, Run) or run.finished:
            note_call_outside(run)
            return method(*args, **kwargs)
        place, kind = self._self_owner._self_place, self._self_call
        call = run.begin_call("client", ProviderRequest(kind.api, kwargs))
        hides_usage = False
        if place.include_usage and kind.has_usage_option and not place.is_raw:
            kwargs, hides_usage = _with_usage(kwargs, place)
        raw = _raw_method(self) if kind.parses and not place.is_raw else None
        try:
            response = method(*args, **kwargs) if raw is None else _call_raw(run, call, raw, args, kwargs)
        except BaseException as exc:
            note_failure(run, call, exc)
            raise
        if raw is not None:
            return response
        return observe(run, response, call, hides_usage=hides_usage)


class _Self(Wrapped):
    """The ``self`` of a method that calls other methods: these are the tracked ones."""

    def __getattr__(self, name: str) -> Any:
        value = super().__getattr__(name)
        if type(value) is MethodType and value.__self__ is self.__wrapped__:
            return MethodType(value.__func__, self)
        return value


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
        return _AnotherClient(value, owner)
    if isinstance(part, Call):
        return _TrackedMethod(value, owner, part)
    assert isinstance(part, Through)
    holder = getattr(value, "__self__", None)
    if type(value) is MethodType and any(hasattr(holder, name) for name in part.tree):
        return MethodType(value.__func__, _Self(holder, replace(place, tree=part.tree)))
    return value if part.otherwise is None else _wrap_part(value, part.otherwise, owner)


def _raw_method(method: _TrackedMethod) -> object:
    """Return the method that returns the raw response of a parsing method; ``None`` if there is none."""
    raw = getattr(method._self_owner.__wrapped__, "with_raw_response", None)
    return getattr(raw, method.__wrapped__.__name__, None) if raw is not None else None


def _call_raw(run: Run, call: Any, raw: Any, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
    """Call a parsing method in two steps, so that the usage is known before parsing may raise an exception."""
    response = raw(*args, **kwargs)
    if hasattr(response, "__await__"):
        return _parse_later(run, call, response)
    return _parse(run, call, response)


async def _parse_later(run: Run, call: Any, awaitable: Any) -> object:
    try:
        response = await awaitable
    except BaseException as exc:
        note_failure(run, call, exc)
        raise
    return _parse(run, call, response)


def _parse(run: Run, call: Any, response: Any) -> object:
    observe(run, response, call)
    try:
        parsed = response.parse()
    except Exception as exc:
        call.fail(exc, run.services.clock())
        raise
    run.ledger.remember(parsed)
    return parsed


def _with_usage(kwargs: dict[str, object], place: Place) -> tuple[dict[str, object], bool]:
    """Return the arguments of a call that ask for the usage of a stream, and whether the option was added.

    A caller who says anything about ``stream_options`` decides alone. Servers other than OpenAI's may refuse the
    option, so that only ``include_usage="always"`` asks them.
    """
    # openai's ``omit`` and ``NOT_GIVEN`` stand for arguments that are not given.
    is_given = "stream_options" in kwargs and type(kwargs["stream_options"]).__name__ not in ("Omit", "NotGiven")
    if kwargs.get("stream") is not True or is_given:
        return kwargs, False
    extra = kwargs.get("extra_body")
    if isinstance(extra, dict) and "stream_options" in extra:
        return kwargs, False
    host = urlsplit(str(getattr(place.client, "base_url", ""))).hostname or ""
    if place.include_usage != "always" and host != "openai.com" and not host.endswith(".openai.com"):
        return kwargs, False
    return {**kwargs, "stream_options": {"include_usage": True}}, True
