"""Clients of LLM providers that report their calls to the current run."""

from __future__ import annotations

import inspect
from typing import TypeVar, cast

from ..exceptions import ConfigurationError
from ._calls import IncludeUsage
from ._providers import tree_of
from ._proxies import Place, unwrap, wrap

__all__ = ["wrap_client"]

C = TypeVar("C")


def wrap_client(client: C, *, include_usage: IncludeUsage = False) -> C:
    """Return a client that reports each call, streamed or not, to the current run.

    ::

        client = wrap_client(OpenAI())

        @track_ai(config_key="support-bot")
        def chat(run: Run) -> str:
            answer = client.chat.completions.create(model=run.model, messages=run.messages())
            return answer.choices[0].message.content

    The wrapped client looks and behaves like the client: ``isinstance``, attributes, ``with`` blocks, copies,
    coroutines and errors are the same, and so are its calls outside of a run. The client itself is not changed. Use it
    from any thread that the client may be used from. Wrapping it again changes nothing but ``include_usage``.

    Args:
        client: A client of ``openai``, ``anthropic``, ``google-genai``, ``mistralai``, ``cohere`` or ``ollama``, sync
            or async, a ``bedrock-runtime`` client of ``boto3`` or ``aiobotocore``, or a client that has the methods of
            one of these.
        include_usage: Whether to ask for the usage of streams of OpenAI's chat completions and completions, if the
            caller says nothing about ``stream_options``. The caller does not see the additional chunk. ``True`` asks
            OpenAI's own servers (``*.openai.com``) and Azure (``*.openai.azure.com``, and clients of the class
            ``AzureOpenAI``) only, because others may refuse the option; ``"always"`` asks every server.

    Returns:
        The wrapped client.

    Raises:
        ConfigurationError: If it is not a client of a known provider, or ``include_usage`` has another value.
    """
    if include_usage not in (False, True, "always"):
        raise ConfigurationError(f"include_usage is {include_usage!r}; use False, True or 'always'")
    original = unwrap(client)
    if hasattr(original, "create_with_completion"):  # instructor's client calls the one that it was made of
        raise ConfigurationError(
            f"client is {_describe(original)}, whose calls would not be seen; wrap the provider's client first: "
            "instructor.from_openai(wrap_client(OpenAI()))"
        )
    tree = None if inspect.isclass(original) or inspect.ismodule(original) else tree_of(original)
    if tree is None:
        raise ConfigurationError(
            f"client is {_describe(original)}; give an instance of an OpenAI, Anthropic, google-genai, Mistral, "
            "Cohere or Ollama client, or a 'bedrock-runtime' client of boto3 or aiobotocore (inside of its async with)"
        )
    return cast(C, wrap(original, Place(original, tree, include_usage)))


def _describe(client: object) -> str:
    if inspect.isclass(client) or inspect.ismodule(client):
        return f"the {'class' if inspect.isclass(client) else 'module'} {client.__name__}"
    return f"of type {type(client).__name__}"
