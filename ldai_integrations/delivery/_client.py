"""An LDClient from the environment, and a clear word about whether it got through."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from ldclient import Config, LDClient
from ldclient.config import HTTPConfig
from ldclient.integrations import Files

from .._troubles import Troubles, logger
from ..exceptions import ConfigurationError, TrackingNotConfiguredError

SDK_KEY, DEV_SERVER, CONFIG_FILE = "LAUNCHDARKLY_SDK_KEY", "LDAI_DEV_SERVER", "LDAI_CONFIG_FILE"

# What ldclient accepts (it silently replaces any other key by an empty one).
_SDK_KEY_FORM = re.compile(r"[A-Za-z0-9._-]{1,8192}")
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_POLL_SECONDS = 0.01

# close() sends the last batch in at most twice the read timeout plus a second; the SDK's default is 15 s.
_HTTP = HTTPConfig(connect_timeout=5, read_timeout=5)

NOT_CONFIGURED = (
    "There is no LaunchDarkly to track with. Set one of the environment variables "
    f"{SDK_KEY} (an SDK key of a LaunchDarkly environment), "
    f"{DEV_SERVER} (the address that `ldai dev` prints, such as http://127.0.0.1:8765) or "
    f"{CONFIG_FILE} (a JSON file with AI Configs; nothing is reported), "
    "or make a Tracking(client) with an LDClient of your own."
)


def client_from_env(environ: Mapping[str, str] | None = None) -> LDClient:
    """Make the LDClient that the environment describes, without waiting for it to connect.

    Raises:
        TrackingNotConfiguredError: If none of the three variables is set.
        ConfigurationError: If one is set to something that cannot work.
    """
    env = os.environ if environ is None else environ
    key, server, file = (env.get(name, "").strip() for name in (SDK_KEY, DEV_SERVER, CONFIG_FILE))
    if server:
        return _make(_dev_server_config(server, _checked_key(key) if key else "dev"))
    if key:
        return _make(Config(_checked_key(key), http=_HTTP))
    if file:
        return _make(_file_config(Path(file)))
    raise TrackingNotConfiguredError(NOT_CONFIGURED)


def report_connection(client: LDClient, troubles: Troubles, *, timeout: float) -> bool:
    """Wait until the client is connected or has failed, and say so once if it has.

    Args:
        client: A client that was just made.
        troubles: Where a failure is noted.
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
    troubles.note(
        "connection", cause, "LaunchDarkly is not connected: %s. Default AI Configs are served until it is.", cause
    )
    return False


def _make(config: Config) -> LDClient:
    # ldclient waits the whole start_wait even for a key that is refused; report_connection does not.
    return LDClient(config, start_wait=0)


def _checked_key(key: str) -> str:
    if _SDK_KEY_FORM.fullmatch(key):
        return key
    raise ConfigurationError(
        f"{SDK_KEY} has {len(key)} characters, some of which no SDK key has; "
        "copy the SDK key of your environment from LaunchDarkly, without quotes or spaces"
    )


def _dev_server_config(url: str, key: str) -> Config:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(f"{DEV_SERVER} is {url!r}; use the address that `ldai dev` prints")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ConfigurationError(
            f"{DEV_SERVER} is {url!r}: over plain http the SDK key would be readable on the network; "
            "use https, or run `ldai dev` on this machine"
        )
    logger.info("LaunchDarkly is replaced by the dev server at %s; unset %s to reach LaunchDarkly.", url, DEV_SERVER)
    return Config(key, base_uri=url, stream_uri=url, events_uri=url, http=_HTTP)


def _file_config(path: Path) -> Config:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise ConfigurationError(f"{CONFIG_FILE} is {str(path)!r}, which cannot be read as JSON: {exc}") from exc
    if not isinstance(content, dict) or not content.keys() & {"flags", "flagValues"}:
        raise ConfigurationError(
            f'{CONFIG_FILE} is {str(path)!r}, which has no "flags"; use the format of LaunchDarkly\'s file data source'
        )
    logger.info("AI Configs come from %s; nothing is reported to LaunchDarkly.", path)
    source = Files.new_data_source(paths=[str(path)], auto_update=True)
    return Config("file", update_processor_class=source, send_events=False)
