"""Sizes that LaunchDarkly, a provider or the application decides: no extreme makes the library block an event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from ldai_integrations import Run, RunRecord, Tracking, track_ai
from ldai_integrations.clients import wrap_client
from ldai_integrations.testing import OfflineLaunchDarkly, ai_config

from ..conftest import Decorate, Events
from .conftest import Measure
from .responses import MB, TEXT, USAGE, completion
from .watchdog import MOST, watch

FUNCTION = {"type": "function", "description": "Finds an order.", "parameters": {"type": "object", "properties": {}}}
TURNS = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]


def messages(number: int, text: str = "Hi {{company}}") -> list[dict[str, str]]:
    """Build messages of an AI Config."""
    return [{"role": "user", "content": text}] * number


def parameters(number: int) -> dict[str, Any]:
    """Build parameters of a model."""
    return {f"parameter{one}": one for one in range(number)}


def tools(number: int) -> dict[str, Any]:
    """Build tools of an AI Config."""
    return {f"tool{one}": {**FUNCTION, "name": f"tool{one}"} for one in range(number)}


def tags(number: int, size: int) -> dict[str, Any]:
    """Build an AI Config whose prompt has so many tags and characters."""
    return ai_config(messages=("{{company}}" + "word " * (size // number // 5)) * number)


def watch_run(
    config: dict[str, Any], *uses: Callable[[Run], object], variables: dict[str, Any] | None = None
) -> tuple[float, bool]:
    """Return how long the first run of a new AI Config used its loop, and whether the AI Config was served.

    That is the shortest of three attempts, each with other texts, because the processor is not always equally fast.
    """

    async def handle(key: str) -> bool:
        with track_ai(key, variables={"company": "K", **(variables or {})}) as run:
            for use in uses:
                use(run)
                await asyncio.sleep(0)
            return run.config.enabled

    async def serve() -> None:
        served.append(await handle("bot"))

    times: list[float] = []
    served: list[bool] = []
    for attempt in range(3):
        new = json.loads(json.dumps(config).replace('"content": "', f'"content": "{attempt}'))
        with OfflineLaunchDarkly({"warm": ai_config(messages="Hi {{company}}"), "bot": new}):
            watch(handle("warm"))
            times.append(watch(serve()).longest)
    return min(times), served[0]


def use_messages(run: Run) -> None:
    """Render the prompt."""
    run.messages(user="Hello")


def use_parameters(run: Run) -> None:
    """Read what else the AI Config says."""
    assert run.parameters is not None


def use_tools(run: Run) -> None:
    """Convert the tools."""
    run.tools(None, api="chat")


CONFIGS: dict[str, tuple[dict[str, Any], bool]] = {
    "100 of each": (ai_config(messages=messages(100), parameters=parameters(100), tools=tools(100)), True),
    "200 messages": (ai_config(messages=messages(200)), True),
    "200 tools": (ai_config(tools=tools(200)), True),
    "100 tags": (tags(100, 50_000), True),
    "10 tags in 300 KB": (tags(10, 300_000), True),
    "500 KB without tags": (ai_config(messages=TEXT[: MB // 2]), True),
    "10,000 messages": (ai_config(messages=messages(10_000)), False),
    "10,000 parameters": (ai_config(parameters=parameters(10_000)), False),
    "5,000 tools": (ai_config(tools=tools(5_000)), False),
    "5,000 tools as parameter": (ai_config(parameters={"tools": list(tools(5_000).values())}), False),
    "201 tags": (tags(201, 10_000), False),
    "5,000 tags in 50 messages": (ai_config(messages=messages(50, "{{company}}" * 100)), False),
    "20 tags in 1 MB": (tags(20, MB), False),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_ai_configs(no_leaks: None, o200k: None, name: str) -> None:
    """A large AI Config takes no time; one that would is not served."""
    config, is_served = CONFIGS[name]
    seconds, was_served = watch_run(config, use_messages, use_parameters, use_tools)

    assert was_served is is_served
    assert seconds < MOST


def test_the_problem_of_a_large_ai_config_is_logged(no_leaks: None, caplog: pytest.LogCaptureFixture) -> None:
    """The log line names the limit."""
    watch_run(CONFIGS["5,000 tools"][0], use_messages)
    watch_run(CONFIGS["201 tags"][0], use_messages)

    assert "tools has more than 200 entries" in caplog.text
    assert "its prompt has more than 200 tags" in caplog.text


def test_long_texts(no_leaks: None, o200k: None) -> None:
    """A long text in a prompt takes no time: 10 MB from the user, or 1 MB as a variable, which is copied."""
    text = TEXT * 10
    config = ai_config(messages="Hi {{text}}")
    seconds, _ = watch_run(config, use_messages, lambda run: run.messages(user=text), variables={"text": TEXT})

    assert seconds < MOST


def chunks(number: int) -> list[dict[str, Any]]:
    """Build the chunks of a provider's stream, with its usage at the end."""
    choices = [{"index": 0, "delta": {"content": "word "}}]
    chunk = {"id": "x", "object": "chat.completion.chunk", "model": "gpt-4o", "choices": choices}
    return [*[chunk] * number, {**chunk, "choices": [], "usage": USAGE}]


@pytest.mark.parametrize(
    "form", [list, tuple, json.dumps, partial(json.dumps, indent=1)], ids=["list", "tuple", "json", "indented json"]
)
@pytest.mark.parametrize("receiver", [None, "records"])
def test_long_lists_of_events(
    measure: Measure, tracking: Tracking, track: Decorate, events: Events, request: Any, form: Any, receiver: str | None
) -> None:
    """A stream that the application has collected is read after the run, exactly, whoever gets the record."""
    if receiver is not None:
        request.getfixturevalue(receiver)
    response = form(chunks(5_000))

    @track
    async def handler(run: Run) -> None:
        await asyncio.sleep(0)
        run.observe(response)

    assert measure(handler).longest < MOST
    assert [event.metric_value for event in events.named("tokens:total")] == [USAGE["total_tokens"]] * 2


@pytest.mark.parametrize("turns", [500, 1_000])
def test_long_conversations(
    measure: Measure, tracking: Tracking, track: Decorate, records: list[RunRecord], turns: int
) -> None:
    """The many turns of a conversation are counted elsewhere, also if somebody waits for the record."""

    class Completions:
        async def create(self, **_request: Any) -> dict[str, Any]:
            await asyncio.sleep(0)
            return completion("Hello")

    class OpenAI:
        def __init__(self) -> None:
            self.chat = type("Chat", (), {"completions": Completions()})()

    client = wrap_client(OpenAI())

    @track
    async def handler(run: Run) -> None:
        messages = run.messages(user="Hello", history=TURNS * (turns // 2))
        await asyncio.sleep(0)
        await client.chat.completions.create(model="gpt-4o", messages=messages)
        await asyncio.sleep(0)

    # The processor is not always equally fast.
    assert min(measure(handler).longest for _ in range(3)) < MOST
    assert len(records) == 6
