"""Answers of the example apps that the plan of the demo does not cover."""

from __future__ import annotations

import json
from copy import deepcopy
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import pytest

from ldai_integrations._example_apps import shop
from ldai_integrations._example_apps.demo.plan import Step
from ldai_integrations._example_apps.demo.services import CONFIGS

from ..waiting import eventually

if TYPE_CHECKING:
    from .conftest import Stage

pytestmark = pytest.mark.parametrize("app", ["Flask", "FastAPI"])


def call(stage: Stage, app: str, path: str, body: Any = None, user: str = "guest") -> tuple[int, str, str]:
    """Send one request, without a body a GET; return status, text and run id."""
    connection = HTTPConnection(stage.services.apps[app], timeout=10)
    try:
        method = "GET" if body is None else "POST"
        headers = {"Content-Type": "application/json", "X-User": user}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, response.read().decode(), response.headers.get("X-Run-Id", "")
    finally:
        connection.close()


def test_page_needs_no_ai(stage: Stage, app: str) -> None:
    """The page is served without a run."""
    assert call(stage, app, "/") == (200, shop.PAGE, "")


def test_unknown_user(stage: Stage, app: str) -> None:
    """An unknown user gets the default variation."""
    status, text, run_id = call(stage, app, "/chat", {"question": "Where?"})
    assert status == 200
    assert "You asked: Where?" in json.loads(text)["answer"]
    stage.flush()
    events = stage.dev_server.wait_for(1, key="$ld:ai:generation:success", run_id=run_id)
    assert [event["data"]["variationKey"] for event in events] == ["concise"]


def test_agent_with_a_tool_call(stage: Stage, app: str) -> None:
    """Both provider calls are one run; its tool call is reported with the name of the tool."""
    status, _, run_id = call(stage, app, "/orders/A-1042/help", {"question": "When?"})
    assert status == 200
    stage.flush()
    events = stage.dev_server.wait_for(1, key="$ld:ai:tool_call", run_id=run_id)
    assert [event["data"]["toolKey"] for event in events] == ["look-up-order"]


def test_config_that_is_off_leaves_the_app_working(stage: Stage, app: str) -> None:
    """Without a model, the answer is the beginning of the text, without a run."""
    status, text, run_id = call(stage, app, "/summary", {"question": "A long story. " * 9})
    assert (status, json.loads(text)["answer"], run_id) == (200, ("A long story. " * 9)[:40], "")


def test_switch_reaches_the_running_app(stage: Stage, app: str) -> None:
    """AI Configs can be turned on and off in LaunchDarkly without a restart of the apps."""
    configs = json.loads(CONFIGS.read_text())
    turned = deepcopy(configs)
    turned["flags"]["summary"]["on"], turned["flags"]["support-bot"]["on"] = True, False
    stage.dev_server.set_flags(turned)
    try:
        assert eventually(lambda: call(stage, app, "/chat", {"question": "Where?"})[0] == 503)
        assert eventually(lambda: "You asked" in call(stage, app, "/summary", {"question": "A long story."})[1])
    finally:
        stage.dev_server.set_flags(configs)
    assert eventually(lambda: call(stage, app, "/chat", {"question": "Where?"})[0] == 200)


@pytest.mark.parametrize("body", [{}, {"question": ""}, {"question": 7}, {"question": " "}])
def test_bad_question_is_refused(stage: Stage, app: str, body: dict[str, Any]) -> None:
    """A body without a question gets the framework's own 4xx with an explanation."""
    status, text, run_id = call(stage, app, "/chat", body)
    assert status == {"Flask": 400, "FastAPI": 422}[app]
    assert "question" in text
    assert not run_id


@pytest.mark.parametrize("kind", ["positive", "negative"])
def test_feedback_belongs_to_its_run(stage: Stage, app: str, kind: str) -> None:
    """Feedback for an answer is reported once, with the run id of the answer."""
    [exchange] = stage.send(Step(title="", path="/chat", question="Where?", vote=kind), apps=[app])  # type: ignore[arg-type]
    again = {"token": exchange.token, "kind": kind}

    assert exchange.voted
    assert call(stage, app, "/feedback", again, user="grace")[0] == 204
    assert call(stage, app, "/feedback", again, user="ada")[0] == 400
    stage.flush()
    votes = [event["key"] for event in stage.dev_server.events(run_id=exchange.run_id) if "feedback" in event["key"]]
    assert votes == [f"$ld:ai:feedback:user:{kind}"]
