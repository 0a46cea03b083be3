"""One call of a provider, recorded in the current run."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, TypeAlias

from .._run.current import note_call_outside
from .._run.ledger import ProviderCall
from .._run.observe import observe
from .._run.observer import note_failure
from .._run.open_runs import CallOutside
from .._run.request import ProviderRequest
from .._run.state import RunState
from ..providers._servers import has_newer_options, leaves_usage_open
from ._providers import CallKind

IncludeUsage: TypeAlias = bool | Literal["always"]

#: The arguments that ask for the usage of a stream.
ASKING = {"stream_options": {"include_usage": True}}
# The classes of the values that stand for arguments that are not given: openai's and anthropic's ``omit`` and
# ``NOT_GIVEN``, mistralai's ``UNSET``, and the ``...`` of cohere.
_ABSENT = ("Omit", "NotGiven", "Unset", "ellipsis")


def call_outside_run(
    kind: CallKind, method: Callable[..., object], args: tuple[object, ...], kwargs: Mapping[str, object]
) -> object:
    """Call a provider's method outside of any open run, and return what it returns."""
    call = note_call_outside() if not kind.looks_up else None
    response = method(*args, **kwargs)
    if call is None:
        return response
    if inspect.iscoroutine(response):
        response = _remember_later(call, response)
    call.remember(response)
    return response


async def _remember_later(call: CallOutside, awaitable: Awaitable[object]) -> object:
    response = await awaitable
    call.remember(response)
    return response


def call_model(
    run: RunState,
    kind: CallKind,
    method: Callable[..., object],
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
    *,
    arguments: Mapping[str, object] | None = None,
    hides_usage: bool = False,
) -> object:
    """Call a provider's method, and record the call in a run.

    Args:
        run: An open run.
        kind: What the method is.
        method: The method of the provider's client.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
        arguments: The request, if it is not the keyword arguments.
        hides_usage: Whether the caller did not ask for the usage at the end of the stream.

    Returns:
        What the method returns, as :func:`~ldai_integrations._run.observe.observe` gives it.
    """
    call = _begin(run, kind, kwargs if arguments is None else arguments)
    call.hides_usage = hides_usage
    return _send(run, call, method, args, kwargs)


def call_and_parse(
    run: RunState, kind: CallKind, raw: Callable[..., Any], args: tuple[object, ...], kwargs: Mapping[str, object]
) -> object:
    """Call a parsing method in two steps, so that the usage is known before parsing may raise an exception.

    Args:
        run: An open run.
        kind: What the method is.
        raw: The method that returns the raw response.
        args: The positional arguments.
        kwargs: The keyword arguments.
    """
    call = _begin(run, kind, kwargs)
    response = _send(run, call, raw, args, kwargs)
    if inspect.isawaitable(response):
        return _parse_later(run, call, response)
    try:
        parsed = response.parse()
    except Exception as exc:
        call.fail(exc, run.services.clock(), has_begun=True)
        raise
    run.ledger.remember(parsed)
    return parsed


async def _parse_later(run: RunState, call: ProviderCall, awaitable: Awaitable[Any]) -> object:
    response = await awaitable
    try:
        parsed = response.parse()
        if inspect.isawaitable(parsed):  # in anthropic, and not in openai
            parsed = await parsed
    except Exception as exc:
        call.fail(exc, run.services.clock(), has_begun=True)
        raise
    run.ledger.remember(parsed)
    return parsed


def _send(
    run: RunState,
    call: ProviderCall,
    method: Callable[..., object],
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
) -> Any:
    """Call a provider's method; return what it returns, which reports to the call."""
    try:
        response = method(*args, **kwargs)
    except BaseException as exc:
        note_failure(run, call, exc)
        raise
    return observe(run, response, call)


def asks_for_usage(
    kind: CallKind, arguments: Mapping[str, object], client: object, include_usage: IncludeUsage
) -> bool:
    """Return whether to ask for the usage of a stream.

    A caller who says anything about ``stream_options`` decides alone. Servers other than OpenAI's and Azure's may
    refuse the option, so that only ``include_usage="always"`` asks them.
    """
    if not (kind.has_usage_option and include_usage):
        return False
    if arguments.get("stream") is not True or is_given(arguments.get("stream_options", ...)):
        return False
    return leaves_usage_open(arguments) and (include_usage == "always" or has_newer_options(client))


def is_given(argument: object) -> bool:
    """Return whether an argument is more than a sentinel for one that is not given."""
    return type(argument).__name__ not in _ABSENT


def _begin(run: RunState, kind: CallKind, arguments: Mapping[str, object]) -> ProviderCall:
    given = {name: value for name, value in arguments.items() if is_given(value)}
    call = run.ledger.begin("client", ProviderRequest(kind.api, given))
    call.provider = kind.provider
    call.is_lookup = kind.looks_up
    call.is_background = kind.api == "assistants" or given.get("background") is True
    if call.is_lookup or call.is_background:
        call.request = None  # whoever sees the complete response has its usage
    return call
