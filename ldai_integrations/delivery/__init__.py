"""See to it that events arrive: safe payloads, a client from the environment, a flush that waits."""

from __future__ import annotations

from ._client import NOT_CONFIGURED, client_from_env, report_connection
from ._flush import Flusher
from ._payload import safe_context, safe_data, safe_metric

__all__ = [
    "NOT_CONFIGURED",
    "Flusher",
    "client_from_env",
    "report_connection",
    "safe_context",
    "safe_data",
    "safe_metric",
]
