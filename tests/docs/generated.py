"""The parts of the pages that are made from the code. ``python -m tests.docs.generated`` writes them."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from ldai_integrations import Settings
from ldai_integrations._options import options_of
from ldai_integrations.devserver._flag_models import build_json_schema
from ldai_integrations.feedback import FeedbackSettings
from ldai_integrations.judges import JudgeSettings
from ldai_integrations.visitors import VisitorSettings

from .conftest import DOCS, ROOT

#: The objects of a flag file, in the order of the page: AI Configs, then targeting.
FORMAT = (
    *("File", "Flag", "Variation", "Meta", "Model", "Custom", "Provider", "Message", "Tool"),
    *("JudgeConfiguration", "AttachedJudge", "Edge"),
    *("Serve", "Rollout", "WeightedVariation", "Rule", "Clause", "Target", "Prerequisite"),
    *("Segment", "SegmentTarget", "SegmentRule"),
)
SCHEMA = ROOT / "ldai_integrations" / "devserver" / "configs.schema.json"


def describe_attributes(cls: type[Any]) -> dict[str, str]:
    """Return the first sentence about each attribute in a docstring."""
    section = (inspect.getdoc(cls) or "").partition("Attributes:")[2].partition("\nRaises:")[0]
    found = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", section, re.MULTILINE)
    texts = {name: re.sub(r":class:`~[\w.]+\.(\w+)`", r"`\1`", " ".join(text.split())) for name, text in found}
    return {name: re.split(r"(?<=\.) (?=[A-Z])", text.replace("``", "`"))[0] for name, text in texts.items()}


def settings_table(cls: type[Any]) -> Iterator[str]:
    """Yield the lines of a table of options."""
    texts = describe_attributes(cls)
    yield "| setting | default | values | variable | meaning |"
    yield "|---|---|---|---|---|"
    for name, option in options_of(cls).items():
        default = "all" if name == "frameworks" else repr(option.default)
        values = option.kind.text.replace("'", "`").replace("|", "\\|")
        yield f"| `{name}` | `{default}` | {values} | `{option.variable}` | {texts[name]} |"


def format_tables() -> Iterator[str]:
    """Yield the lines of the tables about the format of a flag file."""
    schema = build_json_schema()
    for name in FORMAT:
        part = schema if name == "File" else schema["$defs"][name]
        yield f"**{name}**: {part['description']}"
        yield ""
        yield "| field | value | meaning |"
        yield "|---|---|---|"
        for field, node in part["properties"].items():
            if field != "$comment" and "description" in node:
                needed = ", needed" if field in part.get("required", ()) else ""
                yield f"| `{field}` | {_name_type(node)}{needed} | {node['description']} |"
        yield ""
    yield "`$comment` is allowed in any of these objects."


def _name_type(node: dict[str, Any]) -> str:
    """Return the type of a value in words."""
    node = next((one for one in node.get("anyOf", ()) if one.get("type") != "null"), node)
    if "$ref" in node:
        return str(node["$ref"].rpartition("/")[2])
    if "enum" in node:
        return " or ".join(f"`{word}`" for word in node["enum"])
    for container in ("items", "additionalProperties"):
        if isinstance(node.get(container), dict) and node[container].keys() & {"$ref", "items"}:
            return f"{node['type']} of {_name_type(node[container])}"
    words = {"string": "text", "integer": "whole number", "boolean": "true or false"}
    found = str(node.get("type", "anything"))
    return words.get(found, found)


def format_schema() -> str:
    """Return the JSON Schema of a flag file as text."""
    return json.dumps(build_json_schema(), indent=2) + "\n"


BLOCKS: dict[str, tuple[str, Callable[[], Iterator[str]]]] = {
    "settings": ("settings.md", lambda: settings_table(Settings)),
    "feedback settings": ("settings.md", lambda: settings_table(FeedbackSettings)),
    "format": ("devserver.md", format_tables),
    "judge settings": ("settings.md", lambda: settings_table(JudgeSettings)),
    "visitor settings": ("settings.md", lambda: settings_table(VisitorSettings)),
}


def rewrite(page: str) -> str:
    """Return the text of a page with its generated parts made again."""
    text = (DOCS / page).read_text(encoding="utf-8")
    for name, (of, make) in BLOCKS.items():
        if of == page:
            first, last = f"<!-- generated: {name} -->\n", "<!-- end -->\n"
            before, after = text.split(first)
            text = before + first + "\n" + "\n".join(make()) + "\n\n" + last + after.partition(last)[2]
    return text


def main() -> None:
    """Write the pages, and the JSON Schema."""
    SCHEMA.write_text(format_schema(), encoding="utf-8")
    for page in {page for page, _ in BLOCKS.values()}:
        (DOCS / page).write_text(rewrite(page), encoding="utf-8")


if __name__ == "__main__":
    main()
