"""Checks of an SDK key and of the connection to LaunchDarkly, and a clear message if one of them fails."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

from ldclient import LDClient
from ldclient.interfaces import DataSourceState

from .._diagnostics import Diagnostics
from ._sdk import stream_address_of

SDK_KEY = "LAUNCHDARKLY_SDK_KEY"
DEV_SERVER = "LDAI_DEV_SERVER"
# The SDK key for a dev server if none is given.
DEV_KEY = "dev"

# What ldclient accepts. It replaces any other key by an empty one without an error.
_FORM = re.compile(r"[A-Za-z0-9._-]{1,8192}")
_REAL_KEY = re.compile(r"sdk-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# The other credentials that LaunchDarkly shows beside an SDK key, by their form.
_OTHER_KEYS = {
    "a mobile key": re.compile(r"mob-.*"),
    "an API access token": re.compile(r"api-.*"),
    "a client-side ID": re.compile(r"[0-9a-f]{24}"),
}


@dataclass(frozen=True, slots=True)
class KeyProblem:
    """The reason why a key cannot work. Its texts never show the key.

    Attributes:
        text: What is wrong with it, for a sentence that begins with the name of the key.
        remedy: What to do.
        everywhere: Whether ldclient itself rejects it. A dev server accepts any other key.
    """

    text: str
    remedy: str
    everywhere: bool = False


def problem_with_key(key: str) -> KeyProblem | None:
    """Return what is wrong with an SDK key, as far as its form shows it."""
    if not _FORM.fullmatch(key):
        return KeyProblem(
            f"has {len(key)} characters, some of which no SDK key has",
            "copy the SDK key of your environment from LaunchDarkly, without quotes or spaces",
            everywhere=True,
        )
    for what, form in _OTHER_KEYS.items():
        if form.fullmatch(key):
            return KeyProblem(
                f"is {what}, which is of no use to a server",
                "use the SDK key (sdk-…) of the environment, which LaunchDarkly shows beside it",
            )
    return None


def is_real_key(key: str) -> bool:
    """Return whether a key has the form of LaunchDarkly's own SDK keys, unlike one that is made up for a dev server."""
    return _REAL_KEY.fullmatch(key) is not None


def remedy_without_answer(address: str, remedy: str) -> str:
    """Return what to do if an address does not answer: start the dev server if that is its address."""
    server = _dev_server_at(address)
    return f"start the dev server (`ldai dev`) at {server}, or unset {DEV_SERVER}" if server else remedy


def _dev_server_at(address: str) -> str:
    """Return the address of the configured dev server if this one begins with it; otherwise an empty text."""
    server = os.environ.get(DEV_SERVER, "").strip().rstrip("/")
    return server if address.startswith(server) else ""


def report_connection(client: LDClient, diagnostics: Diagnostics) -> bool:
    """Return whether AI Configs have arrived, and log once why they have not."""
    if client.is_initialized():
        return True
    _report(client, diagnostics)
    return False


def has_answered(client: LDClient) -> bool:
    """Return whether AI Configs have arrived, or the first attempt to connect has failed."""
    return client.is_initialized() or client.data_source_status_provider.status.error is not None


def watch_connection(client: LDClient, diagnostics: Diagnostics) -> None:
    """Log, once for each cause, that LaunchDarkly refuses the SDK key, now or later, and check the form of the key."""
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
            _report(client, diagnostics)

    provider = client.data_source_status_provider
    provider.add_listener(changed)
    changed(provider.status)


def connection_of(client: LDClient) -> str:
    """Return ``"ok"``, or why AI Configs do not arrive, in the words of ``Stats.connection``."""
    status = client.data_source_status_provider.status
    if status.state == DataSourceState.VALID:
        return "ok"
    if status.state == DataSourceState.INITIALIZING and client.is_initialized():
        return "ok"  # AI Configs come from a file or a store, which do not report their state
    if status.error is None:
        return str(status.state.value).lower()
    return f"HTTP {status.error.status_code}" if status.error.status_code else "unreachable"


def why_not_connected(client: LDClient) -> str:
    """Return why AI Configs do not arrive, as far as the last answer shows it, and what to do; a part of a log line."""
    if client.is_offline():
        return "its client was made with offline=True; leave that out"
    error = client.data_source_status_provider.status.error
    status, address = error.status_code if error is not None else 0, stream_address_of(client)
    if status in (401, 403):
        return f"it refused the SDK key (HTTP {status}); set {SDK_KEY} to the SDK key of the right environment"
    if status == 404 and _dev_server_at(address):
        return f"the server at {address} is not a dev server (HTTP 404); set {DEV_SERVER} to the address of `ldai dev`"
    if status:
        return f"it answered HTTP {status}; check the address and LaunchDarkly's status page"
    proxies = "http_proxy and https_proxy (lower case: they apply to 127.0.0.1 too, unless no_proxy names it)"
    network = f"check the network, and that {proxies} let the process through"
    what = "it could not be reached" if error is not None else "it has not answered yet"
    return f"{what}; {remedy_without_answer(address, network)}"


def _report(client: LDClient, diagnostics: Diagnostics) -> None:
    cause = why_not_connected(client)
    diagnostics.note(
        "connection", cause, "LaunchDarkly is not connected: %s. Default AI Configs are served until it is.", cause
    )
