"""What the calling code belongs to: a request and the run in progress; and the services of the application."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass
from functools import partial, wraps
from inspect import iscoroutinefunction
from types import NoneType
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, Protocol, TypeAlias, TypeVar

from ldclient import Context

from .._diagnostics import describe, raise_if_from_signal
from .._launchdarkly.client import Current
from ..delivery import safe_context

if TYPE_CHECKING:
    from .._diagnostics import Diagnostics, Guard
    from .._launchdarkly.client import TrackingClient
    from .._launchdarkly.configs import Configs, Resolved
    from ..costs import Costs
    from ..feedback import Feedback
    from ..judges import Judges
    from ..settings import Settings
    from ..typing import RunBinding, RunCompanion
    from ..visitors import Visitor
    from .lifetime import Flushing, Start
    from .open_runs import OpenRun
    from .vote_token import VoteToken

P = ParamSpec("P")
T = TypeVar("T")

#: The key under which a middleware leaves the request scope in the ASGI scope and the WSGI environ. Code that runs
#: outside the request's context finds it there.
SCOPE_KEY = "ldai_integrations.scope"


class Reporter(Protocol):
    """The receiver of the runs of an application."""

    def open(self, run: Any) -> None:
        """Announce a run that was opened."""

    def report(self, run: Any, ended_at: float) -> None:
        """Report a run that has ended, now or on another thread."""

    def expects_calls(self, config_key: str) -> bool:
        """Return whether an earlier run of this AI Config made a provider call that was seen."""

    def has_reported(self, config_key: str) -> bool:
        """Return whether an earlier run of this AI Config was reported."""


@dataclass(frozen=True, slots=True)
class Services:
    """The services that the runs of one application share.

    Attributes:
        is_idle: Whether there is no Tracking. Runs have the default of their AI Config then, and nothing is reported.
    """

    settings: Settings
    clock: Callable[[], float]
    diagnostics: Diagnostics
    ld_client: TrackingClient
    configs: Configs
    judges: Judges
    feedback: Feedback | None
    costs: Costs | None
    flushing: Flushing
    reporter: Reporter
    start: Start
    is_idle: bool = False


class RequestScope:
    """The state of one request: its LD context, its AI Configs and its open runs.

    It is cheap to create: nothing is looked up until a run asks for it. Code without a request has a scope as well.

    Args:
        services: The services of the application.
        request: The request, as the integration passes it to ``ld_context_from``; ``None`` if there is none.
        ld_context_from: Returns the LD context of the request.
        vote_token: Adds a feedback token to the response, if the application wants that.
        visitor: The visitor who sent the request, if the application recognizes visitors.
    """

    #: Code that is in no run has no AI Config, and no sink accompanies it.
    config_key: ClassVar[str] = ""
    companions: ClassVar[Mapping[int, RunCompanion]] = {}
    #: Whether an event was produced that a flush after the request must send.
    had_runs: bool = False
    #: Whether this is the work of a judge, which is not judged itself.
    is_judging: bool = False
    #: Whether the request is a websocket. Each of its turns evaluates its AI Configs anew.
    is_connection: bool = False
    _ld_context: Context | None = None
    _anonymous: Context | None = None

    def __init__(
        self,
        services: Services,
        request: object = None,
        ld_context_from: Callable[[Any], Context | None] | None = None,
        vote_token: VoteToken | None = None,
        visitor: Visitor | None = None,
    ) -> None:
        self.services: Services = services
        self.visitor: Visitor | None = visitor
        self.vote_token: VoteToken | None = vote_token
        self.open_runs: set[OpenRun] = set()
        self.resolved: Resolved = {}
        #: Whether a request is in progress.
        self.is_request: bool = request is not None
        #: Whether the application provides LD contexts for its requests.
        self.has_source: bool = ld_context_from is not None
        self._request = request
        self._ld_context_from = ld_context_from

    def __deepcopy__(self, _memo: dict[int, object]) -> RequestScope:
        """Return the scope itself: an application may copy its ASGI scope or WSGI environ."""
        return self

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """Pickle as ``None``: another process does not take part in this request."""
        return NoneType, ()

    @property
    def ld_context(self) -> Context:
        """The LD context of the request; it is determined once, when it is first needed."""
        if self._ld_context is None:
            self._ld_context = self.context_from(self._ld_context_from, self._request)
        return self._ld_context

    @property
    def anonymous(self) -> Context:
        """An anonymous LD context whose key stays the same for the request, and for all requests of a visitor."""
        if self._anonymous is None:
            key = self.visitor.key if self.visitor is not None else str(uuid.uuid4())
            self._anonymous = Context.builder(key).anonymous(True).build()
        return self._anonymous

    def is_anonymous(self, ld_context: Context) -> bool:
        """Return whether an LD context was created for this request, so that the next one may not have it."""
        return ld_context is self._anonymous and (self.visitor is None or bool(self.visitor.cookie))

    def is_one_time(self, ld_context: Context) -> bool:
        """Return whether no other request can have an LD context."""
        return ld_context is self._anonymous and self.visitor is None

    def determine_contexts(self, *, is_whole: bool) -> None:
        """Determine the LD contexts of open runs before the head of the response is sent.

        A run of a middleware with one key for all requests may be that of a page, whose LD context nobody needs.

        Args:
            is_whole: Whether the body is complete, so that no provider call follows.
        """
        for run in tuple(self.open_runs):
            if run.counts_without_call or not is_whole:
                _ = run.ld_context

    def new_cookie(self, headers: Mapping[str, str], *, is_whole: bool) -> str:
        """Return the ``Set-Cookie`` header that the response needs; empty if it needs none.

        Only a new visitor needs one, in a request with a run for an anonymous LD context.

        Args:
            headers: The headers of the response by their names in lower case.
            is_whole: Whether the body is complete.
        """
        cookie = self.visitor.cookie_for(headers) if self.visitor is not None else ""
        if cookie:
            self.determine_contexts(is_whole=is_whole)
        return cookie if self._anonymous is not None else ""

    def context_from(self, source: Callable[..., Any] | None, *args: object, **kwargs: object) -> Context:
        """Return the LD context that an application's callable gives, or the anonymous one if it cannot be used."""
        if source is None:
            return self.anonymous
        try:
            found = source(*args, **kwargs)
            is_context = isinstance(found, Context)  # a lazy object, such as Werkzeug's, looks its value up here
        except Exception as exc:
            raise_if_from_signal(exc)
            if isinstance(exc, TypeError) and exc.__traceback__ is not None and exc.__traceback__.tb_next is None:
                problem = "ld_context cannot be called with the arguments of the handler, or with the request"
            else:
                problem = f"ld_context raised {describe(exc)}"  # its text may name a user
        else:
            if found is None:
                return self.anonymous
            # The SDK takes any object for a key, and all visitors whose key is None would be one.
            if is_context and found.valid and isinstance(found.key, str):
                return safe_context(found, self.services.diagnostics)
            if is_context:
                error = found.error or f"its key is not a text but of the type {type(found.key).__name__}"
                problem = f"ld_context returned an invalid context: {error}"
            else:
                problem = f"ld_context returned {type(found).__name__}"
                if hasattr(found, "close") and hasattr(found, "send"):
                    found.close()  # a coroutine that nobody awaits would cause a warning
        self.services.diagnostics.note(
            "ld_context",
            problem,
            "%s; the request is served with an anonymous context. "
            "Return a valid ldclient.Context whose key is a text that is not empty, or None.",
            problem,
        )
        return self.anonymous

    @property
    def needs_flush(self) -> bool:
        """Whether to flush now, after a run: no other run is open, and there is no request whose end flushes."""
        return not (self.is_request or self.open_runs)

    @property
    def scope(self) -> RequestScope:
        """The scope itself, as a run has one."""
        return self

    @property
    def id_as_parent(self) -> str:
        """Empty: no run is in progress here."""
        return ""

    def find_run(self, config_key: str) -> None:  # the arguments are those of Run.find_run
        """Return ``None``: no run is in progress here."""

    def close(self) -> None:
        """End the runs of the request that are still open. Those of background work end by themselves."""
        if self.open_runs:
            for run in tuple(self.open_runs):
                if not run.is_in_background:
                    run.abandon()
        self.is_request = False
        self.vote_token = None  # it refers to a run, and the run refers to this scope
        if self._ld_context is not None:
            self._request = None  # a tracker that is kept for later feedback must not keep the request


class Bound(Current, Protocol):
    """What is current: a run while one is in progress, otherwise the scope of the request."""

    @property
    def scope(self) -> RequestScope:
        """The request."""

    @property
    def services(self) -> Services:
        """The services of the application."""

    @property
    def config_key(self) -> str:
        """The key of the AI Config; empty for a request."""

    @property
    def companions(self) -> Mapping[int, RunCompanion]:
        """What sinks have for the run."""


_current: ContextVar[Bound | None] = ContextVar("ldai_integrations", default=None)
#: Functions that bind and unbind.
Binder: TypeAlias = "tuple[Callable[[Bound], Any], Callable[[Any], object]]"
#: What :func:`bind` returns.
Binding: TypeAlias = "Token[Bound | None] | tuple[Token[Bound | None], Callable[[], None]]"

#: Return what is bound here: a RunState, a RequestScope or ``None``.
get_current = _current.get


def bind(current: Bound) -> Binding:
    """Bind a run or a request; return what :func:`unbind` takes."""
    return binder(current)[0](current) if current.companions else _current.set(current)


def unbind(bound: Binding) -> None:
    """Restore what :func:`bind` replaced.

    A suspended coroutine that the garbage collector closes runs in another context, where nothing is to be restored.
    """
    token, leave = bound if isinstance(bound, tuple) else (bound, None)
    try:
        _current.reset(token)
    except ValueError:
        return
    if leave is not None:
        leave()


def binder(current: Bound) -> Binder:
    """Return functions that bind and unbind ``current`` for code that takes many steps, such as one generator.

    The second one raises ``ValueError`` in another context. If no sink accompanies the run, they are as fast as the
    context variable. Otherwise, the bindings of the sinks last as long as the code.
    """
    if not current.companions:
        return _current.set, _current.reset
    bindings = _Bindings(current, [companion.binding for companion in current.companions.values()])

    def bind_with_companions(current: Bound) -> Binding:
        if get_current() is current:  # code of the run has called this, and may have made something else current
            return _current.set(current)
        leave = bindings.enter()
        return _current.set(current), leave

    return bind_with_companions, unbind


def outside(run: Bound, call: Callable[[], T]) -> T:
    """Return what a function returns that is called as if no sink accompanied the run.

    LaunchDarkly's own telemetry writes each evaluation, with LD context and prompts, into the span that is current.
    """
    leave = _Bindings(run, [companion.outside for companion in run.companions.values()]).enter()
    try:
        return call()
    finally:
        leave()


class _Bindings:
    """The bindings of all sinks that accompany a run, for one piece of its code. Their exceptions are diagnostics."""

    __slots__ = ("_bindings", "_run")

    def __init__(self, run: Bound, makers: Iterable[Callable[[], RunBinding]]) -> None:
        self._run = run
        self._bindings: list[RunBinding] = []
        for make in makers:
            with self._guard():
                self._bindings.append(make())

    def enter(self) -> Callable[[], None]:
        """Enter the bindings; return a function that leaves them."""
        entered: list[tuple[RunBinding, object]] = []
        for binding in self._bindings:
            with self._guard():
                entered.append((binding, binding.enter()))
        return partial(self._leave, entered)

    def _leave(self, entered: list[tuple[RunBinding, object]]) -> None:
        for binding, before in reversed(entered):
            with self._guard():
                binding.leave(before)

    def _guard(self) -> Guard:
        return self._run.services.diagnostics.guard("sink", self._run.config_key)


def bound_to(current: Bound, func: Callable[P, T]) -> Callable[P, T]:
    """Return a function that is called while a run or a scope is bound, on any thread or in any task."""
    if iscoroutinefunction(func):

        @wraps(func)
        async def bound_async(*args: Any, **kwargs: Any) -> Any:
            token = bind(current)
            try:
                return await func(*args, **kwargs)
            finally:
                unbind(token)

        return bound_async  # type: ignore[return-value]  # it is a coroutine function, like func

    @wraps(func)
    def bound(*args: P.args, **kwargs: P.kwargs) -> T:
        token = bind(current)
        try:
            return func(*args, **kwargs)
        finally:
            unbind(token)

    return bound


def current_scope() -> RequestScope | None:
    """Return the request that the calling code belongs to, if any."""
    current = get_current()
    return current.scope if current is not None else None


def innermost(scope: RequestScope) -> Bound:
    """Return what is bound here if it is a run in this scope, else the scope."""
    current = get_current()
    return current if current is not None and current.scope is scope else scope
