"""See to it that events arrive: safe payloads, a client of the environment, a flush that waits, and comes in time."""

from __future__ import annotations

from ._client import CONFIG_FILE, DEV_SERVER, NOT_CONFIGURED, client_from_env
from ._connection import SDK_KEY, connection_of, report_connection
from ._delivery import Delivery, delivery_of
from ._exit import exits
from ._fork import forks
from ._keys import problem_with_key
from ._payload import safe_context
from ._processor import SpoolingEventProcessor
from ._revival import begin_revival, watch_client
from ._sdk import environment_id_of
from ._serverless import is_serverless

__all__ = [
    "CONFIG_FILE",
    "DEV_SERVER",
    "NOT_CONFIGURED",
    "SDK_KEY",
    "Delivery",
    "SpoolingEventProcessor",
    "begin_revival",
    "client_from_env",
    "connection_of",
    "delivery_of",
    "environment_id_of",
    "exits",
    "forks",
    "is_serverless",
    "problem_with_key",
    "report_connection",
    "safe_context",
    "watch_client",
]
