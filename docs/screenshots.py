"""Take the screenshots in ``docs/images/`` again: ``python -m docs.screenshots``. It needs Chromium and its driver.

The page shows made-up runs of the last hour, the same each time. ``ldai demo`` fills the page with real ones.
"""

import json
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

from ldai_integrations._example_apps.demo.services import CONFIGS
from ldai_integrations.devserver import DevServer
from tests.browser import headless

IMAGES = Path(__file__).parent / "images"
RUNS, MINUTES = 600, 58
#: For each variation: model, median seconds of a run, median output tokens.
VARIATIONS = {
    "concise": ("gpt-4o-mini", 1.4, 90),
    "thorough": ("gpt-4.1", 3.2, 260),
}
ALL_DRAWN = "return document.querySelectorAll('.chart canvas').length >= 8 && document.querySelectorAll('.run').length"


def take() -> None:
    """Take all screenshots."""
    with (
        running() as server,
        TemporaryDirectory(prefix="ldai-screenshots-") as profile,
        headless(Path(profile), width=1200, height=900) as browser,
    ):
        browser.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
        browser.get(f"{server.url}/")
        deadline = time.monotonic() + 30
        while not browser.execute_script(ALL_DRAWN):
            if time.monotonic() > deadline:
                raise TimeoutError("the page shows no charts")
            time.sleep(0.1)
        time.sleep(1)
        browser.save_screenshot(str(IMAGES / "page.png"))


@contextmanager
def running() -> Iterator[DevServer]:
    """Run a dev server that has received the made-up runs."""
    source, now = random.Random(7), time.time()
    with DevServer(CONFIGS) as server:
        for number in range(RUNS):
            moment = now - 60 * MINUTES * (1 - number / RUNS) + source.uniform(-20, 20)
            body = json.dumps(list(events(source, min(moment, now)))).encode()
            request = Request(f"{server.url}/bulk", body, {"Content-Type": "application/json"})
            with build_opener(ProxyHandler({})).open(request, timeout=60):
                pass
        yield server


def events(source: random.Random, moment: float) -> Iterator[dict[str, Any]]:
    """Yield the events of a run, as LaunchDarkly's SDK sends them."""
    variation = source.choices(list(VARIATIONS), [3, 1])[0]
    model, seconds, tokens = VARIATIONS[variation]
    duration = round(1000 * seconds * source.lognormvariate(0, 0.35))
    input_tokens, output_tokens = source.randint(300, 700), round(tokens * source.lognormvariate(0, 0.4))
    is_error = source.random() < 0.02
    values: dict[str, float] = {
        "$ld:ai:duration:total": duration,
        "$ld:ai:generation:error" if is_error else "$ld:ai:generation:success": 1,
    }
    if not is_error:
        values |= {
            "$ld:ai:tokens:ttf": round(duration * source.uniform(0.15, 0.3)),
            "$ld:ai:tokens:total": input_tokens + output_tokens,
            "$ld:ai:tokens:input": input_tokens,
            "$ld:ai:tokens:output": output_tokens,
        }
        if source.random() < 0.2:
            values["$ld:ai:feedback:user:positive" if source.random() < 0.9 else "$ld:ai:feedback:user:negative"] = 1
    data = {
        "runId": f"{source.getrandbits(128):032x}",
        "configKey": "support-bot",
        "variationKey": variation,
        "version": 3 if variation == "concise" else 2,
        "modelName": model,
        "providerName": "OpenAI",
    }
    context = {"kind": "user", "key": source.choice(("ada", "grace", "linus", "guido"))}
    for key, value in values.items():
        yield {
            "kind": "custom",
            "key": key,
            "creationDate": round(moment * 1000),
            "context": context,
            "data": data,
            "metricValue": value,
        }


if __name__ == "__main__":
    take()
