"""A Django response that is rendered after its view is not asked for its content before."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.test import RequestFactory

from ldai_integrations import RunRecord, Tracking, track_ai

from ..contract.drivers import django as _set_up  # noqa: F401  # Django has one set of settings per process


class Page:
    """A template without an engine."""

    def render(self, context: Any, request: HttpRequest) -> str:
        """Return the page."""
        return f"Hello {context['name']}"


def view(request: HttpRequest) -> TemplateResponse:
    """Answer with a template."""
    return TemplateResponse(request, Page(), {"name": "Ada"})


def test_the_decorator_ends_the_run_at_return(tracking: Tracking, records: list[RunRecord]) -> None:
    """The response comes back as it was, its run is a success, and nothing failed."""
    tracked: Any = track_ai(config_key="chat", tracking=tracking)(view)  # Django has no type hints
    response = tracked(RequestFactory().get("/"))

    assert not response.is_rendered
    assert [record.outcome for record in records] == ["success"]
    assert response.render().content == b"Hello Ada"
    assert tracking.stats().diagnostics == {}
