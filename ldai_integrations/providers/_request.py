"""Requests in the format of the client that they are made for."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from itertools import chain, islice
from operator import attrgetter
from typing import Any, TypeAlias

from .._diagnostics import Diagnostics
from ..exceptions import ConfigurationError
from ._anthropic import MessagesApi
from ._api import Answer, Api, has_method
from ._bedrock import ConverseApi
from ._gemini import GenerateContentApi
from ._openai import ChatApi, CohereApi, MistralApi, ResponsesApi
from ._prompt import Fields, Json, Prompt

# In the order in which the method of an API identifies a client. Several providers have something called Responses, so
# that it comes last.
_APIS: tuple[Api, ...] = (
    ChatApi(),
    MessagesApi(),
    GenerateContentApi(),
    MistralApi(),
    ConverseApi(),
    CohereApi(),
    ResponsesApi(),
)
# A user of the application may have written the type of a part of a message.
_LONGEST_TYPE = 40
_IS_ASYNCHRONOUS = "The client is asynchronous; use asend() or astream()"
_IS_SYNCHRONOUS = "The client is not asynchronous; use send() or stream()"
_Bind: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]
_BY_NAME = {api.name: api for api in _APIS}


class Request(Mapping[str, Any]):
    """The arguments of a provider call, in the format of one client.

    It is a mapping, so that ``client.chat.completions.create(**request)`` works. The methods call the client for you,
    in the same way for every provider.
    """

    def __init__(
        self,
        api: Api,
        client: object,
        arguments: Json,
        observe: Callable[[Any], Any],
        bind: _Bind,
        note_stream: Callable[[], None],
    ) -> None:
        self._api = api
        self._client = client
        self._arguments = arguments
        self._observe = observe
        self._bind = bind
        self._note_stream = note_stream

    def __getitem__(self, name: str) -> Any:
        return self._arguments[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arguments)

    def __len__(self) -> int:
        return len(self._arguments)

    def __repr__(self) -> str:
        return f"<Request for {self._api.name}, with {', '.join(self._arguments)}>"  # no prompt, which is private

    @property
    def api(self) -> str:
        """The name of the API that the arguments are made for."""
        return self._api.name

    def send(self) -> Answer:
        """Call the model and return its answer.

        Raises:
            ConfigurationError: If the client is asynchronous.
            Exception: What the provider's client raises.
        """
        return self._api.answer(self._bind(self._call)(self._api.call, self._whole))

    def stream(self) -> Iterator[str]:
        """Call the model and return an iterator over its text, piece by piece.

        It raises before the first piece if the provider refuses the call, so that the response can still have another
        status. The calls of tools are not in it, which is logged once if the AI Config has tools.

        Raises:
            ConfigurationError: If the client is asynchronous.
            Exception: What the provider's client raises.
        """
        self._note_stream()
        events = self._api.events(self._bind(self._call)(self._api.stream_call, self._streaming))
        begun = list(islice(events, 1)) if self._api.is_lazy else []
        return self._texts(begun, events)

    async def asend(self) -> Answer:
        """Call the model with an asynchronous client and return its answer.

        Raises:
            ConfigurationError: If the client is not asynchronous.
            Exception: What the provider's client raises.
        """
        path = self._api.async_call or self._api.call
        return self._api.answer(await self._bind(self._acall)(path, self._whole))

    async def astream(self) -> AsyncIterator[str]:
        """Call the model with an asynchronous client and return an iterator over its text, piece by piece.

        Like :meth:`stream`, it raises before the first piece if the provider refuses the call.

        Raises:
            ConfigurationError: If the client is not asynchronous.
            Exception: What the provider's client raises.
        """
        self._note_stream()
        path = self._api.async_stream_call or self._api.stream_call
        events = self._api.events(await self._bind(self._acall)(path, self._streaming))
        first = await anext(aiter(events), None) if self._api.is_lazy else None
        begun = [first] if first is not None else []
        return self._atexts(begun, events)

    @property
    def _whole(self) -> Json:
        """The arguments of a call without a stream, for which servers refuse options of streams."""
        return {name: value for name, value in self._arguments.items() if name != "stream_options"}

    @property
    def _streaming(self) -> Json:
        """The arguments of a call that returns a stream."""
        return self._api.arguments_of_stream(self._client, self._arguments)

    async def _atexts(self, begun: list[Any], events: Any) -> AsyncIterator[str]:
        try:
            for event in begun:
                if text := self._api.text_in(event):
                    yield text
            async for event in events:
                if text := self._api.text_in(event):
                    yield text
        finally:  # also if the consumer leaves
            closing = getattr(events, "aclose", getattr(events, "close", None))
            if closing is not None:
                await closing()

    def _texts(self, begun: list[Any], events: Any) -> Iterator[str]:
        try:
            for event in chain(begun, events):
                if text := self._api.text_in(event):
                    yield text
        finally:  # also if the consumer leaves
            if hasattr(events, "close"):
                events.close()

    def _call(self, path: str, arguments: Fields) -> Any:
        method = attrgetter(path)(self._client)
        if self._api.is_asynchronous(self._client, method):
            raise ConfigurationError(_IS_ASYNCHRONOUS)
        try:
            response = method(**arguments)
        except Exception as exc:
            self._observe(exc)
            raise
        if inspect.isawaitable(response) or hasattr(response, "__aiter__"):
            if inspect.iscoroutine(response):
                response.close()
            raise ConfigurationError(_IS_ASYNCHRONOUS)
        return self._observe(response)

    async def _acall(self, path: str, arguments: Fields) -> Any:
        method = attrgetter(path)(self._client)
        if self._api.is_asynchronous(self._client, method) is False:
            raise ConfigurationError(_IS_SYNCHRONOUS)
        try:
            response = method(**arguments)
            is_asynchronous = inspect.isawaitable(response) or hasattr(response, "__aiter__")
            if inspect.isawaitable(response):
                response = await response
        except Exception as exc:
            self._observe(exc)
            raise
        if not is_asynchronous:
            raise ConfigurationError(_IS_SYNCHRONOUS)
        return self._observe(response)


def find_api(client: object, name: str, diagnostics: Diagnostics) -> Api:
    """Return the API that a client is called with.

    Args:
        client: A client of a provider. One that is not known gets OpenAI's chat completions.
        name: The name of an API; empty for the first whose method the client has.
        diagnostics: Receives unknown clients.

    Raises:
        ConfigurationError: If there is no API of that name.
    """
    if name and name not in _BY_NAME:
        raise ConfigurationError(f"api is {name!r}; use one of {', '.join(map(repr, _BY_NAME))}")
    found = _BY_NAME.get(name) or next((known for known in _APIS if has_method(client, known.call)), None)
    if found is not None:
        return found
    diagnostics.note(
        "request",
        type(client).__name__,
        "An object of type %s is not a client of a known provider. Its requests have the format of OpenAI's chat "
        "completions.",
        type(client).__name__,
    )
    return _BY_NAME["chat"]


def make_request(
    client: object,
    prompt: Prompt,
    *,
    api: str,
    subject: str,
    observe: Callable[[Any], Any],
    bind: _Bind,
    diagnostics: Diagnostics,
) -> Request:
    """Return the arguments of a call of a client.

    Args:
        client: A client of a provider. One that is not known gets the format of OpenAI's chat completions.
        prompt: What to ask.
        api: The name of an API; empty for the first whose method the client has.
        subject: The key of the AI Config.
        observe: Reads the response of a call, or the exception that it raised.
        bind: Returns a function that runs in the run.
        diagnostics: Receives the parameters that are left out, and unknown clients.

    Raises:
        ConfigurationError: If there is no API of that name.
    """
    found = find_api(client, api, diagnostics)
    arguments, omitted = found.arguments(prompt, client)
    for name in omitted:
        diagnostics.note(
            "parameter",
            f"{subject}: {name}",
            "The parameter %r of AI Config %r is not sent, because the API %r of the client %s does not have it.",
            name,
            subject,
            found.name,
            client.__class__.__name__,
        )
    for name in prompt.unusable:
        diagnostics.note(
            "parameter",
            f"{subject}: {name} (value)",
            "The parameter %r of AI Config %r is not sent, because no API accepts its value.",
            name,
            subject,
        )
    for kind in found.unsent(prompt):
        name = kind if kind.isidentifier() and len(kind) <= _LONGEST_TYPE else "unknown"
        diagnostics.note(
            "content",
            f"{subject}: {name}",
            "A part of type %r in the messages for AI Config %r is not sent, because the API %r does not have it.",
            name,
            subject,
            found.name,
        )

    def note_stream() -> None:
        if prompt.tools:
            diagnostics.note(
                "tools",
                f"{subject}: stream",
                "A stream of AI Config %r has tools, but stream() and astream() return only the text: a call of a tool "
                "is lost. Give tools=[] if the application implements none. Otherwise, make the call yourself.",
                subject,
            )

    return Request(found, client, arguments, observe, bind, note_stream)
