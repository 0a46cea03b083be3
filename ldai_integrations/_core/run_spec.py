"""What is said of runs where a handler is decorated, before there is any."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from ..exceptions import ConfigurationError
from ..records import Mode
from .resolver import check_default

if TYPE_CHECKING:
    from .resolver import AIConfigDefault


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """What is fixed about the runs of one decorator, ``with`` block or middleware."""

    config_key: str
    mode: Mode = "completion"
    default: AIConfigDefault | None = None
    is_error: Callable[[Any], bool] | None = None

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
