"""The dev server's page in a browser; skipped if there is no browser."""

from __future__ import annotations

import json
import math
import time
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest
from ldai import LDAIClient
from ldai.tracker import FeedbackKind, TokenUsage
from ldclient import Context

from ldai_integrations.devserver import DevServer

from ..browser import headless, needs_browser, picture
from .samples import FLAGS, edited

pytest.importorskip("selenium", reason="selenium comes with the extra [browser-tests]")

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from selenium import webdriver

    from .conftest import Connect

pytestmark = needs_browser

SECONDS = 60
ADA = Context.create("ada")
BOB = Context.builder("bob").set("plan", "premium").build()
DURATIONS = [120, 480, 510, 730, 905, 1204, 2250, 4400]
HOSTILE = '<img src="/static/icon.svg" onerror="document.title=1"><script>document.title=2</script>\u202e{{7*7}}'


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """Yield a headless Chromium with its own profile."""
    with headless(tmp_path_factory.mktemp("profile"), width=1280, height=1000) as driver:
        yield driver


class Page:
    """The page, with the actions of a user."""

    def __init__(self, browser: webdriver.Chrome, url: str) -> None:
        self.browser = browser
        self._url = url

    def open(self, view: str = "") -> None:
        """Open the page and wait until it is live; a view is the fragment of the URL."""
        self.browser.get("about:blank")  # a new fragment alone does not load the page
        self.browser.get(f"{self._url}/{view}")
        self.until(lambda: self.one("#connection").text == "Live")

    def one(self, selector: str) -> Any:
        """Find an element."""
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        """Return the texts of the elements in one call."""
        script = "return [...document.querySelectorAll(arguments[0])].map((one) => one.innerText.trim())"
        return list(self.browser.execute_script(script, selector))

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition."""
        WebDriverWait(self.browser, SECONDS, ignored_exceptions=[StaleElementReferenceException]).until(
            lambda _: condition()
        )

    def totals(self) -> dict[str, str]:
        """Return the totals by their names."""
        return dict(zip(self.texts("#totals dt"), self.texts("#totals dd:not(.note)"), strict=True))

    def cost_note(self) -> str:
        """Return the text below the cost."""
        return dict(zip(self.texts("#totals dt"), self.texts("#totals dd.note"), strict=True))["Cost"]

    def row(self, variation: str) -> dict[str, str]:
        """Return the figures of a variation by the names of their columns."""
        groups = [
            name
            for head in self.browser.find_elements(By.CSS_SELECTOR, "#variations th[scope=colgroup]")
            for name in [head.text] * int(head.get_attribute("colspan") or 1)
        ]
        names = self.texts("#variations thead tr:last-child th")
        place = self.texts("#variations tbody th").index(variation)
        cells = self.texts(f"#variations tbody tr:nth-child({place + 1}) td")
        return {f"{group} {name}": cell for group, name, cell in zip(groups, names, cells, strict=True)}

    def accessibility_tree(self) -> list[tuple[str, str]]:
        """Return role and name of everything in the accessibility tree."""
        driver: Any = self.browser
        nodes = driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        return [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]

    def console(self) -> list[str]:
        """Return the messages of the console."""
        log: Any = self.browser.get_log
        return [line["message"] for line in log("browser")]


@pytest.fixture
def page(browser: webdriver.Chrome, server: DevServer) -> Iterator[Page]:
    """Yield the page, and check that the console has no messages."""
    page = Page(browser, server.url)
    page.console()
    yield page
    assert page.console() == []


def emulate(browser: webdriver.Chrome, *, width: int = 1280, dark: bool = False) -> None:
    """Set the width of the screen and the preferred colour scheme."""
    metrics = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def track(client: LDAIClient, ld_context: Context, duration: int, *, ok: bool = True) -> None:
    """Track a run with the AI SDK: seven events, or six for a failed run."""
    tracker = client.completion_config("chat", ld_context).create_tracker()
    tracker.track_duration(duration)
    tracker.track_time_to_first_token(duration // 10)
    tracker.track_tokens(TokenUsage(total=150, input=100, output=50))
    if ok:
        tracker.track_success()
        tracker.track_feedback({"kind": FeedbackKind.Positive})
    else:
        tracker.track_error()


def prices_in_list(models: list[str], model: str, _provider: str) -> dict[str, Decimal]:
    """Return the prices of a model in a price list that has some models."""
    return {"input": Decimal("0.001"), "output": Decimal("0.002")} if model in models else {}


def percentile(values: list[int], percent: int) -> int:
    """Return the smallest value that this share of the values does not exceed."""
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


def shown(duration: int) -> str:
    """Format a duration as the page does."""
    return f"{duration} ms" if duration < 1000 else f"{round(duration, -1) / 1000:.2f} s"


@pytest.fixture
def tracked(server: DevServer, connect: Connect) -> LDAIClient:
    """Track eight runs of one variation, and an error of the other."""
    prices = {"costPerInputToken": 0.0005, "costPerOutputToken": 0.001}
    priced = [
        {**value, "model": {"name": "m", "custom": prices}} if "model" in value else value
        for value in FLAGS["flags"]["chat"]["variations"]
    ]
    server.set_flags(edited(variations=priced))
    client = connect(server)
    ai_client = LDAIClient(client)
    for duration in DURATIONS:
        track(ai_client, ADA, duration)
    track(ai_client, BOB, 600, ok=False)
    client.flush()
    server.wait_for(len(DURATIONS) * 7 + 6, timeout=SECONDS, config_key="chat")
    return ai_client


def test_figures_are_those_of_the_sdk(page: Page, tracked: LDAIClient, server: DevServer) -> None:
    """The page shows the tracked figures, in total and by variation, with percentiles of the times."""
    page.open()
    picture(page.browser, "page-few")
    assert page.one("#config").get_attribute("value") == "chat"
    totals = page.totals()
    assert totals["Generations"] == "9"
    assert totals["Error rate"] == "11.1%"
    assert totals["Tokens"] == "1,350"
    metrics = server.metrics("chat")
    assert totals["Cost"] == f"${metrics['inputCost'] + metrics['outputCost']:.2f}" == "$0.90"
    assert totals["Satisfaction"] == "100%"
    small, large = page.row("small"), page.row("large")
    for percent in (50, 95, 99):
        assert small[f"Duration p{percent}"] == shown(percentile(DURATIONS, percent))
        first_tokens = [duration // 10 for duration in DURATIONS]
        assert small[f"Time to first token p{percent}"] == shown(percentile(first_tokens, percent))
    assert (small["Generations all"], small["Tokens input"]) == ("8", "800")
    assert small["Satisfaction votes"] == "8 up, 0 down"
    assert (large["Generations errors"], large["Generations error rate"]) == ("1", "100%")
    assert large["Duration p50"] == "600 ms"
    assert (large["Generations errors"], large["Generations error rate"], large["Duration p50"]) == (
        "1",
        "100%",
        "600 ms",
    )
    assert len(page.texts("#runs .run")) == 9


def test_where_the_prices_come_from(page: Page, tracked: LDAIClient, server: DevServer) -> None:
    """Below the cost, the page says whether it is computed with list prices, or that there are none."""
    page.open()
    assert page.cost_note() == "input and output"

    for listed, note in ((["gpt-4o"], "tokens without a price"), (["gpt-4o", "gpt-4o-mini"], "at list prices")):
        with DevServer(FLAGS, list_prices=partial(prices_in_list, listed)) as other:
            httpx.post(f"{other.url}/bulk", json=server.events(), trust_env=False)
            shown = Page(page.browser, other.url)
            shown.open()
            assert shown.cost_note() == note
            page.browser.get("about:blank")  # before the server is gone


def test_charts_have_their_values_as_tables(page: Page, tracked: LDAIClient) -> None:
    """Each chart has a description and a data table, which opens with the keyboard."""
    page.open()
    assert len(page.browser.find_elements(By.CSS_SELECTOR, ".chart canvas")) == 8
    chart = page.one(".chart")
    described = chart.find_element(By.CSS_SELECTOR, "[role=img]").get_attribute("aria-label")
    assert described == ("Generations, in the whole range. large: 1; small: 8. The values are in the data table.")
    summary = chart.find_element(By.TAG_NAME, "summary")
    summary.send_keys(Keys.ENTER)
    page.until(lambda: page.texts(".chart details[open] tbody tr"))
    assert page.texts(".chart details[open] thead th") == ["From", "large", "small"]
    small = [int(text) for text in page.texts(".chart details[open] tbody td:last-child") if text.isdecimal()]
    assert sum(small) == 8


def test_a_new_run_appears_by_itself(page: Page, tracked: LDAIClient, server: DevServer, connect: Connect) -> None:
    """A new run is counted, listed and announced without a reload."""
    page.open()
    page.browser.execute_script("window.notReloaded = true")
    client = connect(server)
    track(LDAIClient(client), ADA, 777)
    client.flush()
    page.until(lambda: page.totals()["Generations"] == "10")
    page.until(lambda: "777 ms" in page.texts("#runs .run td:nth-of-type(3)"))
    page.until(lambda: "new run" in page.one("#announcer").get_attribute("textContent"))
    assert page.browser.execute_script("return window.notReloaded")
    assert page.one("#announcer").get_attribute("aria-live") == "polite"


def test_the_keyboard_opens_a_run(page: Page, tracked: LDAIClient, server: DevServer) -> None:
    """Tab reaches a run. Enter opens it with all its events, and closes it again."""
    page.open()
    page.one("#only-warnings").send_keys(Keys.TAB)
    button = page.browser.switch_to.active_element
    assert button.get_attribute("aria-expanded") == "false"
    outline = page.browser.execute_script("return getComputedStyle(arguments[0]).outlineStyle", button)
    assert outline != "none"
    button.send_keys(Keys.ENTER)
    page.until(lambda: page.texts(".events tbody tr"))
    picture(page.browser, "page-run")
    run_id = page.texts(".facts dd")[0]
    sent = server.events(run_id=run_id)
    assert page.texts(".events tbody th") == [event["key"] for event in sent]
    assert page.texts(".events tbody td:nth-of-type(2)") == [str(event["metricValue"]) for event in sent]
    page.one(".events summary").send_keys(Keys.ENTER)
    page.until(lambda: page.texts(".events details[open] pre"))
    assert json.loads(page.texts(".events details[open] pre")[0]) == sent[0]
    assert page.browser.switch_to.active_element.text == "JSON"
    button.send_keys(Keys.ENTER)
    page.until(lambda: not page.one(".events").is_displayed())


def post(raw: httpx.Client, run_id: str, *, key: str = "$ld:ai:duration:total", value: float = 1, **data: Any) -> None:
    """Post an event of a run that began two minutes ago."""
    fields = {"runId": run_id, "configKey": "chat", "variationKey": "small", "version": 1, **data}
    created = int(time.time() * 1000) - 120_000
    raw.post(
        "/bulk", json=[{"kind": "custom", "key": key, "creationDate": created, "data": fields, "metricValue": value}]
    )


def test_minutes_are_rounded_to_seconds(page: Page, raw: httpx.Client) -> None:
    """A run of almost two minutes took two minutes."""
    post(raw, "long", value=119_600)
    page.open("#config=chat")
    page.until(lambda: page.texts("#runs .run"))

    assert "2 min 0 s" in page.texts("#runs .run td")


def test_a_run_shows_its_tree(page: Page, raw: httpx.Client) -> None:
    """A run that is opened shows the runs around it and in it, with their outcomes, and its agent graph."""
    post(raw, "outer", key="$ld:ai:generation:success", configKey="flow")
    post(raw, "middle", key="$ld:ai:generation:error", parentRunId="outer", graphKey="flow")
    post(raw, "inner", parentRunId="middle", configKey="judge")
    page.open("#config=chat")
    page.until(lambda: page.texts("#runs .disclose"))
    page.one("#runs .disclose").send_keys(Keys.ENTER)
    page.until(lambda: page.texts(".tree li"))

    assert page.texts(".tree li li li") == ["judge Cancelled or no outcome"]
    assert page.one(".tree [aria-current]").text == "chat"
    assert page.texts(".facts dt")[-1] == "Graph"
    assert page.texts(".facts dd")[-1] == "flow"
    assert page.texts(".tree .badge") == ["Success", "Error", "Cancelled or no outcome"]


def test_warnings_list_their_runs(page: Page, raw: httpx.Client) -> None:
    """There are warnings for a default and a wrong mode, and a click lists the runs. A cancelled run is no warning."""
    post(raw, "fine", key="$ld:ai:generation:success")
    post(raw, "cancelled")
    post(raw, "default", key="$ld:ai:generation:success", variationKey="")
    raw.post("/bulk", json=[{"kind": "custom", "key": "$ld:ai:usage:agent-config", "data": "chat", "metricValue": 1}])
    page.open()
    picture(page.browser, "page-warnings")
    starts = "1 run served the caller's default", "Read with the wrong mode"
    for text, start in zip(page.texts("#warnings li"), starts, strict=True):
        assert text.startswith(f"chat {start}")
    assert len(page.texts("#runs .run")) == 3
    page.one("#warnings button").click()
    page.until(lambda: len(page.texts("#runs .run")) == 1)
    assert page.one("#without-outcome").text.startswith("1 run was cancelled, or sent neither success nor error")
    assert "default served" in page.texts("#runs .run td:nth-of-type(1)")


def test_hostile_events_are_text(page: Page, raw: httpx.Client) -> None:
    """HTML in events is shown as text everywhere, and never runs."""
    post(raw, HOSTILE, key=HOSTILE, configKey=HOSTILE, variationKey=HOSTILE, modelName=HOSTILE)
    post(raw, HOSTILE, key="$ld:ai:generation:success", configKey=HOSTILE, variationKey=HOSTILE, modelName=HOSTILE)
    page.open()
    page.one("#runs .disclose").click()
    page.until(lambda: len(page.texts(".events tbody tr")) == 2)
    page.one(".events summary").click()
    page.one(".chart summary").click()
    picture(page.browser, "page-hostile")
    whole = page.one("main").get_attribute("textContent")
    assert whole.count(HOSTILE) > 10
    assert page.browser.title == "Monitoring · AI Configs"
    assert page.browser.find_elements(By.CSS_SELECTOR, "main img, main script") == []


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_no_sideways_scrolling(page: Page, tracked: LDAIClient, raw: httpx.Client, width: int, dark: bool) -> None:
    """The page fits a phone and a desktop, in light and dark colours, with an open run and long names."""
    post(raw, "x" * 300, key="y" * 300, variationKey="z" * 120, modelName="m" * 200)
    emulate(page.browser, width=width, dark=dark)
    page.open()
    page.one("#runs .disclose").click()
    page.until(lambda: page.texts(".events tbody tr"))
    page.one(".events summary").click()
    picture(page.browser, f"page-{width}-{'dark' if dark else 'light'}")
    inner, outer = page.browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert inner <= outer
    ground = page.browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(part) for part in ground.removeprefix("rgb(").removesuffix(")").split(","))
    assert (brightness < 3 * 128) == dark
    emulate(page.browser)


def test_deleted_events_leave_the_page(page: Page, tracked: LDAIClient, raw: httpx.Client) -> None:
    """If the events are deleted, an open page deletes them, too, and shows later ones."""
    post(raw, "default", variationKey="")
    page.open()
    page.one("#only-warnings").click()
    page.until(lambda: len(page.texts("#runs .run")) == 1)
    raw.delete("/dev/events")
    page.until(lambda: not page.texts("#runs .run"))
    page.one("#only-warnings").click()
    post(raw, "after", key="$ld:ai:generation:success")
    page.until(lambda: page.totals()["Generations"] == "1")
    page.until(lambda: len(page.texts("#runs .run")) == 1)


def test_landmarks_and_names(page: Page, tracked: LDAIClient) -> None:
    """A screen reader finds landmarks and headings, and all controls have names."""
    page.open()
    assert page.one("html").get_attribute("lang") == "en"
    for selector in ("header", "main", "h1", "[role=status]"):
        assert len(page.browser.find_elements(By.CSS_SELECTOR, f"body > {selector}, header > {selector}")) == 1
    titled = page.browser.find_elements(By.CSS_SELECTOR, "section:not([hidden])")
    assert [one.accessible_name for one in titled] == ["Totals", "Variations", "Over time", "Runs"]
    for element in page.browser.find_elements(By.CSS_SELECTOR, "select, button, input, [tabindex='0']"):
        if element.is_displayed():
            assert element.accessible_name


def test_accessibility_tree(page: Page, tracked: LDAIClient) -> None:
    """Tables and charts have names, charts have descriptions, and decoration is hidden from screen readers."""
    page.open()
    page.until(lambda: page.one(".disclose").is_displayed())
    nodes = page.accessibility_tree()

    assert sorted(name for role, name in nodes if role == "table") == ["Runs", "Variations"]
    charts = [name for role, name in nodes if role == "image"]
    assert len(charts) == 8
    assert all("The values are in the data table." in name for name in charts)
    assert all(name for role, name in nodes if role in {"button", "combobox", "radio", "checkbox", "link"})
    assert not [name for _role, name in nodes if "▸" in name or "▾" in name]


def test_the_address_keeps_the_view(page: Page, tracked: LDAIClient) -> None:
    """AI Config and range are in the URL, so that a reload or a bookmark shows the same."""
    page.open("#config=chat&range=24h")
    assert page.one("#range input:checked").get_attribute("value") == "24h"
    page.one("#range input[value='15m']").send_keys(Keys.SPACE)
    page.until(lambda: "range=15m" in page.browser.current_url)
    page.until(lambda: page.totals()["Generations"] == "9")
    page.browser.refresh()
    page.until(lambda: page.texts("#runs .run"))
    assert page.one("#range input:checked").get_attribute("value") == "15m"


def test_an_empty_server_says_what_to_do(page: Page, server: DevServer) -> None:
    """Without a run, the page says how to get one."""
    page.open()
    picture(page.browser, "page-empty")
    assert f"LDAI_DEV_SERVER={server.url}" in page.one("#empty").text
    assert page.one("#no-runs").is_displayed()


def test_page_connects_again(page: Page, tracked: LDAIClient, server: DevServer) -> None:
    """After a lost connection, the page connects again and shows what has arrived meanwhile."""
    server.inject("/dev/monitor/live", status=503, count=1)
    page.browser.get("about:blank")
    page.browser.get(f"{server.url}/")
    page.until(lambda: page.one("#connection").text == "Live")
    assert page.totals()["Generations"] == "9"
    assert any("503" in message for message in page.console())


def test_hidden_page_closes_its_connection(page: Page, tracked: LDAIClient, raw: httpx.Client) -> None:
    """A hidden page closes its connection. When it is visible again, it shows what has arrived meanwhile."""
    page.open()
    hide = (
        "Object.defineProperty(document, 'hidden', {value: arguments[0], configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    page.browser.execute_script(hide, True)
    assert page.one("#connection").text == "Paused"
    post(raw, "meanwhile", key="$ld:ai:generation:success")
    page.browser.execute_script(hide, False)
    page.until(lambda: page.totals()["Generations"] == "10")
    assert page.one("#connection").text == "Live"


def test_nothing_leaves_the_machine(page: Page, tracked: LDAIClient, server: DevServer) -> None:
    """The page sends requests to the dev server only."""
    log: Any = page.browser.get_log
    log("performance")
    page.open()
    page.one("#runs .disclose").click()
    page.until(lambda: page.texts(".events tbody tr"))
    entries = [json.loads(line["message"])["message"] for line in log("performance")]
    urls = [one["params"]["request"]["url"] for one in entries if one["method"] == "Network.requestWillBeSent"]
    hosts = {urlsplit(url).netloc for url in urls if not url.startswith(("about:", "data:"))}
    assert hosts == {urlsplit(server.url).netloc}
    assert len(urls) > 10
