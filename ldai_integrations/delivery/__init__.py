"""See to it that events arrive: safe payloads, a client from the environment, a flush that waits."""

from __future__ import annotations

from ._client import NOT_CONFIGURED, client_from_env
from ._connection import connection_of, report_connection, watch_connection
from ._delivery import Delivery, delivery_of
from ._payload import safe_context
from ._processor import SpoolingEventProcessor

__all__ = [
    "NOT_CONFIGURED",
    "Delivery",
    "SpoolingEventProcessor",
    "client_from_env",
    "connection_of",
    "delivery_of",
    "report_connection",
    "safe_context",
    "watch_connection",
]
