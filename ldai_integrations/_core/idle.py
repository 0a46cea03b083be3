"""The run of code that is not in one: answers everything, does nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from ldai import AICompletionConfig
from ldai.evaluator import Evaluator
from ldclient import Context, LDClient

from .ai_client import Tracker
from .current import get_current
from .evidence import Evidence
from .run import Run
from .run_spec import RunSpec
from .scoring import Scores

if TYPE_CHECKING:
    from .resolver import AIConfig

T = TypeVar("T")
_SPEC = RunSpec(config_key="(no run)")
_CONTEXT = Context.builder("none").anonymous(True).build()


class _Silent:
    """Take the place of an LDClient and send nothing."""

    def track(self, *args: Any) -> None:
        pass


class IdleRun(Run):
    """Do nothing; ``config.enabled`` is False and ``finished`` is True."""

    def __init__(self) -> None:
        self.frame = None  # type: ignore[assignment]  # there is no request; nothing below asks for one
        self.spec = _SPEC
        self.outer = None
        self.variables = {}
        self.finished = True
        self.evidence = Evidence(lambda: 0.0, lambda: "", 0)
        self._ld_context = _CONTEXT
        self._identity = None
        self._sdk_tracker = self._config = None
        self.judged_by = ()
        self.scores = Scores()

    @property
    def config(self) -> AIConfig:
        """A disabled AI Config without messages."""
        return AICompletionConfig("", enabled=False, create_tracker=self._tracker, evaluator=Evaluator.noop())

    @property
    def sdk_tracker(self) -> Tracker:
        """A tracker that sends nothing."""
        return self._tracker()

    @property
    def feedback_token(self) -> str:
        """Empty: there is nothing to vote on."""
        return ""

    def observe(self, response: T) -> T:
        """Return the response."""
        return response

    def add_usage(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""

    def tool_call(self, name: str) -> None:
        """Do nothing."""

    def evaluate(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""

    def abandon(self) -> None:
        """Do nothing."""

    def _tracker(self) -> Tracker:
        return Tracker(cast(LDClient, _Silent()), "", "", "", 1, _CONTEXT, "", "")


def current_run() -> Run:
    """Return the run that is under way here; outside of one, a run that does nothing."""
    current = get_current()
    return current if isinstance(current, Run) else IdleRun()
