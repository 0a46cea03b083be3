"""A thread pool whose tasks run in the current run."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from ._run.context import bound_to, get_current

__all__ = ["ThreadPoolExecutor"]

P = ParamSpec("P")
T = TypeVar("T")


class ThreadPoolExecutor(concurrent.futures.ThreadPoolExecutor):
    """A thread pool whose tasks run in the run that was current when they were submitted.

    ::

        with ThreadPoolExecutor() as pool:
            answers = list(pool.map(ask, questions))

    It takes the arguments of :class:`concurrent.futures.ThreadPoolExecutor`, and behaves like it outside of any run.
    It may live as long as the application: each task knows its own run.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> concurrent.futures.Future[T]:
        """Submit a task, as ``run.bind(fn)`` of the current run. ``map`` submits each of its tasks in this way."""
        current = get_current()
        return super().submit(fn if current is None else bound_to(current, fn), *args, **kwargs)
