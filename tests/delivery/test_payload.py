"""One value that JSON cannot hold loses nothing but itself."""

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
from ldclient import Context

from ldai_integrations import Tracking
from ldai_integrations._diagnostics import Diagnostics
from ldai_integrations.delivery import SpoolingEventProcessor
from ldai_integrations.delivery._payload import encode_event, safe_context, safe_data, safe_metric
from ldai_integrations.delivery._plain import is_plain, to_plain
from ldai_integrations.devserver import DevServer

from .conftest import CONTEXT, Connect, processor_of, send_runs

Point = namedtuple("Point", "x y")


class Color(Enum):
    """Have values of many kinds."""

    RED = "red"
    WHEN = datetime.date(2026, 1, 2)
    ONE = 1


class Level(IntEnum):
    """Be numbers."""

    LOW = 1


class Hostile:
    """Raise whatever is asked."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


class Text(str):
    """Be a text with something about it."""


class FakeArray:
    """Answer as numpy's arrays do."""

    def __init__(self, content: Any) -> None:
        self.content = content

    def tolist(self) -> Any:
        """Return Python's own values."""
        return self.content


class Plain:
    """Say nothing about itself."""


@dataclass
class Secret:
    """Have a text."""

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

MENDED = [
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


@pytest.mark.parametrize(("value", "wanted"), MENDED, ids=lambda value: type(value).__name__)
def test_the_nearest_value(value: Any, wanted: Any) -> None:
    """What JSON cannot hold becomes the nearest value that it can."""
    assert not is_plain(value)
    mended = to_plain(value)
    assert is_plain(mended)
    json.dumps(mended, allow_nan=False)
    if not callable(value):
        assert mended == wanted
        assert type(mended) is type(wanted)


@pytest.mark.parametrize(
    "value", [_cyclic(), _nested(30), _nested(3_000), [[_TIME] * 900] * 900, "x" * 10_000 + "\ud800"]
)
def test_bounds(value: Any) -> None:
    """Cycles, depths and crowds come out, bounded."""
    mended = to_plain(value)
    assert is_plain(mended)
    assert len(json.dumps(mended)) < 60_000


@pytest.mark.parametrize(
    "value", [None, True, 0, -(2**63), 1.5, "ünï 🎉", [], {}, {"a": [1, {"b": ("c", None)}]}, {"ü": "ü"}]
)
def test_what_is_plain_stays_itself(value: Any) -> None:
    """What JSON can hold is handed on, the same object."""
    diagnostics = Diagnostics()
    assert is_plain(value)
    assert safe_data(value, "event", diagnostics) is value
    assert json.dumps(to_plain(value)) == json.dumps(value)
    assert diagnostics.counts() == {}


def test_numpy_values() -> None:
    """numpy's scalars and arrays become numbers and lists."""
    numpy = pytest.importorskip("numpy")
    for value, wanted in (
        (numpy.float32(0.5), 0.5),
        (numpy.int64(7), 7),
        (numpy.bool_(True), True),
        (numpy.array([[1, 2]]), [[1, 2]]),
        (numpy.float64("nan"), None),
    ):
        assert to_plain(value) == wanted


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
def test_metrics(value: Any, wanted: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A metric is a finite number or nothing, which is said once with the event's name."""
    diagnostics = Diagnostics()
    assert [safe_metric(value, "event", diagnostics) for _ in range(2)] == [wanted, wanted]
    lost = value is not None and wanted is None
    assert [record.message.count("'event'") for record in caplog.records] == ([1] if lost else [])


def test_contexts(caplog: pytest.LogCaptureFixture) -> None:
    """Attributes are mended in every context, private ones stay private; names are logged, values not."""
    diagnostics = Diagnostics()
    user = Context.builder("ada").set("since", _TIME).set("plan", "free").set("card", {"4111"}).private("card").build()
    org = Context.builder("acme").kind("org").set("seats", 3).build()
    safe = safe_context(Context.create_multi(user, org), diagnostics)
    mended = safe.get_individual_context("user")
    assert mended is not None
    assert (mended.get("since"), mended.get("plan"), mended.get("card")) == (_TIME.isoformat(), "free", ["4111"])
    assert list(mended.private_attributes) == ["card"]
    assert safe.get_individual_context("org") == org
    assert safe_context(safe, diagnostics) is safe
    assert safe_context(org, diagnostics) is org
    assert diagnostics.counts() == {"payload": 2}
    assert "4111" not in caplog.text


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("plain", '"plain"'),
        ("🎉", '"\\ud83c\\udf89"'),
        ("\ud83c", '"\\ufffd"'),
        ("\udf89\ud83c", '"\\ufffd\\ufffd"'),
        ("\ud83c🎉", '"\\ufffd\\ud83c\\udf89"'),
        ("\\ud83c", '"\\\\ud83c"'),
        ("\\\ud83c", '"\\\\\\ufffd"'),
    ],
)
def test_surrogates(text: str, written: str) -> None:
    """A surrogate without its other half is replaced; pairs, and texts that look like one, stay."""
    assert encode_event({"data": text}, Diagnostics()) == b'{"data":' + written.encode() + b"}"


@pytest.mark.parametrize(("value", "wanted"), MENDED, ids=lambda value: type(value).__name__)
def test_poison_in_your_own_events(
    value: Any, wanted: Any, processor: SpoolingEventProcessor, server: DevServer, caplog: pytest.LogCaptureFixture
) -> None:
    """What an application sends by itself is mended too, with everybody's events around it, and named in the log."""
    client = _client_of(processor)
    client.track("before", CONTEXT)
    for _ in range(2):
        client.track("poison", CONTEXT, {"value": value})
    client.track("after", CONTEXT)
    assert processor.deliver(30).dropped == 0
    events = server.events(kind="custom")
    assert [event["key"] for event in events] == ["before", "poison", "poison", "after"]
    arrived = events[1]["data"]["value"]
    assert is_plain(arrived) or isinstance(value, int)  # JSON can hold the digits of any int that Python writes
    if not callable(value):
        assert arrived in (wanted, value)
    assert sum("'poison'" in record.message for record in caplog.records) <= 1


def test_poison_everywhere(connect: Connect, server: DevServer) -> None:
    """In metrics, contexts, defaults and cycles, poison costs nothing but itself."""
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


def test_poison_in_the_runs_of_a_client_of_your_own(connect: Connect, server: DevServer) -> None:
    """With the SDK's own event processor, what goes through us is mended before it is handed over."""
    tracking = Tracking(connect())
    send_runs(tracking, 1)
    tracking._delivery.track("judge", CONTEXT, {"when": _TIME}, Decimal("0.5"))
    tracking.flush(30)
    (event,) = server.events(key="judge")
    assert (event["data"], event["metricValue"]) == ({"when": _TIME.isoformat()}, 0.5)
    assert tracking.stats().diagnostics == {"payload": 1}


def _client_of(processor: SpoolingEventProcessor) -> Any:
    """Return something that tracks into an event processor as an LDClient does."""
    from ldclient import Config, LDClient

    return LDClient(Config("test", use_ldd=True, event_processor_class=lambda _config: processor))
