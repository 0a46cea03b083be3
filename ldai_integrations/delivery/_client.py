"""An LDClient from the environment."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ldclient import Config, LDClient
from ldclient.config import HTTPConfig

from .._diagnostics import logger
from ..exceptions import ConfigurationError, TrackingNotConfiguredError
from ._connection import SDK_KEY
from ._keys import problem_with_key
from ._processor import INBOX_EVENTS, SpoolingEventProcessor
from ._sdk import SdkChangedError

DEV_SERVER, CONFIG_FILE = "LDAI_DEV_SERVER", "LDAI_CONFIG_FILE"

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}

# After this long a batch is posted again, under the same id; the SDK's default is 15 s.
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

    Args:
        environ: What to read; ``None`` is ``os.environ``.

    Raises:
        TrackingNotConfiguredError: If none of the three variables is set.
        ConfigurationError: If one is set to something that cannot work.
    """
    env = os.environ if environ is None else environ
    key, server, file = (env.get(name, "").strip() for name in (SDK_KEY, DEV_SERVER, CONFIG_FILE))
    if server:
        uris = dict.fromkeys(("base_uri", "stream_uri", "events_uri"), _checked_address(server))
        return _make(_checked_key(key, for_dev_server=True) if key else "dev", **uris)
    if key:
        return _make(_checked_key(key))
    if file:
        return _started(_file_config(Path(file)))
    raise TrackingNotConfiguredError(NOT_CONFIGURED)


def _make(key: str, **options: Any) -> LDClient:
    try:
        config = Config(
            key, event_processor_class=SpoolingEventProcessor, events_max_pending=INBOX_EVENTS, http=_HTTP, **options
        )
        return _started(config)
    except SdkChangedError as exc:
        logger.warning(
            "This version of launchdarkly-server-sdk is made differently (%s): its own event delivery is used, which "
            "loses events under load and when the endpoint fails. Use a version ldai_integrations was tested with.",
            exc,
        )
        return _started(Config(key, http=_HTTP, **options))


def _started(config: Config) -> LDClient:
    """Make a client without waiting for it, and without the SDK's warning that it was not ready at once.

    ldclient waits the whole ``start_wait`` even for a key that is refused; ``report_connection`` does not, and says it.
    """
    log = logging.getLogger("ldclient.util")
    log.addFilter(_is_worth_saying)
    try:
        return LDClient(config, start_wait=0)
    finally:
        log.removeFilter(_is_worth_saying)


def _is_worth_saying(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Initialization timeout exceeded")


def _checked_key(key: str, *, for_dev_server: bool = False) -> str:
    problem = problem_with_key(key)
    if problem is None or (for_dev_server and not problem.everywhere):
        return key
    raise ConfigurationError(f"{SDK_KEY} {problem.text}; {problem.remedy}")


def _checked_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(f"{DEV_SERVER} is {url!r}; use the address that `ldai dev` prints")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ConfigurationError(
            f"{DEV_SERVER} is {url!r}: over plain http the SDK key would be readable on the network; "
            "use https, or run `ldai dev` on this machine"
        )
    logger.info("LaunchDarkly is replaced by the dev server at %s; unset %s to reach LaunchDarkly.", url, DEV_SERVER)
    return url


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
    from ldclient.integrations import Files  # and with it boto3, yaml and others, wherever they are installed

    source = Files.new_data_source(paths=[str(path)], auto_update=True)
    return Config("file", update_processor_class=source, send_events=False)
