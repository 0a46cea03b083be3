"""Where LaunchDarkly's REST API is, and who asks: from arguments and the environment."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass

from ..metrics import HOSTS, MetricsClient

# The names that LaunchDarkly's Terraform provider and MCP server use for the first two.
TOKEN, HOST = "LAUNCHDARKLY_ACCESS_TOKEN", "LAUNCHDARKLY_API_HOST"
PROJECT, ENVIRONMENT = "LAUNCHDARKLY_PROJECT_KEY", "LAUNCHDARKLY_ENVIRONMENT_KEY"
DEV_SERVER = "LDAI_DEV_SERVER"


@dataclass(frozen=True)
class Source:
    """Hold a client and the environment to ask about."""

    client: MetricsClient
    env: str


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say where to ask."""
    parser.add_argument("--project", metavar="KEY", help=f"project; default: {PROJECT}")
    parser.add_argument("--env", metavar="KEY", help=f"environment; default: {ENVIRONMENT}")
    parser.add_argument(
        "--base-url", metavar="URL", help=f"{', '.join(HOSTS)}, or an address; default: {DEV_SERVER}, then {HOST}"
    )


def source(args: argparse.Namespace) -> Source:
    """Make the client. The dev server, which any token and any project suit, wins where it is set.

    Raises:
        ValueError: If something is missing or cannot work.
    """
    environ = {name: os.environ.get(name, "").strip() for name in (TOKEN, HOST, PROJECT, ENVIRONMENT, DEV_SERVER)}
    local = environ[DEV_SERVER] if not args.base_url else ""
    given = {
        TOKEN: "dev" if local else environ[TOKEN],
        f"--project or {PROJECT}": args.project or environ[PROJECT] or ("default" if local else ""),
        f"--env or {ENVIRONMENT}": args.env or environ[ENVIRONMENT] or ("dev" if local else ""),
    }
    if missing := [name for name, value in given.items() if not value]:
        raise ValueError(
            f"set {', and '.join(missing)}; or set {DEV_SERVER} to the address that `ldai dev` prints. "
            f"{TOKEN} takes an API access token whose role may read AI Configs, not an SDK key"
        )
    token, project, env = given.values()
    base_url = args.base_url or local or environ[HOST] or "launchdarkly"
    return Source(MetricsClient(token, project, base_url=base_url), env)
