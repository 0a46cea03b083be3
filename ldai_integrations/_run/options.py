"""The options of decorators, ``with`` blocks and middlewares, checked when they are set up."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from ldclient import Context

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
        counts_pages: Whether a run without a provider call is reported. A middleware with one key for a whole
            application also serves pages, assets and health checks, which are no generations.

    Raises:
        ConfigurationError: If a value cannot work.
    """

    config_key: str
    mode: Mode = "completion"
    default: AIConfigDefault | None = None
    is_error: Callable[[Any], bool] | None = None
    counts_pages: bool = True

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
