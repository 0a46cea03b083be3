"""What ``run.observe`` does with whatever a provider call gives: a response, a stream, a manager, a raw response."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..records import Usage
from .asked import MOST_KEPT, Asked
from .bedrock import metered, read_through, readable_once, usage_in_headers
from .bodies import OutputReader, output_of
from .output import Output
from .proxies import inside, is_stream, watch
from .raw_responses import content_type_of, http_response_of, tee

if TYPE_CHECKING:
    from .run import Run


def observe(run: Run, response: Any, *, asked: Asked | None = None, hides_usage: bool = False) -> Any:
    """Have a run learn what a provider answers.

    Args:
        run: An open run.
        response: What a provider call gave; one that the run has learnt from already is only returned.
        asked: What was asked, where a wrapped client made the call.
        hides_usage: The caller did not ask for the frame that ends an OpenAI stream with its usage.

    Returns:
        The same object; for a stream a proxy with the stream's protocol and type; for an awaitable another one.
    """
    try:
        if inspect.isawaitable(response):
            return _later(run, response, asked, hides_usage)
        if run.finished or run.evidence.calls.has_seen(response):
            return response
        return Observation(run, asked, hides_usage=hides_usage).take(response)
    except Exception as exc:
        run.frame.tracking.diagnostics.failed("observe", run.config_key, exc)
        return response


async def _later(run: Run, response: Awaitable[Any], asked: Asked | None, hides_usage: bool) -> Any:
    return observe(run, await response, asked=asked, hides_usage=hides_usage)


class Observation:
    """Learn from one provider call; the evidence keeps it until the run is accounted for."""

    __slots__ = ("_asked", "_hides_usage", "_kept", "_model_name", "_output", "_run", "by_client")

    def __init__(self, run: Run, asked: Asked | None = None, *, hides_usage: bool = False) -> None:
        self._run = run
        self._asked = asked
        model = asked.model if asked is not None else ""
        self._model_name = lambda: model or run.model
        self._output: Callable[[], Output | None] = _nothing
        self._kept = False
        #: A wrapped client saw the call itself, so whatever handlers tell of it is known.
        self.by_client = asked is not None
        self._hides_usage = hides_usage

    @property
    def asked(self) -> Asked | None:
        """What was asked, where it has been kept."""
        return self._asked

    def take(self, response: Any) -> Any:
        """Take what the call gave, or what a manager that it gave was entered for."""
        self._run.evidence.generated = True
        taken = self._take(response)
        self._run.evidence.calls.saw(taken)
        return taken

    def output(self) -> Output | None:
        """Return what is known so far."""
        output = self._output()
        if output is None or self._asked is None:
            return output
        told = output.usage
        if told is not None and told.input_tokens is not None and (told.output_tokens is not None or not output.chars):
            return output
        return replace(output, asked=self._asked)

    def _take(self, response: Any) -> Any:
        if isinstance(response, dict):
            return self._take_dict(response)
        if readable_once(response):
            return self._read_through(response, {})
        http = http_response_of(response)
        if http is not None:
            self._take_http(http)
            return response
        if inside(response, self._take):
            return response
        if is_stream(response):
            return self._watched(response)
        self._take_whole(response)
        return response

    def _take_dict(self, response: dict[Any, Any]) -> Any:
        """Take what boto3 gives: the stream, or the body that can be read once, is in a dict."""
        for name in ("stream", "body"):
            value = response.get(name)
            if readable_once(value):
                return {**response, name: self._read_through(value, response)}
            if is_stream(value):
                return {**response, name: self._watched(value)}
        self._take_whole(response)
        return response

    def _read_through(self, body: Any, response: Mapping[str, Any]) -> Any:
        feed = self._read(str(response.get("contentType") or "application/json"))
        read, in_headers = self._output, usage_in_headers(response)
        self._output = lambda: metered(read(), in_headers)
        return read_through(body, feed)

    def _take_http(self, http: Any) -> None:
        if not self._run.evidence.calls.has_seen(http):
            self._run.evidence.calls.saw(http)
            tee(http, self._read(content_type_of(http)))

    def _take_whole(self, response: Any) -> None:
        output = output_of(response, self._model_name)
        if output is None and self._asked is not None:
            output = Output(None, _no_output, 0)  # the prompt is known all the same
        if output is not None:
            self._output = lambda: output
            self._keep(needs_asked=output.usage is None or output.usage.input_tokens is None)

    def _watched(self, stream: Any) -> Any:
        http = getattr(stream, "response", None)
        if http is not None and self._run.evidence.calls.has_seen(http):
            return stream  # parsed from a raw response that is read as it passes
        return watch(stream, self._read(None), _ignore, self.take)

    def _read(self, content_type: str | None) -> Callable[[Any], bool]:
        """Return what takes the items of a stream and tells whether the caller must not see one."""
        run, evidence = self._run, self._run.evidence
        limit = run.frame.tracking.settings.max_body_bytes
        reader = OutputReader(self._model_name, content_type=content_type, limit=limit, keep=evidence.keeps)
        self._output = reader.output
        self._keep(needs_asked=True)
        hides_usage = self._hides_usage

        def on_item(item: Any) -> bool:
            try:
                spoke = reader.feed(item)
            except Exception as exc:
                run.could_not_read(exc)
                return False
            if spoke and evidence.first_answer_at is None:
                evidence.spoke(reader)
            return hides_usage and not spoke and _is_usage_frame(item)

        return on_item

    def _keep(self, *, needs_asked: bool) -> None:
        evidence, calls = self._run.evidence, self._run.evidence.calls
        if self._kept:
            return
        self._kept = True
        if self._asked is not None:
            wanted = needs_asked or bool(self._run.config and evidence.kept_chars)  # its judges are drawn with it
            self._asked = self._asked.kept(MOST_KEPT - calls.asked_chars) if wanted else None
            calls.asked_chars += self._asked.chars if self._asked is not None else 0
        calls.add(self)

    def release(self) -> None:
        """Forget what was asked and answered."""
        self._asked, self._output = None, _nothing


def _is_usage_frame(item: Any) -> bool:
    return getattr(item, "choices", None) == [] and getattr(item, "usage", None) is not None


def _nothing() -> None:
    return None


def _no_output(_request: Any) -> Usage:
    return Usage()


def _ignore(_exc: BaseException | None) -> None:
    return None
