"""Any header and body of a request can be read."""

from __future__ import annotations

import pytest

from ldai_integrations import current_run
from ldai_integrations.feedback import FORM, MOST_BYTES, fields_of, length_of


@pytest.mark.parametrize(
    ("said", "length"),
    [("", 0), ("0", 0), ("12", 12), ("-1", 0), ("1e3", 0), (" 12", 0), ("abc", 0), ("9" * 5_000, MOST_BYTES + 1)],
)
def test_any_content_length_is_judged(said: str, length: int) -> None:
    """No value of the header raises an exception."""
    assert length_of(said) == length


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"token": "a", "kind": "b"}'),
        ("Application/JSON; charset=utf-8", b'{"token": "a", "kind": "b"}'),
        (FORM, b"token=a&kind=b"),
        (f"{FORM}; charset=utf-8", b"token=a&kind=b&kind=b"),
    ],
)
def test_both_kinds_of_body_are_read(content_type: str, body: bytes) -> None:
    """JSON and forms give the same fields, with or without parameters of the media type."""
    assert fields_of(content_type, body) == {"token": "a", "kind": "b"}


def test_code_outside_of_a_run_has_no_token() -> None:
    """Without a run there is no token."""
    assert current_run().feedback_token == ""
