"""The run: one use of an AI Config, from its start to the record that is reported."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, ParamSpec, TypeVar, cast
from weakref import ref

from ldclient import Context

from .._launchdarkly.client import TrackingClient
from .._launchdarkly.configs import AIConfig
from .._launchdarkly.tracker import RunTracker, with_tracker
from ..delivery import forks
from ..providers import Request
from ..providers._prompt import prompt_of
from ..providers._request import make_request
from ..records import RunRecord, Usage
from ..typing import Score
from .context import RequestScope, bound_to
from .graph import get_graph
from .ledger import Ledger, ProviderCall, Source
from .observe import note_failure, observe
from .options import RunOptions
from .output import HandlerOutput
from .request import ProviderRequest
from .rest import aread_rests, read_rests
from .scores import Scores, score_run
from .served import ServedConfig
from .stated import Stated
from .status import is_cancellation

P = ParamSpec("P")
T = TypeVar("T")


class Run(ServedConfig):
    """One use of an AI Config: its prompt and parameters, and everything that is measured.

    Handlers get the run through a parameter annotated ``Run``, or from :func:`~ldai_integrations.current_run`. The
    methods never block and never raise because of LaunchDarkly. They may be called from any thread. After the end of
    the run they change nothing.
    """

    def __init__(
        self,
        scope: RequestScope,
        options: RunOptions,
        *,
        variables: Mapping[str, object],
        ld_context: Context | None = None,
        parent: Run | None = None,
    ) -> None:
        super().__init__(scope, options, variables, ld_context)
        services = scope.services
        #: The number of forks before the run; a run that was opened before a fork belongs to the parent process.
        self.forks: int = forks.count
        self.parent = parent
        #: Takes the record if the run is a node of an agent graph; it gets ``None`` if there is no record.
        self.report_node: Callable[[RunRecord | None], object] | None = None
        self.finished: bool = False
        self.started_at: float = time.time()
        self.ledger: Ledger = Ledger(services.clock)
        self.output: HandlerOutput = HandlerOutput(services.clock, services.settings.max_body_bytes)
        self.scores: Scores = Scores()
        #: Whether the run is reported without a provider call. A decorated handler sets this in a middleware's run.
        self.counts_pages: bool = options.counts_pages
        self.is_cancelled: bool = False
        #: Whether the consumer of the output left, and nobody cancelled the run before.
        self.is_abandoned: bool = False
        self.is_discarded: bool = False
        #: Whether a wrapped client was called outside of any run while this run was open.
        self.had_stray_calls: bool = False
        self.error: BaseException | None = None
        self.error_by_result: bool | None = None
        self.stated: Stated = Stated()
        # The ids of other trackers that report about this run.
        self._other_ids: set[object] = set()
        self.opened_at: float = services.clock()
        self._config_view: Callable[[], AIConfig | None] = _no_config

    def __repr__(self) -> str:
        state = "finished" if self.finished else "open"
        return f"<Run of {self.config_key!r}, {state}, {len(list(self.ledger))} provider calls>"

    # For handlers

    @property
    def config(self) -> AIConfig:
        """The AI Config for this request, with a rendered prompt and the tracker of the run.

        ``config.enabled`` may be false.
        """
        config = self._config_view()
        if config is None:  # it refers to the run, so the run keeps no reference
            config = with_tracker(self.served, self.tracker)
            self._config_view = ref(config)
        return config

    @property
    def tracker(self) -> RunTracker:
        """LaunchDarkly's tracker for this run. What you report there replaces what the run measured."""
        return RunTracker(self)

    @property
    def feedback_token(self) -> str:
        """The signed token that the browser sends back with a vote.

        Empty if there is nothing to vote on: without ``Settings.feedback``, for AI Configs that are not among its
        ``config_keys``, and while the AI Config is disabled.
        """
        feedback = self.services.feedback
        if feedback is None or not feedback.votes_on(self.config_key) or self.is_discarded:
            return ""
        with self.services.diagnostics.guard("feedback token", self.config_key):
            if self.served.enabled:
                ld_context = self.ld_context
                is_anonymous = self.scope.is_anonymous(ld_context)
                return feedback.token(self.sdk_tracker, ld_context, anonymous=is_anonymous)
        return ""

    def request(
        self,
        client: Any,
        *,
        user: str | None = None,
        history: Iterable[Mapping[str, Any]] = (),
        tools: Collection[str] | None = None,
        api: str = "",
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
                out. By default, all are sent.
            api: ``"responses"`` for OpenAI's Responses API. By default, the client decides.

        Raises:
            ConfigurationError: If there is no such API.
        """
        messages = self.messages(user=user, history=history)
        config = self.served
        configured = getattr(config, "tools", None) or {}
        prompt = prompt_of(
            self.model,
            messages,
            cast(Mapping[str, Any], self.parameters),
            tools={name: tool.to_dict() for name, tool in configured.items()},
            only=tools,
        )
        return make_request(
            client,
            prompt,
            api=api,
            subject=self.config_key,
            observe=self.observe,
            diagnostics=self.services.diagnostics,
        )

    def observe(self, response: T) -> T:
        """Read usage, tool calls and the time to the first token from a provider's response.

        Args:
            response: An SDK object, a dict, a stream, a line of a stream, an exception of a provider's library that
                carries a response, or an awaitable of one of these.

        Returns:
            The same object. For a stream, a stand-in with the stream's protocol and type; for an awaitable, another
            awaitable. A response that was seen before, by a wrapped client or here, is not counted again.
        """
        if self.finished:
            return response
        if issubclass(type(response), BaseException):
            note_failure(self, self.begin_call("observed"), cast(BaseException, response))
            return response
        observed: T = observe(self, response, self.begin_call("observed"))
        return observed

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
        with self._lock:
            self.stated.usage = more if self.stated.usage is None else self.stated.usage + more

    def first_token(self) -> None:
        """Stop the time to the first token; only the first call counts."""
        if self.stated.first_token_at is None:
            self.stated.first_token_at = self.services.clock()

    def tool_call(self, name: str) -> None:
        """Record that the model called a tool. Replaces the tool calls that are found in responses."""
        if self.finished:
            self.sdk_tracker.track_tool_call(name)
        else:
            self.stated.tools.append(name)

    def track(self, metric_key: str, value: float | None = None, data: Mapping[str, Any] | None = None) -> None:
        """Send an event of a metric of your own, such as a purchase, for the LD context of this run.

        Args:
            metric_key: The event key of a metric in LaunchDarkly.
            value: A number, for a numeric metric.
            data: Further data of the event. The run id, the AI Config and the variation are added.
        """
        if not isinstance(metric_key, str) or not metric_key or isinstance(value, (bool, str)):
            self.services.diagnostics.note(
                "track",
                self.config_key,
                "An event for a run of %r was not sent: give the key of a metric, and a number.",
                self.config_key,
            )
            return
        identity = self.identity
        about = {
            "runId": identity.run_id,
            "configKey": self.config_key,
            "variationKey": identity.variation_key,
            "version": identity.version,
        }
        self.services.ld_client.track(metric_key, self.ld_context, {**(data or {}), **about}, value)

    def evaluate(self, metric_key: str, score: Score) -> None:
        """Score this run under a metric of your own, once per metric.

        The score is sent when the run is reported. Something that cannot be a score is logged once and counted.

        Args:
            metric_key: The event key of a metric in LaunchDarkly.
            score: A number from 0 to 1, or a function without arguments that returns it. A function is called after
                the run, off the request, within the limits of :class:`~ldai_integrations.judges.JudgeSettings`; it may
                be a coroutine function.
        """
        score_run(self, metric_key, score)

    def fail(self, exc: BaseException) -> None:
        """Record an exception that the handler catches: the outcome of the run is error, or cancelled."""
        if is_cancellation(exc):
            self.is_cancelled = True
        elif self.error is None:
            self.error = exc

    def discard(self) -> None:
        """Report nothing for this run: no generation took place, for example because the answer was cached."""
        self.is_discarded = True

    def bind(self, func: Callable[P, T]) -> Callable[P, T]:
        """Return a function that runs in this run, on any thread or in any task.

        Threads of an executor do not know the run, so that the calls of wrapped clients are not counted there::

            executor.submit(run.bind(ask), question)
        """
        return bound_to(self, func)

    def finish(self) -> None:
        """End the run and report it; only the first call counts. The code that opens a run finishes it."""
        self.end(None)

    # For integrations, streams and clients

    def begin_call(self, source: Source, request: ProviderRequest | None = None) -> ProviderCall:
        """Add a provider call that starts now to the ledger."""
        return self.ledger.begin(source, request)

    def end(self, exc: BaseException | None) -> None:
        """End the run.

        Args:
            exc: The exception of its last step. ``None`` is a normal end; ``GeneratorExit`` means that the consumer
                closed the output.
        """
        if isinstance(exc, GeneratorExit):
            self.abandon()
            return
        if exc is not None:
            self.fail(exc)
        if not self.finished:
            self._finish(self.services.clock())

    def abandon(self) -> None:
        """End a run whose output was not consumed to its end: it ended with the last item."""
        if not self.finished:
            self.is_abandoned = not self.is_cancelled
            self.is_cancelled = True
            last = self.output.last_item_at
            self._finish(last if last is not None else self.services.clock())

    def leave(self, *, is_complete: bool = False) -> None:
        """End the run from a finalizer: another thread finishes it, or abandons it if its output is not complete."""
        if not self.finished:
            self.services.reporter.leave(self.finish if is_complete else self.abandon)

    @property
    def ld_client(self) -> TrackingClient:
        """The client that sends the events of the run."""
        return self.services.ld_client

    def find_run(self, config_key: str) -> Run | None:
        """Return the open run of a config key: this one, or one around it."""
        run: Run | None = self
        while run is not None and (run.finished or run.config_key != config_key):
            run = run.parent
        return run

    def take_event(self, event_name: str, data: dict[str, Any], value: float | None) -> dict[str, Any] | None:
        """Note an event of one of LaunchDarkly's trackers for this run; return its data with the run's id.

        A run has one outcome and one duration, also if several trackers report to it: the first one counts.

        Args:
            event_name: The name of the event, without ``$ld:ai:``.
            data: The data of the event.
            value: Its metric value.

        Returns:
            ``None`` if the event repeats an outcome or a duration, and must not be sent.
        """
        if "judgeConfigKey" in data:
            self.scores.claim(str(data["judgeConfigKey"]), event_name)
        elif event_name.startswith("feedback:"):
            if data.get("runId") not in self._other_ids:
                return data  # it is about an earlier run
        elif not self.stated.take_event(event_name, data, value):
            return None
        if data.get("runId") == self.id:
            return data
        self._other_ids.add(data.get("runId"))
        return {**data, "runId": self.id}

    def claim_score(self, judge_key: str, metric_key: str) -> bool:
        """Return whether this is the first score of a judge, or of the application itself, under a metric."""
        return self.scores.claim(judge_key, metric_key)

    async def settle(self) -> None:
        """Read what providers still send in streams that the handler has left, before the run ends."""
        await aread_rests(self.services, self.ledger)

    def _finish(self, ended_at: float) -> None:
        if self.ledger.has_rest:
            read_rests(self.services, self.ledger)
        with self._lock:
            if self.finished:
                return
            self.finished = True
        self.scope.open_runs.discard(self)
        self.services.reporter.report(self, ended_at)

    def release(self) -> None:
        """Forget texts, callables and the exception, whose traceback leads back to the run, once it is reported."""
        self.ledger.release()
        self.output.release()
        self.forget_prompt()
        self.error = None


def _no_config() -> None:
    return None


def open_run(
    scope: RequestScope,
    options: RunOptions,
    *,
    variables: Mapping[str, object],
    ld_context: Context | None = None,
    parent: Run | None = None,
) -> Run:
    """Open a run in a request scope. The code that opens a run finishes it, at the latest when the scope closes."""
    services = scope.services
    if forks.count:
        services.flushing.ensure_started()
    if ld_context is None and not scope.has_source:
        # Determined now, because random bytes release the interpreter's lock. At the end of a run, another thread could
        # then see a state that is not complete.
        ld_context = scope.ld_context
    run = Run(scope, options, variables=variables, ld_context=ld_context, parent=parent)
    graph = get_graph()
    if graph is not None:
        run.graph_key, run.report_node = graph.key, graph.enter(run)
    scope.open_runs.add(run)
    scope.had_runs = True
    if scope.vote_token is not None:
        scope.vote_token.consider(run)
    services.reporter.open(run)
    return run
