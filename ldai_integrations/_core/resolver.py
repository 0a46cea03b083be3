"""Config key → AI Config and tracker, whatever LaunchDarkly sends."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any, cast

from ldai import AIAgentConfig, AICompletionConfig
from ldai.evaluator import Evaluator
from ldai.models import AIAgentConfigDefault, AICompletionConfigDefault, AIJudgeConfig
from ldai.tracker import LDAIMetricSummary
from ldclient import Context, LDClient

from .._diagnostics import Diagnostics
from ..delivery import Delivery
from ..exceptions import ConfigurationError
from ..records import Mode
from .ai_client import AIClient, Tracker
from .checked_client import CheckedClient
from .variations import problem_with

AIConfig = AICompletionConfig | AIAgentConfig
AIConfigDefault = AICompletionConfigDefault | AIAgentConfigDefault

#: What a tracker has sent that was never made.
NOTHING_SAID = LDAIMetricSummary()

# The AI SDK warns of them each time.
_RESERVED_BY_JUDGES = {"message_history", "response_to_evaluate"}

_DEFAULT_TYPES = {"completion": AICompletionConfigDefault, "agent": AIAgentConfigDefault}


class Resolver:
    """Resolve AI Configs through LaunchDarkly's AI SDK; thread-safe, never raises."""

    def __init__(self, client: LDClient, delivery: Delivery, diagnostics: Diagnostics) -> None:
        self._diagnostics = diagnostics
        self._client = cast(LDClient, CheckedClient(client, delivery, diagnostics))
        self._ai_client = AIClient(self._client, diagnostics)

    def resolve(
        self,
        config_key: str,
        ld_context: Context,
        *,
        mode: Mode,
        default: AIConfigDefault | None,
        variables: Mapping[str, Any],
    ) -> AIConfig:
        """Evaluate an AI Config and render its prompt.

        Returns:
            The served config; where LaunchDarkly has no usable variation, the default; and where there is no
            default, a disabled config.
        """
        read = self._ai_client.completion_config if mode == "completion" else self._ai_client.agent_config
        try:
            return read(config_key, ld_context, cast(Any, default), dict(variables))
        except Exception as exc:
            self._diagnostics.note(
                "resolve",
                config_key,
                "AI Config %r could not be resolved and is served as disabled; "
                "the traceback below says whether a variable or the AI SDK is at fault.",
                config_key,
                exc=exc,
            )
            return self._disabled(config_key, ld_context)

    def judge_config(self, judge_key: str, ld_context: Context, variables: Mapping[str, Any]) -> AIJudgeConfig:
        """Evaluate the AI Config of a judge; disabled where LaunchDarkly has nothing usable."""
        ours = {name: value for name, value in variables.items() if name not in _RESERVED_BY_JUDGES}
        return self._ai_client.judge_config(judge_key, ld_context, None, ours)

    def _disabled(self, config_key: str, ld_context: Context) -> AIConfig:
        def tracker() -> Tracker:
            return Tracker(self._client, str(uuid.uuid4()), config_key, "", 1, ld_context, "", "")

        return AICompletionConfig(config_key, enabled=False, create_tracker=tracker, evaluator=Evaluator.noop())


def check_default(default: AIConfigDefault | None, mode: Mode) -> None:
    """Refuse, at set-up, a default config that cannot be served.

    Raises:
        ConfigurationError: If it is of the wrong type for the mode, malformed, or holds what JSON cannot.
    """
    if default is None:
        return
    wanted = _DEFAULT_TYPES[mode]
    if not isinstance(default, wanted):
        raise ConfigurationError(
            f"default is of type {type(default).__name__}; for mode={mode!r} give a ldai.{wanted.__name__}"
        )
    value = default.to_dict()
    problem = problem_with({**value, "_ldMeta": {**value["_ldMeta"], "mode": mode}}, mode)
    if problem is not None:
        raise ConfigurationError(f"default cannot be served: {problem}")
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as exc:
        raise ConfigurationError(
            f"default cannot be sent to LaunchDarkly, which keeps it in its events: {exc}; use JSON values only"
        ) from exc
