"""The Flask extension."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from ldclient import Context

from ._extras import needs_extra
from ._launchdarkly.configs import AIConfigDefault
from ._run.context import SCOPE_KEY, RequestScope
from ._run.middleware import RequestTracking, VoteEndpoint
from ._run.options import check_ld_context
from .exceptions import ConfigurationError, TrackingNotConfiguredError
from .feedback import FORM, MOST_BYTES, Answer, fields_of, no_fields_if_unreadable, too_long, widget
from .records import Mode
from .tracking import Tracking, process_tracking, services_of
from .typing import WSGIEnviron
from .wsgi import serve

with needs_extra("flask"):
    import flask

__all__ = ["AITracking", "feedback_blueprint", "get_tracking", "session_context"]

_EXTENSION = "ldai"
_FEEDBACK = "ldai_feedback"
_VISITOR = "ldai_visitor"


class AITracking:
    """A Flask extension that gives each request an LD context for its runs, or tracks each request as a run.

    ::

        AITracking(app, ld_context=lambda request: Context.create(request.headers["X-User"]))

    or, for an application factory, ``ai_tracking = AITracking(ld_context=…)`` and ``ai_tracking.init_app(app)``. It
    wraps ``app.wsgi_app``, because Flask's own hooks run before a streamed body begins. Events are flushed when
    the process ends, and after each request with ``Settings(flush="request")``.

    Args:
        app: The application; or call :meth:`init_app` later.
        tracking: The application's :class:`~ldai_integrations.Tracking`; without one, that of the process.
        config_key: The key of the AI Config of every request, or a callable from the request to a key or ``None``.
            Without it, only decorated views open runs.
        mode: ``"completion"`` or ``"agent"``. Like the next two, it needs a ``config_key``.
        default: Used if LaunchDarkly has no usable variation.
        variables: Values for the prompt's ``{{variables}}``: a mapping, or a callable that is called with the request.
        ld_context: Called with the :class:`flask.Request` when a run first needs the LD context of the request.

    Raises:
        ConfigurationError: If a value cannot work, or the application has been initialized before.
        TrackingNotConfiguredError: If no tracking is given and none can be created.
    """

    def __init__(
        self,
        app: flask.Flask | None = None,
        tracking: Tracking | None = None,
        *,
        config_key: str | Callable[[flask.Request], str | None] | None = None,
        mode: Mode = "completion",
        default: AIConfigDefault | None = None,
        variables: Mapping[str, Any] | Callable[[flask.Request], Mapping[str, Any]] | None = None,
        ld_context: Callable[[flask.Request], Context | None] | None = None,
    ) -> None:
        check_ld_context(ld_context)
        self._tracking = tracking
        self._options: dict[str, Any] = {
            "config_key": config_key,
            "mode": mode,
            "default": default,
            "variables": variables,
            "ld_context": ld_context,
        }
        if app is not None:
            self.init_app(app)

    def init_app(self, app: flask.Flask) -> None:
        """Initialize an application, once. One extension object may serve several applications."""
        if _EXTENSION in app.extensions:
            raise ConfigurationError(f"AITracking is already on the Flask application {app.name!r}; initialize it once")
        options = {name: _of_request(value, app) for name, value in self._options.items()}
        tracking = process_tracking(self._tracking)
        requests = RequestTracking(services_of(tracking), **options, secrets=_secrets(app))
        app.extensions[_EXTENSION] = tracking
        app.before_request(functools.partial(_check_view, requests))
        if self._options["ld_context"] is not None:
            app.after_request(_determine_contexts)
        # As Flask's documentation recommends.
        app.wsgi_app = functools.partial(serve, app.wsgi_app, requests)  # type: ignore[method-assign]


def session_context(_request: object = None) -> Context:
    """Return an anonymous LD context whose key stays the same as long as Flask's session.

    ::

        AITracking(app, ld_context=session_context)

    The session is changed, so that Flask sets its cookie. It needs a ``SECRET_KEY``.
    """
    key = flask.session.get(_VISITOR)
    if not isinstance(key, str) or not key:
        key = flask.session[_VISITOR] = str(uuid.uuid4())
    return Context.builder(key).anonymous(True).build()


def _determine_contexts(response: flask.Response) -> flask.Response:
    """Determine LD contexts before Flask saves the session: the body of a stream comes after that."""
    scope = flask.request.environ.get(SCOPE_KEY)
    if isinstance(scope, RequestScope):
        is_whole = not response.is_streamed or response.content_length is not None  # a file has a length
        scope.determine_contexts(is_whole=is_whole)
    return response


def get_tracking(app: flask.Flask | None = None) -> Tracking:
    """Return the :class:`~ldai_integrations.Tracking` of an application; without one, of the current application.

    Raises:
        TrackingNotConfiguredError: If the application has no :class:`AITracking`.
    """
    app = app if app is not None else flask.current_app
    try:
        tracking: Tracking = app.extensions[_EXTENSION]
    except KeyError:
        raise TrackingNotConfiguredError(
            f"The Flask application {app.name!r} has no AITracking; call AITracking(app) or init_app(app)"
        ) from None
    return tracking


def feedback_blueprint(
    *, url_prefix: str = "/feedback", ld_context: Callable[[flask.Request], Context | None] | None = None
) -> flask.Blueprint:
    """Return a blueprint that takes votes and serves the widget; register it after :class:`AITracking`.

    ::

        AITracking(app, tracking, ld_context=…)
        app.register_blueprint(feedback_blueprint())

    The token protects it from cross-site requests: exempt it from Flask-WTF with ``csrf.exempt(blueprint)``.

    Args:
        url_prefix: Where votes are posted; the widget is at ``url_prefix`` + ``/widget.js``.
        ld_context: Called with the :class:`flask.Request`, returns the LD context of the voter. Without it, the LD
            context that :class:`AITracking` determined for the request is used.

    Raises:
        ConfigurationError: If ``ld_context`` cannot work; when it is registered, if the settings have no feedback or
            there is no secret.
        TrackingNotConfiguredError: When it is registered, if the application has no :class:`AITracking`.
    """
    check_ld_context(ld_context)
    blueprint = flask.Blueprint(_FEEDBACK, __name__, url_prefix=url_prefix)

    def set_up(state: Any) -> None:
        app = state.app
        app.extensions[_FEEDBACK] = VoteEndpoint(
            services_of(get_tracking(app)), ld_context=ld_context, secrets=_secrets(app)
        )

    blueprint.record(set_up)
    blueprint.add_url_rule("", "vote", _vote, methods=["POST"])
    blueprint.add_url_rule("/widget.js", "widget", _widget)
    return blueprint


def _check_view(requests: RequestTracking) -> None:
    """Check that the view of the current request is the tracked one. Flask's URL map has the views by name."""
    requests.check_handler(flask.current_app.view_functions.get(flask.request.endpoint or ""))


def _vote() -> flask.Response:
    request, endpoint = flask.request, flask.current_app.extensions[_FEEDBACK]
    client = request.remote_addr or ""
    answer = endpoint.refuse(request.method, client, request.content_length or 0)
    if answer is not None:
        return _response(answer)
    fields: Mapping[str, object] = {}
    with no_fields_if_unreadable():
        if request.mimetype == FORM:  # a CSRF protection may have read it already
            fields = dict(request.form.items(multi=True))  # of a repeated field, the last value
        else:
            body = request.stream.read(MOST_BYTES + 1) if request.content_length is None else request.get_data()
            if len(body) > MOST_BYTES:
                return _response(too_long())
            fields = fields_of(request.content_type or "", body)
    return _response(endpoint.vote(request, fields, client, is_multiprocess=request.is_multiprocess))


def _widget() -> flask.Response:
    flask.current_app.extensions[_FEEDBACK].keep_out_of_runs()
    return _response(widget())


def _response(answer: Answer) -> flask.Response:
    return flask.Response(answer.body, answer.status, answer.headers)


def _secrets(app: flask.Flask) -> list[str | bytes]:
    """Return the application's secrets, the one that signs last."""
    fallbacks = app.config.get("SECRET_KEY_FALLBACKS") or ()  # since Flask 3.1, the newest first
    return [*reversed(fallbacks), app.secret_key] if app.secret_key else []


def _of_request(func: object, app: flask.Flask) -> Any:
    """Turn a callable that takes the request into one that takes the environ; return other values unchanged."""
    if not callable(func):
        return func

    def of_environ(environ: WSGIEnviron) -> Any:
        return func(_request(app, environ))

    return functools.update_wrapper(of_environ, func)


def _request(app: flask.Flask, environ: WSGIEnviron) -> flask.Request:
    """Return the current request; before routing and in a streamed body, a new one for the environ."""
    if flask.has_request_context() and flask.request.environ is environ:
        request: flask.Request = flask.request._get_current_object()  # type: ignore[attr-defined]  # a LocalProxy
        return request
    return app.request_class(environ)
