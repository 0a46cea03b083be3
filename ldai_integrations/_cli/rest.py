"""What the commands that ask LaunchDarkly's REST API need: a token, a project, an environment and an address."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from typing import Any

from .._http import split_address, without_login
from ..metrics import HOSTS
from .terminal import is_utf_8

# LaunchDarkly's Terraform provider and its MCP server use the first two names.
TOKEN, HOST = "LAUNCHDARKLY_ACCESS_TOKEN", "LAUNCHDARKLY_API_HOST"
PROJECT, ENVIRONMENT = "LAUNCHDARKLY_PROJECT_KEY", "LAUNCHDARKLY_ENVIRONMENT_KEY"
DEV_SERVER = "LDAI_DEV_SERVER"
_EXAMPLE = "http://127.0.0.1:8765"


@dataclass(frozen=True)
class Access:
    """The access to a project.

    Attributes:
        token: An API access token.
        project: The key of the project.
        env: The key of the environment.
        base_url: The name of an instance of LaunchDarkly, or an address.
        is_dev_server: Whether the dev server answers.
    """

    token: str
    project: str
    env: str
    base_url: str
    is_dev_server: bool = False


def add_arguments(parser: Any, *, dev_server: bool) -> None:
    """Add the arguments to the parser of a command."""
    parser.add_argument("--project", metavar="KEY", help=f"project; default: {PROJECT}")
    parser.add_argument("--env", metavar="KEY", help=f"environment; default: {ENVIRONMENT}")
    default = f"{DEV_SERVER}, then {HOST}" if dev_server else HOST
    parser.add_argument("--base-url", metavar="URL", help=f"{', '.join(HOSTS)}, or an address; default: {default}")


def find_access(args: argparse.Namespace, *, dev_server: bool) -> Access:
    """Read the arguments and the environment. The dev server accepts any token, project and environment.

    Args:
        args: The arguments of the command.
        dev_server: Whether the dev server can answer instead of LaunchDarkly.

    Raises:
        ValueError: A value is missing, or is not an address.
    """
    environ = {name: os.environ.get(name, "").strip() for name in (TOKEN, HOST, PROJECT, ENVIRONMENT, DEV_SERVER)}
    local = environ[DEV_SERVER] if dev_server and not args.base_url else ""
    if local:
        _check_dev_server(local)
    given = {
        TOKEN: "dev" if local else environ[TOKEN],
        f"--project or {PROJECT}": args.project or environ[PROJECT] or ("default" if local else ""),
        f"--env or {ENVIRONMENT}": args.env or environ[ENVIRONMENT] or ("dev" if local else ""),
    }
    if missing := [name for name, value in given.items() if not value]:
        alternative = f"; or set {DEV_SERVER} to the address that `ldai dev` prints" if dev_server else ""
        raise ValueError(
            f"set {', and '.join(missing)}{alternative}. "
            f"{TOKEN} is an API access token whose role may read AI Configs, not an SDK key"
        )
    if wrong := [name for name, value in given.items() if not is_utf_8(value)]:
        raise ValueError(f"{wrong[0]} is not text in UTF-8; copy it again")
    token, project, env = given.values()
    return Access(token, project, env, args.base_url or local or environ[HOST] or "launchdarkly", bool(local))


def _check_dev_server(url: str) -> None:
    parts, shown = split_address(url), without_login(url)
    if parts is None:
        raise ValueError(f"{DEV_SERVER} is {shown!r}; use the address that `ldai dev` prints, such as {_EXAMPLE}")
    if "@" in parts.netloc:
        raise ValueError(f"{DEV_SERVER} has a user name or a password; use the address without them: {shown}")
