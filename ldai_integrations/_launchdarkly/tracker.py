"""LaunchDarkly's tracker, as user code sees it on a run and on the run's AI Config."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from numbers import Real
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from ldai import AIAgentConfig, AICompletionConfig
from ldai.providers.types import LDAIMetrics
from ldai.tracker import FeedbackKind, LDAIConfigTracker, LDAIMetricSummary, TokenUsage

from ..records import Usage
from ..usage import reconcile

if TYPE_CHECKING:
    from ldai.models import JudgeConfiguration, LDMessage, LDTool, ModelConfig, ProviderConfig

    from .configs import AIConfig

T = TypeVar("T")

#: What becomes of a report with numbers of tokens that cannot be true.
WRONG_COUNTS = "This report is not counted. Give whole numbers from zero to 100 million."


class Observe(Protocol):
    """A function that reads a provider's response for a run."""

    def __call__(self, response: T) -> T:
        """Return the response, or a stand-in for it."""


class TrackedRun(Protocol):
    """A run that has a tracker."""

    @property
    def sdk_tracker(self) -> LDAIConfigTracker:
        """The AI SDK's tracker."""

    def tool_call(self, name: str) -> None:
        """Record a tool call."""

    def note_wrong_number(self, source: str, consequence: str) -> None:
        """Note that a number cannot be true."""

    def claim_score(self, judge_key: str, metric_key: str) -> bool:
        """Return whether this is the first score of a judge under a metric."""


class RunTracker:
    """The tracker methods of LaunchDarkly's documentation, for one run.

    What is reported here is sent at once and replaces what the run measured, which then is not sent. Tool calls are
    the exception: they are sent when the run finishes, in place of those that are found in responses.
    """

    __slots__ = ("_observe", "_run")

    def __init__(self, run: TrackedRun, observe: Observe) -> None:
        self._run = run
        self._observe = observe

    @property
    def _sdk(self) -> LDAIConfigTracker:
        return self._run.sdk_tracker

    @property
    def resumption_token(self) -> str:
        """LaunchDarkly's token of this run. It is not signed, so keep it on the server."""
        return self._sdk.resumption_token

    def get_summary(self) -> LDAIMetricSummary:
        """Return what has been sent for this run so far."""
        return self._sdk.get_summary()

    def track_duration(self, duration: int) -> None:
        """Send the duration of the run, in milliseconds."""
        if self._is_time(duration):
            self._sdk.track_duration(duration)

    def track_duration_of(self, func: Callable[[], T]) -> T:
        """Call ``func``, send how long it took, and return what it returned."""
        result: T = self._sdk.track_duration_of(func)
        return result

    def track_time_to_first_token(self, time_to_first_token: int) -> None:
        """Send the time to the first token, in milliseconds."""
        if self._is_time(time_to_first_token):
            self._sdk.track_time_to_first_token(time_to_first_token)

    def _is_time(self, milliseconds: object) -> bool:
        """Return whether a time can be true; say so once if it cannot."""
        if isinstance(milliseconds, Real) and 0 <= float(milliseconds) < inf:
            return True
        self._run.note_wrong_number("run.tracker", "This report is not counted. Give milliseconds of zero or more.")
        return False

    def track_tokens(self, tokens: TokenUsage) -> None:
        """Send the token usage of the run."""
        if reconcile(Usage(tokens.input, tokens.output, tokens.total)) is not None:
            self._sdk.track_tokens(tokens)
        else:
            self._run.note_wrong_number("run.tracker", WRONG_COUNTS)

    def track_success(self) -> None:
        """Send that the generation succeeded."""
        self._sdk.track_success()

    def track_error(self) -> None:
        """Send that the generation failed."""
        self._sdk.track_error()

    def track_feedback(self, feedback: dict[str, FeedbackKind]) -> None:
        """Send a thumb up or down: ``{"kind": FeedbackKind.Positive}``; works long after the run."""
        self._sdk.track_feedback(feedback)

    def track_tool_call(self, tool_key: str) -> None:
        """Record that the model called a tool."""
        self._run.tool_call(tool_key)

    def track_tool_calls(self, tool_calls: Iterable[str]) -> None:
        """Record that the model called several tools."""
        for tool_key in tool_calls:
            self._run.tool_call(tool_key)

    def track_judge_result(self, judge_result: Any) -> None:
        """Send the score that a judge gave this run. That judge is not asked again."""
        self._run.claim_score(judge_result.judge_config_key or "", judge_result.metric_key or "")
        self._sdk.track_judge_result(judge_result)

    def track_metrics_of(self, metrics_extractor: Callable[[Any], LDAIMetrics | None], func: Callable[[], T]) -> T:
        """Call ``func`` and send duration, success and what ``metrics_extractor`` finds in its result."""
        result: T = self._sdk.track_metrics_of(metrics_extractor, func)
        return result

    async def track_metrics_of_async(
        self, metrics_extractor: Callable[[Any], LDAIMetrics | None], func: Callable[[], Awaitable[T]]
    ) -> T:
        """Await ``func()`` and send duration, success and what ``metrics_extractor`` finds in its result."""
        result: T = await self._sdk.track_metrics_of_async(metrics_extractor, func)
        return result

    def track_openai_metrics(self, func: Callable[[], T]) -> T:
        """Call ``func``, which calls OpenAI, and read duration, success and usage from its result.

        If it returns an awaitable or a stream, they are read while that is consumed.
        """
        try:
            result = func()
        except Exception:
            self._sdk.track_error()
            raise
        return self._observe(result)

    def track_bedrock_converse_metrics(self, res: T) -> T:
        """Read duration, success and usage from a Bedrock Converse response, and return it."""
        if isinstance(res, Mapping):
            status = res.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if status == 200:
                self._sdk.track_success()
            elif status >= 400:
                self._sdk.track_error()
            latency = res.get("metrics", {}).get("latencyMs")
            if latency:
                self._sdk.track_duration(latency)
        return self._observe(res)


if TYPE_CHECKING:  # pyright finds the classes of ldai, which has no py.typed, only in aliases that are strings
    _Model: TypeAlias = "ModelConfig | None"
    _Provider: TypeAlias = "ProviderConfig | None"
    _Messages: TypeAlias = "list[LDMessage] | None"
    _Tools: TypeAlias = "dict[str, LDTool] | None"
    _Judges: TypeAlias = "JudgeConfiguration | None"


class RunConfig(Protocol):
    """The AI Config of a run, with the tracker of the run.

    At run time, it is also an ``AICompletionConfig`` or an ``AIAgentConfig`` of the AI SDK.
    """

    @property
    def key(self) -> str:
        """The key."""

    @property
    def enabled(self) -> bool:
        """Whether it is on."""

    @property
    def model(self) -> _Model:
        """The model."""

    @property
    def provider(self) -> _Provider:
        """The provider."""

    @property
    def messages(self) -> _Messages:
        """The rendered messages; ``None`` in mode agent."""

    @property
    def instructions(self) -> str | None:
        """The rendered instructions; ``None`` in mode completion."""

    @property
    def tools(self) -> _Tools:
        """The tools by name."""

    @property
    def judge_configuration(self) -> _Judges:
        """The judges."""

    @property
    def create_tracker(self) -> Callable[[], Any]:
        """A function that returns a tracker of the AI SDK, for a run of its own."""

    def to_dict(self) -> dict[str, Any]:
        """Return the AI Config as a dict."""

    @property
    def tracker(self) -> RunTracker:
        """The tracker of the run, which the examples of LaunchDarkly's documentation use."""


@dataclass(frozen=True)
class _CompletionConfig(AICompletionConfig):
    """An AI Config of mode completion, with the tracker of its run."""

    tracker: RunTracker = field(kw_only=True, repr=False, compare=False)
    instructions: None = field(default=None, init=False, repr=False, compare=False)


@dataclass(frozen=True)
class _AgentConfig(AIAgentConfig):
    """An AI Config of mode agent, with the tracker of its run."""

    tracker: RunTracker = field(kw_only=True, repr=False, compare=False)
    messages: None = field(default=None, init=False, repr=False, compare=False)


def with_tracker(config: AIConfig, tracker: RunTracker) -> RunConfig:
    """Return an AI Config with the tracker of its run."""
    kind = _AgentConfig if isinstance(config, AIAgentConfig) else _CompletionConfig
    found: RunConfig = kind(**vars(config), tracker=tracker)
    return found
