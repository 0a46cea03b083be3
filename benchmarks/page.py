"""The speed of the dev server's page with 100,000 runs in the database, all of them in the hour that it shows.

``python -m benchmarks.page`` needs Chromium, its driver and the extra ``[browser-tests]``. It exits with 1 if a
figure is outside of its bar.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.request import ProxyHandler, Request, build_opener

from ldai_integrations.devserver import DevServer
from tests.browser import headless

from ._measure import Figure

if TYPE_CHECKING:
    from selenium import webdriver

_RUNS, _PAYLOAD, _ROUNDS = 100_000, 500, 5
_SPAN_MS = 55 * 60_000
_CONFIGS = Path(__file__).parents[1] / "ldai_integrations" / "_example_apps" / "configs.json"
_TEXT_OF = "return document.querySelector(arguments[0])?.textContent"
_ALL_THERE = "return document.querySelectorAll('.chart canvas').length >= 8 && document.querySelectorAll('.run').length"


def figures() -> Iterator[Figure]:
    """Fill a database, open the page on it several times, and let one more run come while it is open."""
    with TemporaryDirectory(prefix="ldai-page-") as folder:
        database = Path(folder) / "events.sqlite"
        with DevServer(_CONFIGS, db=database) as server:
            _fill(server)
        begun = time.perf_counter()
        with DevServer(_CONFIGS, db=database) as server:
            yield Figure(what="start of the server", value=time.perf_counter() - begun, unit="s")
            with headless(Path(folder) / "profile", width=1360, height=1000) as browser:
                browser.get("about:blank")
                opened = [_opened(browser, server) for _ in range(_ROUNDS)]
                shown = [_live(browser, server, number) for number in range(_ROUNDS)]
    median, worst, live = statistics.median(opened), max(opened), statistics.median(shown)
    yield Figure(what="page opens, median", value=median, unit="s", at_most=2)
    yield Figure(what="page opens, worst", value=worst, unit="s", at_most=2)
    yield Figure(what="page shows another run", value=live, unit="s", note="the page asks every 0.5 s")


def _opened(browser: webdriver.Chrome, server: DevServer) -> float:
    """Return the seconds from asking for the page to all figures, charts and runs being there."""
    browser.get("about:blank")
    begun = time.perf_counter()
    browser.get(f"{server.url}/")
    _until(lambda: _generations(browser) >= _RUNS and browser.execute_script(_ALL_THERE))
    return time.perf_counter() - begun


def _live(browser: webdriver.Chrome, server: DevServer, number: int) -> float:
    """Return the seconds from sending a run to its being counted on the open page."""
    before = _generations(browser)
    begun = time.perf_counter()
    _post(server, _run(random.Random(number), int(time.time() * 1000)))
    _until(lambda: _generations(browser) == before + 1)
    return time.perf_counter() - begun


def _generations(browser: webdriver.Chrome) -> int:
    # The tile is rounded, its note is not.
    text: Any = browser.execute_script(_TEXT_OF, "#totals dd.note")
    return int(text.split()[0].replace(",", "")) if text else 0


def _until(condition: Callable[[], object], *, seconds: float = 60) -> None:
    deadline = time.perf_counter() + seconds
    while not condition():
        if time.perf_counter() > deadline:
            raise TimeoutError("the page does not show what it should")
        time.sleep(0.01)


def _fill(server: DevServer) -> None:
    source, now = random.Random(1), int(time.time() * 1000)
    for begun in range(0, _RUNS, _PAYLOAD):
        ages = (_SPAN_MS * (_RUNS - number) // _RUNS for number in range(begun, begun + _PAYLOAD))
        _post(server, [event for age in ages for event in _run(source, now - age)])


def _run(source: random.Random, created_ms: int) -> list[dict[str, Any]]:
    """Return the seven events of a run as an SDK sends them."""
    duration = int(source.lognormvariate(6.8, 0.7))
    data = {
        "runId": f"{source.getrandbits(128):032x}",
        "configKey": "support-bot",
        "variationKey": source.choice(("concise", "thorough")),
        "version": 3,
        "modelName": "gpt-4o-mini",
        "providerName": "OpenAI",
    }
    values = {
        "$ld:ai:duration:total": duration,
        "$ld:ai:tokens:ttf": duration // 5,
        "$ld:ai:tokens:total": 900,
        "$ld:ai:tokens:input": 700,
        "$ld:ai:tokens:output": 200,
        "$ld:ai:generation:success": 1,
        "$ld:ai:judge:relevance": round(source.random(), 2),
    }
    common = {"kind": "custom", "creationDate": created_ms, "context": {"kind": "user", "key": "ada"}, "data": data}
    return [{**common, "key": key, "metricValue": value} for key, value in values.items()]


def _post(server: DevServer, events: list[dict[str, Any]]) -> None:
    body = json.dumps(events).encode()
    request = Request(f"{server.url}/bulk", body, {"Content-Type": "application/json"})
    with build_opener(ProxyHandler({})).open(request, timeout=60):
        pass


if __name__ == "__main__":
    all_hold = True
    for figure in figures():
        print(figure, flush=True)
        all_hold &= figure.holds
    sys.exit(0 if all_hold else 1)
