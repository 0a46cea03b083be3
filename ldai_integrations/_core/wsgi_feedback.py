"""The feedback endpoint as a WSGI application."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

from ..feedback import MOST_BYTES, Answer, fields_of, length_of, too_long, widget
from .endpoint import Endpoint

if TYPE_CHECKING:
    from ldclient import Context

    from ..typing import StartResponse, WSGIEnviron
    from .tracking import Tracking


class WSGIFeedback:
    """Do what :class:`~ldai_integrations.asgi.ASGIFeedback` does, as a WSGI application that any other can mount.

    Args:
        tracking: The application's :class:`~ldai_integrations.Tracking`, with ``Settings.feedback``.
        ld_context: Called with the environ, returns the LaunchDarkly context of whoever votes; without it the one that
            the middleware in front has for the request.

    Raises:
        ConfigurationError: If feedback is not asked for, has no secret, or ``ld_context`` cannot work.
    """

    def __init__(
        self, tracking: Tracking, *, ld_context: Callable[[WSGIEnviron], Context | None] | None = None
    ) -> None:
        self._endpoint = Endpoint(tracking, ld_context=ld_context)

    def __call__(self, environ: WSGIEnviron, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        answer = self._answer(environ)
        headers = answer.headers
        if answer.status != 204:
            headers = [*headers, ("Content-Length", str(len(answer.body)))]
        start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", list(headers))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]

    def _answer(self, environ: WSGIEnviron) -> Answer:
        method = environ["REQUEST_METHOD"]
        if environ.get("PATH_INFO", "").endswith("/widget.js") and method in ("GET", "HEAD"):
            self._endpoint.keep_out_of_runs()
            return widget()
        said = environ.get("CONTENT_LENGTH") or ""
        length = length_of(said)
        answer = self._endpoint.refuse(method, environ.get("REMOTE_ADDR", ""), length)
        if answer is not None:
            return answer
        if not said and environ.get("wsgi.input_terminated"):  # sent in chunks, to a server that knows where they end
            length = MOST_BYTES + 1
        body = environ["wsgi.input"].read(length)
        if len(body) > MOST_BYTES:
            return too_long()
        return self._endpoint.vote(environ, fields_of(environ.get("CONTENT_TYPE", ""), body))
