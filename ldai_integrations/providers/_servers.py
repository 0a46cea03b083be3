"""The servers that clients call: whose they are, and what those of OpenAI's API accept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._http import split_address

# https://learn.microsoft.com/azure/ai-services/openai/api-version-lifecycle: older versions refuse ``stream_options``
# and ``max_completion_tokens``.
_AZURE_WITH_OPTIONS = "2024-09"


def server_owner(client: object) -> str:
    """Return the provider whose own server a client calls, such as ``"openai"``; empty if it may be a gateway.

    The package of the client has the name of the provider, and its server a name in the domain of the provider.
    """
    packages = {kind.__module__.partition(".")[0] for kind in client.__class__.__mro__}
    host = host_of(getattr(client, "base_url", ""))
    return next((label for label in host.split(".")[-2:-1] if label in packages), "")


def has_newer_options(client: object) -> bool:
    """Return whether a client's server is known to accept ``stream_options`` and ``max_completion_tokens``.

    The servers of OpenAI do, and those of Azure since a version of their API. Other servers may refuse them.
    """
    host = host_of(getattr(client, "base_url", ""))
    is_azure_client = any(kind.__name__ in ("AzureOpenAI", "AsyncAzureOpenAI") for kind in client.__class__.__mro__)
    if is_azure_client or host.endswith(".openai.azure.com"):
        query = getattr(client, "default_query", None)
        version = query.get("api-version") if isinstance(query, Mapping) else None
        return version is None or str(version) >= _AZURE_WITH_OPTIONS
    return is_openai(host)


def is_openai(host: str) -> bool:
    """Return whether a host is one of OpenAI's own."""
    return host == "openai.com" or host.endswith(".openai.com")


def host_of(url: object) -> str:
    """Return the host in the address of a server; empty if it is not one."""
    address = split_address(str(url))
    return (address.hostname or "") if address is not None else ""


def leaves_usage_open(arguments: Mapping[str, Any]) -> bool:
    """Return whether a request may ask for the usage of its stream, as far as its ``extra_body`` says."""
    extra = arguments.get("extra_body")
    # Azure refuses ``stream_options`` together with data sources.
    return not (isinstance(extra, Mapping) and ("stream_options" in extra or "data_sources" in extra))
