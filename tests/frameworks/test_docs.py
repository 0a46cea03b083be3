"""The page about frameworks: its examples work, and its table agrees with the matrix."""

from __future__ import annotations

import gc
import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from flask import Flask

from ldai_integrations.testing import OfflineLaunchDarkly, ai_config, recorded_runs

from ..ledger.provider import IN, OUT, Provider
from .cells import PATTERNS
from .stacks import STACKS, Stack

_PAGE = (Path(__file__).parents[2] / "docs" / "frameworks.md").read_text(encoding="utf-8")
_EXAMPLES = {
    section.partition("\n")[0]: code
    for section in re.split("^## ", _PAGE, flags=re.MULTILINE)
    for code in re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    if "@track_ai(" in code
}
_ROWS = re.findall(r"^\| `(\w+)` \|(.*)\|$", _PAGE.partition("## What is exact")[2], re.MULTILINE)
_COLUMNS = ("whole", "stream", "tool loop", "failure", "early end", "first token", "finish reason", "model")


@pytest.mark.stacks
@pytest.mark.filterwarnings("ignore")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("title", _EXAMPLES)
def test_the_example_of_a_framework(title: str, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """The application of each example answers, and its record has the provider's figures."""
    code = _EXAMPLES[title]
    missing = [name for name in re.findall(r"^(?:from|import) (\w+)", code, re.MULTILINE) if find_spec(name) is None]
    if missing or ("google.adk" in code and not next(one for one in STACKS if one.module == "adk").is_installed):
        pytest.skip(f"a package of the example is not installed: {', '.join(missing) or 'google.adk'}")
    for name in ("OPENAI", "GOOGLE", "ANTHROPIC"):
        monkeypatch.setenv(f"{name}_API_KEY", "none")
    for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE"):
        monkeypatch.setenv(name, f"{provider.url}/v1")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", provider.url)
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", provider.url)
    if "from agents" in code:
        import_module("agents").set_trace_processors([])  # the default one sends the spans to OpenAI
    if "dspy" in code:
        dspy = import_module("dspy")
        monkeypatch.setattr(dspy, "cache", dspy.cache)  # other tests use it
        dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
        provider.serve(words=("[[ ## answer ## ]]\nHello\n\n[[ ## completed ## ]]",))
    model = "gemini-2.5-flash" if "google.adk" in code else "gpt-4o-mini"
    space: dict[str, object] = {"__name__": "page"}

    with OfflineLaunchDarkly({"support-bot": ai_config(model)}), recorded_runs() as sink:
        exec(compile(code, "frameworks.md", "exec", dont_inherit=True), space)
        app = space["app"]
        answer = app.test_client().post("/chat") if isinstance(app, Flask) else TestClient(app).post("/chat")  # type: ignore[arg-type]
        [record] = sink.wait(1)
    space.clear()
    gc.collect()  # the page's clients live as long as their processes, and nobody closes them

    assert answer.status_code == 200
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens) == (IN * record.calls, OUT * record.calls)
    assert (record.usage.source, record.outcome) == ("provider", "success")


def test_the_table_of_what_is_exact() -> None:
    """A column of a row is exact if no stack of that framework has an exception, or if it cannot do it."""
    shown = {name: dict(zip(_COLUMNS, map(str.strip, cells.split("|")), strict=True)) for name, cells in _ROWS}
    shown["clients"] = shown.pop("wrap_client")
    by_module: dict[str, list[Stack]] = {}
    for stack in STACKS:
        by_module.setdefault(stack.module, []).append(stack)

    assert sorted(shown) == sorted(by_module)
    for module, stacks in by_module.items():
        exceptions = {name for stack in stacks for name in stack.exceptions}
        assert exceptions == {name for name, text in shown[module].items() if text not in ("exact", "-")}, module
        impossible = {pattern for pattern in PATTERNS if not any(stack.use(pattern) for stack in stacks)}
        assert impossible == {name for name, text in shown[module].items() if text == "-"}, module
