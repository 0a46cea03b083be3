"""The links of the pages lead somewhere."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from .conftest import DOCS, ROOT

PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted(DOCS.rglob("*.md")),
    ROOT / "tests" / "upstream" / "README.md",
]


def without_code(page: Path) -> str:
    """Return the text of a page without its blocks of code and without code in lines."""
    text = re.sub(r"^( *)```.*?^\1```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "code", text)


@cache
def anchors(page: Path) -> frozenset[str]:
    """Return the anchors of the headings of a page, as GitHub and the documentation site name them."""
    text = re.sub(r"^( *)```.*?^\1```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#{1,4} (.+)$", text, re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)


def targets(page: Path) -> list[str]:
    """Return the targets of the links and pictures of a page that are no addresses."""
    text = without_code(page)
    found = re.findall(r"\]\(<?([^)\s>]+)>?\)", text) + re.findall(r"^\[[^\]]+\]: (\S+)$", text, re.MULTILINE)
    return [target for target in found if not re.match(r"[a-z]+:", target)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    """Each relative link names a file of the project, and each anchor a heading of its page."""
    broken = []
    for target in targets(page):
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_of_links_are_defined(page: Path) -> None:
    """A link by name, as in ``[text][name]``, has an address, and each address is used."""
    text = without_code(page)
    defined = {name.lower() for name in re.findall(r"^\[([^\]]+)\]: ", text, re.MULTILINE)}
    body = re.sub(r"^\[[^\]]+\]: .*$", "", text, flags=re.MULTILINE)
    by_name = {name.lower().replace("\n", " ") for name in re.findall(r"\]\[([^\]]+)\]", body)}
    alone = {name.lower().replace("\n", " ") for name in re.findall(r"\[([^\]]+)\](?![\[(])", body)}

    assert sorted(by_name - defined) == []
    assert sorted(defined - by_name - alone) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    """The check sees a file that is missing and a heading that does not exist, and skips code."""
    page = tmp_path / "page.md"
    page.write_text("# One title\n[a](no.md) [b](#one-title) [c](#two)\n```\n[d](e.md)\n```\n`[f](g)`\n", "utf-8")

    assert targets(page) == ["no.md", "#one-title", "#two"]
    assert anchors(page) == {"one-title"}
