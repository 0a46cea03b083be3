"""Clients of LLM providers whose calls feed the current run by themselves."""

from __future__ import annotations

import inspect
from typing import TypeVar

from ..exceptions import ConfigurationError
from ._place import IncludeUsage, Place
from ._providers import tree_of
from ._proxies import unwrapped, wrap

__all__ = ["wrap_client"]

C = TypeVar("C")


def wrap_client(client: C, *, include_usage: IncludeUsage = False) -> C:
    """Return a client whose calls, streamed or not, tell the run they are made in of their usage.

    ::

        client = wrap_client(OpenAI())

        @track_ai(config_key="support-bot")
        def chat(run: Run) -> str:
            answer = client.chat.completions.create(model=run.model, messages=run.messages())
            return answer.choices[0].message.content

    What comes back looks and behaves as the client does: its type, attributes, ``with`` blocks, copies, coroutines and
    errors are the same, and outside of a run so are its calls. The client itself is not changed. Use it from any thread
    that the original may be used from. Wrapping it again changes nothing but ``include_usage``.

    Args:
        client: A client of ``openai``, ``anthropic``, ``google-genai``, ``mistralai`` or ``cohere``, sync or async, a
            boto3 ``bedrock-runtime`` client, or one that has the methods of one of these.
        include_usage: Whether streams of OpenAI's chat completions and completions are asked for their usage where the
            caller says nothing of ``stream_options``; the frame that brings it is kept from the caller. ``True`` asks
            OpenAI's own servers (``*.openai.com``) only, because others may refuse the option; ``"always"`` asks
            whatever server ``base_url`` names. Raw responses are never asked.

    Returns:
        The wrapped client.

    Raises:
        ConfigurationError: If it is no client of a known provider, or ``include_usage`` has another value.
    """
    if include_usage not in (False, True, "always"):
        raise ConfigurationError(f"include_usage is {include_usage!r}; use False, True or 'always'")
    original = unwrapped(client)
    tree = None if inspect.isclass(original) or inspect.ismodule(original) else tree_of(original)
    if tree is None:
        raise ConfigurationError(
            f"client is {_described(original)}; give an instance of an OpenAI, Anthropic, google-genai, Mistral or "
            "Cohere client, or boto3.client('bedrock-runtime')"
        )
    wrapped: C = wrap(original, Place(original, tree, include_usage))
    return wrapped


def _described(client: object) -> str:
    return f"the class {client.__name__}" if inspect.isclass(client) else f"a {type(client).__name__}"
