"""LaunchDarkly contexts: from the user's callable to one that is valid and cannot spoil a batch of events."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ldclient import Context

from .._diagnostics import Diagnostics
from ..delivery import safe_context
from ..exceptions import ConfigurationError


class Contexts:
    """Make and check LaunchDarkly contexts for one application; thread-safe."""

    def __init__(self, diagnostics: Diagnostics) -> None:
        self._diagnostics = diagnostics

    def call(self, source: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Context | None:
        """Return the context that the user's callable gives, or ``None`` if it cannot be used."""
        try:
            found = source(*args, **kwargs)
        except Exception as exc:
            self._refuse("ld_context raised %s", type(exc).__name__, exc=exc)
            return None
        if found is None:
            return None
        if not isinstance(found, Context):
            if inspect.iscoroutine(found):
                found.close()
            self._refuse("ld_context returned %s", type(found).__name__)
            return None
        if not found.valid:
            self._refuse("ld_context returned an invalid context: %s", found.error)
            return None
        return safe_context(found, self._diagnostics)

    def anonymous(self, key: str) -> Context:
        """Return an anonymous context of kind ``user``."""
        return Context.builder(key).anonymous(True).build()

    def _refuse(self, message: str, *args: object, exc: Exception | None = None) -> None:
        self._diagnostics.note(
            "ld_context",
            message,
            message + "; the request is served with an anonymous context. "
            "Return a valid ldclient.Context with a key that is not empty, or None.",
            *args,
            exc=exc,
        )


def check_context_callable(source: object) -> None:
    """Refuse, at set-up, an ``ld_context`` that can never work.

    Raises:
        ConfigurationError: If it is neither ``None`` nor a plain callable.
    """
    if source is None:
        return
    if isinstance(source, Context):
        raise ConfigurationError(
            "ld_context is a Context; give a function that returns one, such as lambda request: context"
        )
    if not callable(source):
        raise ConfigurationError(f"ld_context is {source!r}; give a function that returns an ldclient.Context")
    if inspect.iscoroutinefunction(source) or inspect.iscoroutinefunction(type(source).__call__):
        raise ConfigurationError(
            f"ld_context is the coroutine function {getattr(source, '__qualname__', source)!r}; it is called when a "
            "run first needs it, where nothing can be awaited. "
            "Give a plain function, and do what must be awaited before."
        )
