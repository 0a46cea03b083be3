"""A request in the terms that every provider shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Image:
    """Hold an image's size in pixels; zero where it is not known without fetching it.

    Attributes:
        width, height: In pixels.
        low: True where the request asks for a thumbnail's worth of detail.
    """

    width: int = 0
    height: int = 0
    low: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """Hold a tool call in the history."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Turn:
    """Hold one message.

    Attributes:
        role: As the provider writes it.
        text: Its text parts joined.
        name: The speaker's name, where one is given.
        calls: Tools it calls.
        result_of: Name of the tool whose result it is.
        images: Pictures in it.
        pages: Pages of the documents in it.
    """

    role: str
    text: str = ""
    name: str = ""
    calls: tuple[Call, ...] = ()
    result_of: str | None = None
    images: tuple[Image, ...] = ()
    pages: int = 0


@dataclass(frozen=True, slots=True)
class Tool:
    """Hold a function the model may call; ``parameters`` is a JSON schema."""

    name: str
    description: str = ""
    parameters: Any = None


@dataclass(frozen=True, slots=True)
class Format:
    """Hold a JSON schema the answer has to follow."""

    name: str
    description: str
    schema: Any


@dataclass(frozen=True, slots=True)
class Conversation:
    """Hold everything in a request that costs tokens.

    Attributes:
        turns: Messages, system messages included.
        tools: Functions.
        hosted_tools: Types of tools that the provider runs itself.
        format: The schema of the answer.
        forced: Name of the one function that must be called; of other APIs' than OpenAI's, not empty if one must.
        thinks: Whether the model is asked to think aloud.
        reasonings: How many hidden reasonings of the model's own are put before it again.
        hides: Whether the provider adds what the request does not show, such as what a tool of its own found.
    """

    turns: list[Turn] = field(default_factory=list)
    tools: list[Tool] = field(default_factory=list)
    hosted_tools: tuple[str, ...] = ()
    format: Format | None = None
    forced: str = ""
    thinks: bool = False
    reasonings: int = 0
    hides: bool = False

    @property
    def system(self) -> str | None:
        """Text of the first system message, or ``None`` if there is none."""
        return next((turn.text for turn in self.turns if turn.role in ("system", "developer")), None)
