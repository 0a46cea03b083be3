"""The delivery of events: payloads that JSON can represent, a client from the environment, a flush that waits."""

from __future__ import annotations

from ._config_file import file_source
from ._connection import (
    DEV_SERVER,
    SDK_KEY,
    connection_of,
    has_answered,
    is_real_key,
    problem_with_key,
    report_connection,
    why_not_connected,
)
from ._delivery import Delivery, delivery_of
from ._dev_server import DevWarnings, watch_dev_server
from ._environment import CONFIG_FILE, SERVERLESS, client_from_env, is_serverless, not_configured, note_ignored
from ._exit import exits
from ._payload import safe_context
from ._processor import SpoolingEventProcessor
from ._restart import ensure_started, watch_client
from ._sdk import environment_id_of
from ._threads import start_thread

__all__ = [
    "CONFIG_FILE",
    "DEV_SERVER",
    "SDK_KEY",
    "SERVERLESS",
    "Delivery",
    "DevWarnings",
    "SpoolingEventProcessor",
    "client_from_env",
    "connection_of",
    "delivery_of",
    "ensure_started",
    "environment_id_of",
    "exits",
    "file_source",
    "has_answered",
    "is_real_key",
    "is_serverless",
    "not_configured",
    "note_ignored",
    "problem_with_key",
    "report_connection",
    "safe_context",
    "start_thread",
    "watch_client",
    "watch_dev_server",
    "why_not_connected",
]
