"""The requests of a middleware: their scopes, their runs and their votes."""

from __future__ import annotations

import inspect
import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import FunctionType
from typing import Any
from weakref import ref

from ldclient import Context

from .._diagnostics import describe, raise_if_from_signal
from .._launchdarkly.configs import AIConfigDefault
from ..delivery import exits
from ..exceptions import ConfigurationError
from ..feedback import Answer, Feedback, Secret
from ..records import Mode
from ..visitors import Visitor, Visitors
from .background import Threads
from .context import RequestScope, Services, current_scope, get_current
from .options import RunOptions, check_ld_context, check_takes_request, check_variables, variables_for
from .state import RunState, open_run, run_in
from .vote_token import VoteToken
from .web import method_of, path_of

# After so many requests without a provider call, there may be one that nobody sees.
_MANY_REQUESTS = 20
# How many votes of an asynchronous application use the store at a time, and how long another vote waits for them.
_MOST_THREADS, _TURN_SECONDS = 4, 5.0
# The functions that ``track_ai`` decorates, as they were before.
_decorated: set[ref[FunctionType]] = set()


def remember_decorated(func: object) -> None:
    """Remember a function that ``track_ai`` decorates, for the routes that call the function itself."""
    if isinstance(func, FunctionType):
        _decorated.add(ref(func, _decorated.discard))


class RequestTracking:
    """The scopes and runs of the requests of one middleware.

    Args:
        services: The services of the application.
        config_key: Track each request as a run of this AI Config, or of the one that a callable names. It is called
            with the request, and returns ``None`` for a request without a generation. Without a callable, a request
            is a run only if a provider call is seen in it, or if its response has a provider's format. Without any
            ``config_key``, only decorated code opens runs.
        mode: ``"completion"`` or ``"agent"``. Like the next two, it needs a ``config_key``.
        default: Used if LaunchDarkly has no usable variation.
        variables: Values for the prompt's ``{{variables}}``: a mapping, or a callable that is called with the request.
        ld_context: Called with the request when its LD context is first needed.
        secrets: The secrets of the framework, for feedback tokens and the cookies of visitors; the last one signs.

    Raises:
        ConfigurationError: If a value cannot work.
    """

    def __init__(
        self,
        services: Services,
        *,
        config_key: str | Callable[[Any], str | None] | None = None,
        mode: Mode = "completion",
        default: AIConfigDefault | None = None,
        variables: Mapping[str, object] | Callable[[Any], Mapping[str, object]] | None = None,
        ld_context: Callable[[Any], Context | None] | None = None,
        secrets: Sequence[Secret] = (),
    ) -> None:
        check_ld_context(ld_context)
        check_variables(variables)
        for name, func in {"config_key": config_key, "variables": variables, "ld_context": ld_context}.items():
            check_takes_request(name, func)
        if inspect.iscoroutinefunction(config_key):
            raise ConfigurationError("config_key is a coroutine function; give a plain function")
        self.services = services
        self._config_key = config_key
        # Created here even for a callable, so that a wrong mode or default shows at start.
        known = "given by config_key()" if config_key is None or callable(config_key) else config_key
        self._options = RunOptions(
            config_key=known,
            mode=mode,
            default=default,
            counts_without_call=callable(config_key),
            sees_exceptions=False,
        )
        if config_key is None:
            _check_no_run_options(mode=mode, default=default, variables=variables)
        self._variables = variables
        self._ld_context = ld_context
        # The number of requests so far that may have called a model. To take one needs no lock.
        self._numbers = itertools.count()
        if services.feedback is not None:
            services.feedback.require_secret(secrets)
        visitors = services.settings.visitors
        #: Recognizes visitors; ``None`` if the application does not want that.
        self.visitors: Visitors | None = Visitors(visitors, secrets) if visitors is not None else None

    def scope(self, request: object, visitor: Visitor | None = None) -> RequestScope:
        """Return a scope for a request."""
        feedback = self.services.feedback
        vote_token = VoteToken.wanted_by(feedback) if feedback is not None else None  # a call less for most requests
        return RequestScope(self.services, request, self._ld_context, vote_token, visitor)

    def open_run(self, scope: RequestScope, request: object) -> RunState | None:
        """Open the run of a request, if requests are tracked and no outer middleware has opened it."""
        key = self._key_of(request)
        if key is None:
            return None
        diagnostics = self.services.diagnostics
        with diagnostics.guard("config_key", key, is_private=True):
            options = self._options if key == self._options.config_key else replace(self._options, config_key=key)
            parent = run_in(scope)
            if parent is not None and parent.find_run(key) is not None:
                return None
            if not options.counts_without_call and method_of(request) not in ("GET", "HEAD"):
                self._look_for_calls(key)
            variables = variables_for(self._variables, diagnostics, options, (request,))
            run = open_run(scope, options, variables=variables, parent=parent)
            run.path = path_of(request)
            # Not before: calls at the start of an application need no run.
            self.services.flushing.open_runs.tracks_requests = True
            return run
        return None

    def _key_of(self, request: object) -> str | None:
        """Return the key of the AI Config of a request; ``None`` if this one is not a run."""
        if not callable(self._config_key):
            return self._config_key
        try:
            key: Any = self._config_key(request)
        except Exception as exc:
            raise_if_from_signal(exc)
            problem = f"raised {describe(exc)}"
        else:
            if key is None or (isinstance(key, str) and key.strip()):
                return key
            found = "an empty text" if isinstance(key, str) else f"an object of type {type(key).__name__}"
            problem = f"returned {found}"
        name = str(getattr(self._config_key, "__name__", self._config_key))
        self.services.diagnostics.note(
            "config_key",
            name,
            "The function config_key= of a middleware %s, so the request is not a run. Fix the function %s: it gets "
            "the request, and returns the key of an AI Config, or None.",
            problem,
            name,
        )
        return None

    def _look_for_calls(self, config_key: str) -> None:
        """Say once if many requests were made and none of them was reported."""
        if next(self._numbers) == _MANY_REQUESTS and not self.services.reporter.has_reported(config_key):
            self.services.diagnostics.note(
                "no_call",
                f"{config_key}: middleware",
                "No provider call was seen in %d requests of the middleware for %r, so they are not reported. If they "
                "called a model, wrap the client with wrap_client(), or return the provider's response.",
                _MANY_REQUESTS,
                config_key,
            )

    def check_handler(self, handler: object) -> None:
        """Warn of a route that calls a function without the ``track_ai`` that stands above its decorator."""
        if isinstance(handler, FunctionType) and ref(handler) in _decorated:
            self.services.diagnostics.note(
                "track_ai",
                handler.__qualname__,
                "The route of %r calls the function without track_ai, so its runs are not reported. Put @track_ai "
                "directly above the function, below the decorator of the route.",
                handler.__qualname__,
            )


def _check_no_run_options(*, mode: Mode, default: object, variables: object) -> None:
    """Refuse, at set-up, options that nothing reads: decorated code has its own."""
    given = {"mode": mode != "completion", "default": default is not None, "variables": variables is not None}
    names = " and ".join(f"{name}=" for name, is_given in given.items() if is_given)
    if names:
        raise ConfigurationError(
            f"A middleware without config_key cannot use {names}, because decorated functions have their own options. "
            "Give such options to track_ai(…), or give the middleware a config_key."
        )


class VoteEndpoint:
    """The endpoint that takes the votes of one application.

    Args:
        services: The services of the application; its settings have ``feedback``.
        ld_context: Called with the request, returns the LD context of the voter. Without it, the middleware's is used.
        secrets: The secrets of the framework, for feedback tokens; the last one signs.

    Raises:
        ConfigurationError: If the settings have no feedback, there is no secret, or ``ld_context`` cannot work.
    """

    def __init__(
        self,
        services: Services,
        *,
        ld_context: Callable[[Any], Context | None] | None = None,
        secrets: Sequence[Secret] = (),
    ) -> None:
        check_ld_context(ld_context)
        check_takes_request("ld_context", ld_context)
        if services.feedback is None:
            raise ConfigurationError(
                "Feedback is off; create the Tracking with settings=Settings(feedback=FeedbackSettings(…))"
            )
        services.feedback.require_secret(secrets)
        services.feedback.look_for_workers()
        self._services = services
        self._ld_context = ld_context
        self._feedback: Feedback = services.feedback
        self._threads = Threads(_MOST_THREADS)

    def refuse(self, method: str, client: str, length: int) -> Answer | None:
        """Return the answer to a request whose body need not be read, or ``None``. Call it first."""
        self._services.flushing.ensure_started()  # a vote may be the first thing that a forked process does
        self.keep_out_of_runs()
        return self._feedback.refuse(method, client, length)

    def vote(
        self, request: object, fields: Mapping[str, object], client: str, *, is_multiprocess: bool | None
    ) -> Answer:
        """Take the vote of a request that was read. May wait for the store of votes."""
        return self._vote(self._scope_of(request), fields, client, is_multiprocess, math.inf)

    async def avote(self, request: object, fields: Mapping[str, object], client: str) -> Answer:
        """Take the vote of a request without blocking the event loop."""
        scope = self._scope_of(request)
        _ = scope.ld_context  # determined here, where the application's own context variables are
        until = time.monotonic() + _TURN_SECONDS
        return await self._threads.call(lambda: self._vote(scope, fields, client, None, until))

    def keep_out_of_runs(self) -> None:
        """Discard the run that a middleware has opened for this request: no generation takes place."""
        current = get_current()
        while isinstance(current, RunState):
            current.is_discarded = True
            current = current.parent

    def _vote(
        self, scope: RequestScope, fields: Mapping[str, object], client: str, is_multiprocess: bool | None, until: float
    ) -> Answer:
        """Take a vote. The process ends before the store has it, or after its event is sent."""
        exits.begin_report()
        try:
            return self._feedback.vote(
                fields, lambda: self._voter(scope), client, is_multiprocess=is_multiprocess, until=until
            )
        finally:
            exits.end_report()

    def _scope_of(self, request: object) -> RequestScope:
        scope = current_scope()
        if scope is None:
            return RequestScope(self._services, request, self._ld_context)
        scope.had_runs = True  # a vote is an event to flush
        if self._ld_context is None:
            return scope
        return RequestScope(self._services, request, self._ld_context, visitor=scope.visitor)

    def _voter(self, scope: RequestScope) -> Context:
        ld_context = scope.ld_context
        if scope.is_anonymous(ld_context) and scope.visitor is not None:
            self._services.diagnostics.note(
                "feedback",
                "cookie",
                "A vote cannot be matched with its visitor: its request has no cookie of a visitor. Send the vote from "
                "the browser that got the answer, with its cookies. A vote of somebody else is refused.",
            )
        elif scope.is_anonymous(ld_context):
            self._services.diagnostics.note(
                "feedback",
                "ld_context",
                "A vote cannot be matched with its user: its request has no LD context. If ld_context returned None, "
                "the voter was not logged in. Otherwise, put the middleware in front of the feedback endpoint, or give "
                "the endpoint ld_context=….",
            )
        return ld_context
