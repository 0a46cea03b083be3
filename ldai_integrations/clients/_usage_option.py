"""Ask OpenAI for the usage of a stream whose caller did not."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from ._place import IncludeUsage


def with_usage(kwargs: dict[str, Any], client: Any, include_usage: IncludeUsage) -> tuple[dict[str, Any], bool]:
    """Return the arguments of a call with the option added, and whether it was.

    Args:
        kwargs: As the caller wrote them; whoever says anything about ``stream_options`` is not overruled.
        client: The client, whose ``base_url`` tells the server: others than OpenAI's may refuse the option.
        include_usage: ``"always"`` asks whatever server it is.
    """
    if kwargs.get("stream") is not True or "stream_options" in kwargs:
        return kwargs, False
    extra = kwargs.get("extra_body")
    if isinstance(extra, dict) and "stream_options" in extra:
        return kwargs, False
    if include_usage != "always" and not _is_openai(client):
        return kwargs, False
    return {**kwargs, "stream_options": {"include_usage": True}}, True


def _is_openai(client: Any) -> bool:
    host = urlsplit(str(getattr(client, "base_url", ""))).hostname or ""
    return host == "openai.com" or host.endswith(".openai.com")
