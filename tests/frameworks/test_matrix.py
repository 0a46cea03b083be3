"""Every framework in every pattern: with the decorator alone, the figures are those of the provider."""

from __future__ import annotations

import importlib.util

import pytest

from ldai_integrations import track_ai
from ldai_integrations.records import RunRecord
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink

from ..ledger.provider import Provider
from .stacks import STACKS, Stack

# Importing some of these packages takes a minute on a busy machine, and they warn of their own affairs.
pytestmark = [pytest.mark.stacks, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(300)]

MODEL = "gpt-4o-mini"
TOKENS, TOOL_TOKENS = (7317, 3863), (1273, 647)
# The time before the first chunk, and between two chunks, in seconds.
_PAUSE = 0.05


@pytest.fixture(params=STACKS, ids=lambda stack: stack.name)
def stack(request: pytest.FixtureRequest) -> Stack:
    """Return a framework that is installed."""
    found: Stack = request.param
    if importlib.util.find_spec(found.package) is None:
        pytest.skip(f"{found.package} is not installed")
    return found


class Application:
    """An application whose handler uses a framework."""

    def __init__(self, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink, provider: Provider) -> None:
        self._tracking = launchdarkly.tracking
        self._runs = runs
        self.provider = provider

    def run(self, use: object, *, is_polite: bool = False) -> RunRecord:
        """Serve a request; return the record of its run."""
        assert callable(use)

        @track_ai(config_key="chat", tracking=self._tracking)
        def handler() -> str:
            try:
                use(self.provider.url, MODEL)
            except Exception:
                if not is_polite:
                    raise
            return "Sorry" if is_polite else "Done"

        handler()
        return self._runs.wait(1)[-1]


@pytest.fixture
def application(launchdarkly: OfflineLaunchDarkly, runs: RecordingSink, provider: Provider) -> Application:
    """Return an application that is tracked with the decorator alone."""
    return Application(launchdarkly, runs, provider)


def _figures(record: RunRecord) -> tuple[int | None, int | None, str | None]:
    usage = record.usage
    return (usage.input_tokens, usage.output_tokens, usage.source) if usage is not None else (None, None, None)


def test_a_whole_response(stack: Stack, application: Application) -> None:
    """A call that returns a whole response is one call, with the provider's figures."""
    application.provider.serve(MODEL, tokens=TOKENS)

    record = application.run(stack.whole)

    assert (*_figures(record), record.calls, record.outcome) == (*TOKENS, "provider", 1, "success")
    assert MODEL in record.response_model
    assert record.finish_reasons[0] in (
        ("",) if "finish reason" in stack.exceptions else ("stop", "end_turn", "completed")
    )


def test_a_stream(stack: Stack, application: Application) -> None:
    """A streamed call has the provider's figures, and the time of the provider's first text."""
    if stack.stream is None:
        pytest.skip("does not stream")
    application.provider.serve(MODEL, tokens=TOKENS, pause=_PAUSE)

    record = application.run(stack.stream)

    assert (*_figures(record), record.calls, record.outcome) == (*TOKENS, "provider", 1, "success")
    if "first token" in stack.exceptions:
        assert record.time_to_first_token_ms is None
        return
    assert record.time_to_first_token_ms is not None
    assert record.time_to_first_token_ms >= 1000 * _PAUSE
    assert record.time_to_first_token_ms < record.duration_ms


def test_a_tool_loop(stack: Stack, application: Application) -> None:
    """A model that calls a tool and then answers is called twice, and the history is not counted again."""
    if stack.tools is None:
        pytest.skip("has no tools")
    application.provider.serve(MODEL, tokens=TOKENS, tool="lookup", tool_tokens=TOOL_TOKENS)

    record = application.run(stack.tools)

    total = TOKENS[0] + TOOL_TOKENS[0], TOKENS[1] + TOOL_TOKENS[1]
    assert (*_figures(record), record.calls, record.outcome) == (*total, "provider", 2, "success")
    assert record.tool_calls == ("lookup",)


def test_a_failure(stack: Stack, application: Application) -> None:
    """A failed call that the handler answers politely is an error without tokens."""
    application.provider.serve(MODEL, status=400)

    record = application.run(stack.whole, is_polite=True)

    assert (record.outcome, record.calls, record.failed_calls, record.usage) == ("error", 1, 1, None)


def test_an_early_end(stack: Stack, application: Application) -> None:
    """A stream that its consumer leaves is one call; its figures are exact, or marked as an estimate."""
    if stack.leave is None:
        pytest.skip("does not stream")
    application.provider.serve(MODEL, tokens=TOKENS, words=("Hello", " there") * 20, pause=0.01)

    record = application.run(stack.leave)

    assert record.usage is not None
    assert (record.calls, record.outcome) == (1, "success")
    exact = TOKENS if "early end" not in stack.exceptions else None
    if exact is not None:
        assert _figures(record) == (*exact, "provider")
    else:
        assert record.usage.source != "provider" or record.usage.lower_bound
        assert (record.usage.output_tokens or 0) < TOKENS[1]
