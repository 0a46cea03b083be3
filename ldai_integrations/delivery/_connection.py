"""Whether an LDClient gets AI Configs from LaunchDarkly, and a clear word where it does not."""

from __future__ import annotations

import time
from typing import Any

from ldclient import LDClient
from ldclient.interfaces import DataSourceState

from .._diagnostics import Diagnostics
from ._keys import problem_with_key

SDK_KEY = "LAUNCHDARKLY_SDK_KEY"

_POLL_SECONDS = 0.01


def report_connection(client: LDClient, diagnostics: Diagnostics, *, timeout: float) -> bool:
    """Wait until the client is connected or has failed, and say so once if it has.

    Args:
        client: A client that was just made.
        diagnostics: Where a failure is noted.
        timeout: Seconds to wait at most; a key that is refused is known in milliseconds.

    Returns:
        True if flags are there.
    """
    deadline = time.monotonic() + timeout
    error = None
    while not client.is_initialized():
        error = client.data_source_status_provider.status.error
        if error is not None or time.monotonic() >= deadline:
            break
        time.sleep(_POLL_SECONDS)
    if client.is_initialized():
        return True
    _report(error, diagnostics)
    return False


def watch_connection(client: LDClient, diagnostics: Diagnostics) -> None:
    """Say it, once for each cause, when LaunchDarkly refuses the SDK key, now or later; look at the key's kind."""
    key = client.get_sdk_key()
    problem = problem_with_key(key) if key else None
    if problem is not None:
        diagnostics.note(
            "connection",
            "kind of key",
            "LaunchDarkly cannot be reached: the SDK key given %s; %s.",
            problem.text,
            problem.remedy,
        )

    def changed(status: Any) -> None:
        if status.error is not None and status.error.status_code in (401, 403):
            _report(status.error, diagnostics)

    provider = client.data_source_status_provider
    provider.add_listener(changed)
    changed(provider.status)


def connection_of(client: LDClient) -> str:
    """Return ``"ok"``, or why AI Configs do not arrive; the words are those of ``Stats.connection``."""
    status = client.data_source_status_provider.status
    if status.state == DataSourceState.VALID:
        return "ok"
    if status.state == DataSourceState.INITIALIZING and client.is_initialized():
        return "ok"  # from a file or a store: those do not tell their state
    if status.error is None:
        return str(status.state.value).lower()
    return f"HTTP {status.error.status_code}" if status.error.status_code else "unreachable"


def _report(error: Any, diagnostics: Diagnostics) -> None:
    status = error.status_code if error is not None else 0
    if status in (401, 403):
        cause = f"it refused the SDK key (HTTP {status}); set {SDK_KEY} to the SDK key of the right environment"
    elif status:
        cause = f"it answered HTTP {status}; check the address and LaunchDarkly's status page"
    else:
        cause = (
            "it could not be reached; check the network, and that http_proxy and https_proxy (lower case: they apply "
            "to 127.0.0.1 too, unless no_proxy names it) let the process through"
        )
    diagnostics.note(
        "connection", cause, "LaunchDarkly is not connected: %s. Default AI Configs are served until it is.", cause
    )
