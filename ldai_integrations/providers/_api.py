"""What the APIs of all providers have in common."""

from __future__ import annotations

import inspect
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, ClassVar

from ._prompt import (
    Fields,
    Image,
    Json,
    Prompt,
    arguments_of,
    common_name,
    image_in,
    is_text,
    parts_in,
    text_of,
    type_of,
)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the model called.

    Attributes:
        id: The provider's id of the call.
        name: The name of the tool.
        arguments: Its arguments.
        extra: What the provider wants back together with the call.
    """

    id: str
    name: str
    arguments: Fields
    extra: Fields | None = None

    def result(self, content: object) -> Json:
        """Return the message that tells the model what the tool returned, for the history of the next request.

        Args:
            content: A text, or a value that can be written as JSON.
        """
        text = content if isinstance(content, str) else json.dumps(content)
        return {"role": "tool", "tool_call_id": self.id, "name": self.name, "content": text}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answered.

    Attributes:
        text: The visible text.
        tool_calls: The tools that the model called.
        response: The response, as the provider's client returned it.
        extra: What the provider wants back together with the message.
    """

    text: str
    tool_calls: tuple[ToolCall, ...]
    response: Any
    extra: Fields | None = None

    @property
    def message(self) -> Json:
        """The message of the assistant, for the history of the next request, whichever provider answers it."""
        message: Json = {"role": "assistant", "content": self.text}
        if self.tool_calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
                    **({"extra_content": call.extra} if call.extra else {}),
                }
                for call in self.tool_calls
            ]
        return {**message, "extra_content": self.extra} if self.extra else message


class Api(ABC):
    """The format of requests and responses of one API."""

    #: Its name in messages and in ``run.request(api=…)``.
    name: ClassVar[str]
    #: The method of a client that returns a whole response, and the one that returns a stream.
    call: ClassVar[str]
    stream_call: ClassVar[str]
    #: The method of a client for a whole response that is awaited, if it has another name.
    async_call: ClassVar[str] = ""
    async_stream_call: ClassVar[str] = ""
    #: Whether the client sends the request of a stream only when somebody reads the stream.
    is_lazy: ClassVar[bool] = False
    #: The API's names of parameters, where they differ from the common ones.
    names: ClassVar[Mapping[str, str]] = {}
    #: The highest temperature that the API accepts.
    max_temperature: ClassVar[float] = 2.0

    def is_asynchronous(self, client: object, method: Callable[..., object]) -> bool | None:
        """Return whether a method of a client is awaited; ``None`` if that is known only after its call.

        Clients that have only one kind of ``with`` block say it with that.
        """
        function = inspect.unwrap(method)
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            return True
        kind = client.__class__  # that of a wrapped client is the one of the client
        has_with, has_async_with = hasattr(kind, "__enter__"), hasattr(kind, "__aenter__")
        return has_async_with if has_with != has_async_with else None

    @abstractmethod
    def arguments(self, prompt: Prompt, client: object) -> tuple[Json, list[str]]:
        """Return the arguments of a call, and the names of the parameters that the API does not have."""

    @abstractmethod
    def tools(self, prompt: Prompt) -> list[Json]:
        """Return the tools of a prompt, as the API wants them."""

    def arguments_of_stream(self, client: object, arguments: Json) -> Json:  # noqa: ARG002
        """Return the arguments with which :attr:`stream_call` returns a stream."""
        return {**arguments, "stream": True} if self.stream_call == self.call else arguments

    @abstractmethod
    def answer(self, response: Any) -> Answer:
        """Read a whole response."""

    @abstractmethod
    def text_in(self, event: Any) -> str:
        """Return the visible text in an event of a stream; empty if it has none."""

    def events(self, stream: Any) -> Any:
        """Return the iterable of events in what :attr:`stream_call` returned."""
        return stream

    def text_part(self, text: str) -> Json:
        """Return a text in a message."""
        return {"text": text}

    def image_part(self, image: Image) -> Json | None:  # noqa: ARG002
        """Return an image in a message of a user; ``None`` if the API does not accept it."""
        return None

    def parts(self, message: Fields) -> list[Json]:
        """Return the texts and the images of a message."""
        parts = [self._part(message, part) for part in parts_in(message)]
        return [part for part in parts if part is not None]

    def unsent(self, prompt: Prompt) -> list[str]:
        """Return the types of what is in the messages and not sent."""
        return [
            type_of(part)
            for message in prompt.messages
            for part in parts_in(message)
            if not is_text(part) and self._part(message, part) is None
        ]

    def _part(self, message: Fields, part: object) -> Json | None:
        text = text_of([part])
        if text:
            return self.text_part(text)
        image = image_in(part) if message.get("role") == "user" else None
        return self.image_part(image) if image is not None else None

    def convert_parameters(self, prompt: Prompt, accepts: Callable[[str], bool]) -> tuple[Json, list[str]]:
        """Return the parameters under the API's names, and the names of those that it does not have.

        Args:
            prompt: The prompt.
            accepts: Returns whether the API accepts a parameter of a name.
        """
        converted: Json = {}
        omitted: list[str] = []
        for name, value in prompt.parameters.items():
            common = common_name(name)
            own = self.names.get(common, common)
            if not accepts(own):
                omitted.append(name)
                continue
            converted[own] = self._convert(common, value)
        return converted, omitted

    def _convert(self, common: str, value: Any) -> Any:
        if common == "temperature" and isinstance(value, (int, float)):
            return min(value, self.max_temperature)
        if common == "stop" and isinstance(value, str):  # some providers accept lists only, and the others both
            return [value]
        return value


def calls_in(message: Fields) -> Iterator[ToolCall]:
    """Iterate over the tool calls of a message, as :attr:`Answer.message` writes them."""
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        arguments = arguments_of(function.get("arguments"))
        yield ToolCall(str(call.get("id", "")), str(function.get("name", "")), arguments, call.get("extra_content"))


def accepts_argument(client: object, path: str) -> Callable[[str], bool]:
    """Return a function that returns whether a method of a client has a parameter of a name."""
    if not has_method(client, path):  # a client of an unknown provider
        return lambda _name: True
    parameters = inspect.signature(attrgetter(path)(client)).parameters
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    return lambda name: takes_all or name in parameters


def has_method(value: object, path: str) -> bool:
    """Return whether a client has a method."""
    for name in path.split("."):
        value = getattr(value, name, None)
    return callable(value)
