"""Check the SDK key, the hosts, the connection, and the delivery of one event."""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import urllib3
from ldclient import Config, Context, LDClient
from ldclient.config import HTTPConfig

from ..._diagnostics import Diagnostics
from ..._http import limit_heads, read_body, split_address, without_login
from ...delivery import (
    CONFIG_FILE,
    DEV_SERVER,
    SDK_KEY,
    file_source,
    has_answered,
    is_real_key,
    not_configured,
    problem_with_key,
    report_connection,
)
from .findings import Finding, ok, problem, skipped, warning

EVENT = "ldai-doctor"
_HTTP = HTTPConfig(connect_timeout=5, read_timeout=5)
_REACH_SECONDS = 5.0
_CONNECT_SECONDS, _POLL_SECONDS = 10.0, 0.01
_MOST_BYTES = 1_048_576  # of the warnings
# What stands before the key of an AI Config in a line.
_NAMES_ONE = re.compile("""(AI Config|run of) ['"]""")
_HOSTS = {"stream": "it sends AI Configs", "base": "it answers polls for AI Configs", "events": "it receives metrics"}


@dataclass(frozen=True)
class Target:
    """The source of AI Configs.

    Attributes:
        name: A description.
        key: The SDK key; must not be printed.
        url: The address of the dev server; empty for LaunchDarkly itself.
        file: A file of AI Configs; empty if they come from a server.
    """

    name: str
    key: str = ""
    url: str = ""
    file: str = ""

    def config(self, *, send_events: bool) -> Config:
        """Return the configuration for an LDClient."""
        options: dict[str, Any] = {"http": _HTTP, "diagnostic_opt_out": True, "send_events": send_events}
        if self.file:
            return Config("file", update_processor_class=file_source(Path(self.file)), **options)
        if self.url:
            options |= dict.fromkeys(("base_uri", "stream_uri", "events_uri"), self.url)
        return Config(self.key or "dev", omit_anonymous_contexts=True, **options)


def find_target(environ: Mapping[str, str]) -> tuple[Target | None, list[Finding]]:
    """Read the environment as ``Tracking.from_env()`` does, without creating a client."""
    key, url, file = (environ.get(name, "").strip() for name in (SDK_KEY, DEV_SERVER, CONFIG_FILE))
    found = []
    if url:
        shown = without_login(url)
        if split_address(url) is None:
            return None, [
                problem(
                    "LaunchDarkly", f"{DEV_SERVER} is {shown!r}", "use the address that `ldai dev` prints, http://…"
                )
            ]
        target = Target(f"the dev server at {shown}, set in {DEV_SERVER}", key, url=url.rstrip("/"))
    elif key:
        target = Target(f"LaunchDarkly, set in {SDK_KEY}", key)
    elif file:
        found = list(_check_file(Path(file)))
        if any(finding.level == "problem" for finding in found):
            return None, found
        target = Target(f"the file {file}, set in {CONFIG_FILE}", file=file)
    else:
        return None, [problem("LaunchDarkly", "is not configured", not_configured(environ))]
    return target, [ok("LaunchDarkly", f"AI Configs come from {target.name}"), *found]


def _check_file(path: Path) -> Iterator[Finding]:
    """Check a file with AI Configs as the dev server does."""
    try:
        from ...devserver import FlagFileError, read_flag_file
    except ImportError as missing:
        text = f"{path.name} was not checked: {missing.name} is not installed"
        yield skipped("file", text, "pip install 'ldai-integrations[dev]'")
        return
    if not path.exists():
        command = f"ldai init {shlex.quote(str(path))}"
        yield problem("file", f"{path} does not exist", f"create it with `{command}`, or correct {CONFIG_FILE}")
        return
    if not path.is_file():
        yield problem("file", f"{path} is not a regular file", f"correct {CONFIG_FILE}")
        return
    remedy = f"edit {path}; `ldai init example.json` writes an example of the format"
    try:
        for line in read_flag_file(path):
            yield warning("file", line, remedy)
    except FlagFileError as refusal:
        for one in refusal.problems:
            yield problem("file", str(one), remedy)


def check_key(target: Target) -> Iterator[Finding]:
    """Check the kind of the key, without printing it."""
    if not target.key:
        return
    if target.url and is_real_key(target.key):
        yield warning(
            "LaunchDarkly",
            f"{SDK_KEY} has the key of an environment, but {DEV_SERVER} is set, too: LaunchDarkly is not used",
            f"unset {DEV_SERVER} to use LaunchDarkly",
        )
    wrong = problem_with_key(target.key)
    if wrong is not None:
        report = problem if wrong.everywhere or not target.url else warning
        yield report("SDK key", f"{SDK_KEY} {wrong.text}", wrong.remedy)
    elif target.key.startswith("sdk-"):
        yield ok("SDK key", "has the form of an SDK key")
    else:
        yield warning(
            "SDK key", f"{SDK_KEY} does not begin with sdk-", "copy the SDK key of the environment from LaunchDarkly"
        )


def check_hosts(target: Target) -> Iterator[Finding]:
    """Send one request to each host; any answer is sufficient."""
    if target.file:
        return
    config = target.config(send_events=False)
    uris = {"stream": config.stream_base_uri, "base": config.base_uri, "events": config.events_uri}
    names: dict[str, str] = {}
    for name, uri in uris.items():
        parts = urlsplit(uri)
        names.setdefault(f"{parts.scheme}://{parts.netloc}", name)
    for origin, name in names.items():
        about, shown = "dev server" if target.url else f"{name} host", without_login(origin)
        cause = _find_cause(origin)
        if cause is not None:
            remedy = "start it: ldai dev --configs FILE"
            if not target.url:
                remedy = (
                    f"allow this machine to reach {urlsplit(origin).hostname} on port 443: check firewall, DNS, "
                    "https_proxy (lower case), and the certificates of a proxy that inspects TLS"
                )
            yield problem(about, f"{shown} cannot be reached ({cause}); {_HOSTS[name]}", remedy)
        elif target.url and _read_warnings(target.url) is None:
            text = f"{shown} can be reached, but it is not a dev server"
            yield problem(about, text, f"set {DEV_SERVER} to the address that `ldai dev` prints")
        else:
            yield ok(about, f"{shown} can be reached")


def find_warnings(target: Target, config_key: str | None, other_keys: Collection[str]) -> Iterator[Finding]:
    """Yield the warnings that applications have sent to the dev server, the newest first.

    Args:
        target: The source of AI Configs.
        config_key: The key of an AI Config, whose warnings are wanted; ``None`` for those of all.
        other_keys: The keys of the AI Configs in the environment. A line that has the ``repr`` of a key is about this
            AI Config. A line may also be about one that is not in the environment.
    """
    warnings = _read_warnings(target.url) if target.url else None
    for kind, line, when in warnings or ():  # check_hosts reports a server that does not answer
        names_one = _NAMES_ONE.search(line) or any(repr(key) in line for key in other_keys)
        if config_key is None or repr(config_key) in line or not names_one:
            text = f"{when:%Y-%m-%d %H:%M:%S}: {line}"
            yield warning("application", text, f"the page Troubleshooting explains {kind!r}")


def check_runs(target: Target, config_key: str) -> Iterator[Finding]:
    """Check whether the dev server has a run of an AI Config that is enabled."""
    query = urlencode({"config_key": config_key, "limit": 1})
    runs = _read(f"{target.url}/dev/runs?{query}", "runs") if target.url else None
    if runs:
        yield ok("runs", "have arrived: the page shows them")
    elif runs is not None:
        yield warning(
            "runs",
            f"no run of {config_key!r} has arrived at the dev server",
            "send a request to the application, and wait 5 seconds; if you have, its handler may lack track_ai: 'Runs "
            "are missing' on the page Troubleshooting lists the causes",
        )


def _read_warnings(url: str) -> list[tuple[str, str, datetime]] | None:
    """Return kind, text and local time of the dev server's warnings; ``None`` if another program serves the address."""
    try:
        found = _read(f"{url}/dev/warnings", "warnings")
        return found and [
            (str(one["kind"]), str(one["text"]), datetime.fromtimestamp(one["receivedMs"] / 1000)) for one in found
        ]
    except (ValueError, KeyError, TypeError, OverflowError):
        return None


def _read(url: str, name: str) -> list[Any] | None:
    """Return a list from an answer of the dev server; ``None`` if the answer is another."""
    try:
        with urllib3.PoolManager() as pool:
            limit_heads(pool)
            answer = pool.request("GET", url, timeout=_REACH_SECONDS, retries=False, preload_content=False)
            found = json.loads(read_body(answer, seconds=_REACH_SECONDS, most_bytes=_MOST_BYTES))[name]
    except (urllib3.exceptions.HTTPError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if isinstance(found, list) else None


@contextmanager
def connect(target: Target) -> Iterator[tuple[LDClient, Finding]]:
    """Connect a client that sends no events, and report whether AI Configs arrived."""
    with collect_warnings("ldclient"), collect_warnings("ldai_integrations") as warnings:
        client = LDClient(target.config(send_events=False), start_wait=0)
        try:
            deadline = time.monotonic() + _CONNECT_SECONDS
            while not has_answered(client) and time.monotonic() < deadline:  # a refused key is known after milliseconds
                time.sleep(_POLL_SECONDS)
            if report_connection(client, Diagnostics()):
                yield client, ok("connection", "AI Configs have arrived")
            else:
                yield client, problem("connection", "no AI Configs have arrived", warnings[-1])
        finally:
            client.close()


def check_event(target: Target) -> Finding:
    """Send one custom event of an anonymous context through the SDK, and check whether it was accepted.

    ``LDClient.close()`` sends the buffered events and waits. The SDK reports errors in its log only.
    """
    with collect_warnings("ldclient") as lines:
        client = LDClient(target.config(send_events=True), start_wait=0)
        before = len(lines)
        client.track(EVENT, Context.builder(EVENT).kind(EVENT).anonymous(True).build())
        client.close()
    errors = [line for line in lines[before:] if "event" in line.lower()]
    if not errors:
        return ok("event", f"one with the name {EVENT!r} was sent and accepted")
    return problem(
        "event",
        f"it was not accepted: {errors[-1]}",
        "check the SDK key, and that this machine can reach the events host; until then no metrics arrive",
    )


@contextmanager
def collect_warnings(name: str) -> Iterator[list[str]]:
    """Collect the warnings of a logger instead of printing them."""
    lines: list[str] = []
    logger, handler = logging.getLogger(name), logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate


def _find_cause(origin: str) -> str | None:
    """Return why a host cannot be reached through the proxies that LaunchDarkly's SDK uses; ``None`` if it can."""
    proxies = {name: url for name in ("http", "https") if (url := os.environ.get(f"{name}_proxy"))}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))
    try:
        opener.open(origin, timeout=_REACH_SECONDS).close()
    except urllib.error.HTTPError as answer:
        answer.close()
        return "the proxy requires authentication" if answer.code == 407 else None
    except urllib.error.URLError as failure:
        return str(failure.reason) or type(failure.reason).__name__
    except OSError as failure:
        return str(failure) or type(failure).__name__
    return None
