"""What a provider call returns, and what the application gives to ``run.observe``: read, and returned unchanged.

A call returns a whole response, a stream, a manager of a stream, a raw HTTP response, or an awaitable of one of these.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Generator
from typing import Any, TypeVar, cast

from ..usage import Reading, read
from .body import MOST_PARSED, beginning_of, is_document, is_sse_or_json_line, without_mark
from .context import get_current
from .events import CallReader
from .failures import is_of_parsing
from .kinds import is_sse_event, is_unreadable_response, may_be_response
from .ledger import ProviderCall
from .observer import Observer, note_failure
from .proxy import Proxy
from .state import RunState

T = TypeVar("T")


def observe_response(run: RunState, response: T, *, provider: str = "") -> T:
    """Read a response that the application gives to the run, or an exception that carries one; return the same.

    Args:
        run: The run.
        response: The response.
        provider: The provider whose own server sent it, if that is certain.
    """
    if run.finished:
        _note_late(run, response)
        return response
    if issubclass(type(response), (str, bytes)):
        with run.services.diagnostics.guard("observe", run.config_key, is_private=True):
            _observe_text(run, without_mark(response))
        return response
    call = run.ledger.begin("observed")
    call.provider = provider
    if issubclass(type(response), BaseException):
        _observe_failure(run, cast(BaseException, response), call)
        return response
    observed: T = observe(run, response, call)
    return observed


def observe(run: RunState, response: object, call: ProviderCall) -> Any:
    """Read what a provider call returned, and return what the caller gets.

    Args:
        run: An open run.
        response: What the call returned.
        call: The call in the run's ledger. It is withdrawn if the response has been read before.

    Returns:
        The same object. For a stream, a stand-in that reports its chunks; for an awaitable, another awaitable.
    """
    try:
        if inspect.isawaitable(response):
            is_manager = hasattr(response.__class__, "__aenter__")
            later = _AwaitableManager if is_manager else _observe_later
            return later(run, response, call)
        if run.finished or run.ledger.knows(response):
            run.ledger.withdraw(call)
            return response
        if is_sse_event(response.__class__):
            run.ledger.withdraw(call)
            _observe_text(run, f"data: {cast(Any, response).data}")
            return response
        run.calls_outside.observe(response)
        observed = Observer(run, call).take(response)
        run.ledger.note_body(call)
        return observed
    except Exception as exc:
        run.ledger.withdraw(call)
        run.services.diagnostics.failed("observe", run.config_key, exc, is_private=True)
        return response


def _observe_failure(run: RunState, exc: BaseException, call: ProviderCall) -> None:
    """Note the exception of a call, unless the exception or its HTTP response has been seen."""
    ledger, broken = run.ledger, run.ledger.events.open
    ledger.events.note_failure()
    before = next((one for one in reversed(list(ledger)) if one is not call), None)
    if ledger.knows(exc) or ledger.knows(vars(exc).get("response")):
        ledger.withdraw(call)
    elif before is not None and is_of_parsing(exc) and hasattr(before.form, "raise_for_status"):
        # The body of the HTTP response that was observed before cannot be read.
        ledger.withdraw(call)
        if not before.error:
            before.fail(exc, run.services.clock(), has_begun=True)
    elif broken is None:
        note_failure(run, call, exc)
        ledger.note_body(call)
    else:
        ledger.withdraw(call)
        broken.on_end(exc)


def _note_late(run: RunState, response: object) -> None:
    """Count a response that comes after the end of its run. A wrapped client has counted its own calls."""
    if not (run.services.is_idle or isinstance(response, (str, bytes, BaseException))):
        with run.services.diagnostics.guard("observe", run.config_key, is_private=True):
            current = get_current()
            is_known = isinstance(current, RunState) and current.ledger.knows(response)
            if not (is_known or run.calls_outside.observe(response)) and may_be_response(response):
                run.note_call_after_end()


async def _observe_later(run: RunState, response: Awaitable[object], call: ProviderCall) -> object:
    try:
        result = await response
    except BaseException as exc:
        note_failure(run, call, exc)
        run.ledger.note_body(call)
        raise
    return observe(run, result, call)


class _AwaitableManager(Proxy):
    """A stand-in for a request that may be awaited or entered, as those of aiohttp."""

    def __init__(self, run: RunState, request: Any, call: ProviderCall) -> None:
        super().__init__(request)
        self._self_run, self._self_call = run, call
        self._self_response: Any = None
        # The stream that was open before the block.
        self._self_before: CallReader | None = None

    def __await__(self) -> Generator[Any, None, object]:
        return _observe_later(self._self_run, self.__wrapped__, self._self_call).__await__()

    async def __aenter__(self) -> object:
        run, call = self._self_run, self._self_call
        self._self_before = run.ledger.events.open
        try:
            self._self_response = await self.__wrapped__.__aenter__()
        except BaseException as exc:
            note_failure(run, call, exc)
            raise
        if not is_unreadable_response(self._self_response.__class__):
            return observe(run, self._self_response, call)
        with run.services.diagnostics.guard("observe", run.config_key, is_private=True):
            self._self_enter(run, call)
        return self._self_response

    async def __aexit__(self, kind: object, exc: BaseException | None, traceback: object) -> object:
        with self._self_run.services.diagnostics.guard("observe", self._self_run.config_key, is_private=True):
            self._self_leave(self._self_run, self._self_call, exc)
        return await self.__wrapped__.__aexit__(kind, exc, traceback)

    def _self_enter(self, run: RunState, call: ProviderCall) -> None:
        """Note the response, whose body the application reads in the block."""
        run.ledger.enter(call)
        call.form = type(self._self_response)
        run.ledger.remember(self._self_response)
        status = self._self_response.status
        if isinstance(status, int) and status >= 400:
            Observer(run, call).note_error_status(status)

    def _self_leave(self, run: RunState, call: ProviderCall, exc: BaseException | None) -> None:
        """Note the end of the block. An exception before the end of the answer is the failure of the call."""
        stream = run.ledger.events.open
        if run.finished:
            return
        if run.ledger.leave(call) and not call.error:
            if exc is None:
                run.ledger.withdraw(call)
                Observer(run, call).note_unknown(self._self_response)
            else:
                note_failure(run, call, exc)
                call.is_cut_short = True  # the provider had accepted the request
        elif exc is not None and stream is not None and stream is not self._self_before:
            stream.on_end(exc)
        elif exc is not None and call.error:  # the response had the status of an error
            run.ledger.remember_failure(exc)


def _observe_text(run: RunState, text: str | bytes) -> None:
    """Read a line of a provider's stream, or JSON. A long line is not parsed to find its stream."""
    line = beginning_of(text)
    if is_document(line):
        call = run.ledger.begin("observed")
        if Observer(run, call).take_document(text):
            run.ledger.note_body(call)
            return
        run.ledger.withdraw(call)
    is_long = len(text) > MOST_PARSED and is_sse_or_json_line(line)
    reading = Reading(text=line) if is_long else read(text)
    if reading is not None:
        is_line = not line.lstrip().startswith(("{", "["))
        call = run.ledger.begin("observed")
        Observer(run, call).take_text(text, reading, is_line=is_line)
        run.ledger.note_body(call)
    elif line[:100].strip().removeprefix("data:").lstrip() == "[DONE]":
        run.ledger.events.note_done()
    elif line.strip() and not is_sse_or_json_line(line):
        run.services.diagnostics.note(
            "observe_text",
            run.config_key,
            "run.observe() was given text that is not a line of a provider's stream, in a run of %r; it is not "
            "counted. Give it the response or the stream.",
            run.config_key,
        )


def observe_events(run: RunState, call: ProviderCall) -> Observer:
    """Return what reads the events of a call, which come one by one."""
    observer = Observer(run, call)
    observer.read_items()
    return observer
