"""``track_graph``: report the execution of an agent graph."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import Token
from dataclasses import dataclass
from functools import wraps
from types import TracebackType
from typing import Any, TypeVar

from ldclient import Context

from ._functions import find_scope, prepare
from ._run.context import Binding, RequestScope, bind, get_current, unbind
from ._run.graph import GraphRun, bind_graph, get_graph, unbind_graph
from ._run.options import check_ld_context
from .exceptions import ConfigurationError
from .tracking import Tracking

__all__ = ["track_graph"]

F = TypeVar("F", bound=Callable[..., object])


class track_graph:  # noqa: N801  # a decorator is used like a function
    """A decorator and a context manager that reports the execution of an agent graph.

    ::

        @track_graph("support-flow")
        async def support(question: str) -> str:
            topic = await triage(question)
            return await (refund(question) if topic == "refund" else answer(question))

    Functions below with :class:`~ldai_integrations.track_ai` that are called within it are the nodes. LaunchDarkly gets
    the path, the handoffs, the total tokens, the duration, and success or failure of the graph, and the events of the
    nodes contain the key of the graph. The graph failed if an exception leaves it, or if its last node was an error. If
    the path differs from the graph in LaunchDarkly, this is logged once.

    Args:
        graph_key: The key of the graph.
        ld_context: Called with the arguments of the function, returns the LD context. Without it, the LD context of the
            request is used, or an anonymous one.
        tracking: The application's :class:`~ldai_integrations.Tracking`. Needed only if no middleware and no
            environment variable provides one.

    Raises:
        ConfigurationError: If a value cannot work, or if it is put on a generator function, whose work is done after it
            has returned. Put it on the function that calls the agents.
    """

    def __init__(
        self,
        graph_key: str,
        *,
        ld_context: Callable[..., Context | None] | None = None,
        tracking: Tracking | None = None,
    ) -> None:
        if not isinstance(graph_key, str) or not graph_key.strip():
            raise ConfigurationError(
                f"graph_key is {graph_key!r}; give the key of an agent graph, as LaunchDarkly shows it"
            )
        check_ld_context(ld_context)
        self._graph_key = graph_key
        self._ld_context = ld_context
        self._tracking = tracking
        self._blocks: list[_Block] = []

    def __call__(self, func: F) -> F:
        """Return ``func``; each call is an execution of the graph."""
        if isinstance(func, (staticmethod, classmethod)):
            return type(func)(self(func.__func__))
        if inspect.isgeneratorfunction(func) or inspect.isasyncgenfunction(func) or not inspect.isroutine(func):
            raise ConfigurationError(
                f"track_graph was put on {func!r}; put it on a function or coroutine function, or write its with block "
                "in a generator"
            )
        if inspect.iscoroutinefunction(func):

            @wraps(func)
            async def run_async(*args: object, **kwargs: object) -> Any:
                await prepare(self._tracking)
                with self._block(args, kwargs):
                    return await func(*args, **kwargs)

            return run_async  # type: ignore[return-value]  # it is a coroutine function, like func

        @wraps(func)
        def run(*args: object, **kwargs: object) -> Any:
            with self._block(args, kwargs):
                return func(*args, **kwargs)

        return run  # type: ignore[return-value]  # it has the signature of func

    def __enter__(self) -> None:
        """Begin an execution of the graph."""
        block = self._block((), {})
        block.__enter__()
        self._blocks.append(block)

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        """End the execution."""
        graph, blocks = get_graph(), self._blocks[::-1]  # threads and tasks may be in blocks of one object
        block = next((block for block in blocks if block.graph is graph), blocks[0])
        self._blocks.remove(block)
        block.__exit__(kind, exc, tb)

    async def __aenter__(self) -> None:
        """Do what ``with`` does, without blocking the event loop."""
        await prepare(self._tracking)
        self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """End the execution."""
        self.__exit__(kind, exc, tb)

    def _block(self, args: tuple[object, ...], kwargs: dict[str, Any]) -> _Block:
        scope, graph, source = find_scope(self._tracking), None, self._ld_context
        if not scope.services.start.is_over:
            scope.services.start.wait()
        if not scope.services.is_idle:
            with scope.services.diagnostics.guard("graph", self._graph_key):
                ld_context = scope.ld_context if source is None else scope.context_from(source, *args, **kwargs)
                graph = GraphRun(scope, self._graph_key, ld_context)
        return _Block(scope, graph)


@dataclass(slots=True, eq=False)
class _Block:
    """One execution of a graph; nothing happens without a Tracking."""

    scope: RequestScope
    graph: GraphRun | None
    _token: Token[GraphRun | None] | None = None
    _binding: Binding | None = None

    def __enter__(self) -> None:
        if self.graph is not None:
            self._token = bind_graph(self.graph)
            if get_current() is None:  # the agents share the LD context of the graph
                self._binding = bind(self.scope)

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if self.graph is None or self._token is None:
            return
        if self._binding is not None:
            unbind(self._binding)
            self.scope.close()
        unbind_graph(self._token)
        self.graph.end(exc)
