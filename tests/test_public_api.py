"""What the package offers, and what importing it costs."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import ldai_integrations

ROOT = Path(__file__).parents[1]

# Frameworks and provider SDKs; whoever does not use one need not have it.
FOREIGN = {
    "anthropic",
    "boto3",
    "django",
    "fastapi",
    "flask",
    "google.genai",
    "litestar",
    "openai",
    "opentelemetry",
    "quart",
    "starlette",
    "uvicorn",
    "werkzeug",
}

_BLOCKED = """
import sys
foreign = {foreign!r}
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name in foreign:
            raise ImportError(f"{{name}} is not installed here")
sys.meta_path.insert(0, Blocker())
from ldai_integrations import Tracking, track_ai, current_run
import ldai_integrations.asgi, ldai_integrations.wsgi
@track_ai(config_key="support-bot")
def handler():
    return current_run().config.enabled
assert handler() is False
print(sorted(foreign & sys.modules.keys()))
"""


def test_exactly_these_names_are_public() -> None:
    """The public names are the documented ones, in order, and each is there."""
    names = [
        "ConfigurationError",
        "FlushReport",
        "LDAIIntegrationError",
        "Run",
        "RunRecord",
        "Settings",
        "Stats",
        "Tracking",
        "TrackingNotConfiguredError",
        "Usage",
        "__version__",
        "current_run",
        "default_served",
        "run_finished",
        "run_opened",
        "track_ai",
        "track_graph",
        "wrap_client",
    ]

    assert ldai_integrations.__all__ == names
    assert all(hasattr(ldai_integrations, name) for name in names)


def test_the_version_is_the_packages() -> None:
    """The version in the code is the one that is installed."""
    assert ldai_integrations.__version__ == version("ldai-integrations")


def test_no_framework_is_needed_or_loaded() -> None:
    """Without any framework or provider SDK the package imports, its middlewares too, and serves a handler."""
    program = _BLOCKED.format(foreign=FOREIGN)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_nothing_is_loaded_from_the_network_or_started_by_an_import() -> None:
    """Importing starts no thread and opens no connection."""
    program = "import ldai_integrations, threading, sys; print(threading.active_count(), 'requests' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.split() == ["1", "False"]


@pytest.mark.parametrize(
    "integration", ["asgi", "django", "feedback", "flask", "opentelemetry", "starlette", "testing", "wsgi"]
)
def test_integrations_have_explicit_names(integration: str) -> None:
    """Each integration has an explicit ``__all__`` of documented names."""
    module = __import__(f"ldai_integrations.{integration}", fromlist=["__all__"])

    assert module.__all__
    assert all(getattr(module, name).__doc__ for name in module.__all__)


def test_private_parts_of_launchdarkly_are_in_one_module() -> None:
    """Private names of LaunchDarkly's SDKs are used in one module of delivery, and nowhere else."""
    names = r"_event_processor\b|_owner_pid\b|_LDAIClient__|_build_evaluator"
    private = re.compile(rf"^\s*from ldclient\.impl|{names}", re.MULTILINE)
    package = ROOT / "ldai_integrations"
    found = {str(path.relative_to(package)) for path in package.rglob("*.py") if private.search(path.read_text())}

    assert found == {"delivery/_sdk.py"}


def test_a_value_shows_what_is_known() -> None:
    """The text of a usage has only the counts that are known."""
    usage = ldai_integrations.Usage(input_tokens=1013, output_tokens=77, lower_bound=True)

    assert repr(usage) == "Usage(input_tokens=1013, output_tokens=77, lower_bound=True)"
    assert repr(ldai_integrations.Usage()) == "Usage()"
