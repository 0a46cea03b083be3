"""The parts of the pages that are made from the code are up to date."""

from __future__ import annotations

import pytest

from .conftest import DOCS
from .generated import BLOCKS, SCHEMA, format_schema, rewrite


@pytest.mark.parametrize("page", sorted({page for page, _ in BLOCKS.values()}))
def test_the_generated_parts_are_current(page: str) -> None:
    """A page says what the code does; ``python -m tests.docs.generated`` writes it again."""
    assert (DOCS / page).read_text(encoding="utf-8") == rewrite(page)


def test_the_json_schema_is_current() -> None:
    """The JSON Schema in the package is that of the models that check a flag file."""
    assert SCHEMA.read_text(encoding="utf-8") == format_schema()
