"""The code on the pages about streams, scripts, provider calls, serverless platforms and migrating works."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from typing import Any

import celery
import pytest
from fastapi.testclient import TestClient
from ldai import LDAIClient
from ldai.tracker import LDAIConfigTracker
from ldclient import Context, LDClient
from openai import OpenAI, OpenAIError

from ldai_integrations import Run, RunRecord, Settings, Tracking, Usage, current_run, track_ai
from ldai_integrations.delivery import is_serverless
from ldai_integrations.devserver import DevServer
from ldai_integrations.exceptions import ConfigurationError, UnusableConfigError
from ldai_integrations.testing import OfflineLaunchDarkly, ai_config

from ..clients import makers
from ..clients.answers import Answer, chat, whole
from ..clients.provider import serving
from ..conftest import Clock, Decorate, EndProcess, Events
from ..ledger.provider import serving as breaking
from ..waiting import eventually
from .conftest import DOCS, ROOT, block, run_block, summaries


def test_a_stream(launchdarkly: DevServer, records: list[RunRecord]) -> None:
    """The run of a generator ends with the last chunk. If the generator is closed before, the run is cancelled."""
    space = run_block("streams.md", "def words(")
    with space["client"]:
        assert len(list(space["words"]("Hello?"))) > 1
        [record] = records
        assert record.time_to_first_token_ms is not None
        assert record.time_to_first_token_ms <= record.duration_ms

        broken_off = space["words"]("Hello?")
        next(broken_off)
        broken_off.close()
    assert eventually(lambda: len(records) == 2)  # its tokens are estimated, on another thread
    assert [record.outcome for record in records] == ["success", "cancelled"]
    assert records[1].usage is not None
    assert records[1].usage.output_tokens


def test_a_reported_first_token(
    tracking: Tracking, clock: Clock, records: list[RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first call of first_token() stops the time to first token."""
    space = run_block(
        "streams.md", "def whole(", replace={'config_key="support-bot"': 'config_key="chat", tracking=tracking'},
        tracking=tracking,
    )  # fmt: skip

    def source() -> Any:
        for part in ("Hel", "lo"):
            clock.advance(30)
            yield part

    space["source"] = source
    assert space["whole"]() == "Hello"

    assert [(record.time_to_first_token_ms, record.duration_ms) for record in records] == [(30, 60)]


@pytest.mark.parametrize(("as_", "sent"), [("cancelled", []), ("error", ["error"]), ("success", ["success"])])
def test_how_cancelled_runs_count(client: LDClient, events: Events, as_: Any, sent: list[str]) -> None:
    """The setting decides whether a cancelled run is an error, a success or neither. Its duration is always sent."""
    tracking = Tracking(client, settings=Settings(cancelled_as=as_))

    @track_ai(config_key="chat", tracking=tracking)
    def words() -> Any:
        yield from ("Hel", "lo")

    broken_off = words()
    next(broken_off)
    broken_off.close()
    tracking.flush()

    names = [name for name, _ in events.of_runs()]
    assert [name for name in names if name.startswith("generation:")] == [f"generation:{name}" for name in sent]
    assert "duration:total" in names


@pytest.mark.parametrize("breaks_after", [None, 2])
def test_an_error_in_a_stream(
    records: list[RunRecord], monkeypatch: pytest.MonkeyPatch, breaks_after: int | None
) -> None:
    """The browser gets an error event if the provider's stream breaks off, and the run is an error."""
    with OfflineLaunchDarkly({"support-bot": ai_config("gpt-4o-mini")}), breaking() as provider:
        provider.serve(breaks_after=breaks_after)
        monkeypatch.setenv("OPENAI_BASE_URL", f"{provider.url}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        space = run_block("streams.md", "event: error")
        with TestClient(space["app"]) as browser:
            answer = browser.get("/events?question=this")
            browser.portal.call(space["client"].close)  # type: ignore[union-attr]

    assert answer.status_code == 200
    assert answer.text.startswith('data: {"text": ')
    assert ("event: error\n" in answer.text) is (breaks_after is not None)
    assert [record.outcome for record in records] == ["error" if breaks_after is not None else "success"]


def test_a_reported_exception(track: Decorate, records: list[RunRecord]) -> None:
    """run.fail() makes the run an error, although the handler answers."""

    @track
    def handler(run: Run) -> str:
        run.fail(RuntimeError("the model broke"))
        return "sorry"

    assert handler() == "sorry"
    assert [record.outcome for record in records] == ["error"]


def test_a_script(launchdarkly: DevServer) -> None:
    """The script prints its answers, and the end of the process sends its runs."""
    code = block("scripts.md", "__main__")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )

    assert len(done.stdout.splitlines()) >= 2
    assert launchdarkly.metrics("nightly-report")["generationSuccessCount"] == 2


def test_no_launchdarkly(fresh_process: None, caplog: pytest.LogCaptureFixture) -> None:
    """Without LaunchDarkly the block runs, and one log line names the variables."""
    for _ in range(2):
        with track_ai(config_key="nightly-report") as run:
            assert not run.config.enabled

    assert [line.levelname for line in caplog.records if "LAUNCHDARKLY_SDK_KEY" in line.getMessage()] == ["WARNING"]


def test_celery(launchdarkly: DevServer, records: list[RunRecord]) -> None:
    """Each call of the task is a run with the LD context of its arguments, and so is each retry."""
    replace = {'"redis://localhost"': '"memory://", backend="cache+memory://"'}
    space = run_block("scripts.md", "@app.task\n", replace=replace)
    app, report = space["app"], space["report"]
    assert isinstance(app, celery.Celery)
    app.conf.task_always_eager = True
    with space["client"]:
        assert [report.delay(team).get(timeout=10) for team in ("sales", "support")]
    assert summaries(records) == [("nightly-report", "success", team) for team in ("sales", "support")]

    @app.task(autoretry_for=(ValueError,), max_retries=1, retry_backoff=False, default_retry_delay=0)  # type: ignore[untyped-decorator]
    @track_ai(config_key="nightly-report")
    def fails() -> None:
        raise ValueError

    fails.delay()
    assert [record.outcome for record in records[2:]] == ["error", "error"]


def test_retries_of_celery(records: list[RunRecord], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each attempt of a bound task is a run: an error, then a success."""
    with OfflineLaunchDarkly({"nightly-report": ai_config()}), serving() as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{provider.url}/openai/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        replace = {'"redis://localhost"': '"memory://", backend="cache+memory://"'}
        space = run_block("scripts.md", "bind=True", replace=replace)
        space["app"].conf.task_always_eager = True
        provider.fail()
        with space["client"]:
            assert space["digest"].delay("sales").get(timeout=10) == "Hello there (attempt 2)"

    assert [(record.outcome, record.calls) for record in records] == [("error", 1), ("success", 1)]


def test_threads(launchdarkly: DevServer, records: list[RunRecord]) -> None:
    """Calls on the threads of the library's pool belong to the run."""
    space = run_block("scripts.md", "pool.map(ask, parts)")
    with space["client"] as client:
        assert all(space["answers"])
        messages = [{"role": "system", "content": "You help ."}, {"role": "user", "content": "sales"}]
        one = client.chat.completions.create(model="gpt-4o-mini", messages=messages)
    [record] = records
    assert record.calls == 2
    assert record.usage is not None
    assert record.usage.source == "provider"
    assert one.usage is not None
    assert record.usage.input_tokens == 2 * one.usage.prompt_tokens


def test_bound_functions(launchdarkly: DevServer) -> None:
    """A function that is bound to the run is called on a thread of Python's pool."""
    space = run_block("scripts.md", "run.bind(summarize)")
    assert space["answer"] == "This call belongs to the run of nightly-report."


def test_tasks(launchdarkly: DevServer) -> None:
    """Tasks and asyncio.to_thread belong to the run that they are started in; executors do not."""

    async def main() -> list[bool]:
        async with track_ai(config_key="nightly-report") as run:
            loop = asyncio.get_running_loop()
            found = [await asyncio.to_thread(current_run), await loop.run_in_executor(None, current_run)]

            async def task() -> Run:
                return current_run()

            return [other is run for other in (*found, await asyncio.create_task(task()))]

    assert asyncio.run(main()) == [True, False, True]


def test_background_tasks(launchdarkly: DevServer, records: list[RunRecord]) -> None:
    """A decorated background task is a run of its own."""
    space = run_block("scripts.md", "BackgroundTasks")
    with space["client"], TestClient(space["app"]) as browser:
        assert browser.post("/questions?question=this").status_code == 200
    assert summaries(records) == [("nightly-report", "success", "")]


@pytest.mark.parametrize("is_known", [True, False])
def test_an_ai_config(launchdarkly: DevServer, records: list[RunRecord], is_known: bool) -> None:
    """The AI Config is used, or the default if LaunchDarkly has none."""
    replace = {} if is_known else {'"support-bot"': '"unknown"'}
    space = run_block("configs.md", "default=DEFAULT", replace=replace)
    with space["client"]:
        assert space["answer"]("Hello?")
    [record] = records
    assert (record.outcome, record.default_served, record.enabled) == ("success", not is_known, True)


def test_a_schema_of_the_answer(monkeypatch: pytest.MonkeyPatch, records: list[RunRecord]) -> None:
    """The schema of the variation on the page is sent to the model, whose answer is JSON."""
    variation = json.loads(block("configs.md", '"outputFormat"', language="json"))
    with OfflineLaunchDarkly({"order-reader": variation}), serving() as provider:
        choice = {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": '{"number": "1001"}'},
        }
        provider.queued.append(
            lambda _request: whole({"id": "chatcmpl-1", "model": "gpt-4o-mini", "choices": [choice]})
        )
        monkeypatch.setenv("OPENAI_BASE_URL", f"{provider.url}/openai/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        space = run_block("configs.md", "def read_order")
        with space["client"]:
            answer = space["read_order"]("Where is order 1001?")

    [request] = provider.requests
    assert request["response_format"]["json_schema"]["schema"] == variation["outputFormat"]
    assert answer == {"number": "1001"}


def test_an_agent_graph(
    fresh_process: EndProcess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The dev server serves the graph on the page without a warning, and the code on the page follows its edges."""
    with DevServer(json.loads(block("configs.md", '"edges"', language="json"))) as server:
        monkeypatch.setenv("LDAI_DEV_SERVER", server.url)
        run_block("configs.md", "@track_graph")["support"]("Where is order 1001?")
        fresh_process()  # sends the events
        names = [event["key"] for event in server.events() if event["kind"] == "custom"]

    assert "$ld:ai:graph:handoff_success" in names
    assert "$ld:ai:graph:redirect" not in names
    assert caplog.messages == []


@pytest.mark.parametrize("status", [200, 500])
def test_a_stream_of_httpx(status: int, records: list[RunRecord]) -> None:
    """The lines of a stream are one call with the provider's figures, or a failed one."""
    last = {"done": True, "done_reason": "stop", "prompt_eval_count": 1013, "eval_count": 77}
    lines = [{"done": False, "message": {"content": "Hello"}}, {**last, "message": {"content": ""}}]
    parts = [json.dumps({"model": "llama3", **line}).encode() + b"\n" for line in lines]
    with OfflineLaunchDarkly({"support-bot": ai_config("llama3")}), serving() as provider:
        answer = run_block("clients.md", "OLLAMA =", replace={"http://127.0.0.1:11434": provider.url})["answer"]
        provider.queued.append(lambda _request: Answer(parts, "application/x-ndjson", status=status))
        text = "".join(answer("Hello?"))

    [record] = records
    if status == 200:
        assert (text, record.outcome, record.calls) == ("Hello", "success", 1)
        assert record.usage == Usage(1013, 77, 1090)
    else:
        assert (text, record.outcome, record.failed_calls) == ("Please try again later.", "error", 1)


def test_tools() -> None:
    """A tool that is attached in LaunchDarkly is called, and the model answers with its result."""
    ask = run_block("configs.md", "TOOLS = {")["ask"]
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    tool = {"key": "weather", "name": "weather", "type": "function", "description": "Tell.", "parameters": schema}
    with OfflineLaunchDarkly({"with": ai_config(tools={"weather": tool})}), serving() as provider:
        provider.queued += [chat, lambda _request: chat({})]
        with makers.openai(provider.url) as client, track_ai("with") as run:
            assert ask(run, client, "Oslo?") == "Hello there"
    assert provider.requests[-1]["messages"][-1] == {
        "role": "tool",
        "tool_call_id": "call_1",
        "content": "Sunny in Oslo",
    }


def test_tools_in_a_stream(records: list[RunRecord], monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool that is called in a stream is run, and the stream goes on with the answer to its result."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    tool = {"key": "weather", "name": "weather", "type": "function", "description": "Tell.", "parameters": schema}
    with OfflineLaunchDarkly({"support-bot": ai_config(tools={"weather": tool})}), serving() as provider:
        provider.queued += [chat, lambda request: chat({**request, "tools": None})]
        monkeypatch.setenv("OPENAI_BASE_URL", f"{provider.url}/openai/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        space = run_block("streams.md", "def words_with_tools")
        with space["client"]:
            assert "".join(space["words_with_tools"]("Oslo?")) == "Hello thereHello there"

    *_, asked, result = provider.requests[-1]["messages"]
    assert asked["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city":"Oslo"}'}
    assert result == {"role": "tool", "tool_call_id": "call_1", "content": "Sunny in Oslo"}
    assert [(record.outcome, record.calls, record.tool_calls) for record in records] == [("success", 2, ("weather",))]


def test_a_call_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts of a request fit into a call of OpenAI's client, with a tool and without."""
    tool = {"key": "weather", "name": "weather", "type": "function", "description": "Tell.", "parameters": {}}
    with OfflineLaunchDarkly() as launchdarkly, serving() as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{provider.url}/openai/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        space = run_block("configs.md", "def answer_by_hand")
        with space["client"]:
            assert space["answer_by_hand"]("Oslo?") is None
            for parameters in ({"temperature": 0.2, "tools": [tool]}, {"temperature": 0.2}):
                launchdarkly.serve("support-bot", ai_config(parameters=parameters))
                assert space["answer_by_hand"]("Oslo?").choices
    assert ["tools" in request for request in provider.requests] == [True, False]


def test_the_names_of_apis() -> None:
    """The page has each value of ``api=``, and no other."""
    page = (DOCS / "configs.md").read_text(encoding="utf-8")
    configs = {"chat": ai_config()}
    with OfflineLaunchDarkly(configs), track_ai("chat") as run, pytest.raises(ConfigurationError) as refused:
        run.request(object(), api="soap")

    names = re.findall(r"'(\w+)'", str(refused.value).partition("use one of")[2])
    assert len(names) > 5
    assert sorted(re.findall(r'^\| `"(\w+)"` \|', page, re.MULTILINE)) == sorted(names)


def test_no_run() -> None:
    """Outside of a run, current_run() returns a run with a disabled AI Config."""
    assert not current_run().config.enabled
    with pytest.raises(UnusableConfigError):
        current_run().request(object())


def test_a_conversation() -> None:
    """The history of a conversation is sent, and continued."""
    follow_up = run_block("configs.md", "def follow_up")["follow_up"]
    conversation: list[Any] = []
    with (
        OfflineLaunchDarkly({"chat": ai_config()}),
        serving() as provider,
        makers.openai(provider.url) as client,
        track_ai("chat") as run,
    ):
        follow_up(run, client, conversation, "Hi")
        follow_up(run, client, conversation, "And now?")
    asked = [(message["role"], message["content"]) for message in provider.requests[-1]["messages"]]
    assert asked == [("user", "Hi"), ("assistant", "Hello there"), ("user", "And now?")]


def test_several_providers(launchdarkly: DevServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The handler calls the client of the provider that the AI Config names."""
    pytest.importorskip("anthropic", reason="comes with the extra [clients]")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "none")
    space = run_block("configs.md", "clients = {")
    with space["clients"]["OpenAI"], space["clients"]["Anthropic"]:
        response = space["app"].test_client().post("/chat", json={"question": "Hi"})
    assert response.status_code == 200
    assert response.text


def test_a_fallback(monkeypatch: pytest.MonkeyPatch, records: list[RunRecord]) -> None:
    """Another provider answers with the named model, and the run is a success that is priced without the AI Config."""
    pytest.importorskip("anthropic", reason="comes with the extra [clients]")
    prices = {"costPerInputToken": 1.0, "costPerOutputToken": 1.0}
    served = ai_config("gpt-4o", provider="our gateway", messages="Be kind.")
    served["model"]["custom"] = prices
    with OfflineLaunchDarkly({"support-bot": served}), serving() as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{provider.url}/openai/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", f"{provider.url}/anthropic")
        monkeypatch.setenv("ANTHROPIC_API_KEY", "none")
        space = run_block("configs.md", "def answer_anyway")
        with space["client"], space["other_client"]:
            provider.fail(status=404)
            assert space["answer_anyway"]("Hi") == "Hello there"

    assert [request["model"] for request in provider.requests] == ["gpt-4o", "claude-sonnet-5"]
    assert provider.requests[-1]["system"] == "Be kind."
    [record] = records
    assert (record.outcome, record.calls, record.failed_calls, record.cost) == ("success", 2, 1, None)


def test_a_wrapped_client(launchdarkly: DevServer, records: list[RunRecord]) -> None:
    """The wrapped client reports the usage of its call to the run."""
    space = run_block("clients.md", "def answer(run: Run, question):\n    response =")
    with space["client"]:
        assert space["answer"]("Hello?")
    assert [record.usage.source for record in records if record.usage] == ["provider"]


def test_a_client_instead_of_the_module(launchdarkly: DevServer) -> None:
    """A client that is made by hand is called as the module is."""
    space = run_block("clients.md", "import openai\n")
    space["client"].close()


def test_an_observed_stream(launchdarkly: DevServer, records: list[RunRecord]) -> None:
    """An observed stream is passed on unchanged, and the run has its usage."""
    assert list(run_block("clients.md", "run.observe(call_model")["answer"]("Hello?")) == ["Hi"]
    assert records[0].usage == Usage(input_tokens=12, output_tokens=1, total_tokens=13)


def test_reported_tokens(launchdarkly: DevServer, records: list[RunRecord]) -> None:
    """Tokens that the handler reports are the usage of the run."""
    assert run_block("clients.md", "run.add_usage")["answer"]() == "Hello!"
    assert records[0].usage == Usage(input_tokens=12, output_tokens=5, total_tokens=17)


def test_serverless(launchdarkly: DevServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a serverless platform the run has arrived when the function returns."""
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "chat")
    space = run_block("serverless.md", "def handler(")
    assert space["handler"]({"user": "ada", "question": "Hello?"}, None)["answer"]

    assert space["tracking"].stats().pending == 0
    assert launchdarkly.metrics("support-bot")["generationSuccessCount"] == 1
    assert space["tracking"].flush().complete
    space["client"].close()
    space["tracking"].close()


def test_the_platforms() -> None:
    """Each variable on the page marks a serverless platform, and the default times are those of the settings."""
    page = (DOCS / "serverless.md").read_text(encoding="utf-8")
    variables = re.findall(r"^\| [^|]+ \| `([A-Z_]+)` \|$", page, re.MULTILINE)
    assert len(variables) == 4
    assert all(is_serverless({name: "set"}) for name in variables)
    assert not is_serverless({})
    assert page.count(f"({Settings().flush_timeout:g} by default)") == 1
    assert page.count(f"({Settings().start_wait:g} by default)") == 1


@pytest.mark.parametrize("fails", [False, True])
def test_migrating(client: LDClient, events: Events, launchdarkly: DevServer, fails: bool) -> None:
    """Tracker calls by hand and the decorator send the same events, whether the model answers or fails."""
    names: dict[str, Any] = {"ld_context": Context.create("ada"), "question": "Hello?"}
    tracking = Tracking(client)
    with OpenAI(max_retries=0, base_url="http://127.0.0.1:9/v1" if fails else None) as openai_client:
        before = run_block("migrating.md", "def answer_by_hand", replace={'"support-bot"': '"chat"'})
        after = run_block(
            "migrating.md",
            "def answer(run: Run, ld_context",
            replace={
                "wrap_client(OpenAI())": "wrap_client(openai_client)",
                'config_key="support-bot",': 'config_key="chat", tracking=tracking,',
            },
            openai_client=openai_client,
            tracking=tracking,
        )

        def by_hand(ld_context: Context, question: str) -> Any:
            return before["answer_by_hand"](LDAIClient(client), openai_client, ld_context, question)

        sent = []
        for answer in (by_hand, after["answer"]):
            if fails:
                with pytest.raises(OpenAIError):
                    answer(**names)
            else:
                assert answer(**names)
            tracking.flush()
            of_runs = sorted((name, 0 if name == "duration:total" else value) for name, value in events.of_runs())
            sent.append([*of_runs, *sorted({str(event.data["variationKey"]) for event in _runs(events)})])
            events.custom.clear()

    assert sent[0] == sent[1]
    assert ("generation:error" if fails else "generation:success", 1) in sent[0]


# LaunchDarkly's AI SDK never closes the client that it creates.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_launchdarklys_own_sdk(launchdarkly: DevServer, records: list[RunRecord]) -> None:
    """The events of a model that LaunchDarkly's AI SDK creates belong to the run, and nothing is sent twice."""
    pytest.importorskip("ldai_openai")
    space = run_block("migrating.md", "tracking.ld_client")
    assert asyncio.run(space["answer"]("ada", "Hello?"))
    space["tracking"].close()

    [record] = records
    assert (record.outcome, record.usage is not None and record.usage.source) == ("success", "provider")
    metrics = launchdarkly.metrics("support-bot")
    assert metrics["generationSuccessCount"] == 1
    assert metrics["totalTokens"] == record.usage.total_tokens  # type: ignore[union-attr]


def _runs(events: Events) -> list[Any]:
    return [event for event in events.custom if isinstance(event.data, dict) and "runId" in event.data]


def test_every_tracker_method_has_its_row() -> None:
    """The table has all methods of LaunchDarkly's tracker and of run.tracker."""
    page = (DOCS / "migrating.md").read_text(encoding="utf-8")
    methods = {name for cls in (LDAIConfigTracker, type(current_run().tracker)) for name in dir(cls) if name[0] != "_"}
    methods.discard("from_resumption_token")  # creates a tracker

    assert len(methods) > 10
    assert sorted(name for name in methods if f"`{name}`" not in page) == []
