"""The prompt of an AI Config as a request to any provider, and what the model answers.

Clients are recognized by the methods they have; no provider's package is imported.
"""

from __future__ import annotations

from ._api import Answer, ToolCall
from ._request import Request

__all__ = ["Answer", "Request", "ToolCall"]
