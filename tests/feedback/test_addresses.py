"""Behind a proxy, each client has a limit of its own where the server trusts the proxy, as docs/feedback.md says."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from hypercorn.middleware import ProxyFixMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from ldai_integrations import Settings, Tracking
from ldai_integrations.devserver import DevServer

from ..contract.servers import Address, serve_asgi, serve_asgi_without_lifespan, serve_wsgi
from . import integrations
from .cases import JSON, Request
from .conftest import Application, feedback_settings

Serve = Callable[[Any], AbstractContextManager[Address]]


def serve_behind_proxy_fix(app: Any) -> AbstractContextManager[Address]:
    """Serve a WSGI application on a server that passes the headers of proxies on, unlike waitress by itself."""
    return serve_wsgi(ProxyFix(app, x_for=1), clear_untrusted_proxy_headers=False)


#: An integration, and how a server serves it that trusts a proxy on this machine.
TRUSTING: dict[str, tuple[Callable[[Tracking], Any], Serve]] = {
    "Flask": (integrations.flask_extension, serve_behind_proxy_fix),
    "Django under WSGI": (integrations.django_wsgi, serve_behind_proxy_fix),
    "waitress": (
        integrations.wsgi,
        lambda app: serve_wsgi(app, trusted_proxy="127.0.0.1", trusted_proxy_headers="x-forwarded-for"),
    ),
    "FastAPI with uvicorn": (integrations.fastapi, lambda app: serve_asgi(app, forwarded_allow_ips="127.0.0.1")),
    "Django with uvicorn": (
        integrations.django_asgi_decorator_alone,
        lambda app: serve_asgi_without_lifespan(app, forwarded_allow_ips="127.0.0.1"),
    ),
    "hypercorn": (
        integrations.starlette,
        lambda app: serve_asgi(ProxyFixMiddleware(app, mode="legacy", trusted_hops=1), proxy_headers=False),
    ),
}
#: An integration, and how a server serves it that trusts no proxy, or another one.
NOT_TRUSTING: dict[str, tuple[Callable[[Tracking], Any], Serve]] = {
    "WSGI": (integrations.wsgi, serve_wsgi),
    "Flask": (integrations.flask_extension, serve_wsgi),
    "Starlette with uvicorn": (integrations.starlette, lambda app: serve_asgi(app, forwarded_allow_ips="10.0.0.1")),
}


def vote_as(
    clients: list[str], feedback_server: DevServer, build: Callable[[Tracking], Any], serve: Serve
) -> list[int]:
    """Vote once for each client that a proxy names, with a limit of one vote for each address; return the statuses."""
    settings = Settings(feedback=feedback_settings(requests_per_minute=1))
    tracking = Tracking.from_env(environ={"LDAI_DEV_SERVER": feedback_server.url}, settings=settings)
    try:
        with serve(build(tracking)) as address:
            application = Application(address, tracking, feedback_server)
            requests = [Request(b"{}", {**JSON, "X-Forwarded-For": client}) for client in clients]
            return [application.vote(request).status for request in requests]
    finally:
        tracking.close()


@pytest.mark.parametrize("name", TRUSTING)
def test_a_proxy_that_is_trusted(feedback_server: DevServer, name: str) -> None:
    """Each client has its own limit."""
    statuses = vote_as([f"10.0.0.{number}" for number in range(4)], feedback_server, *TRUSTING[name])
    assert 429 not in statuses


@pytest.mark.parametrize("name", NOT_TRUSTING)
def test_a_proxy_that_is_not_trusted(feedback_server: DevServer, name: str) -> None:
    """The header, which any client can send, is ignored."""
    statuses = vote_as([f"10.0.0.{number}" for number in range(4)], feedback_server, *NOT_TRUSTING[name])
    assert 429 in statuses
