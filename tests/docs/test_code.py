"""The code on the pages can be copied: its names, imports and AI Configs exist, and a type checker knows its types."""

from __future__ import annotations

import ast
import builtins
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import DOCS, ROOT

PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
#: The first line of the only excerpt. The quickstart has the whole application.
EXCERPT = '@app.post("/chat")'
#: What a package brings, if its modules have another name.
BRINGS = {
    "agentcontrol": {"launchdarkly_ai_server"},
    "dev": {"fastapi", "flask", "openai"},
    "fastapi": {"fastapi", "starlette"},
    "judges": {"openai"},
    "google-adk": {"google"},
    "google-genai": {"google"},
    "launchdarkly-observability": {"ldobserve"},
    "llama-index-llms-openai": {"llama_index"},
    "openai-agents": {"agents"},
    "opentelemetry-exporter-prometheus": {"prometheus_client"},
    "opentelemetry-instrumentation-openai": {"opentelemetry"},
    "otel": {"opentelemetry"},
    "pydantic-ai-slim": {"pydantic_ai"},
    "strands-agents": {"strands"},
}
#: The library, LaunchDarkly's SDKs, and modules of the reader's application.
AT_HAND = {"ldai_integrations", "ldai", "ldclient", "app", "assistant", "shop", "quart"}
#: AI Configs that readers create themselves: the agents of a graph, a gateway, and one with a schema.
OWN_KEYS = {"triage", "answer", "gateway", "order-reader"}


def blocks(page: Path) -> Iterator[ast.Module]:
    """Yield the blocks of Python code on a page, without the excerpt."""
    for code in re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        if not code.startswith(EXCERPT):
            yield ast.parse(code)


def undefined(tree: ast.Module) -> set[str]:
    """Return the names that a module uses, and neither defines nor imports anywhere."""
    used: set[str] = set()
    known = set(dir(builtins)) | {"__name__", "__file__"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else known).add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            known.add(node.name)
        elif isinstance(node, ast.arg):
            known.add(node.arg)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            known.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            known |= {(name.asname or name.name).partition(".")[0] for name in node.names}
    return used - known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_name_is_defined(page: Path) -> None:
    """A block imports and defines what it uses, so that it works when it is copied."""
    assert [found for found in map(undefined, blocks(page)) if found] == []


def installed(text: str) -> set[str]:
    """Return the modules that the commands of a page install."""
    found: set[str] = set()
    for line in re.findall(r"pip install ([^`\n]+)", text):
        for name in re.findall(r"[\w-]+", line):
            found |= BRINGS.get(name, {name.replace("-", "_")})
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_import_is_installed(page: Path) -> None:
    """A block imports what the page installs. A page that does not install the library continues the quickstart."""
    text = page.read_text(encoding="utf-8")
    modules = installed(text) | AT_HAND | sys.stdlib_module_names
    if not re.search(r"^pip install '?ldai-integrations", text, re.MULTILINE):
        modules |= installed((DOCS / "quickstart.md").read_text(encoding="utf-8"))
    imported: set[str] = set()
    for node in (node for tree in blocks(page) for node in ast.walk(tree)):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported.add(node.module.partition(".")[0])

    assert imported - modules == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_request_names_its_tools(page: Path) -> None:
    """A request of a block has ``tools=``, so that a tool that somebody attaches later does not replace the answer."""
    calls = [node for tree in blocks(page) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    requests = [call for call in calls if ast.unparse(call.func) == "run.request"]

    assert [call for call in requests if "tools" not in {keyword.arg for keyword in call.keywords}] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_ai_config_can_be_served(page: Path) -> None:
    """The AI Configs of the blocks are in the file that ``ldai init`` writes."""
    sample = json.loads((ROOT / "ldai_integrations" / "devserver" / "sample.json").read_text(encoding="utf-8"))
    keywords = [node for tree in blocks(page) for node in ast.walk(tree) if isinstance(node, ast.keyword)]
    keys = {ast.literal_eval(one.value) for one in keywords if one.arg == "config_key" and _is_text(one.value)}

    assert keys - sample["flags"].keys() - OWN_KEYS == set()


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_functions_with_parameters_have_a_name(page: Path) -> None:
    """``on_disabled`` and tools are functions, because a type checker cannot know the parameters of such a lambda."""
    for tree in blocks(page):
        values = [node.value for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "on_disabled"]
        values += [value for node in ast.walk(tree) if isinstance(node, ast.Dict) for value in node.values]
        assert not any(isinstance(value, ast.Lambda) and value.args.args for value in values)
