"""The run, as the application sees it: one use of an AI Config."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn, ParamSpec, TypeVar, cast

from ldclient import Context

from .._ai_configs import snake_case
from .._launchdarkly.tracker import RunConfig, RunTracker, with_tracker
from ..exceptions import ConfigurationError, UnusableConfigError
from ..providers import Request
from ..providers._prompt import Prompt, prompt_of
from ..providers._request import find_api, make_request
from ..providers._servers import server_owner
from ..records import Usage
from ..typing import ModelParameters, Score
from .context import bound_to
from .observe import observe_response
from .options import NO_RUN
from .state import RunState

P = ParamSpec("P")
T = TypeVar("T")

# What a call has arguments of its own for, so that ``create(model=…, messages=…, **run.parameters)`` works.
_OWN_ARGUMENTS = {"model", "messages", "stream", "tools", "tool_choice"}
# The id of a conversation may come from a header, which may have any length.
_MOST_OF_ID = 256


class Run:
    """One use of an AI Config: its prompt and parameters, and everything that is measured.

    Handlers get the run through a parameter annotated ``Run``, or from :func:`~ldai_integrations.current_run`. The
    methods never block and never raise because of LaunchDarkly. They may be called from any thread. After the end of
    the run they change nothing.
    """

    __slots__ = ("__weakref__", "_config", "_state")

    def __init__(self, state: RunState) -> None:
        self._state = state
        self._config: RunConfig | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and other._state is self._state

    def __hash__(self) -> int:
        return hash(self._state)

    def __repr__(self) -> str:
        state, calls = "finished" if self.finished else "open", len(self._state.ledger)
        return f"<Run of {self.config_key!r}, {state}, {calls} provider call{'' if calls == 1 else 's'}>"

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: object) -> NoReturn:
        """Explain a handler that FastAPI wants to fill from the request, because nothing fills in the run."""
        raise ConfigurationError(
            "A parameter of type Run is filled in by @track_ai, not from the request. Put @track_ai directly above the "
            "function, below the decorator of the route."
        )

    @property
    def config_key(self) -> str:
        """The key of the AI Config."""
        return self._state.config_key

    @property
    def id(self) -> str:
        """The run id that all LaunchDarkly events of this run share."""
        return self._state.id

    @property
    def conversation_id(self) -> str | None:
        """The id of the conversation that the run belongs to, for records and spans; LaunchDarkly does not get it.

        Set it where your application knows it. A nested run has the id of its outer run. At most 256 characters
        of its text are kept.
        """
        return self._state.conversation_id

    @conversation_id.setter
    def conversation_id(self, value: str | None) -> None:
        state = self._state
        with state.services.diagnostics.guard("conversation_id", state.config_key, is_private=True):
            state.conversation_id = None if value is None else str(value)[:_MOST_OF_ID]

    @property
    def finished(self) -> bool:
        """Whether the run has ended."""
        return self._state.finished

    # The AI Config

    @property
    def config(self) -> RunConfig:
        """The AI Config for this request, with a rendered prompt and the tracker of the run.

        ``config.enabled`` may be false. It is evaluated once, when it is first needed.
        """
        if self._config is None:
            self._config = with_tracker(self._state.config, self.tracker)
        return self._config

    @property
    def model(self) -> str:
        """The name of the configured model; empty if there is none."""
        return self._state.model

    @property
    def parameters(self) -> ModelParameters:
        """The configured model parameters, for ``create(model=run.model, **run.parameters, …)``; a new dict.

        They are written as Python's clients write them: ``maxTokens`` is ``max_tokens``. Tools are not among them,
        because each API has a format of its own: see :meth:`tools`.
        """
        given = {snake_case(name): value for name, value in self._state.parameters.items()}
        return cast(ModelParameters, {name: value for name, value in given.items() if name not in _OWN_ARGUMENTS})

    @property
    def ld_context(self) -> Context:
        """The LD context that the AI Config is evaluated for."""
        return self._state.ld_context

    @property
    def provider(self) -> str:
        """The name of the configured provider, such as ``"OpenAI"``; empty if there is none."""
        return self._state.provider

    def custom(self, name: str) -> Any:
        """Return a custom parameter of the configured model; ``None`` if there is none of that name."""
        model = self.config.model
        return model.get_custom(name) if model is not None else None

    @property
    def system(self) -> str:
        """The configured system messages, or the instructions of an agent, as one text."""
        return self._prompt(self._state.configured_messages()).system

    def tools(self, client: Any, *, api: str = "") -> list[Any]:
        """Return the tools of the AI Config, in the format of a client; an empty list if it has none.

        :meth:`request` has them already. They are for code that builds the call itself.

        Args:
            client: The client of a provider.
            api: ``"responses"`` for OpenAI's Responses API, or another value of :meth:`request`. By default, the client
                decides.

        Raises:
            ConfigurationError: If there is no such API.
        """
        prompt = self._prompt(())
        found = find_api(client, api, self._state.services.diagnostics)
        return found.tools(prompt) if prompt.tools else []

    def messages(self, *, user: str | None = None, history: Iterable[Mapping[str, Any]] = ()) -> list[Any]:
        """Return the configured messages, ready for a provider call.

        Args:
            user: What the user says; added as the last message.
            history: Earlier messages of the conversation, added before it.

        Returns:
            New ``{"role": …, "content": …}`` dicts, typed so that every provider's client accepts them. The
            instructions of an agent are a system message.

        Raises:
            ConfigurationError: If an argument cannot be part of a conversation.
        """
        if user is not None and not isinstance(user, (str, list)):
            raise ConfigurationError(f"user is of type {type(user).__name__}; give the text of the user")
        if isinstance(history, (str, bytes, Mapping)):
            raise ConfigurationError(f"history is of type {type(history).__name__}; give a list of messages")
        earlier = list(history)
        for message in earlier:
            if not isinstance(message, Mapping):
                kind = type(message).__name__
                raise ConfigurationError(f"history has a message of type {kind}; give dicts with role and content")
        messages = [*self._state.configured_messages(), *map(dict, earlier)]
        if user is not None:
            messages.append({"role": "user", "content": user})
        self._state.prompt = messages
        return [dict(message) for message in messages]

    @property
    def tracker(self) -> RunTracker:
        """LaunchDarkly's tracker for this run. What you report there replaces what the run measured."""
        return RunTracker(self._state, partial(observe_response, self._state))

    @property
    def feedback_token(self) -> str:
        """The signed token that the browser sends back with a vote.

        Empty if there is nothing to vote on: without ``Settings.feedback``, for AI Configs that are not among its
        ``config_keys``, and while the AI Config is disabled.
        """
        return self._state.feedback_token

    def request(
        self,
        client: object,
        *,
        user: str | None = None,
        history: Iterable[Mapping[str, Any]] = (),
        tools: Collection[str] | None = None,
        api: str = "",
        model: str = "",
    ) -> Request:
        """Return the arguments of a provider call, in the format of a client: model, prompt, tools and parameters.

        ::

            answer = run.request(client, user=question).send()
            completion = client.chat.completions.create(**run.request(client, user=question))

        Parameters are renamed and converted. One that the API does not have is left out, and logged once.

        Args:
            client: A client of OpenAI, Azure, Anthropic, Amazon Bedrock, Gemini, Mistral or Cohere, or one that has
                the methods of one of these. Any other client gets the format of OpenAI's chat completions.
            user: What the user says; added as the last message.
            history: Earlier messages of the conversation: ``{"role": …, "content": …}``, the ``message`` of an answer,
                and the ``result()`` of a tool call.
            tools: The names of the tools that the application implements; the other tools of the AI Config are left
                out. By default, all are sent. If a tool is left out and a name is unknown, this is logged once.
            api: ``"responses"`` for OpenAI's Responses API, or ``"chat"``, ``"messages"``, ``"gemini"``, ``"mistral"``,
                ``"converse"`` or ``"cohere"`` for a client of your own that has the methods of one of these APIs. By
                default, the client decides.
            model: Replaces the configured model, for example for a fallback to another provider.

        Raises:
            ConfigurationError: If there is no such API, or an argument has a type that cannot work.
            UnusableConfigError: If the AI Config is disabled or has no model. Check ``run.config.enabled`` before, or
                give ``track_ai`` a ``default`` or ``on_disabled``.
        """
        if isinstance(tools, str):
            raise ConfigurationError(f"tools is the text {tools!r}; give a list of names")
        if not isinstance(model, str):
            raise ConfigurationError(f"model is of type {type(model).__name__}; give the name of a model")
        if not self._state.config.enabled:
            raise UnusableConfigError(_why_disabled(self._state))
        model = model or self.model
        if not model:
            raise UnusableConfigError(f"AI Config {self.config_key!r} has no model. Choose one for its variation")
        prompt = self._prompt(self.messages(user=user, history=history))
        if tools is not None:
            prompt = self._choose_tools(prompt, tools)
        return make_request(
            client,
            replace(prompt, model=model),
            api=api,
            subject=self.config_key,
            observe=partial(observe_response, self._state, provider=server_owner(client)),
            bind=self.bind,
            diagnostics=self._state.services.diagnostics,
        )

    def _choose_tools(self, prompt: Prompt, names: Collection[str]) -> Prompt:
        """Return the prompt with only the tools that the application implements.

        An application may implement more tools than the variation has. Only if a tool is left out as well, an unknown
        name is taken for a mistake.
        """
        known = [tool.name for tool in prompt.tools]
        unknown = [str(name) for name in names if name not in known]
        if unknown and any(name not in names for name in known):
            self._state.services.diagnostics.note(
                "tools",
                self.config_key,
                "AI Config %r has no tool %s, which tools= names. It has %s. Correct the name in tools=, or attach the "
                "tool in LaunchDarkly.",
                self.config_key,
                ", ".join(map(repr, unknown)),
                ", ".join(map(repr, known)),
            )
        return replace(prompt, tools=tuple(tool for tool in prompt.tools if tool.name in names))

    def _prompt(self, messages: Sequence[Mapping[str, Any]]) -> Prompt:
        """Return the prompt with messages."""
        configured = getattr(self._state.config, "tools", None) or {}
        return prompt_of(
            self.model,
            messages,
            self._state.parameters,
            tools={name: tool.to_dict() for name, tool in configured.items()},
        )

    def observe(self, response: T) -> T:
        """Read usage, tool calls and the time to the first token from a provider's response.

        Args:
            response: An SDK object, a dict, a response as JSON, a stream, a line or an event of a stream, an exception
                of a provider's library, or an awaitable of one of these.

        Returns:
            The same object. For a stream, a stand-in with the stream's protocol and type; for an awaitable, another
            awaitable. A response that was seen before, by a wrapped client or here, is not counted again.
        """
        return observe_response(self._state, response)

    def add_usage(
        self, usage: Usage | None = None, *, input_tokens: int | None = None, output_tokens: int | None = None
    ) -> None:
        """Add the tokens of one provider call that :meth:`observe` cannot read.

        Args:
            usage: Everything that is known. Otherwise, give the two counts:
            input_tokens: All prompt tokens.
            output_tokens: All generated tokens.
        """
        more = usage if usage is not None else Usage(input_tokens=input_tokens, output_tokens=output_tokens)
        self._state.stated.usages.append(more)

    def first_token(self) -> None:
        """Stop the time to the first token; only the first call counts."""
        stated = self._state.stated
        if stated.first_token_at is None:
            stated.first_token_at = self._state.services.clock()

    def tool_call(self, name: str) -> None:
        """Record that the model called a tool. Replaces the tool calls that are found in responses."""
        self._state.tool_call(name)

    def track(self, metric_key: str, value: float | None = None, data: Mapping[str, Any] | None = None) -> None:
        """Send an event for one of your own metrics, such as a purchase, with the LD context of this run.

        Args:
            metric_key: The event key of a metric in LaunchDarkly.
            value: A number, for a numeric metric.
            data: More data of the event. The run id, the AI Config and the variation are added.
        """
        state = self._state
        if not isinstance(metric_key, str) or not metric_key or isinstance(value, (bool, str)):
            state.services.diagnostics.note(
                "track",
                state.config_key,
                "An event for a run of %r was not sent: give the key of a metric, and a number.",
                state.config_key,
            )
            return
        identity = state.identity
        about = {
            "runId": identity.run_id,
            "configKey": state.config_key,
            "variationKey": identity.variation_key,
            "version": identity.version,
        }
        with state.services.diagnostics.guard("track", state.config_key, is_private=True):
            state.services.ld_client.track(metric_key, state.ld_context, {**(data or {}), **about}, value)

    def evaluate(self, metric_key: str, score: Score) -> None:
        """Score this run under a metric of your own, once per metric.

        The score is sent when the run is reported. Something that cannot be a score is logged once and counted.

        Args:
            metric_key: The event key of a metric in LaunchDarkly.
            score: A number from 0 to 1, or a function without arguments that returns it. A function is called after
                the run, off the request, within the limits of :class:`~ldai_integrations.judges.JudgeSettings`; it may
                be a coroutine function.
        """
        diagnostics, key = self._state.services.diagnostics, self.config_key
        with diagnostics.guard("evaluate", key, is_private=True):
            problem = self._state.scores.add(metric_key, score)
            if problem is not None:
                diagnostics.note("evaluate", key, "A score for a run of %r was not recorded: %s.", key, problem)

    def fail(self, exc: BaseException) -> None:
        """Record an exception that the handler catches: the run is an error.

        If the exception is a cancellation, such as ``asyncio.CancelledError``, the run is cancelled. Anything but an
        exception is logged once, and the run is an error.
        """
        if not isinstance(exc, BaseException):
            self._state.services.diagnostics.note(
                "fail",
                self.config_key,
                "run.fail() was given a %s in a run of %r. Give it the exception that you caught.",
                type(exc).__name__,
                self.config_key,
            )
            exc = RuntimeError("run.fail() was given no exception")
        self._state.fail(exc)

    def discard(self) -> None:
        """Report nothing for this run: it called no model, for example because the answer was cached."""
        self._state.is_discarded = True

    def bind(self, func: Callable[P, T]) -> Callable[P, T]:
        """Return a function that runs in this run, on any thread or in any task.

        Without it, threads of an executor do not know the run, and calls of wrapped clients are not counted there::

            executor.submit(run.bind(ask), question)
        """
        return bound_to(self._state, func)

    def finish(self) -> None:
        """End the run and report it; only the first call counts. The code that opens a run finishes it."""
        self._state.end()


def run_of(state: RunState) -> Run:
    """Return the run as the application sees it; until it is reported, always the same object."""
    run = state.public
    if not isinstance(run, Run):
        run = state.public = Run(state)
    return run


def _why_disabled(run: RunState) -> str:
    """Return why there is no model to call, and what to do."""
    if run.config_key == NO_RUN:
        return (
            "There is no run here: current_run() was called outside of any run, or on a thread without the context of "
            "its run. Pass the run to the thread with executor.submit(run.bind(function), …), or use "
            "ldai_integrations.executors.ThreadPoolExecutor. In a handler, take the run from a parameter of the "
            "function that track_ai decorates: run: Run"
        )
    if run.services.is_idle:
        return (
            f"AI Config {run.config_key!r} is disabled, because this process is not connected to LaunchDarkly. The log "
            "line 'Runs are not tracked' says why. Give track_ai a default= for this case, or on_disabled="
        )
    if not run.identity.variation_key:
        return (
            f"LaunchDarkly has no usable variation of AI Config {run.config_key!r} for mode {run.options.mode!r}, and "
            f"there is no enabled default. The log line 'AI Config {run.config_key!r} is disabled, because …' says "
            "why. Give track_ai a default= for this case, or on_disabled="
        )
    return (
        f"AI Config {run.config_key!r} is disabled in LaunchDarkly. Check run.config.enabled before run.request(), or "
        "give track_ai on_disabled="
    )
