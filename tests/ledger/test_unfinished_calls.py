"""Provider calls whose answers nobody waits for: hedged requests, timeouts, and streams that are left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import httpx
import pytest
from openai import AsyncOpenAI

from ldai_integrations import current_run, track_ai, wrap_client
from ldai_integrations.records import RunRecord
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink

from ..clients import makers
from .provider import IN, OUT, Provider

ASK: list[Any] = [{"role": "user", "content": "Hi"}]
SLOW, SOON, LATE = "slow", 0.1, 1.0
STOPPED = "A provider call was stopped before its answer arrived, in a run of 'chat'"


def handled(handler: Callable[[], Any], runs: RecordingSink) -> RunRecord:
    """Return the record of a handler's run."""
    track_ai(config_key="chat")(handler)()
    return runs.wait()[0]


def handled_async(handler: Callable[[AsyncOpenAI], Any], provider: Provider, runs: RecordingSink) -> RunRecord:
    """Return the record of the run of an asynchronous handler, which gets a wrapped client."""

    async def call() -> None:
        tracked: Any = track_ai(config_key="chat")(handler)
        async with makers.async_openai(provider.url) as client:
            await tracked(wrap_client(client, include_usage="always"))

    asyncio.run(call())
    return runs.wait()[0]


def is_exact(record: RunRecord) -> bool:
    """Return whether a record has the tokens of one answer, and claims to know all of them."""
    usage = record.usage
    assert usage is not None
    return (usage.input_tokens, usage.output_tokens, usage.lower_bound, usage.source) == (IN, OUT, False, "provider")


@pytest.mark.parametrize("is_stream", [False, True])
def test_the_faster_of_two(is_stream: bool, provider: Provider, runs: RecordingSink) -> None:
    """The tokens of a request that lost a race are not known, so that those of the run are a lower bound."""
    provider.serve(SLOW, **({"pause": SOON} if is_stream else {"delay": LATE}))

    async def ask(client: Any, model: str) -> None:
        answer = await client.chat.completions.create(model=model, messages=ASK, stream=is_stream)
        if is_stream:
            assert [chunk async for chunk in answer]

    async def handler(client: Any) -> None:
        asked = [asyncio.create_task(ask(client, model)) for model in (SLOW, "fast")]
        _, late = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    record = handled_async(handler, provider, runs)
    assert (record.outcome, record.calls, record.failed_calls) == ("success", 2, 0)
    assert record.usage is not None
    assert record.usage.lower_bound
    assert record.usage.output_tokens is not None
    assert record.usage.output_tokens >= OUT
    assert record.cost is None or record.cost.lower_bound


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("fallback", [False, True])
def test_a_deadline(
    fallback: bool, is_stream: bool, provider: Provider, runs: RecordingSink, caplog: pytest.LogCaptureFixture
) -> None:
    """A call that ``asyncio.wait_for`` stops before it answered is an error, unless another call answers instead.

    The log says that it was stopped.
    """
    provider.serve(SLOW, delay=LATE)

    async def ask(client: Any, model: str) -> object:
        answer = await client.chat.completions.create(model=model, messages=ASK, stream=is_stream)
        return [chunk async for chunk in answer] if is_stream else answer

    async def handler(client: Any) -> object:
        try:
            return await asyncio.wait_for(ask(client, SLOW), SOON)
        except asyncio.TimeoutError:
            return await ask(client, "other") if fallback else "We are sorry."

    record = handled_async(handler, provider, runs)
    assert (record.outcome, record.calls) == ("success" if fallback else "error", 1 + fallback)
    assert record.usage is not None
    assert record.usage.lower_bound
    assert STOPPED in caplog.text


@pytest.mark.parametrize("times_out", [False, True])
def test_a_task_group_that_fails(
    times_out: bool, provider: Provider, runs: RecordingSink, caplog: pytest.LogCaptureFixture
) -> None:
    """A task that fails stops the calls of its group. The log says so, also if the task itself made a call."""
    provider.serve(SLOW, delay=LATE)

    async def handler(client: Any) -> str:
        ask = client.chat.completions.create

        async def fail() -> None:
            await asyncio.sleep(SOON)
            if times_out:
                await ask(model=SLOW, messages=ASK, timeout=SOON)
            raise ValueError

        with suppress(BaseException):
            async with anyio.create_task_group() as group:
                group.start_soon(partial(ask, model=SLOW, messages=ASK))
                group.start_soon(fail)
        return "We are sorry."

    record = handled_async(handler, provider, runs)
    assert (record.outcome, record.calls, record.failed_calls) == ("error", 1 + times_out, int(times_out))
    assert STOPPED in caplog.text


def test_a_timeout_of_the_client(provider: Provider, openai: Any, runs: RecordingSink) -> None:
    """A provider may bill a request that timed out, so that the tokens of the fallback are a lower bound."""
    provider.serve(SLOW, delay=LATE)
    client = wrap_client(openai)

    def handler() -> None:
        with pytest.raises(pytest.importorskip("openai").APITimeoutError):
            client.chat.completions.create(model=SLOW, messages=ASK, timeout=SOON)
        client.chat.completions.create(model="other", messages=ASK)

    record = handled(handler, runs)
    assert (record.outcome, record.calls, record.failed_calls) == ("success", 2, 1)
    assert record.usage is not None
    assert record.usage.input_tokens is not None
    assert record.usage.input_tokens > IN
    assert (record.usage.output_tokens, record.usage.lower_bound) == (OUT, True)


def ask_openai(url: str) -> None:
    """Ask OpenAI for less time than it takes to answer."""
    with makers.openai(url).with_options(max_retries=0, timeout=SOON) as client:
        wrap_client(client).chat.completions.create(model="gpt-4o-mini", messages=ASK)


def ask_anthropic(url: str) -> None:
    """Ask Anthropic for less time than it takes to answer."""
    with makers.anthropic(url).with_options(max_retries=0, timeout=SOON) as client:
        wrap_client(client).messages.create(model="gpt-4o-mini", messages=ASK, max_tokens=9)


def ask_bedrock(url: str) -> None:
    """Ask Bedrock for less time than it takes to answer."""
    import boto3
    from botocore.config import Config

    config = Config(read_timeout=SOON, retries={"max_attempts": 0})
    keys = {"aws_access_key_id": "none", "aws_secret_access_key": "none", "region_name": "us-east-1"}
    client = boto3.client("bedrock-runtime", endpoint_url=f"{url}/bedrock", config=config, **keys)
    wrap_client(client).converse(modelId="gpt-4o-mini", messages=[{"role": "user", "content": [{"text": "Hi"}]}])


@pytest.mark.parametrize("ask", [ask_openai, ask_anthropic, ask_bedrock])
def test_a_timeout_of_the_only_call(ask: Callable[[str], None], provider: Provider, runs: RecordingSink) -> None:
    """The input of a request that timed out is estimated, and its tokens and its cost are a lower bound."""
    provider.serve(delay=LATE)

    def handler() -> str:
        with pytest.raises(Exception, match=r"(?i)timed out|timeout"):
            ask(provider.url)
        return "We are sorry."

    record = handled(handler, runs)
    assert (record.outcome, record.calls, record.failed_calls) == ("error", 1, 1)
    assert record.usage is not None
    assert record.usage.input_tokens
    assert (record.usage.output_tokens, record.usage.lower_bound, record.usage.source) == (None, True, "estimate")
    assert record.cost is not None
    assert record.cost.lower_bound


@pytest.mark.parametrize("name", ["ReadTimeout", "ReadTimeoutError", "RemoteProtocolError"])
def test_an_observed_timeout(name: str, runs: RecordingSink) -> None:
    """The same for the exception of a client that nobody wraps: the messages of the run are estimated."""

    def handler() -> str:
        current_run().messages(user="Hi")
        current_run().observe(type(name, (Exception,), {})())
        return "We are sorry."

    record = handled(handler, runs)
    assert (record.outcome, record.calls, record.failed_calls) == ("error", 1, 1)
    assert record.usage is not None
    assert record.usage.input_tokens
    assert (record.usage.output_tokens, record.usage.lower_bound, record.usage.source) == (None, True, "estimate")
    assert record.cost is not None
    assert record.cost.lower_bound


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(
    ("status", "may_be_billed"), [(408, True), (504, True), (524, True), (429, False), (500, False)]
)
def test_an_observed_status(
    status: int, may_be_billed: bool, is_stream: bool, provider: Provider, runs: RecordingSink
) -> None:
    """The tokens beside an observed response are a lower bound if its status says that somebody gave up waiting."""
    provider.serve("refused", status=status)
    with track_ai(config_key="chat") as run, httpx.Client(base_url=f"{provider.url}/v1") as client:
        for model in ("refused", "gpt-4o-mini"):
            request = client.build_request("POST", "/chat/completions", json={"model": model, "messages": ASK})
            response = run.observe(client.send(request, stream=is_stream))
            if response.is_success:
                response.read()

    record = runs.wait()[0]
    assert (record.outcome, record.calls, record.failed_calls) == ("success", 2, 1)
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens) == (IN, OUT)
    assert record.usage.lower_bound is may_be_billed


@pytest.mark.parametrize(("status", "port"), [(500, None), (429, None), (None, 9)])
def test_a_call_that_was_refused(
    status: int | None, port: int | None, provider: Provider, openai: Any, runs: RecordingSink
) -> None:
    """A call that the provider refused, or that never reached it, has no tokens and no cost."""
    client = openai if port is None else openai.with_options(base_url=f"http://127.0.0.1:{port}/v1")
    if status is not None:
        provider.serve("refused", status=status)

    def handler() -> str:
        with pytest.raises(Exception, match=r"(?i)connection|error"):
            wrap_client(client).chat.completions.create(model="refused", messages=ASK)
        return "We are sorry."

    record = handled(handler, runs)
    assert (record.outcome, record.calls, record.failed_calls) == ("error", 1, 1)
    assert (record.usage, record.cost) == (None, None)


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_connection_that_breaks(is_stream: bool, provider: Provider, openai: Any, runs: RecordingSink) -> None:
    """A provider may bill a request whose connection broke, so that the tokens of the fallback are a lower bound."""
    provider.serve("broken", hangs_up=True)
    client = wrap_client(openai)

    def handler() -> None:
        with pytest.raises(Exception, match=r"(?i)connection"):
            list(client.chat.completions.create(model="broken", messages=ASK, stream=is_stream))
        client.chat.completions.create(model="other", messages=ASK)

    record = handled(handler, runs)
    assert (record.outcome, record.calls, record.failed_calls) == ("success", 2, 1)
    assert record.usage is not None
    assert record.usage.lower_bound
    assert record.usage.output_tokens == OUT


def test_the_estimate_of_a_failed_run_is_counted(
    provider: Provider, launchdarkly: OfflineLaunchDarkly, caplog: pytest.LogCaptureFixture
) -> None:
    """The estimate of a run whose only call timed out is logged and counted like that of a run with success."""
    provider.serve(delay=LATE)
    with pytest.raises(Exception, match=r"(?i)timed out"), track_ai(config_key="chat"):
        ask_openai(provider.url)
    launchdarkly.tracking.flush()
    assert "A provider call in a run of 'chat' failed after its request was sent" in caplog.text
    assert launchdarkly.tracking.stats().diagnostics == {"estimated": 1}


def test_the_log_of_an_answer_that_cannot_be_read(
    provider: Provider, openai: Any, runs: RecordingSink, caplog: pytest.LogCaptureFixture
) -> None:
    """The log line of an answer that arrived and could not be read does not say that it did not arrive."""
    provider.serve("bad", body=b'{"id": "1", ')
    with track_ai(config_key="chat"), pytest.raises(ValueError, match=r"(?i)expecting"):
        wrap_client(openai).chat.completions.create(model="bad", messages=ASK)
    assert runs.wait()
    (line,) = caplog.messages
    assert "did not arrive" not in line
    assert line.endswith("If the answer could not be read, its exception says why.")


@pytest.mark.parametrize(
    "name",
    [
        "ConnectTimeout",
        "ConnectTimeoutError",
        "ConnectError",
        "PoolTimeout",
        "LocalProtocolError",
        "InternalServerError",
    ],
)
def test_a_request_that_was_not_answered_at_all(
    name: str, provider: Provider, openai: Any, runs: RecordingSink
) -> None:
    """A request that did not reach the provider, or that it refused, is not billed."""
    client = wrap_client(openai)

    def handler() -> None:
        current_run().observe(type(name, (Exception,), {})())
        client.chat.completions.create(model="other", messages=ASK)

    record = handled(handler, runs)
    assert (record.calls, record.failed_calls) == (2, 1)
    assert is_exact(record)


def test_a_stream_that_is_left(provider: Provider, openai: Any, runs: RecordingSink) -> None:
    """The tokens of a stream that is left before its end are a lower bound: the provider may go on."""
    client = wrap_client(openai, include_usage="always")
    provider.serve("long", words=("Hello",) * 5)

    def handler() -> None:
        stream = client.chat.completions.create(model="long", messages=ASK, stream=True)
        for chunk in stream:
            if chunk.choices[0].delta.content:
                break
        stream.close()

    record = handled(handler, runs)
    assert record.usage is not None
    assert (record.outcome, record.usage.source, record.usage.lower_bound) == ("success", "estimate", True)


def test_a_call_that_runs_on_after_the_failure_of_another(
    provider: Provider, runs: RecordingSink, caplog: pytest.LogCaptureFixture
) -> None:
    """``asyncio.gather`` does not wait for it. The log says how to do so."""
    provider.serve(SLOW, delay=LATE)
    provider.serve("refused", status=400)

    async def handler(client: Any) -> None:
        ask = client.chat.completions.create
        with suppress(Exception):
            await asyncio.gather(*(ask(model=model, messages=ASK) for model in (SLOW, "refused")))

    record = handled_async(handler, provider, runs)
    assert (record.outcome, record.calls, record.failed_calls) == ("error", 2, 1)
    assert record.usage is not None
    assert record.usage.lower_bound
    assert "A provider's answer had not arrived when a run of 'chat' ended" in caplog.text


@pytest.mark.parametrize("is_stream", [False, True])
def test_an_observed_response_that_nobody_reads(
    is_stream: bool, provider: Provider, openai: Any, runs: RecordingSink
) -> None:
    """It is a call with unknown tokens, so that those of the run are a lower bound."""
    client = wrap_client(openai)

    with httpx.Client() as http:

        def handler() -> None:
            if is_stream:
                unread = openai.chat.completions.create(model="gpt-4o-mini", messages=ASK, stream=True)
            else:
                body = {"model": "gpt-4o-mini", "messages": ASK}
                unread = http.send(
                    http.build_request("POST", f"{provider.url}/chat/completions", json=body), stream=True
                )
            current_run().observe(unread)
            client.chat.completions.create(model="gpt-4o-mini", messages=ASK)

        record = handled(handler, runs)
    assert (record.outcome, record.calls, record.failed_calls) == ("success", 2, 0)
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens, record.usage.lower_bound) == (IN, OUT, True)


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("fallback", [False, True])
def test_an_observed_call_that_is_stopped(
    fallback: bool, is_stream: bool, provider: Provider, async_openai: Any, runs: RecordingSink
) -> None:
    """A call of a client that nobody wraps counts too if it is stopped; the text of the apology is no output."""
    provider.serve(SLOW, **({"pause": LATE} if is_stream else {"delay": LATE}))

    async def ask(model: str) -> object:
        create = async_openai.chat.completions.create(model=model, messages=ASK, stream=is_stream)
        answer = await current_run().observe(create)
        return [chunk async for chunk in answer] if is_stream else answer

    async def handler(_client: Any) -> object:
        async with async_openai:
            try:
                return await asyncio.wait_for(ask(SLOW), SOON)
            except asyncio.TimeoutError:
                return await ask("other") if fallback else "We are sorry."

    record = handled_async(handler, provider, runs)
    assert (record.outcome, record.calls) == ("success" if fallback else "error", 1 + fallback)
    assert (record.usage is not None and record.usage.lower_bound) if fallback else record.usage is None


def test_an_observed_request_that_lost_a_race(provider: Provider, async_openai: Any, runs: RecordingSink) -> None:
    """The tokens of the run are a lower bound, although the request was cancelled before it had an answer."""
    provider.serve(SLOW, delay=LATE)

    async def handler(_client: Any) -> None:
        async with async_openai:
            create, observe = async_openai.chat.completions.create, current_run().observe
            asked = [asyncio.create_task(observe(create(model=model, messages=ASK))) for model in (SLOW, "fast")]
            _, late = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    record = handled_async(handler, provider, runs)
    assert (record.outcome, record.calls, record.failed_calls) == ("success", 2, 0)
    assert record.usage is not None
    assert (record.usage.output_tokens, record.usage.lower_bound) == (OUT, True)


@pytest.mark.parametrize("delay", [0.0, LATE])
def test_observed_code_that_is_stopped(delay: float, provider: Provider, runs: RecordingSink) -> None:
    """Code that is observed as a whole and stopped adds nothing to the calls that it has made."""
    provider.serve("model", delay=delay)

    async def agent(client: Any) -> None:
        await client.chat.completions.create(model="model", messages=ASK)
        await asyncio.sleep(LATE)

    async def handler(client: Any) -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(current_run().observe(agent(client)), 5 * SOON)

    record = handled_async(handler, provider, runs)
    assert record.calls == 1
    assert is_exact(record) == (not delay)


@pytest.mark.parametrize("is_httpx", [False, True])
def test_an_observed_stream_without_an_item(is_httpx: bool, provider: Provider, runs: RecordingSink) -> None:
    """A stream that a gateway ends at once is a call with unknown tokens, and an apology is not its output."""
    provider.serve("empty", frames=[])

    def answer() -> str:
        request = {"model": "empty", "messages": ASK, "stream": True}
        with httpx.stream("POST", f"{provider.url}/chat/completions", json=request) as response:
            observe = current_run().observe
            lines = observe(response).iter_lines() if is_httpx else observe(response.iter_lines())
            return "".join(line for line in lines if line != "data: [DONE]") or "Sorry, there was no answer."

    record = handled(answer, runs)
    assert (record.outcome, record.calls, record.failed_calls, record.usage) == ("success", 1, 0, None)


@pytest.mark.parametrize("is_wrapped", [False, True])
def test_an_observed_selection_without_an_item(
    is_wrapped: bool, provider: Provider, openai: Any, runs: RecordingSink
) -> None:
    """A generator that selects the texts of a stream is no other call if the model only calls a tool."""
    provider.serve("tool", tool="look", pause=0.01)

    def answer() -> list[str]:
        client, observe = wrap_client(openai, include_usage="always") if is_wrapped else openai, current_run().observe
        options = {} if is_wrapped else {"stream_options": {"include_usage": True}}
        chunks = observe(client.chat.completions.create(model="tool", messages=ASK, stream=True, **options))
        texts = (chunk.choices[0].delta.content for chunk in chunks if chunk.choices)
        return list(observe(text for text in texts if text))

    record = handled(answer, runs)
    assert record.calls == 1
    assert is_exact(record)


def test_a_nursery_that_is_cancelled(provider: Provider, runs: RecordingSink) -> None:
    """Trio raises a group of cancellations: neither the run nor its calls have failed."""
    trio = pytest.importorskip("trio")
    provider.serve(SLOW, delay=LATE)

    @track_ai(config_key="chat")
    async def handler() -> None:
        async with makers.async_openai(provider.url) as client, trio.open_nursery() as nursery:
            for _ in range(2):
                create = wrap_client(client).chat.completions.create
                nursery.start_soon(partial(create, model=SLOW, messages=ASK))

    async def call() -> None:
        with trio.move_on_after(3 * SOON):
            await handler()

    trio.run(call)
    record = runs.wait()[0]
    assert (record.outcome, record.calls, record.failed_calls, record.error) == ("cancelled", 2, 0, None)
    assert record.usage is not None
    assert record.usage.lower_bound
