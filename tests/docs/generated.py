"""The parts of the pages that are made from the code. ``python -m tests.docs.generated`` writes them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

from ldai_integrations import Settings
from ldai_integrations._options import options_of
from ldai_integrations.feedback import FeedbackSettings
from ldai_integrations.judges import JudgeSettings

from .conftest import DOCS


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


BLOCKS: dict[str, tuple[str, Callable[[], Iterator[str]]]] = {
    "settings": ("settings.md", lambda: settings_table(Settings)),
    "feedback settings": ("settings.md", lambda: settings_table(FeedbackSettings)),
    "judge settings": ("settings.md", lambda: settings_table(JudgeSettings)),
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
    """Write the pages."""
    for page in {page for page, _ in BLOCKS.values()}:
        (DOCS / page).write_text(rewrite(page), encoding="utf-8")


if __name__ == "__main__":
    main()
