"""The demo's check accepts correct figures only."""

from __future__ import annotations

import socket
import time
from collections import Counter
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from ldai_integrations._example_apps.demo.expected import Bounds, as_row
from ldai_integrations._example_apps.demo.plan import CONCISE, COURTEOUS, PLAN, THOROUGH, Variation
from ldai_integrations._example_apps.demo.readback import read_table
from ldai_integrations._example_apps.demo.traffic import send_all

if TYPE_CHECKING:
    from ldai_integrations._example_apps.demo.check import Report
    from ldai_integrations._example_apps.demo.expected import Figures
    from ldai_integrations._example_apps.demo.traffic import Exchange


def one_run(report: Report, variation: Variation, **figures: int) -> Figures:
    """Return the figures of a run of a variation that has these figures."""
    return next(
        found
        for (of, _), found in report.runs.items()
        if of == variation and all(found[name] == n for name, n in figures.items())
    )


def test_the_whole_plan_agrees(report: Report) -> None:
    """Both apps answer the plan as expected, and every figure is correct."""
    assert report.differences() == []
    assert set(report.table) == {CONCISE, THOROUGH, COURTEOUS}
    assert len(report.runs) == sum(exchange.step.variation is not None for exchange in report.exchanges)


# For each error: the run to change, and the change.
PLANTED: dict[str, tuple[Variation, dict[str, int], dict[str, int]]] = {
    "a success reported twice": (THOROUGH, {"success": 1}, {"success": +1}),
    "one token too many": (THOROUGH, {"success": 1}, {"input_tokens": +1}),
    "one token too few": (COURTEOUS, {"success": 1}, {"output_tokens": -1}),
    "a hang-up called an error": (THOROUGH, {"success": 0, "errors": 0}, {"errors": +1}),
    "no duration": (CONCISE, {"errors": 1}, {"runs": -1}),
    "two durations": (CONCISE, {"errors": 1}, {"runs": +1}),
    "no first token": (CONCISE, {"first_tokens": 1}, {"first_tokens": -1}),
    "a first token where nothing was streamed": (COURTEOUS, {}, {"first_tokens": +1, "first_token_ms": +9}),
    "a clock that stops too late": (COURTEOUS, {}, {"duration_ms": +5_000}),
    "a lost tool call": (COURTEOUS, {}, {"tool_calls": -1}),
    "a thumb turned": (CONCISE, {"thumbs_up": 1}, {"thumbs_up": -1, "thumbs_down": +1}),
    "tokens for a call that failed": (CONCISE, {"errors": 1, "first_tokens": 0}, {"input_tokens": +1}),
    "an estimate far off": (CONCISE, {"errors": 1, "first_tokens": 1}, {"output_tokens": +100}),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_wrong_run_is_found(report: Report, planted: str) -> None:
    """One wrong figure of one run is a difference, even if the table is correct."""
    variation, figures, change = PLANTED[planted]
    wrong = deepcopy(report)
    one_run(wrong, variation, **figures).update(change)
    assert any("database" not in text for text in wrong.differences())


def test_a_clock_that_stops_at_the_first_byte_is_found(report: Report) -> None:
    """A duration that ends with the first byte of a stream is a difference, even on a slow machine."""
    wrong = deepcopy(report)
    run = one_run(wrong, THOROUGH, first_tokens=1, success=1)
    run["duration_ms"] = run["first_token_ms"]
    assert any("database" not in text for text in wrong.differences())


def test_a_lost_run_and_an_invented_one_are_found(report: Report) -> None:
    """Every run must be reported once, with its own id."""
    wrong = deepcopy(report)
    key = next(key for key in wrong.runs if key[0] == CONCISE)
    wrong.runs[CONCISE, "nobody"] = wrong.runs.pop(key)
    assert len(wrong.differences()) > 1
    assert any(text.startswith("support-bot/concise: an unexpected run") for text in wrong.differences())


@pytest.mark.parametrize("figure", ["generations", "success", "errors", "input_tokens", "total_tokens", "thumbs_up"])
def test_a_wrong_table_is_found_twice(report: Report, figure: str) -> None:
    """A figure of the table that is too high by one differs from the bill and from the database."""
    planted = deepcopy(report)
    planted.table[CONCISE][figure] += 1
    assert any(text.startswith(f"support-bot/concise, database: {figure} is") for text in planted.differences())


def test_a_wrong_cost_is_found(report: Report) -> None:
    """A cost that is not the tokens multiplied by the prices is a difference."""
    planted = deepcopy(report)
    planted.costs[CONCISE] += 1
    assert [text.partition(": ")[0] for text in planted.differences()] == ["support-bot/concise, prices"]
    assert report.costs[CONCISE] > 0


def test_a_row_that_should_not_be_there_is_found(report: Report) -> None:
    """An AI Config that is off must not be in the table."""
    planted = deepcopy(report)
    planted.table[Variation("summary", "disabled")] = as_row(one_run(report, CONCISE))
    assert any(text.startswith("summary/disabled, bill: success") for text in planted.differences())


def test_a_model_that_was_asked_too_often_is_found(report: Report) -> None:
    """A refused request must not call the model, and a run must call it."""
    extra = {**report.bill[0], "question": "What else?"}
    asked = replace(report, bill=[*report.bill, extra])
    assert asked.differences() == ["the model was called with another question: What else?"]
    unasked = replace(report, bill=[call for call in report.bill if "#fail" not in call["question"]])
    assert any(text.endswith("provider failure: the model was not called") for text in unasked.differences())


def test_what_the_client_saw_counts(report: Report) -> None:
    """A wrong status, a complete stream that should be incomplete, and refused feedback are differences."""
    exchanges = deepcopy(list(report.exchanges))
    broken = next(exchange for exchange in exchanges if exchange.step.title == "failure during a stream")
    voted = next(exchange for exchange in exchanges if exchange.step.vote is not None)
    missing = next(exchange for exchange in exchanges if exchange.step.title == "unknown path")
    broken.ended, voted.voted, missing.status = True, False, 500
    assert [text for exchange in exchanges for text in exchange.problems()] == [
        f"{voted.app}, {voted.step.title}: the feedback was refused",
        f"{broken.app}, failure during a stream: the answer is complete",
        f"{missing.app}, unknown path: status 500 instead of 404",
    ]


def test_an_app_that_is_not_there_is_a_difference() -> None:
    """An app that does not run is a difference, and the other steps continue."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
    exchanges = send_all({"Flask": address}, PLAN[:2], lambda _: None)
    assert [exchange.problems()[0] for exchange in exchanges] == [
        f"Flask, {step.title}: status 0 instead of 200" for step in PLAN[:2]
    ]


def test_traffic_is_spread_over_time() -> None:
    """The steps begin at equal distances."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
    begun = time.monotonic()
    send_all({"Flask": address}, PLAN[:4], lambda _: None, seconds=0.4)
    assert time.monotonic() - begun >= 0.3


def test_interrupted_traffic_ends_early() -> None:
    """After an error such as Ctrl-C, the other steps are not sent."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    sent = []

    def interrupt(exchange: Exchange) -> None:
        sent.append(exchange)
        time.sleep(0.01)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        send_all({"Flask": address}, PLAN[:1] * 1000, interrupt)
    assert len(sent) < 1000


def test_a_server_that_refuses_is_named(model_server: str) -> None:
    """If the table cannot be read, there is an error with the address, not an empty table."""
    with pytest.raises(ConnectionError, match=f"http://{model_server}/api/v2/.* answers 404"):
        read_table(model_server, ["support-bot"])


def test_bounds_are_inclusive_and_say_what_they_want() -> None:
    """A figure equal to a bound is accepted. Otherwise, the difference has the bounds."""
    bounds = Bounds(Counter(tokens=2, runs=1), Counter(tokens=4, runs=1))
    assert bounds.differences(Counter(tokens=2, runs=1)) == bounds.differences(Counter(tokens=4, runs=1)) == []
    assert bounds.differences(Counter(tokens=5, thumbs=1)) == [
        "runs is 0, must be 1",
        "thumbs is 1, must be 0",
        "tokens is 5, must be between 2 and 4",
    ]
