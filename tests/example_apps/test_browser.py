"""The pages of the example apps in a browser; skipped if there is no browser."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import flask
import pytest

from ldai_integrations import Run, Settings, Tracking, track_ai
from ldai_integrations.feedback import FeedbackSettings
from ldai_integrations.flask import AITracking, feedback_blueprint

from ..browser import headless, needs_browser, picture
from .servers import serving_wsgi

pytest.importorskip("selenium", reason="selenium comes with the extra [browser-tests]")

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

if TYPE_CHECKING:
    from .conftest import Stage

SECONDS = 60

pytestmark = needs_browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """Yield a headless Chromium with its own profile."""
    with headless(tmp_path_factory.mktemp("profile"), width=700, height=600) as driver:
        yield driver


@pytest.fixture(params=["Flask", "FastAPI"])
def app(request: pytest.FixtureRequest) -> str:
    """Return the name of an app."""
    return str(request.param)


class Page:
    """The page of an app, with the actions of a user."""

    def __init__(self, browser: webdriver.Chrome, address: str) -> None:
        self._browser = browser
        browser.get(f"http://{address}/")

    def ask(self, question: str = "Where is my parcel?", user: str = "grace") -> None:
        """Ask a question, and wait for the thumbs, which appear at the end of the answer."""
        field = self._browser.find_element(By.ID, "question")
        field.clear()
        self._browser.find_element(By.CSS_SELECTOR, f"option[value={user}]").click()
        field.send_keys(question, Keys.ENTER)
        self.until(lambda: self.thumbs.is_displayed())

    @property
    def thumbs(self) -> Any:
        """Return the element with the thumbs."""
        return self._browser.find_element(By.TAG_NAME, "ai-feedback")

    def button(self, label: str) -> Any:
        """Find a button by its label for screen readers."""
        return self.thumbs.find_element(By.CSS_SELECTOR, f'button[aria-label="{label}"]')

    @property
    def status(self) -> str:
        """Return the text for screen readers."""
        return str(self.thumbs.find_element(By.CSS_SELECTOR, '[role=status][aria-live="polite"]').text)

    def pressed(self) -> list[str]:
        """Return the labels of the pressed buttons."""
        found = self.thumbs.find_elements(By.CSS_SELECTOR, 'button[aria-pressed="true"]')
        return [button.get_attribute("aria-label") for button in found]

    def until(self, condition: Any) -> None:
        """Wait for a condition."""
        WebDriverWait(self._browser, SECONDS).until(lambda _: condition())

    def picture(self, name: str) -> None:
        """Save a screenshot in the folder ``LDAI_SCREENSHOTS``, if it is set."""
        picture(self._browser, name)


@pytest.fixture
def page(browser: webdriver.Chrome, stage: Stage, app: str) -> Page:
    """Open the page of an app, and delete all events."""
    stage.flush()
    stage.dev_server.clear()
    return Page(browser, stage.services.apps[app])


def votes(stage: Stage) -> list[tuple[str, str, str]]:
    """Return kind, user and run id of the feedback that has arrived."""
    stage.flush()
    events = stage.dev_server.events(kind="custom")
    prefix = "$ld:ai:feedback:user:"
    return [
        (event["key"].removeprefix(prefix), event["context"]["key"], event["data"]["runId"])
        for event in events
        if event["key"].startswith(prefix)
    ]


def run_of(stage: Stage) -> tuple[str, str]:
    """Return user and run id of the only successful run."""
    [event] = stage.dev_server.wait_for(1, key="$ld:ai:generation:success")
    return event["context"]["key"], event["data"]["runId"]


@pytest.mark.parametrize(("label", "kind"), [("Good answer", "positive"), ("Bad answer", "negative")])
def test_click_is_reported_for_the_run(page: Page, stage: Stage, app: str, label: str, kind: str) -> None:
    """The thumbs appear at the end of the answer. A click is reported once, for the run of the answer."""
    assert not page.thumbs.is_displayed()
    page.ask(user="ada")
    page.picture(f"{app}-asked")
    page.button(label).click()
    page.until(lambda: page.status)
    page.picture(f"{app}-{kind}")

    assert page.status == "Thank you for your feedback."
    assert page.pressed() == [label]
    page.button("Good answer").click()
    page.button("Bad answer").click()
    assert votes(stage) == [(kind, *run_of(stage))]
    assert votes(stage)[0][1] == "ada"
    [row] = stage.dev_server.metrics("support-bot", by_variation=True)
    assert (row["variationKey"], row["metrics"].get("thumbsUp", 0)) == ("thorough", int(kind == "positive"))
    command = [sys.executable, "-m", "ldai_integrations", "metrics", "support-bot", "--json"]
    environ = {**os.environ, "LDAI_DEV_SERVER": stage.dev_server.url}
    output = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=50, check=True).stdout
    assert json.loads(output)["metrics"][0][f"thumbs_{'up' if kind == 'positive' else 'down'}"] == 1


def test_feedback_on_the_page_of_the_dev_server(page: Page, stage: Stage, app: str, browser: webdriver.Chrome) -> None:
    """The dev server's page shows feedback at its run."""
    page.ask(user="ada")
    page.button("Bad answer").click()
    page.until(lambda: page.status)
    stage.flush()

    browser.get(stage.dev_server.url)
    script = "return [...document.querySelectorAll(arguments[0])].map((one) => one.innerText)"
    page.until(lambda: "👎 down" in browser.execute_script(script, "#runs td"))
    votes_shown = browser.execute_script(script, "#totals dd.note")
    picture(browser, f"{app}-vote-on-the-page")
    assert "0 up, 1 down" in votes_shown


def test_keyboard(page: Page, stage: Stage, app: str, browser: webdriver.Chrome) -> None:
    """Tab reaches both thumbs, Space sends feedback, and the focus stays."""
    page.ask()
    browser.find_element(By.CSS_SELECTOR, "form button").send_keys(Keys.TAB)
    reached = [browser.switch_to.active_element.accessible_name]
    browser.switch_to.active_element.send_keys(Keys.TAB)
    reached.append(browser.switch_to.active_element.accessible_name)
    browser.switch_to.active_element.send_keys(Keys.SPACE)
    page.until(lambda: page.status)

    assert reached == ["Good answer", "Bad answer"]
    assert browser.switch_to.active_element.accessible_name == "Bad answer"
    assert page.thumbs.accessible_name == "Was this answer helpful?"
    assert page.thumbs.aria_role == "group"
    assert [kind for kind, _, _ in votes(stage)] == ["negative"]


def test_second_answer_gets_its_own_feedback(page: Page, stage: Stage, app: str) -> None:
    """A second question resets the thumbs, and both answers get their own feedback."""
    for label in ("Good answer", "Bad answer"):
        page.ask()
        page.until(lambda: not page.pressed())
        page.button(label).click()
        page.until(lambda: page.status)

    assert sorted(kind for kind, _, _ in votes(stage)) == ["negative", "positive"]
    assert len({run_id for _, _, run_id in votes(stage)}) == 2


def test_token_of_another_user_is_refused(page: Page, stage: Stage, app: str, browser: webdriver.Chrome) -> None:
    """If the token is refused, the page shows an error, the user can try again, and nothing is reported."""
    page.ask(user="grace")
    browser.execute_script("arguments[0].headers = {'X-User': 'ada'}", page.thumbs)
    page.button("Good answer").click()
    page.until(lambda: page.status)
    page.picture(f"{app}-refused")

    assert page.status == "That did not work. Please try again."
    assert page.pressed() == []
    assert votes(stage) == []


def test_feedback_from_another_window_is_shown(page: Page, stage: Stage, app: str, browser: webdriver.Chrome) -> None:
    """If an answer already has feedback, the page shows which one counts."""
    page.ask()
    browser.execute_script(
        "const other = document.createElement('ai-feedback'); other.headers = arguments[0].headers;"
        "other.token = arguments[0].token; document.body.append(other);",
        page.thumbs,
    )
    other = browser.find_elements(By.TAG_NAME, "ai-feedback")[1]
    page.button("Good answer").click()
    page.until(lambda: page.status)
    other.find_element(By.CSS_SELECTOR, 'button[aria-label="Bad answer"]').click()
    page.until(lambda: other.text.endswith("Your first vote counts."))
    page.picture(f"{app}-already")

    pressed = other.find_elements(By.CSS_SELECTOR, 'button[aria-pressed="true"]')
    assert [button.get_attribute("aria-label") for button in pressed] == ["Good answer"]
    assert [kind for kind, _, _ in votes(stage)] == ["positive"]


def test_the_strictest_policy_allows_the_widget(browser: webdriver.Chrome, stage: Stage) -> None:
    """The widget works with a policy that allows only the site's own scripts, without inline code."""
    policy = "default-src 'none'; script-src 'self'; connect-src 'self'; frame-ancestors 'none'"
    html = '<!doctype html><title>x</title><script src="/feedback/widget.js" defer></script><ai-feedback token="{}">'
    settings = Settings(feedback=FeedbackSettings(config_keys={"support-bot"}, secret="a secret of the tests"))
    with closing(Tracking.from_env(environ={"LDAI_DEV_SERVER": stage.dev_server.url}, settings=settings)) as tracking:
        site = flask.Flask(__name__)
        AITracking(site, tracking)
        site.register_blueprint(feedback_blueprint())

        @site.get("/")
        @track_ai(config_key="support-bot")
        def page(run: Run) -> tuple[str, dict[str, str]]:
            return html.format(run.feedback_token), {"Content-Security-Policy": policy}

        stage.dev_server.clear()
        console: Any = browser.get_log
        console("browser")  # discard the messages of other pages
        with serving_wsgi(site) as address:
            visited = Page(browser, address)
            visited.button("Good answer").click()
            visited.until(lambda: visited.status)
            visited.picture("policy")
        tracking.flush()

        assert visited.status == "Thank you for your feedback."
        complaints = [line["message"] for line in console("browser") if "favicon" not in line["message"]]
        assert complaints == []
        assert [kind for kind, _, _ in votes(stage)] == ["positive"]
