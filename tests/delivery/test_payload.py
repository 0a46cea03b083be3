"""A value that JSON cannot represent is replaced by the nearest one, and costs no other event."""

from __future__ import annotations

import datetime
import json
import math
import uuid
from collections import ChainMap, OrderedDict, UserDict, namedtuple
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

import pytest
from ldclient import Config, Context, LDClient

from ldai_integrations import Tracking
from ldai_integrations._diagnostics import Diagnostics
from ldai_integrations.delivery import Delivery, SpoolingEventProcessor, delivery_of, safe_context
from ldai_integrations.devserver import DevServer
from ldai_integrations.testing import Events
from ldai_integrations.tracking import services_of

from .conftest import CONTEXT, Connect, processor_of, send_runs

Point = namedtuple("Point", "x y")


class Color(Enum):
    """An enum with values of many kinds."""

    RED = "red"
    WHEN = datetime.date(2026, 1, 2)
    ONE = 1


class Level(IntEnum):
    """An enum of numbers."""

    LOW = 1


class Hostile:
    """An object that raises from every method."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


class Text(str):
    """A subclass of str."""


class FakeArray:
    """An object with the conversion method of numpy's arrays."""

    def __init__(self, content: Any) -> None:
        self.content = content

    def tolist(self) -> Any:
        """Return Python's own values."""
        return self.content


class Plain:
    """An object without a text of its own."""


@dataclass
class Secret:
    """An object with a text."""

    name: str = "ada"


def _cyclic() -> list[Any]:
    items: list[Any] = [1]
    items.append(items)
    return items


def _nested(depth: int) -> Any:
    value: Any = "bottom"
    for _ in range(depth):
        value = [value]
    return value


_TIME = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
_UUID = uuid.UUID(int=7)

REPLACED = [
    (math.nan, None),
    (math.inf, None),
    (-math.inf, None),
    (Decimal("1.5"), 1.5),
    (Decimal("NaN"), None),
    (Fraction(1, 4), 0.25),
    (2 + 3j, None),
    (10**30, 1e30),
    (-(10**30), -1e30),
    (10**400, None),
    (10**5_000, None),
    (_TIME, "2026-01-02T03:04:05+00:00"),
    (datetime.date(2026, 1, 2), "2026-01-02"),
    (datetime.time(3, 4), "03:04:00"),
    (datetime.timedelta(seconds=90), "0:01:30"),
    (_UUID, str(_UUID)),
    (PurePosixPath("a/b"), "a/b"),
    (b"bytes", "bytes"),
    (bytearray(b"\xff"), "�"),
    (Color.RED, "red"),
    (Color.WHEN, "2026-01-02"),
    (Level.LOW, 1),
    (Text("text"), "text"),
    ({3}, [3]),
    (frozenset({"a"}), ["a"]),
    (Point(1, math.nan), [1, None]),
    (OrderedDict(a=1), {"a": 1}),
    (MappingProxyType({"a": {1}}), {"a": [1]}),
    (ChainMap({"a": 1}, {}), {"a": 1}),
    (UserDict({"a": 1}), {"a": 1}),
    ({1: "one", None: 2, (1, 2): 3}, {"1": "one", "None": 2, "(1, 2)": 3}),
    ({Plain(): 1}, {"<Plain>": 1}),
    (FakeArray([1.5, math.nan]), [1.5, None]),
    (FakeArray(7), 7),
    (Plain(), "<Plain>"),
    (Secret(), "Secret(name='ada')"),
    (Hostile(), "<Hostile>"),
    ([Hostile()], ["<Hostile>"]),
    ("lone \ud800 surrogate", "lone \ufffd surrogate"),
    ({"\udfff": 1}, {"\ufffd": 1}),
    (range(2), "range(0, 2)"),
    (lambda: None, None),
]


class Sent:
    """The delivery of a client whose event processor keeps what it gets."""

    def __init__(self) -> None:
        self.events, self.diagnostics = Events(), Diagnostics()
        config = Config("test", use_ldd=True, event_processor_class=lambda _config: self.events)
        self._delivery: Delivery = delivery_of(LDClient(config), self.diagnostics)

    def data(self, value: Any) -> Any:
        """Send event data, and return what the event processor gets."""
        self._delivery.track("event", CONTEXT, value)
        return self.events.custom[-1].data

    def metric(self, value: Any) -> Any:
        """Send a metric value, and return what the event processor gets."""
        self._delivery.track("event", CONTEXT, None, value)
        return self.events.custom[-1].metric_value


@pytest.fixture
def sent() -> Sent:
    """Give a delivery that keeps what it sends."""
    return Sent()


def test_the_nearest_value(sent: Sent) -> None:
    """A value that JSON cannot represent becomes the nearest one that it can, which is logged and counted."""
    for value, wanted in REPLACED:
        found = sent.data(value)
        assert json.loads(json.dumps(found, allow_nan=False)) == found
        assert sent.data(found) is found
        if not callable(value):
            assert (found, type(found)) == (wanted, type(wanted)), value
    assert sent.diagnostics.counts() == {"payload": len(REPLACED)}


@pytest.mark.parametrize(
    "value", [_cyclic(), _nested(30), _nested(3_000), [[_TIME] * 900] * 900, "x" * 10_000 + "\ud800"]
)
def test_bounds(value: Any, sent: Sent) -> None:
    """A value with cycles, great depth or many items becomes one of bounded size."""
    found = sent.data(value)
    assert sent.data(found) is found
    assert len(json.dumps(found)) < 60_000


@pytest.mark.parametrize("depth", [15, 900])
def test_a_deep_value_costs_no_other_event(depth: int) -> None:
    """An event whose value is nested too deeply for a server arrives with the nearest value, and costs no other one."""
    with DevServer({"flags": {}}) as server:
        tracking = Tracking.from_env(environ={"LDAI_DEV_SERVER": server.url})
        for value in ("one", _nested(depth), "two"):
            tracking.ld_client.track("asked", Context.create("ada"), {"value": value})
        report = tracking.close()
        values = [event["data"]["value"] for event in server.events(key="asked")]
    assert report.complete
    assert (values[0], values[-1], len(values)) == ("one", "two", 3)
    assert (values[1] == _nested(depth)) is (depth == 15)


def test_plain_values_stay_the_same_object(sent: Sent) -> None:
    """A value that JSON can represent is passed on unchanged."""
    value: Any
    for value in (None, True, 0, -(2**63), 1.5, "ünï 🎉", [], {}, {"a": [1, {"b": ("c", None)}]}, {"ü": "ü"}):
        assert sent.data(value) is value
    assert sent.diagnostics.counts() == {}


def test_numpy_values(sent: Sent) -> None:
    """numpy's scalars and arrays become numbers and lists."""
    numpy = pytest.importorskip("numpy")
    for value, wanted in (
        (numpy.float32(0.5), 0.5),
        (numpy.int64(7), 7),
        (numpy.bool_(True), True),
        (numpy.array([[1, 2]]), [[1, 2]]),
        (numpy.float64("nan"), None),
    ):
        assert sent.data(value) == wanted


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (None, None),
        (3, 3),
        (0.5, 0.5),
        (True, 1),
        (Decimal("2.5"), 2.5),
        ("7", 7.0),
        (math.nan, None),
        (10**400, None),
        ("seven", None),
        (Hostile(), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_metrics(value: Any, wanted: Any, sent: Sent, caplog: pytest.LogCaptureFixture) -> None:
    """A metric value is a finite number or absent, which is logged once with the event's name."""
    assert [sent.metric(value) for _ in range(2)] == [wanted, wanted]
    lost = value is not None and wanted is None
    assert [record.message.count("'event'") for record in caplog.records] == ([1] if lost else [])


def test_contexts(caplog: pytest.LogCaptureFixture) -> None:
    """Attributes are replaced in every context, private ones stay private; names are logged, values are not."""
    diagnostics = Diagnostics()
    user = Context.builder("ada").set("since", _TIME).set("plan", "free").set("card", {"4111"}).private("card").build()
    org = Context.builder("acme").kind("org").set("seats", 3).build()
    safe = safe_context(Context.create_multi(user, org), diagnostics)
    found = safe.get_individual_context("user")
    assert found is not None
    assert (found.get("since"), found.get("plan"), found.get("card")) == (_TIME.isoformat(), "free", ["4111"])
    assert list(found.private_attributes) == ["card"]
    assert safe.get_individual_context("org") == org
    assert safe_context(safe, diagnostics) is safe
    assert safe_context(org, diagnostics) is org
    assert diagnostics.counts() == {"payload": 2}
    assert "4111" not in caplog.text


def test_surrogates(processor: SpoolingEventProcessor, server: DevServer) -> None:
    """A surrogate without its other half is replaced. Pairs, and texts that look like one, stay."""
    texts = {
        "plain": "plain",
        "🎉": "🎉",
        "\ud83c": "\ufffd",
        "\udf89\ud83c": "\ufffd\ufffd",
        "\ud83c🎉": "\ufffd🎉",
        "\\ud83c": "\\ud83c",
        "\\\ud83c": "\\\ufffd",
    }
    client = _client_of(processor)
    for text in texts:
        client.track("text", CONTEXT, [text])
    assert processor.deliver(30).dropped == 0
    assert [event["data"] for event in server.events(key="text")] == [[wanted] for wanted in texts.values()]


def test_bad_values_in_your_own_events(
    processor: SpoolingEventProcessor, server: DevServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Values that the application tracks itself are replaced too, between the events of others, and named once."""
    client = _client_of(processor)
    for number, (value, _) in enumerate(REPLACED):
        client.track("before", CONTEXT, {"number": number})
        client.track("bad", CONTEXT, {"value": value})
    assert processor.deliver(30).dropped == 0
    assert [event["data"]["number"] for event in server.events(key="before")] == list(range(len(REPLACED)))
    arrived = [event["data"]["value"] for event in server.events(key="bad")]
    for found, (value, wanted) in zip(arrived, REPLACED, strict=True):
        # JSON can represent the digits of any int that Python writes.
        assert callable(value) or found in (wanted, value)
    assert sum("'bad'" in record.message for record in caplog.records) == 1


def test_bad_values_everywhere(connect: Connect, server: DevServer) -> None:
    """In metrics, contexts, defaults and cycles, a bad value costs no other event."""
    client = connect(SpoolingEventProcessor)
    processor = processor_of(client)
    loop: dict[str, Any] = {}
    loop["self"] = loop
    for number, context in enumerate(
        (CONTEXT, Context.builder("a").set("when", _TIME).build(), Context.builder("b").set("loop", loop).build())
    ):
        client.identify(context)
        client.variation("no-such-flag", context, {_TIME})
        client.track("event", context, loop, metric_value=math.nan)
        client.track("good", CONTEXT, {"number": number}, 1)
    report = processor.deliver(30)
    assert report.pending == 0
    good = server.events(key="good")
    assert [event["data"]["number"] for event in good] == [0, 1, 2]
    assert all("metricValue" not in event for event in server.events(key="event"))
    assert len(server.events(key="event")) == 3
    assert report.dropped == 0


@pytest.mark.parametrize("key", [None, 42, uuid.UUID(int=7)], ids=["none", "number", "uuid"])
def test_keys_that_are_no_text_in_your_own_events(
    key: Any, processor: SpoolingEventProcessor, server: DevServer
) -> None:
    """A key that the SDK accepts although it is no text costs no other event."""
    client = _client_of(processor)
    for context in (Context.create(key), CONTEXT):
        client.track("keyed", context)
    assert processor.deliver(30).dropped == 0
    assert CONTEXT.to_dict() in [event["context"] for event in server.events(key="keyed")]


def test_bad_values_and_the_event_processor_of_the_sdk(connect: Connect, server: DevServer) -> None:
    """With the SDK's own event processor, values are replaced before the SDK gets them."""
    tracking = Tracking(connect())
    send_runs(tracking, 1)
    delivery_of(tracking.client, services_of(tracking).diagnostics).track(
        "judge", CONTEXT, {"when": _TIME}, Decimal("0.5")
    )
    tracking.flush(30)
    (event,) = server.events(key="judge")
    assert (event["data"], event["metricValue"]) == ({"when": _TIME.isoformat()}, 0.5)
    assert tracking.stats().diagnostics == {"payload": 1}


def _client_of(processor: SpoolingEventProcessor) -> LDClient:
    """Return a client that sends to an event processor and has no connection."""
    return LDClient(Config("test", use_ldd=True, event_processor_class=lambda _config: processor))
