"""What the environment variables describe: an LDClient, and a platform that stops the CPU between requests."""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ldclient import Config, LDClient
from ldclient.config import HTTPConfig

from .._diagnostics import Diagnostics, logger
from .._http import LOOPBACK, split_address, without_login
from ..exceptions import ConfigurationError, TrackingNotConfiguredError
from ._config_file import ConfigFileError, file_source, read_config_file
from ._connection import DEV_KEY, DEV_SERVER, SDK_KEY, is_real_key, problem_with_key
from ._processor import INBOX_EVENTS, SpoolingEventProcessor
from ._sdk import SdkChangedError, without_timeout_warning

CONFIG_FILE = "LDAI_CONFIG_FILE"

_NOT_CONFIGURED = (
    "LaunchDarkly is not configured. Set one of the environment variables "
    f"{SDK_KEY} (an SDK key of a LaunchDarkly environment), "
    f"{DEV_SERVER} (the address that `ldai dev` prints, such as http://127.0.0.1:8765) or "
    f"{CONFIG_FILE} (a JSON file with AI Configs; nothing is reported), "
    "or create a Tracking(client) with your own LDClient."
)


def not_configured(environ: Mapping[str, str] = os.environ) -> str:
    """Return what to set, and the variables that look as if they were misspelled."""
    names = (SDK_KEY, DEV_SERVER, CONFIG_FILE)
    questions = [
        f"{name} is set; did you mean {similar}?"
        for name in sorted(environ.keys() - set(names))
        for similar in get_close_matches(name, names, n=1, cutoff=0.85)
    ]
    return " ".join([_NOT_CONFIGURED, *questions])


# After this time a batch is posted again, under the same id. The SDK's default is 15 s.
_HTTP = HTTPConfig(connect_timeout=5, read_timeout=5)

#: The platforms that may freeze a process as soon as it has answered a request. Each sets its variable there.
SERVERLESS = {
    # Reserved; docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html, "Defined runtime environment
    # variables".
    "AWS_LAMBDA_FUNCTION_NAME": "AWS Lambda",
    # Services, and functions of the 2nd generation: cloud.google.com/run/docs/container-contract, "Environment
    # variables". Jobs have CLOUD_RUN_JOB instead.
    "K_SERVICE": "Cloud Run",
    # learn.microsoft.com/azure/azure-functions/functions-app-settings.
    "FUNCTIONS_WORKER_RUNTIME": "Azure Functions",
    # vercel.com/docs/environment-variables/system-environment-variables, at build and run time, if the project
    # exposes system variables.
    "VERCEL": "Vercel",
}


def is_serverless(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether the platform may freeze the process as soon as it has answered a request."""
    return any(environ.get(name) for name in SERVERLESS)


def client_from_env(environ: Mapping[str, str], diagnostics: Diagnostics) -> LDClient:
    """Make the LDClient that the environment describes, without a wait for its connection.

    Args:
        environ: The environment variables.
        diagnostics: Receives problems with later edits of a file.

    Raises:
        TrackingNotConfiguredError: If none of the three variables is set.
        ConfigurationError: If one has a value that cannot work.
    """
    key, server, file = (environ.get(name, "").strip() for name in (SDK_KEY, DEV_SERVER, CONFIG_FILE))
    if server:
        uris = dict.fromkeys(("base_uri", "stream_uri", "events_uri"), _check_address(server))
        return _make(_check_key(key, for_dev_server=True) if key else DEV_KEY, **uris)
    if key:
        return _make(_check_key(key))
    if file:
        return _start(_config_of_file(Path(file), diagnostics))
    raise TrackingNotConfiguredError(not_configured(environ))


def note_ignored(environ: Mapping[str, str], diagnostics: Diagnostics) -> None:
    """Warn of variables that have no effect, because another one says where AI Configs come from."""
    key, server, file = (environ.get(name, "").strip() for name in (SDK_KEY, DEV_SERVER, CONFIG_FILE))
    if server and is_real_key(key):
        diagnostics.note(
            "dev_server",
            SDK_KEY,
            "%s is set, so LaunchDarkly is not used, although %s has the key of an environment: AI Configs come from "
            "the dev server, and events go there. Unset %s in production.",
            DEV_SERVER,
            SDK_KEY,
            DEV_SERVER,
        )
    if file and (server or key):
        used = DEV_SERVER if server else SDK_KEY
        diagnostics.note(
            "config_file",
            CONFIG_FILE,
            "%s is set, so the AI Configs of the file in %s are not served. Unset %s to use the file.",
            used,
            CONFIG_FILE,
            used,
        )


def _make(key: str, **uris: Any) -> LDClient:
    try:
        return _start(
            Config(
                key, event_processor_class=SpoolingEventProcessor, events_max_pending=INBOX_EVENTS, http=_HTTP, **uris
            )
        )
    except SdkChangedError as exc:
        logger.warning(
            "This version of launchdarkly-server-sdk has unexpected internals (%s). Its own event delivery is used, "
            "which loses events under load and when the endpoint fails. Use a version that ldai_integrations supports.",
            exc,
        )
        return _start(Config(key, http=_HTTP, **uris))


def _start(config: Config) -> LDClient:
    """Make a client without waiting: ldclient waits the whole ``start_wait`` even for a key that is refused."""
    with without_timeout_warning():  # report_connection logs a better one
        return LDClient(config, start_wait=0)


def _check_key(key: str, *, for_dev_server: bool = False) -> str:
    problem = problem_with_key(key)
    if problem is None or (for_dev_server and not problem.everywhere):
        return key
    raise ConfigurationError(f"{SDK_KEY} {problem.text}; {problem.remedy}")


def _check_address(url: str) -> str:
    parts, shown = split_address(url), without_login(url)
    if parts is None:
        raise ConfigurationError(
            f"{DEV_SERVER} is {shown!r}; use the address that `ldai dev` prints, such as http://127.0.0.1:8765"
        )
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ConfigurationError(
            f"{DEV_SERVER} is {shown!r}: over plain http the SDK key would be readable on the network; "
            "use https, or run `ldai dev` on this machine"
        )
    logger.info("LaunchDarkly is replaced by the dev server at %s. Unset %s to reach LaunchDarkly.", shown, DEV_SERVER)
    return url


def _config_of_file(path: Path, diagnostics: Diagnostics) -> Config:
    try:
        read_config_file(path)
    except ConfigFileError as exc:
        raise ConfigurationError(f"{CONFIG_FILE} is {str(path)!r}, which {exc}") from exc
    logger.info("AI Configs come from %s. Nothing is reported to LaunchDarkly.", path)
    return Config("file", update_processor_class=file_source(path, diagnostics), send_events=False)
