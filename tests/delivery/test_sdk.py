"""The private parts of ldclient work as delivery expects, and delivery works without them if they do not."""

from __future__ import annotations

import os
from configparser import ConfigParser
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from ldclient import Config, LDClient
from ldclient.impl.events import event_processor as sdk
from packaging.requirements import Requirement

from ldai_integrations import Tracking
from ldai_integrations.delivery import SpoolingEventProcessor, environment_id_of
from ldai_integrations.delivery._sdk import (
    Engine,
    SdkChangedError,
    SdkQueue,
    is_inherited,
    processor_of,
    replace_processor,
    stream_address_of,
    without_timeout_warning,
)
from ldai_integrations.devserver import DevServer
from ldai_integrations.testing import Events

from .conftest import CONTEXT, Connect, complete_runs, send_runs


def test_the_engine_does_what_the_sdk_does(connect: Connect, server: DevServer) -> None:
    """Our event processor and the SDK's send the same events for the same calls."""
    context = CONTEXT.builder_from_context(CONTEXT).set("email", "a@b.c").set("plan", "free").private("email").build()

    def sent_by(processor: Any) -> list[dict[str, Any]]:
        server.clear()
        client = connect(processor)
        client.identify(context)
        client.variation("chat", context, None)
        client.variation("no-such-flag", CONTEXT, "default")
        client.track("event", context, {"a": [1, "ü", None]}, 2.5)
        client.track("event", CONTEXT.create("other"))
        client.close()
        events = server.events()
        for event in events:
            event.pop("creationDate", None), event.pop("startDate", None), event.pop("endDate", None)
        return events

    ours = sent_by(SpoolingEventProcessor)
    assert ours == sent_by(None)
    assert [event["kind"] for event in ours] == ["identify", "custom", "index", "custom", "summary"]


def test_headers_are_the_sdks(server: DevServer) -> None:
    """A post has the SDK's headers about itself, the application and the schema of the events."""
    config = Config("test", wrapper_name="w", application={"id": "shop", "version": "1"})
    headers = Engine(config).headers
    assert headers["Authorization"] == "test"
    assert headers["X-LaunchDarkly-Tags"] == "application-id/shop application-version/1"
    assert (headers["X-LaunchDarkly-Wrapper"], headers["X-LaunchDarkly-Event-Schema"]) == ("w", "4")


def test_contexts_are_told_anew() -> None:
    """A context is sent once, until its keys are forgotten."""
    engine = Engine(Config("test"))
    factory = LDClient(Config("test", offline=True))._event_factory_default

    def kinds() -> list[str]:
        engine.process(factory.new_custom_event("event", CONTEXT, None, 1))
        return [event["kind"] for event in engine.format(engine.take()[0])]

    assert (kinds(), kinds()) == (["index", "custom"], ["custom"])
    engine.forget_contexts()
    assert kinds() == ["index", "custom"]


def test_the_sdks_queue_can_be_seen(connect: Connect) -> None:
    """The SDK's own event processor has the inbox that we read and flush."""
    queue = SdkQueue(connect(events_max_pending=123))
    assert (queue.is_known, queue.is_current, queue.sends_nothing, queue.capacity) == (True, True, False, 123)
    assert not SdkQueue(connect(SpoolingEventProcessor)).is_known


def test_the_bounds_are_those_of_the_tested_versions() -> None:
    """The package demands versions of LaunchDarkly's SDKs below the next major one, and these are installed."""
    parser = ConfigParser(interpolation=None)
    parser.read(Path(__file__).parents[2] / "setup.cfg")
    requirements = [Requirement(text) for text in parser["options"]["install_requires"].split()]
    for name, next_major in (("launchdarkly-server-sdk", "10"), ("launchdarkly-server-sdk-ai", "2")):
        [specifier] = [each.specifier for each in requirements if each.name == name]
        assert version(name) in specifier
        assert next_major not in specifier


def test_the_owner_of_a_client(client: LDClient) -> None:
    """A client knows the process that made it, and its event processor can be replaced until ``postfork()``."""
    private: Any = client
    assert (private._owner_pid, is_inherited(client)) == (os.getpid(), False)
    private._owner_pid = -1
    assert is_inherited(client)
    before, replacement = processor_of(client), Events()
    replace_processor(client, replacement)
    assert not is_inherited(client)
    client.track("event", CONTEXT)
    assert len(replacement.custom) == 1
    with without_timeout_warning():
        client.postfork(start_wait=0)
    assert processor_of(client) not in (None, replacement)
    before.stop()


def test_the_environment_id(tracking: Tracking, server: DevServer) -> None:
    """The id of the environment is the one that the server sends."""
    assert environment_id_of(tracking.client)


def test_the_address_of_a_client(tracking: Tracking, server: DevServer) -> None:
    """The address from which a client gets its flags is that of its configuration."""
    assert stream_address_of(tracking.client) == server.url


class _Deaf(sdk.EventDispatcher):
    """A dispatcher that reads messages and understands none."""

    def _run_main_loop(self) -> None:
        with suppress(SystemExit):
            while True:
                self._inbox.get(block=True)
        self._do_shutdown()  # type: ignore[no-untyped-call]  # a method of the SDK


def _without(name: str) -> type:
    class Dispatcher(sdk.EventDispatcher):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)  # type: ignore[no-untyped-call]  # the same
            delattr(self, name)

    return Dispatcher


@pytest.mark.parametrize("dispatcher", [_Deaf, _without("_outbox"), _without("_formatter"), None, lambda _inbox: None])
def test_a_changed_sdk_is_used_as_it_is(
    dispatcher: Any,
    monkeypatch: pytest.MonkeyPatch,
    server: DevServer,
    no_leaks: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """If private parts of the SDK change, its own event processor is used, which is logged once, and events arrive."""
    monkeypatch.setattr("ldai_integrations.delivery._sdk._START_SECONDS", 0.2)
    original = sdk.EventDispatcher
    monkeypatch.setattr(sdk, "EventDispatcher", dispatcher)
    with pytest.raises(SdkChangedError):
        Engine(Config("test"))
    default: Any = sdk.DefaultEventProcessor.__init__

    def with_original(self: Any, config: Config, **options: Any) -> None:
        default(self, config, dispatcher_class=original, **options)

    monkeypatch.setattr(sdk.DefaultEventProcessor, "__init__", with_original)
    tracking = Tracking.from_env(environ={"LDAI_DEV_SERVER": server.url})
    send_runs(tracking, 3)
    assert tracking.flush(30).pending == 0
    assert complete_runs(server) == 3
    assert sum("has unexpected internals" in record.message for record in caplog.records) == 1
    tracking.close()
