"""Any header and body of a request can be read."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from ldclient import LDClient
from werkzeug.test import EnvironBuilder, run_wsgi_app

from ldai_integrations import Settings, Tracking, current_run
from ldai_integrations.feedback import FORM, MOST_BYTES, MemoryStore, fields_of, length_of

from .conftest import feedback_settings
from .integrations import django_wsgi, flask_extension, wsgi


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


class Unreadable(io.RawIOBase):
    """The body of a request in chunks, one of which is malformed. Each server has its own exceptions."""

    def __init__(self, problem: Exception) -> None:
        self.problem = problem

    def read(self, _size: int = -1) -> bytes:
        """Fail."""
        raise self.problem


class CountingStore(MemoryStore):
    """A store that remembers whose requests it has counted."""

    def __init__(self) -> None:
        super().__init__()
        self.clients: list[str] = []

    def count(self, client: str, minute: int) -> int:
        """Remember the client."""
        self.clients.append(client)
        return super().count(client, minute)


@pytest.mark.parametrize("content_type", ["application/json", FORM])
@pytest.mark.parametrize("problem", [OSError("the client is gone"), ValueError("wrong chunk")], ids=["gone", "wrong"])
@pytest.mark.parametrize("build", [wsgi, flask_extension, django_wsgi])
def test_a_body_that_cannot_be_read_is_refused(
    build: Callable[[Tracking], Any], problem: Exception, content_type: str, client: LDClient
) -> None:
    """The answer is a 400, as to any malformed body, and the request counts in the rate limit."""
    store = CountingStore()
    settings = Settings(feedback=feedback_settings(store=store, requests_per_minute=2))
    app = build(Tracking(client, settings=settings))
    environ = {
        **EnvironBuilder("/feedback", method="POST").get_environ(),
        "REMOTE_ADDR": "192.0.2.1",
        "CONTENT_TYPE": content_type,
        "HTTP_TRANSFER_ENCODING": "chunked",
        "wsgi.input": Unreadable(problem),
        "wsgi.input_terminated": True,
    }
    _, status, _ = run_wsgi_app(app, environ, buffered=True)
    assert (status[:4], store.clients) == ("400 ", ["192.0.2.1"])


def test_code_outside_of_a_run_has_no_token() -> None:
    """Without a run there is no token."""
    assert current_run().feedback_token == ""
