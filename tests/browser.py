"""A headless Chromium for the tests of pages; they are skipped where there is none."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selenium import webdriver

_CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_DRIVER = shutil.which("chromedriver")

needs_browser = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (_CHROMIUM and _DRIVER), reason="needs chromium and chromedriver (Debian: chromium, chromium-driver)"
    ),
    pytest.mark.timeout(300),
]


@contextmanager
def headless(profile: Path, *, width: int, height: int) -> Iterator[webdriver.Chrome]:
    """Run a Chromium that keeps a log of its console and of its network.

    Args:
        profile: A folder for what it stores.
        width: Of its window, pixels.
        height: Of its window, pixels.
    """
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(_CHROMIUM)
    for argument in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server"),
        *(f"--window-size={width},{height}", f"--user-data-dir={profile}"),
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(str(_DRIVER)))
    try:
        yield driver
    finally:
        driver.quit()


def picture(driver: webdriver.Chrome, name: str) -> None:
    """Leave a screenshot where ``LDAI_SCREENSHOTS`` says, for people to look at."""
    if folder := os.environ.get("LDAI_SCREENSHOTS"):
        driver.save_screenshot(str(Path(folder) / f"{name}.png"))
