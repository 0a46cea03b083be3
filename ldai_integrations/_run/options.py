"""The options of decorators, ``with`` blocks and middlewares, checked when they are set up."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, get_args

from ldclient import Context

from .._diagnostics import Diagnostics, describe, raise_if_from_signal
from .._launchdarkly.configs import AIConfigDefault, check_default
from ..exceptions import ConfigurationError
from ..records import Mode

#: The config key of the run that code outside of any run gets.
NO_RUN = "(no run)"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options that a decorator, a ``with`` block or a middleware has for its runs.

    Attributes:
        config_key: The key of the AI Config.
        mode: ``"completion"`` or ``"agent"``.
        default: What is served if LaunchDarkly has no usable variation.
        is_error: Called with the result of the handler; returns whether the run is an error.
        counts_without_call: Whether a run without a provider call is reported. A middleware with one key for a whole
            application also serves pages, assets and health checks, which are not generations.
        sees_exceptions: Whether the code that opens the run sees the exceptions of functions that join it. A middleware
            may not, because web frameworks make responses of them.

    Raises:
        ConfigurationError: If a value cannot work.
    """

    config_key: str
    mode: Mode = "completion"
    default: AIConfigDefault | None = None
    is_error: Callable[[Any], bool] | None = None
    counts_without_call: bool = True
    sees_exceptions: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.config_key, str) or not self.config_key.strip():
            raise ConfigurationError(
                f"config_key is {self.config_key!r}; give the key of an AI Config, as LaunchDarkly shows it"
            )
        if self.mode not in get_args(Mode):
            raise ConfigurationError(f"mode is {self.mode!r}; use 'completion' or 'agent'")
        if self.is_error is not None and not callable(self.is_error):
            raise ConfigurationError(f"is_error is {self.is_error!r}; give a callable that takes the result")
        check_default(self.default, self.mode)


def check_ld_context(ld_context: object) -> None:
    """Refuse, at set-up, an ``ld_context`` that can never work.

    Raises:
        ConfigurationError: If it is neither ``None`` nor a plain callable.
    """
    if ld_context is None:
        return
    if isinstance(ld_context, Context):
        raise ConfigurationError(
            "ld_context is a Context; give a function that returns one, such as lambda request: context"
        )
    if not callable(ld_context):
        raise ConfigurationError(f"ld_context is {ld_context!r}; give a function that returns an ldclient.Context")
    if inspect.iscoroutinefunction(ld_context) or inspect.iscoroutinefunction(type(ld_context).__call__):
        raise ConfigurationError(
            f"ld_context is the coroutine function {getattr(ld_context, '__qualname__', ld_context)!r}; it is called "
            "when a run first needs it, where nothing can be awaited. "
            "Give a plain function, and await before the request is tracked."
        )


def check_variables(variables: object) -> None:
    """Refuse, at set-up, ``variables`` that can never work.

    Raises:
        ConfigurationError: If it is not ``None``, a mapping or a callable.
    """
    if variables is not None and not callable(variables) and not isinstance(variables, Mapping):
        raise ConfigurationError(f"variables is {variables!r}; give a mapping, or a callable that returns one")


def variables_for(
    variables: Mapping[str, object] | Callable[..., Mapping[str, object]] | None,
    diagnostics: Diagnostics,
    options: RunOptions,
    args: tuple[object, ...],
    kwargs: Mapping[str, Any] = MappingProxyType({}),
) -> Mapping[str, object] | Callable[[], Mapping[str, object]]:
    """Return the values for the prompt of one run, or a function that returns them.

    Args:
        variables: What the application gave: values, or a function that returns them.
        diagnostics: Receives a failure of the function.
        options: The options of the run.
        args: The positional arguments for the function.
        kwargs: The keyword arguments for the function.
    """
    if callable(variables):
        return partial(_call_variables, variables, diagnostics, options, args, kwargs)
    return variables or {}


def _call_variables(
    variables: Callable[..., object],
    diagnostics: Diagnostics,
    options: RunOptions,
    args: tuple[object, ...],
    kwargs: Mapping[str, Any],
) -> Mapping[str, object]:
    """Return the variables that a function gives to one run. There are none if it fails, or returns something else."""
    config_key = options.config_key
    try:
        given: Any = variables(*args, **kwargs)
        try:
            return dict(given)  # a row of a database is no mapping, and can be made one
        except (TypeError, ValueError):
            problem = f"returned an object of type {type(given).__name__}"
    except Exception as exc:
        raise_if_from_signal(exc)
        problem = f"raised {describe(exc)}"
    diagnostics.note(
        "variables",
        f"function of {config_key}",
        "The function variables= of %r %s, so the prompt has no variables. It gets the arguments of the handler "
        "without the run, or the request of a middleware, and returns a dict.",
        config_key,
        problem,
    )
    return {}


def check_on_disabled(
    on_disabled: object, handler: inspect.Signature | None = None, *, is_awaited: bool = True
) -> None:
    """Refuse, at set-up, an ``on_disabled`` that can never be called in place of a handler.

    Args:
        on_disabled: What the application gave.
        handler: The signature of the handler for its callers, where it is known.
        is_awaited: Whether the caller of the handler may get something to await.

    Raises:
        ConfigurationError: If it is not callable, is a coroutine function while the handler is none, or takes no
            arguments with which the handler can be called.
    """
    if on_disabled is None:
        return
    if not callable(on_disabled):
        raise ConfigurationError(
            f"on_disabled is {on_disabled!r}; give a function that is called in place of the handler"
        )
    if not is_awaited and inspect.iscoroutinefunction(on_disabled):
        raise ConfigurationError(
            f"on_disabled is the coroutine function {getattr(on_disabled, '__qualname__', on_disabled)!r}, "
            "but the handler is not one, so nobody awaits its answer. "
            "Give a plain function, or make the handler a coroutine function"
        )
    check_arguments("on_disabled", on_disabled, handler)


def check_arguments(name: str, func: object, handler: inspect.Signature | None) -> None:
    """Refuse, at set-up, a function of the application that can never be called with the arguments of a handler.

    Args:
        name: The option that it was given as.
        func: What the application gave; anything but a callable passes.
        handler: The signature of the handler for its callers; ``None`` if it is not known.

    Raises:
        ConfigurationError: If it takes no arguments with which the handler can be called.
    """
    signature = _signature_of(func)
    if (
        signature is None
        or handler is None
        or any(each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in handler.parameters.values())
    ):
        return
    if not any(_can_take(signature, *arguments) for arguments in _calls_of(handler)):
        raise ConfigurationError(
            f"{name} takes {_names_in(signature)}, but the handler takes {_names_in(handler)}; it is called with "
            "the arguments of the handler, without the run"
        )


def check_takes_request(name: str, func: object) -> None:
    """Refuse, at set-up, a function of the application that cannot be called with a request.

    Args:
        name: The option of a middleware that it was given as.
        func: What the application gave; anything but a callable passes.

    Raises:
        ConfigurationError: If it does not take one argument.
    """
    signature = _signature_of(func)
    if signature is not None and not _can_take(signature, ["request"], []):
        raise ConfigurationError(f"{name} takes {_names_in(signature)}; it is called with the request")


def _signature_of(func: object) -> inspect.Signature | None:
    """Return the signature of a callable; ``None`` for any other object, and for builtins without a signature."""
    try:
        return inspect.signature(func) if callable(func) else None
    except (TypeError, ValueError):
        return None


def _names_in(signature: inspect.Signature) -> str:
    return f"({', '.join(signature.parameters)})"


def _calls_of(handler: inspect.Signature) -> Iterator[tuple[list[str], list[str]]]:
    """Yield the parameters that calls of a handler give by position and by name, with and without optional ones."""
    for has_optional in (True, False):
        given = [each for each in handler.parameters.values() if has_optional or each.default is each.empty]
        by_name = [each.name for each in given if each.kind is each.KEYWORD_ONLY]
        by_position = [each.name for each in given if each.kind is each.POSITIONAL_ONLY]
        either = [each.name for each in given if each.kind is each.POSITIONAL_OR_KEYWORD]
        yield by_position + either, by_name
        yield by_position, either + by_name


def _can_take(func: inspect.Signature, by_position: list[str], by_name: list[str]) -> bool:
    try:
        func.bind(*by_position, **dict.fromkeys(by_name))
    except TypeError:
        return False
    return True
