"""Key, hosts and connection."""

from __future__ import annotations

import json
import logging
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ldclient import Config, LDClient
from ldclient.config import HTTPConfig
from ldclient.integrations import Files

from ..._diagnostics import Diagnostics
from ...delivery import CONFIG_FILE, DEV_SERVER, NOT_CONFIGURED, SDK_KEY, problem_with_key, report_connection
from .findings import Finding, ok, problem, warning

_HTTP = HTTPConfig(connect_timeout=5, read_timeout=5)
_REACH_SECONDS = 5.0

_HOSTS = {
    "stream": "AI Configs arrive from it",
    "base": "AI Configs are polled from it",
    "events": "metrics go to it",
}


@dataclass(frozen=True)
class Target:
    """Hold where AI Configs come from.

    Attributes:
        name: In words.
        key: The SDK key; not to be shown.
        url: Of the dev server; empty for LaunchDarkly itself.
        file: A file of AI Configs; empty if they come from a server.
    """

    name: str
    key: str = ""
    url: str = ""
    file: str = ""

    @property
    def sends_events(self) -> bool:
        """Whether anything is reported."""
        return not self.file

    def config(self, *, send_events: bool) -> Config:
        """Return what an LDClient of this target is made with."""
        options: dict[str, Any] = {"http": _HTTP, "diagnostic_opt_out": True, "send_events": send_events}
        if self.file:
            return Config("file", update_processor_class=Files.new_data_source(paths=[self.file]), **options)
        if self.url:
            options |= dict.fromkeys(("base_uri", "stream_uri", "events_uri"), self.url)
        return Config(self.key or "dev", omit_anonymous_contexts=True, **options)


def find_target(environ: Mapping[str, str]) -> tuple[Target | None, Finding]:
    """Read the environment as an application's ``Tracking.from_env()`` does, without making its client."""
    key, url, file = (environ.get(name, "").strip() for name in (SDK_KEY, DEV_SERVER, CONFIG_FILE))
    if url:
        found, wrong = Target(f"the dev server at {url}, by {DEV_SERVER}", key, url=url.rstrip("/")), _wrong_url(url)
    elif key:
        found, wrong = Target(f"LaunchDarkly, by {SDK_KEY}", key), None
    elif file:
        found, wrong = Target(f"the file {file}, by {CONFIG_FILE}", file=file), _wrong_file(file)
    else:
        return None, problem("LaunchDarkly", "nothing says where it is", NOT_CONFIGURED)
    if wrong is not None:
        return None, wrong
    return found, ok("LaunchDarkly", f"AI Configs come from {found.name}")


def check_key(target: Target) -> Iterator[Finding]:
    """Tell an SDK key from the other things LaunchDarkly gives out, without showing it."""
    if not target.key:
        return
    wrong = problem_with_key(target.key)
    if wrong is not None:
        say = problem if wrong.everywhere or not target.url else warning
        yield say("SDK key", f"{SDK_KEY} {wrong.text}", wrong.remedy)
        return
    if target.key.startswith("sdk-"):
        yield ok("SDK key", "has the form of an SDK key")
    else:
        yield warning(
            "SDK key", f"{SDK_KEY} does not begin with sdk-", "copy the SDK key of the environment from LaunchDarkly"
        )


def check_hosts(target: Target) -> Iterator[Finding]:
    """Ask each host for anything at all; any answer will do."""
    if target.file:
        return
    config = target.config(send_events=False)
    uris = {"stream": config.stream_base_uri, "base": config.base_uri, "events": config.events_uri}
    asked: set[str] = set()
    for name, uri in uris.items():
        parts = urlsplit(uri)
        origin = f"{parts.scheme}://{parts.netloc}"
        if origin in asked:
            continue
        asked.add(origin)
        cause = _unreachable(origin)
        about = "dev server" if target.url else f"{name} host"
        if cause is None:
            yield ok(about, f"{origin} can be reached")
        else:
            remedy = "start it: ldai dev --configs FILE" if target.url else _remedy(parts.hostname or "")
            yield problem(about, f"{origin} cannot be reached ({cause}); {_HOSTS[name]}", remedy)


@contextmanager
def connected(target: Target, *, timeout: float) -> Iterator[tuple[LDClient, Finding]]:
    """Connect a real client that sends nothing, and say whether AI Configs arrived."""
    with heard_from("ldclient"), heard_from("ldai_integrations") as said:
        client = LDClient(target.config(send_events=False), start_wait=0)
        try:
            if report_connection(client, Diagnostics(), timeout=timeout):
                yield client, ok("connection", "AI Configs have arrived")
            else:
                yield client, problem("connection", "no AI Configs have arrived", said[-1])
        finally:
            client.close()


def _wrong_url(url: str) -> Finding | None:
    parts = urlsplit(url)
    if parts.scheme in ("http", "https") and parts.hostname:
        return None
    return problem("LaunchDarkly", f"{DEV_SERVER} is {url!r}", "use the address that `ldai dev` prints")


def _wrong_file(file: str) -> Finding | None:
    try:
        json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as failure:
        return problem("LaunchDarkly", f"{CONFIG_FILE} cannot be read: {failure}", "name a JSON file with AI Configs")
    return None


@contextmanager
def heard_from(name: str) -> Iterator[list[str]]:
    """Collect the warnings of a logger in place of printing them."""
    lines: list[str] = []
    logger, handler = logging.getLogger(name), logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]  # of this one only
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate


def _unreachable(origin: str) -> str | None:
    """Return why a host cannot be reached; through the proxies that LaunchDarkly's SDK would use."""
    proxies = {name: url for name in ("http", "https") if (url := os.environ.get(f"{name}_proxy"))}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))
    try:
        opener.open(origin, timeout=_REACH_SECONDS).close()
    except urllib.error.HTTPError as answer:
        answer.close()
        return "a proxy wants to know who is asking" if answer.code == 407 else None
    except urllib.error.URLError as failure:
        return str(failure.reason) or type(failure.reason).__name__
    except OSError as failure:
        return str(failure) or type(failure).__name__
    return None


def _remedy(host: str) -> str:
    return (
        f"let this machine reach {host} on port 443: firewall, DNS, https_proxy (lower case), and the certificates "
        "of a proxy that looks into TLS"
    )
