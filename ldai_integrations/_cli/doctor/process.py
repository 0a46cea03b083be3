"""Check the environment of a process: settings, versions, proxies, and server settings for threads and forks."""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

from ..._http import LOOPBACK, split_address
from ...delivery import DEV_SERVER, SERVERLESS
from ...exceptions import ConfigurationError
from ...settings import Settings
from .findings import Finding, ok, problem, warning

_PACKAGES = ("ldai-integrations", "launchdarkly-server-sdk", "launchdarkly-server-sdk-ai")
_MISSING = "(not installed)"
_NEWER_SDK, _HANDLERS = "launchdarkly-ai-server", "launchdarkly-ai-"


def check_settings() -> Iterator[Finding]:
    """Name each setting whose variable has a value that it does not take."""
    for text in _find_refusals():
        yield problem("settings", text, "correct the variable: Tracking.from_env() raises this error")


def _find_refusals() -> list[str]:
    """Return the errors of all wrong variables.

    ``Settings`` raises the first of them. Therefore each wrong variable is removed for a moment to find the next one.
    """
    refusals: list[str] = []
    removed: dict[str, str] = {}
    try:
        while True:
            try:
                Settings()
                return refusals
            except ConfigurationError as error:
                refusals.append(str(error))
                name = refusals[-1].split()[0]
                if name not in os.environ:
                    return refusals
                removed[name] = os.environ.pop(name)
    finally:
        os.environ.update(removed)


def check_process(environ: Mapping[str, str], directory: Path) -> Iterator[Finding]:
    """Check the environment, and the configuration files of servers in a directory."""
    yield ok("versions", ", ".join(f"{name} {_find_version(name)}" for name in _PACKAGES))
    yield from _check_proxies(environ)
    yield from _check_uwsgi(environ, directory)
    yield from _check_serverless(environ)
    yield from _check_newer_sdk()


def _check_serverless(environ: Mapping[str, str]) -> Iterator[Finding]:
    flush = environ.get("LDAI_FLUSH", "").strip().lower()
    for variable, name in SERVERLESS.items():
        if not environ.get(variable):
            continue
        if flush in ("shutdown", "never"):
            yield warning(
                "serverless",
                f"{name} stops the process after each request, and LDAI_FLUSH={flush} sends nothing before",
                "unset LDAI_FLUSH, so that events are sent after each request",
            )
        else:
            yield ok("serverless", f"this is {name}: events are sent after each request")


def _check_newer_sdk() -> Iterator[Finding]:
    """Check what LaunchDarkly's newer AI SDK needs, if it is installed."""
    found = _find_version(_NEWER_SDK)
    if found == _MISSING:
        return
    if sys.version_info < (3, 12):
        yield problem("newer AI SDK", f"{_NEWER_SDK} {found} needs Python 3.12", "use Python 3.12 or later")
    elif not found.startswith("0.4."):
        yield warning(
            "newer AI SDK",
            f"{_NEWER_SDK} {found} is another version than the one that this library supports",
            "pip install 'ldai-integrations[agentcontrol]'",
        )
    elif not any(str(one.name).startswith(_HANDLERS) and one.name != _NEWER_SDK for one in distributions()):
        yield warning(
            "newer AI SDK",
            f"{_NEWER_SDK} is installed, but no package with a handler for a provider",
            "install that of your provider, such as: pip install launchdarkly-ai-openai-messages",
        )
    else:
        yield ok("newer AI SDK", f"{_NEWER_SDK} {found} and a handler for a provider are installed")


def _find_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return _MISSING


def _check_proxies(environ: Mapping[str, str]) -> Iterator[Finding]:
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        if environ.get(name.upper()) and not environ.get(name):
            yield warning(
                "proxy", f"{name.upper()} is set and {name} is not: LaunchDarkly's SDK reads {name} only", f"set {name}"
            )
    server = split_address(environ.get(DEV_SERVER, ""))
    host = server.hostname if server is not None and server.hostname in LOOPBACK else None
    exempt = environ.get("no_proxy", "")
    if host is not None and environ.get("http_proxy") and exempt != "*" and host not in exempt:
        yield problem(
            "proxy",
            "http_proxy is also used for the dev server on this machine, but cannot reach it",
            f"set no_proxy={host} (lower case)",
        )


def _check_uwsgi(environ: Mapping[str, str], directory: Path) -> Iterator[Finding]:
    for path in sorted(directory.glob("*.ini")):
        options = _read_uwsgi_options(path)
        if options is None:
            continue
        options |= {
            name[len("UWSGI_") :].lower().replace("_", "-"): value
            for name, value in environ.items()
            if name.startswith("UWSGI_")
        }
        if not (_is_on(options, "enable-threads") or _read_count(options, "threads") > 1):
            yield problem(
                "uWSGI", f"{path.name} disables threads, which LaunchDarkly's SDK needs", "add enable-threads = true"
            )
        has_workers = any(_read_count(options, name) > 1 for name in ("processes", "workers", "p"))
        if has_workers and not any(_is_on(options, name) for name in ("lazy-apps", "lazy", "py-call-uwsgi-fork-hooks")):
            yield problem(
                "uWSGI",
                f"{path.name} forks workers while threads of the application may run, and such a worker may hang",
                "add py-call-uwsgi-fork-hooks = true, or lazy-apps = true",
            )


def _read_uwsgi_options(path: Path) -> dict[str, str] | None:
    parser = configparser.ConfigParser(interpolation=None, strict=False, allow_no_value=True)
    try:
        parser.read(path, encoding="latin-1")  # decodes any bytes; a file that cannot be read is like an empty one
    except configparser.Error:
        return None
    if not parser.has_section("uwsgi"):
        return None
    return {name: (value or "true").strip() for name, value in parser.items("uwsgi")}


def _is_on(options: Mapping[str, str], name: str) -> bool:
    return options.get(name, "").lower() in ("true", "1", "yes", "on")


def _read_count(options: Mapping[str, str], name: str) -> int:
    value = options.get(name, "")
    return int(value) if value.isdecimal() else 0
