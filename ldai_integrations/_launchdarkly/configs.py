"""AI Configs: evaluated by LaunchDarkly's AI SDK, with prompts rendered for a model."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from ldai import AIAgentConfig, AICompletionConfig, LDAIClient
from ldai.evaluator import Evaluator
from ldai.models import AIAgentConfigDefault, AICompletionConfigDefault, AIJudgeConfig, JudgeConfiguration
from ldai.tracker import LDAIConfigTracker
from ldclient import Context, LDClient

from .._diagnostics import Diagnostics, describe, raise_if_from_signal
from .._version import __version__
from ..exceptions import ConfigurationError
from ..records import Mode
from .client import TrackingClient
from .templates import MOST_STEPS, TemplateError, TooManyStepsError, missing_variables, render
from .variations import problem_with

if TYPE_CHECKING:  # pyright finds the classes of ldai, which has no py.typed, only in aliases that are strings
    AIConfig: TypeAlias = "AICompletionConfig | AIAgentConfig"
    AIConfigDefault: TypeAlias = "AICompletionConfigDefault | AIAgentConfigDefault"
else:
    AIConfig = AICompletionConfig | AIAgentConfig
    AIConfigDefault = AICompletionConfigDefault | AIAgentConfigDefault
#: AI Configs by key, mode and LD context, each with the variables that its prompt was rendered with.
Resolved: TypeAlias = dict[tuple[str, str, str], list[tuple[Mapping[str, object], AIConfig]]]

# Judges fill in these variables themselves; the AI SDK warns if they are given.
_JUDGE_VARIABLES = {"message_history", "response_to_evaluate"}

# The context in which LaunchDarkly's AI SDKs report their names and versions.
_SDK_CONTEXT = Context.builder("ld-internal-tracking").kind("ld_ai").anonymous(True).build()

_DEFAULT_TYPES = {"completion": AICompletionConfigDefault, "agent": AIAgentConfigDefault}


class Configs:
    """The AI Configs of one application. Thread-safe; evaluation never raises.

    Args:
        client: The client object of the library.
        diagnostics: Receives failures.
    """

    def __init__(self, client: TrackingClient, diagnostics: Diagnostics) -> None:
        self._client = client
        self._diagnostics = diagnostics
        self._variations = _Variations(client)
        self._ai_client = LDAIClient(cast(LDClient, self._variations))  # sends its own name and version
        client.track(
            "$ld:ai:sdk:info",
            _SDK_CONTEXT,
            {"aiSdkName": "ldai-integrations", "aiSdkVersion": __version__, "aiSdkLanguage": "python"},
            1,
        )

    def resolve(
        self,
        resolved: Resolved,
        config_key: str,
        ld_context: Context,
        *,
        mode: Mode,
        default: AIConfigDefault | None,
        variables: Mapping[str, object],
    ) -> AIConfig:
        """Evaluate an AI Config and render its prompt, once for each request, LD context and set of variables.

        Args:
            resolved: What the request has evaluated so far.
            config_key: The key of the AI Config.
            ld_context: The subject of the evaluation.
            mode: How the AI Config is read.
            default: Used if LaunchDarkly has no usable variation; a disabled AI Config by default.
            variables: Values for the ``{{variables}}`` of the prompt.
        """
        cache = resolved.setdefault((config_key, mode, ld_context.fully_qualified_key), [])
        for known, config in cache:
            if _are_same(known, variables):
                return config
        sdk = self._ai_client
        evaluate: Any = sdk.completion_config_template if mode == "completion" else sdk.agent_config_template
        try:
            config = evaluate(config_key, ld_context, default)
            judges = self._variations.last_judges
            if judges is not None:
                config = replace(config, judge_configuration=judges)
            config = self._rendered(config, ld_context, variables)
        except Exception as exc:
            raise_if_from_signal(exc)
            self._diagnostics.note(
                "resolve",
                config_key,
                "AI Config %r could not be resolved (%s) and is served as disabled. Fix that line if it is yours, such "
                "as one of a mapping in variables=; otherwise report it with the versions of both libraries.",
                config_key,
                describe(exc),
            )
            config = self._disabled(config_key, ld_context)
        cache.append((variables, config))
        return config

    def judge_config(self, judge_key: str, ld_context: Context, variables: Mapping[str, object]) -> AIJudgeConfig:
        """Evaluate the AI Config of a judge; disabled if LaunchDarkly has nothing usable."""
        ours = {name: value for name, value in variables.items() if name not in _JUDGE_VARIABLES}
        config = self._ai_client.judge_config_template(judge_key, ld_context, None)
        placeholders = {name: f"{{{{{name}}}}}" for name in _JUDGE_VARIABLES}
        found: AIJudgeConfig = self._rendered(config, ld_context, {**ours, **placeholders})
        return found

    def _rendered(self, config: Any, ld_context: Context, variables: Mapping[str, object]) -> Any:
        """Fill in the prompt of an AI Config that was just evaluated; return the AI Config."""
        context = ld_context.to_dict()
        known = {**variables, "ldctx": context, "ldContext": context}
        for message in getattr(config, "messages", None) or ():  # made by the AI SDK for this evaluation only
            message.content = self._fill_in(config.key, message.content, known)
        instructions = getattr(config, "instructions", None)
        return replace(config, instructions=self._fill_in(config.key, instructions, known)) if instructions else config

    def _fill_in(self, config_key: str, template: str, variables: dict[str, object]) -> str:
        try:
            for name in missing_variables(template, variables):
                self._diagnostics.note(
                    "variable",
                    f"{config_key}: {name}",
                    "The prompt of AI Config %r has a variable {{%s}} that is not given; it is left empty. Add it to "
                    "variables=.",
                    config_key,
                    name,
                )
            return render(template, variables)
        except TemplateError as exc:  # only of a default: variations are checked before
            self._diagnostics.note(
                "variables", config_key, "A prompt of %r is served as it is written, because it %s.", config_key, exc
            )
            return template
        except TooManyStepsError:
            self._diagnostics.note(
                "variables",
                config_key,
                "A prompt of %r would take more than %s steps and is rendered without its variables; give shorter "
                "lists in variables=, or nest fewer sections in the AI Config.",
                config_key,
                f"{MOST_STEPS:,}",
            )
        except Exception as exc:
            raise_if_from_signal(exc)
            kind = type(exc).__name__
            self._diagnostics.note(
                "variables",
                kind,
                "A prompt could not be rendered with its variables (%s) and is rendered without them; "
                "give strings, numbers, lists or dicts.",
                kind,
            )
        return render(template, {name: variables[name] for name in ("ldctx", "ldContext")})

    def _disabled(self, config_key: str, ld_context: Context) -> AIConfig:
        def create_tracker() -> LDAIConfigTracker:
            return LDAIConfigTracker(self._client, str(uuid.uuid4()), config_key, "", 1, ld_context, "", "")

        return AICompletionConfig(config_key, enabled=False, create_tracker=create_tracker, evaluator=Evaluator.noop())


class _Variations:
    """A client for the AI SDK that removes the judges from AI Configs, and moves the schema of the answer.

    The AI SDK would create every judge with every evaluation, which takes 24 ms each. The library runs the judges
    itself. The AI SDK does not know ``outputFormat``, so that it becomes a parameter of the model.
    """

    def __init__(self, client: TrackingClient) -> None:
        self._client = client
        self.track = client.track
        self._on_this_thread = threading.local()

    def variation(self, key: str, context: Context, default: object) -> object:
        """Return a variation without its judges, which :attr:`last_judges` keeps."""
        value = self._client.variation(key, context, default)
        if value.get("outputFormat"):
            value = _with_response_format(value)
        if "judgeConfiguration" not in value:
            self._on_this_thread.judges = None
            return value
        self._on_this_thread.judges = _judges_in(value)
        return {name: item for name, item in value.items() if name != "judgeConfiguration"}

    @property
    def last_judges(self) -> JudgeConfiguration | None:
        """The judges of the variation that this thread has evaluated last."""
        judges: JudgeConfiguration | None = self._on_this_thread.judges
        return judges


def _with_response_format(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a variation whose ``outputFormat`` is also a ``response_format``, as OpenAI's chat API has it."""
    schema, model = value["outputFormat"], value.get("model")
    if not isinstance(schema, dict) or not isinstance(model, dict):
        return value
    # With the name that LaunchDarkly's newer SDK gives to a schema.
    response_format = {"type": "json_schema", "json_schema": {"name": "output", "schema": schema}}
    parameters = {"response_format": response_format, **(model.get("parameters") or {})}
    return {**value, "model": {**model, "parameters": parameters}}


def _judges_in(value: Mapping[str, object]) -> JudgeConfiguration | None:
    found = value.get("judgeConfiguration")
    judges = found.get("judges") if isinstance(found, dict) else None
    if not isinstance(judges, list):
        return None
    usable = [
        JudgeConfiguration.Judge(key=judge["key"], sampling_rate=judge["samplingRate"])
        for judge in judges
        if isinstance(judge, dict) and "key" in judge and "samplingRate" in judge
    ]
    return JudgeConfiguration(judges=usable) if usable else None


def _are_same(one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    """Return whether two sets of variables are equal; values such as numpy arrays cannot be compared."""
    try:
        return one is other or bool(one == other)
    except Exception:
        return False


def check_default(default: AIConfigDefault | None, mode: Mode) -> None:
    """Refuse, at set-up, a default that cannot be served.

    Raises:
        ConfigurationError: If it has the wrong type for the mode, is malformed, or cannot be written as JSON.
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
            f"default cannot be written as JSON, as an AI Config can: {exc}; use JSON values only"
        ) from exc
