"""The AI Config that a run is served: its model, parameters and prompt, and LaunchDarkly's tracker for it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any, cast

from ldai.tracker import LDAIConfigTracker
from ldclient import Context, LDClient

from .._identity import TrackerIdentity
from .._launchdarkly.configs import AIConfig
from ..providers._prompt import prompt_of
from ..typing import ModelParameters, RunCompanion
from .context import RequestScope, Services, outside
from .options import RunOptions

_NO_COMPANIONS: Mapping[int, RunCompanion] = {}


class ServedConfig:
    """The AI Config of one run. It is evaluated once, when it is first needed, from any thread."""

    def __init__(
        self, scope: RequestScope, options: RunOptions, variables: Mapping[str, object], ld_context: Context | None
    ) -> None:
        self.scope = scope
        self.services: Services = scope.services
        self.options = options
        self.config_key: str = options.config_key
        self.variables = variables
        #: The messages that :meth:`messages` returned.
        self.prompt: list[dict[str, object]] | None = None
        #: The keys of the judges that were drawn for this run.
        self.judge_keys: tuple[str, ...] = ()
        #: The key of the agent graph that the run is a node of; empty if there is none.
        self.graph_key: str = ""
        #: What sinks have for this run, by the index of the sink.
        self.companions: Mapping[int, RunCompanion] = _NO_COMPANIONS
        self._ld_context = ld_context
        self._lock = threading.Lock()
        self._config: AIConfig | None = None
        self._sdk_tracker: LDAIConfigTracker | None = None
        self._identity: TrackerIdentity | None = None

    @property
    def id(self) -> str:
        """The run id that all LaunchDarkly events of this run share."""
        return self.identity.run_id

    @property
    def served(self) -> AIConfig:
        """The AI Config, as LaunchDarkly's AI SDK returns it."""
        if self._config is None:
            config = self._resolve() if not self.companions else outside(self, self._resolve)
            with self._lock:
                if self._config is None:
                    self._config = config
                    self._draw_judges(config)
        return self._config

    @property
    def model(self) -> str:
        """The name of the configured model; empty if there is none."""
        model = self.served.model
        return model.name if model is not None else ""

    @property
    def parameters(self) -> ModelParameters:
        """The configured model parameters, for ``create(model=run.model, **run.parameters, …)``; a new dict."""
        model = self.served.model
        parameters: ModelParameters = dict(model.to_dict()["parameters"] or {}) if model is not None else {}  # type: ignore[assignment]  # LaunchDarkly checks no parameters
        return parameters

    @property
    def ld_context(self) -> Context:
        """The LD context that the AI Config is evaluated for."""
        if self._ld_context is None:
            self._ld_context = self.scope.ld_context
        return self._ld_context

    @property
    def provider(self) -> str:
        """The name of the configured provider, such as ``"OpenAI"``; empty if there is none."""
        provider = self.served.provider
        return provider.name if provider is not None else ""

    def custom(self, name: str) -> Any:
        """Return a custom parameter of the configured model; ``None`` if there is none of that name."""
        model = self.served.model
        return model.get_custom(name) if model is not None else None

    @property
    def system(self) -> str:
        """The configured system messages, or the instructions of an agent, as one text."""
        return prompt_of("", self.configured_messages(), {}, tools={}).system

    def messages(self, *, user: str | None = None, history: Iterable[Mapping[str, Any]] = ()) -> list[Any]:
        """Return the configured messages, ready for a provider call.

        Args:
            user: What the user says; added as the last message.
            history: Earlier messages of the conversation, added before it.

        Returns:
            New ``{"role": …, "content": …}`` dicts, typed so that every provider's client accepts them. The
            instructions of an agent are a system message.
        """
        messages = [*self.configured_messages(), *map(dict, history)]
        if user is not None:
            messages.append({"role": "user", "content": user})
        self.prompt = messages
        return [dict(message) for message in messages]

    # For the library

    @property
    def exports_texts(self) -> bool:
        """Whether a sink wants the texts of this run."""
        return bool(self.companions) and any(companion.wants_texts for companion in self.companions.values())

    @property
    def keeps_texts(self) -> bool:
        """Whether a sink wants the texts of this run, or judges were drawn for it."""
        return self.exports_texts or (self.served is not None and bool(self.judge_keys))

    @property
    def is_resolved(self) -> bool:
        """Whether the AI Config has been evaluated."""
        return self._config is not None

    @property
    def sdk_tracker(self) -> LDAIConfigTracker:
        """The AI SDK's tracker, created once."""
        if self._sdk_tracker is None:
            config = self.served
            with self._lock:
                if self._sdk_tracker is None:
                    tracker = config.create_tracker()
                    self._sdk_tracker = self._in_graph(tracker) if self.graph_key else tracker
        return self._sdk_tracker

    @property
    def identity(self) -> TrackerIdentity:
        """The run id, variation and version."""
        if self._identity is None:
            self._identity = TrackerIdentity.of(self.sdk_tracker)
        return self._identity

    def configured_messages(self) -> list[dict[str, object]]:
        """Return the messages of the AI Config, or its instructions as one system message."""
        instructions = getattr(self.served, "instructions", None)
        if instructions:
            return [{"role": "system", "content": instructions}]
        return [message.to_dict() for message in getattr(self.served, "messages", None) or ()]

    def _in_graph(self, tracker: LDAIConfigTracker) -> LDAIConfigTracker:
        """Return a tracker whose events contain the key of the graph."""
        run_id, config_key, variation_key, version = TrackerIdentity.of(tracker)
        return LDAIConfigTracker(
            cast(LDClient, self.services.ld_client),
            run_id,
            config_key,
            variation_key,
            version,
            self.ld_context,
            self.model,
            self.provider,
            graph_key=self.graph_key,
        )

    def _resolve(self) -> AIConfig:
        return self.services.configs.resolve(
            self.scope.resolved,
            self.config_key,
            self.ld_context,
            mode=self.options.mode,
            default=self.options.default,
            variables=self.variables,
        )

    def forget_prompt(self) -> None:
        """Forget the messages that were rendered, once the run is reported."""
        self.prompt = None

    def _draw_judges(self, config: AIConfig) -> None:
        if self.scope.is_judging or config.judge_configuration is None:
            return
        with self.services.diagnostics.guard("judge_config", self.config_key):
            self.judge_keys = self.services.judges.draw(config)
