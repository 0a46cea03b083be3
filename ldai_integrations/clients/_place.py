"""Where in a client a wrapped object is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from ._providers import Tree

IncludeUsage: TypeAlias = 'bool | Literal["always"]'


@dataclass(frozen=True, slots=True)
class Place:
    """Say where in a client a wrapped object is.

    Attributes:
        client: The provider's client.
        tree: What there is to be seen below.
        include_usage: What the user said to :func:`~ldai_integrations.wrap_client`.
        raw: Whether calls give the HTTP response.
    """

    client: Any
    tree: Tree
    include_usage: IncludeUsage
    raw: bool = False

    def with_tree(self, tree: Tree) -> Place:
        """Return the place of something that has other things below it."""
        return replace(self, tree=tree)

    def with_raw(self) -> Place:
        """Return the place of the calls that give the HTTP response."""
        return replace(self, raw=True)

    def in_client(self, client: Any) -> Place:
        """Return the same place in another client."""
        return replace(self, client=client)
