"""The texts that users read are plain English: the rules and the words are in CONTRIBUTING.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import DOCS, ROOT

PACKAGE = ROOT / "ldai_integrations"
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *DOCS.rglob("*.md"),
]
#: Calls whose texts are shown: diagnostics and log lines, errors, and what the command prints.
SHOWN = re.compile(r"note|debug|info|warning|error|exception|fail|print|add_argument|add_parser|\w*(Error|Warning)")
MOST_WORDS = 35


def words_to_replace() -> list[str]:
    """Return the first column of the table of words in CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    [table] = re.findall(r"^\| do not write \| write \|\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [word.strip() for row in table.splitlines() for word in row.split("|")[1].split(",")]


def prose(markdown: str) -> Iterator[str]:
    """Yield the paragraphs, list items and cells of a page, without code and addresses."""
    text = re.sub(r"^( *)```.*?^\1```$", "", markdown, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^\| do not write .*?\n\n", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^\[[^\]]+\]: .*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    for block in re.split(r"\n\s*\n|^\s*(?:[-*]|\d+\.|#+) ", text, flags=re.MULTILINE):
        yield from re.split(r"\|", block) if block.lstrip().startswith("|") else [block]


def docstrings(tree: ast.Module) -> Iterator[str]:
    """Yield the docstrings of public names, by paragraph."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = "" if getattr(node, "name", "").startswith("_") else ast.get_docstring(node) or ""
            text = re.sub(r"^=+  =+$.*^=+  =+$", "", text, flags=re.MULTILINE | re.DOTALL)  # tables
            text = re.sub(r"::\n\n(?: .*\n|\n)*", "\n\n", text)  # code
            yield from re.split(r"\n\s*\n|^ *\w+: ", text, flags=re.MULTILINE)


def shown(tree: ast.Module) -> Iterator[str]:
    """Yield the texts in calls that log, raise or print."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if SHOWN.fullmatch(name):
                for value in (*node.args, *(keyword.value for keyword in node.keywords)):
                    if isinstance(value, ast.Constant) and isinstance(value.value, str):
                        yield value.value
                    elif isinstance(value, ast.JoinedStr):
                        yield "".join(
                            str(part.value) if isinstance(part, ast.Constant) else "x" for part in value.values
                        )


def problems(text: str) -> list[str]:
    """Return what is wrong with a text: words to replace, and sentences that are too long."""
    plain = re.sub(r"``?[^`]*``?|:\w+:`[^`]*`", "code", text)
    plain = re.sub(r"\bthere (is|are|was) no\b|\bno longer\b", "lacks", plain, flags=re.IGNORECASE)
    found = [f"{word!r} in {' '.join(plain.split())!r}" for word in words_to_replace() if _contains(plain, word)]
    sentences = [sentence.split() for sentence in re.split(r"(?<=[.!?:;])\s", plain)]
    return found + [f"{len(words)} words: {' '.join(words)!r}" for words in sentences if len(words) > MOST_WORDS]


def _contains(text: str, word: str) -> bool:
    return re.search(rf"\b{re.escape(word)}\b", " ".join(text.split()), re.IGNORECASE) is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages(page: Path) -> None:
    """Pages have short sentences and none of the words to replace."""
    assert [problem for text in prose(page.read_text(encoding="utf-8")) for problem in problems(text)] == []


@pytest.mark.parametrize("texts", [docstrings, shown], ids=["docstrings", "log lines, errors and commands"])
def test_modules(texts: object) -> None:
    """Public docstrings, log lines, errors and texts of the command keep the same rules."""
    assert callable(texts)
    found = [
        f"{path.relative_to(ROOT)}: {problem}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for text in texts(ast.parse(path.read_text(encoding="utf-8")))
        for problem in problems(text)
    ]
    assert found == []


def test_the_check_finds_mistakes() -> None:
    """A word to replace and a long sentence are found in pages, docstrings and log lines; code is not read."""
    module = ast.parse(f'def f():\n    """Mend it."""\n    logger.warning("{"word " * 50}")\n')

    assert problems("Mend your sink.") == ["'mend' in 'Mend your sink.'"]
    assert [problems(text) for text in docstrings(module) if text] == [["'mend' in 'Mend it.'"]]
    assert [len(problems(text)) for text in shown(module)] == [1]
    assert [problem for text in prose("A `mend` and\n\n```\nmend\n```\n") for problem in problems(text)] == []
