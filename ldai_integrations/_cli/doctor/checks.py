"""All checks of the doctor, in order."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from ldclient import Context

from .config import check_config, known_keys
from .connection import Target, check_event, check_hosts, check_key, check_runs, connect, find_target, find_warnings
from .findings import Finding, skipped
from .process import check_process, check_settings


def check_all(args: argparse.Namespace, ld_context: Context, *, for_anyone: bool) -> Iterator[Finding]:
    """Run all checks in order.

    Args:
        args: The arguments of the command.
        ld_context: The context for which an AI Config is evaluated.
        for_anyone: Whether the context is an anonymous user, because the command was given none.
    """
    yield from check_settings()
    yield from check_process(os.environ, Path.cwd())
    target, findings = find_target(os.environ)
    yield from findings
    if target is None:
        return
    yield from check_key(target)
    hosts = list(check_hosts(target))
    yield from hosts
    if target.url and any(finding.level == "problem" for finding in hosts):
        yield skipped("connection", "no dev server answers", "do what the line above says, and try again")
        return
    yield from _check_ai_config(target, args.config_key, ld_context, for_anyone=for_anyone)
    if target.file:
        yield skipped("event", "AI Configs come from a file: no events are sent", "set a key to report runs")
    elif args.send_event:
        yield check_event(target)
    else:
        yield skipped("event", "none was sent", "give --send-event to send one, which does not count in any metrics")


def _check_ai_config(
    target: Target, config_key: str | None, ld_context: Context, *, for_anyone: bool
) -> Iterator[Finding]:
    with connect(target) as (client, finding):
        yield finding
        if config_key is None:
            yield skipped("AI Config", "none was checked", "give the key of one: ldai doctor KEY --context-key USER")
        elif finding.level == "problem":
            yield skipped("AI Config", "LaunchDarkly is not connected", "do what the line above says, and try again")
        else:
            is_enabled = False
            for one in check_config(client, config_key, ld_context, for_anyone=for_anyone):
                is_enabled = is_enabled or (one.about, one.level) == ("enabled", "ok")
                yield one
            if is_enabled:
                yield from check_runs(target, config_key)
        yield from find_warnings(target, config_key, known_keys(client, ld_context))
