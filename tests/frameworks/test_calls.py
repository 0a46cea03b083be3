"""What every framework may do: end a call late, repeat it, or call a model through another framework."""

from __future__ import annotations

import logging
import signal
import threading
from typing import Any, NoReturn

import pytest

from ldai_integrations import track_ai
from ldai_integrations._diagnostics import Diagnostics
from ldai_integrations._run.request import ProviderRequest
from ldai_integrations.frameworks._calls import FrameworkCalls
from ldai_integrations.records import RunRecord, Usage
from ldai_integrations.settings import Framework
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink
from ldai_integrations.usage import Reading

_TEXT = "Hello there"


def _answer(response_id: str = "chatcmpl-1", tokens: tuple[int, int] | None = (7317, 3863)) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": _TEXT}, "finish_reason": "stop"}
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]} if tokens else None
    return {"id": response_id, "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage}


def _calls(name: Framework = "litellm") -> FrameworkCalls:
    return FrameworkCalls(name, Diagnostics())


def _figures(record: RunRecord) -> tuple[int, int, int | None, int | None]:
    usage = record.usage
    assert usage is not None
    return record.calls, record.failed_calls, usage.input_tokens, usage.output_tokens


def test_the_report_waits_for_a_call_that_ends_late(launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """A framework may end a call on another thread after the handler has returned, which does not wait."""
    calls, may_end = _calls(), threading.Event()

    def end() -> None:
        may_end.wait(10)
        calls.end("1", _answer())

    thread = threading.Thread(target=end)
    thread.start()
    with track_ai(config_key="chat", tracking=launchdarkly.tracking):
        calls.begin("1", ends_late=True)
    assert not runs.records
    may_end.set()
    thread.join()

    assert _figures(runs.wait(1)[-1]) == (1, 0, 7317, 3863)


def test_a_call_that_never_ends_has_an_estimated_input(launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """A framework may never end a call: the input is estimated, the output unknown, and the usage a lower bound."""
    request = ProviderRequest("chat", {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": _TEXT}]})
    with track_ai(config_key="chat", tracking=launchdarkly.tracking):
        _calls().begin("1", lambda: request, ends_late=True)

    record = runs.wait(1)[-1]

    assert record.usage is not None
    assert (record.calls, record.usage.output_tokens, record.usage.source) == (1, None, "estimate")
    assert record.usage.input_tokens
    assert record.usage.lower_bound


def test_a_call_that_begins_again_has_failed(launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """A framework that begins an open call again repeats it: two calls, one of which failed."""
    calls = _calls()
    with track_ai(config_key="chat", tracking=launchdarkly.tracking):
        calls.begin("1")
        calls.begin("1")
        calls.end("1", _answer())

    record = runs.wait(1)[-1]

    assert _figures(record) == (2, 1, 7317, 3863)
    assert record.outcome == "success"


@pytest.mark.parametrize("outer_id", ["chatcmpl-1", "run-1"])
def test_a_call_through_another_framework_counts_once(
    launchdarkly: OfflineLaunchDarkly, runs: RecordingSink, outer_id: str
) -> None:
    """A framework that calls a model through another one reports the same call, by the same or an own id."""
    outer, inner = _calls("dspy"), _calls()
    with track_ai(config_key="chat", tracking=launchdarkly.tracking):
        outer.begin("outer")
        inner.begin("inner")
        inner.end("inner", _answer())
        outer.end("outer", _answer(outer_id))

    assert _figures(runs.wait(1)[-1]) == (1, 0, 7317, 3863)


def test_calls_of_two_frameworks_are_two_calls(launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """Two frameworks that each call a model are two calls, whose response ids differ."""
    with track_ai(config_key="chat", tracking=launchdarkly.tracking):
        for number, calls in enumerate((_calls("dspy"), _calls())):
            calls.begin("1")
            calls.end("1", _answer(f"chatcmpl-{number}"))

    assert _figures(runs.wait(1)[-1]) == (2, 0, 2 * 7317, 2 * 3863)


def test_embeddings_are_never_the_chat_of_another_framework(
    launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """Embeddings without figures are a call of their own beside the chat that another framework reports."""
    chat, embeddings = _calls(), _calls("llama_index")
    with track_ai(config_key="chat", tracking=launchdarkly.tracking):
        embeddings.begin("1", api="embeddings")
        embeddings.end("1", request=lambda: ProviderRequest("embeddings", {"input": [_TEXT]}))
        chat.begin("1")
        chat.end("1", _answer())

    record = runs.wait(1)[-1]

    assert record.usage is not None
    assert (record.calls, record.usage.input_tokens, record.usage.source) == (2, 7317 + 2, "partial")


def test_a_request_that_cannot_be_read_costs_nothing_else(
    launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """A call whose request cannot be read ends with its error, its times and its usage."""

    def read_request() -> NoReturn:
        raise KeyError("type")

    calls = _calls("langchain")
    with track_ai(config_key="chat", tracking=launchdarkly.tracking):
        calls.begin("1", read_request)
        calls.end("1", {"model": "m", "usage": {"input_tokens": 7317}})
        calls.begin("2", read_request)
        calls.fail("2", ConnectionError())

    record = runs.wait(1)[-1]

    assert _figures(record) == (2, 1, 7317, None)
    assert record.outcome == "error"


def test_a_failure_is_logged_without_its_text(
    launchdarkly: OfflineLaunchDarkly, runs: RecordingSink, caplog: pytest.LogCaptureFixture
) -> None:
    """A framework's exception may quote a prompt, so that only its type and its line are logged."""

    def read_request() -> NoReturn:
        raise ValueError("unknown block: Ada's diagnosis")

    diagnostics = Diagnostics()
    calls = FrameworkCalls("langchain", diagnostics)
    with (
        caplog.at_level(logging.WARNING, "ldai_integrations"),
        track_ai(config_key="chat", tracking=launchdarkly.tracking),
    ):
        calls.begin("1", read_request)
        calls.end("1", _answer(tokens=None))
    runs.wait(1)

    assert "framework failed for 'langchain' (ValueError at test_calls.py:" in caplog.text
    assert "diagnosis" not in caplog.text
    assert diagnostics.counts()["framework"] == 1


def test_an_exception_of_a_signal_handler_reaches_the_application(launchdarkly: OfflineLaunchDarkly) -> None:
    """A time limit may be raised while a framework's objects are read; it belongs to the application."""

    class TimeLimitError(Exception):
        pass

    def stop(*_: object) -> NoReturn:
        raise TimeLimitError

    def read_request() -> ProviderRequest:
        signal.raise_signal(signal.SIGALRM)
        return ProviderRequest("chat", {})

    calls, former = _calls("langchain"), signal.signal(signal.SIGALRM, stop)
    try:
        with track_ai(config_key="chat", tracking=launchdarkly.tracking):
            calls.begin("1", read_request)
            with pytest.raises(TimeLimitError):
                calls.end("1", _answer(tokens=None))
    finally:
        signal.signal(signal.SIGALRM, former)


@pytest.mark.parametrize("is_observed", [False, True])
def test_messages_of_earlier_runs_are_not_counted(
    launchdarkly: OfflineLaunchDarkly, runs: RecordingSink, is_observed: bool
) -> None:
    """A framework reports each of its calls, so that the other calls in a state that is observed are earlier ones."""
    calls = _calls("langchain")

    def answer(name: str) -> dict[str, Any]:
        usage = {"input_tokens": 7317, "output_tokens": 3863, "total_tokens": 11180}
        metadata = {"id": f"chatcmpl-{name}", "finish_reason": "stop"}
        return {"type": "ai", "id": f"run-{name}", "content": _TEXT, "response_metadata": metadata} | {
            "usage_metadata": usage
        }

    with track_ai(config_key="chat", tracking=launchdarkly.tracking) as run:
        calls.begin("1")
        if is_observed:
            run.observe(_answer("chatcmpl-2"))
        calls.end("1", answer("2"))
        run.observe({"messages": [{"type": "human", "content": "Hi"}, answer("1"), answer("2")]})

    assert _figures(runs.wait(1)[-1]) == (1, 0, 7317, 3863)


def test_a_call_with_unknown_tokens_makes_a_lower_bound(launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """The tokens of other calls are not those of the whole run."""
    calls = _calls()
    with track_ai(config_key="chat", tracking=launchdarkly.tracking):
        for name, response in (("1", _answer()), ("2", None)):
            calls.begin(name)
            calls.end(name, response)

    record = runs.wait(1)[-1]
    assert _figures(record) == (2, 0, 7317, 3863)
    assert record.usage is not None
    assert record.usage.lower_bound


@pytest.mark.parametrize(
    "second",
    [
        ConnectionError(),
        _answer("run-2", tokens=None),
        _answer("run-2", tokens=(5, 3)),
        _answer("run-2", tokens=(7317, 3863)),
    ],
    ids=["failed", "without usage", "with the same tokens", "with more tokens"],
)
def test_a_call_after_the_end_of_another_one_is_another_call(
    second: dict[str, Any] | Exception, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """A framework's call describes no call that ended before it, whatever it says, and is no sum of such calls."""
    above, below = _calls("langchain"), _calls("litellm")
    with track_ai(config_key="chat", tracking=launchdarkly.tracking):
        below.begin("1")
        below.end("1", _answer("chatcmpl-1", tokens=(5, 3)))
        above.begin("2")
        if isinstance(second, Exception):
            above.fail("2", second)
        else:
            above.end("2", second)

    record = runs.wait(1)[-1]
    assert (record.calls, record.failed_calls) == (2, int(isinstance(second, Exception)))


def test_a_late_report_may_describe_a_call_that_has_ended(
    launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """A framework that reports a call after its end does not report another one."""
    above, below = _calls("crewai"), _calls("litellm")
    with track_ai(config_key="chat", tracking=launchdarkly.tracking):
        below.begin("1")
        below.end("1", _answer("chatcmpl-1", tokens=(5, 3)))
        above.begin("2", begins_late=True)
        above.end("2", _answer("run-2", tokens=(5, 3)))

    assert _figures(runs.wait(1)[-1]) == (1, 0, 5, 3)


def test_ids_of_the_provider_tell_calls_apart(launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """Two calls at once with the same tokens are two, if a framework has the provider's id beside one of its own."""
    above, below = _calls("langchain"), _calls("litellm")
    with track_ai(config_key="chat", tracking=launchdarkly.tracking):
        above.begin("1")
        below.begin("2")
        above.end("1", Reading(usage=Usage(5, 3), ids=("run-1", "chatcmpl-1")))
        below.end("2", _answer("chatcmpl-2", tokens=(5, 3)))

    assert _figures(runs.wait(1)[-1]) == (2, 0, 10, 6)


def test_a_call_with_more_tokens_than_another_one_at_once_is_no_sum(
    launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """A framework reports single calls: one that has more tokens than those of others does not contain them."""
    above, below = _calls("langchain"), _calls("litellm")
    with track_ai(config_key="chat", tracking=launchdarkly.tracking):
        above.begin("1")
        below.begin("2")
        above.end("1", _answer("run-1", tokens=(7317, 3863)))
        below.end("2", _answer("chatcmpl-2", tokens=(5, 3)))

    assert _figures(runs.wait(1)[-1]) == (2, 0, 7322, 3866)
