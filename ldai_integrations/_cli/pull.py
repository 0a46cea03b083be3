"""``ldai pull``: download AI Configs from LaunchDarkly into a flag file, or as Python code for ``default=``."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from .._diagnostics import escape
from .._files import parse_json, read_flag_bytes, write_whole_file
from .._http import LOOPBACK
from .._prices import CUSTOM_PARAMETERS
from ..exceptions import LDAIIntegrationError, MetricsError
from ..metrics._http import Connection
from .default_code import Json, write_default
from .init import DEFAULT_FILE, SCHEMA, dev_command, write_schema
from .rest import HOST, Access, add_arguments, find_access
from .terminal import fail, file_argument, tell, text_argument

_TIMEOUT_SECONDS = 30.0


def add_to(commands: Any) -> None:
    """Add the command to ``ldai``."""
    parser = commands.add_parser(
        "pull",
        help="download AI Configs from LaunchDarkly",
        description="Download the current variations and the targeting of AI Configs from LaunchDarkly into a file for"
        " `ldai dev` and LDAI_CONFIG_FILE. Other entries of the file are kept. It needs an API access token, and cannot"
        " read from `ldai dev`.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("config_keys", type=text_argument, metavar="KEY", nargs="+", help="key of an AI Config")
    parser.add_argument(
        "--output", type=file_argument, default=DEFAULT_FILE, metavar="FILE", help=f"the file; default: {DEFAULT_FILE}"
    )
    parser.add_argument(
        "--python",
        action="store_true",
        help="print Python code for track_ai(default=…) instead: the variation that most contexts get",
    )
    add_arguments(parser, dev_server=False)


def run(args: argparse.Namespace) -> int:
    """Download the AI Configs, and write the file or print the code."""
    try:
        project = _Project(find_access(args, dev_server=False))
        with project.reading():
            flags = {key: project.read_flag(key) for key in args.config_keys}
            code = write_default(flags) if args.python else None
            remarks = list(_find_remarks(flags))
        if code is not None:
            print(code)
        else:
            _write(args.output, flags)
            print(escape(f"ldai: wrote {', '.join(flags)} to {args.output}. Serve it: {dev_command(args.output)}"))
    except (LDAIIntegrationError, ValueError) as problem:
        return fail(str(problem))
    except OSError as problem:
        return fail(f"{problem.filename} cannot be written: {problem.strerror}")
    for remark in remarks:
        tell(remark)
    return 0


def _write(path: Path, flags: Mapping[str, Json]) -> None:
    """Add flags to a file, or replace those that it has."""
    try:
        content: Any = parse_json(read_flag_bytes(path)) if path.exists() else {"$schema": SCHEMA}
        content["flags"] = {**content.get("flags", {}), **flags}
    except (ValueError, TypeError, AttributeError):
        raise ValueError(f"{path} is not a file with AI Configs; give another name with --output") from None
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_whole_file(path, text.encode(errors="backslashreplace"))  # JSON has the same escapes for a lone surrogate
    write_schema(path)


def _find_remarks(flags: Mapping[str, Json]) -> Iterator[str]:
    """Yield what the flags need and the file does not have."""
    text = json.dumps(list(flags.values()))
    if '"segmentMatch"' in text:
        yield 'rules use segments, which are not downloaded: add them to "segments", or nobody is in them'
    judges = {
        judge["key"]
        for flag in flags.values()
        for value in flag["variations"]
        for judge in value.get("judgeConfiguration", {}).get("judges", ())
    }
    if missing := sorted(judges - flags.keys()):
        yield f"judges are attached; download them, too: ldai pull {shlex.join(missing)}"


class _Project:
    """The AI Configs of a project in LaunchDarkly's REST API, for one environment."""

    def __init__(self, access: Access) -> None:
        self._env = access.env
        self._path = f"/api/v2/projects/{quote(access.project, safe='')}"
        self._connection = Connection(
            access.base_url, access.token, timeout=_TIMEOUT_SECONDS, max_wait=2 * _TIMEOUT_SECONDS
        )

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Report an answer whose form is not that of an AI Config.

        Raises:
            MetricsError: The block cannot read the answer.
        """
        try:
            yield
        except (AttributeError, LookupError, TypeError, ValueError) as problem:
            raise MetricsError(
                f"{self._connection.base_url} sent an AI Config that cannot be read"
                f" ({type(problem).__name__}: {problem}); look for a newer ldai-integrations",
                status=200,
            ) from problem

    def read_flag(self, config_key: str) -> Json:
        """Return an AI Config as SDKs receive it.

        Raises:
            MetricsError: LaunchDarkly cannot be reached or refuses, or has no such environment.
            Exception: Its answer has another form; see :meth:`reading`.
        """
        path = f"ai-configs/{quote(config_key, safe='')}"
        config, targeting = self._get(path), self._get(f"{path}/targeting")
        found = targeting.get("environments")
        environments: Json = found if isinstance(found, dict) else {}
        here = environments.get(self._env)
        if not isinstance(here, dict):
            known = ", ".join(sorted(environments))
            if not known:
                raise MetricsError(
                    "the project has no environments; check its key, and the role of the token", status=200
                )
            raise MetricsError(f"the project has no environment {self._env!r}; use one of: {known}", status=200)
        return {
            "$comment": "Downloaded with `ldai pull`. A rollout may split other contexts than in LaunchDarkly.",
            "key": config_key,
            "on": bool(here.get("enabled")),
            "salt": config_key,
            **({"offVariation": here["offVariation"]} if here.get("offVariation") is not None else {}),
            "fallthrough": _without_underscores(here.get("fallthrough") or {}),
            "targets": _without_underscores(here.get("targets") or []),
            "contextTargets": _without_underscores(here.get("contextTargets") or []),
            "rules": _without_underscores(here.get("rules") or []),
            "variations": [self._read_variation(config, one) for one in targeting.get("variations", ())],
        }

    def _get(self, path: str) -> Json:
        try:
            answer = self._connection.get(f"{self._path}/{path}", {})
        except MetricsError as refusal:
            if refusal.status == 404 and self._is_dev_server():
                raise MetricsError(
                    f"{self._connection.base_url} is `ldai dev`, which has no REST path for this: `ldai pull` reads"
                    f" from LaunchDarkly; leave out --base-url and {HOST}",
                    status=404,
                ) from refusal
            raise
        if not isinstance(answer, dict):
            raise MetricsError(f"{self._connection.base_url} did not send an object for {path}", status=200)
        return answer

    def _is_dev_server(self) -> bool:
        """Return whether the dev server answers at the address, which is only possible on this machine."""
        if urlsplit(self._connection.base_url).hostname not in LOOPBACK:
            return False
        try:
            found = self._connection.get("/dev/warnings", {})
        except MetricsError:
            return False
        return isinstance(found, dict) and "warnings" in found

    def _read_variation(self, config: Json, target: Json) -> Json:
        """Return the value that SDKs receive for a variation of the targeting.

        The targeting numbers the variations. LaunchDarkly adds one that is disabled, which is no variation of the
        AI Config itself.
        """
        value = target.get("value")
        known = [one for one in config.get("variations", ()) if one.get("state") != "archived"]
        key = value.get("_ldMeta", {}).get("variationKey") if isinstance(value, dict) else None
        found = [one for one in known if one["key"] == key or one.get("_id") == target.get("_id")]
        found = found or [one for one in known if one.get("name") == target.get("name")]
        mode = config.get("mode") or "completion"
        if not found:
            meta = {"enabled": False, "variationKey": str(key or "disabled"), "version": 1, "mode": mode}
            return {"_ldMeta": meta}
        return self._convert(config, max(found, key=lambda one: int(one.get("version", 1))), mode)

    def _convert(self, config: Json, variation: Json, mode: str) -> Json:
        """Turn LaunchDarkly's REST representation of a variation into that of SDKs."""
        meta = {"enabled": True, "variationKey": variation["key"], "version": variation.get("version", 1), "mode": mode}
        found: Json = {"_ldMeta": meta, **self._read_model(variation)}
        for name in ("messages", "instructions"):
            if variation.get(name):
                found[name] = _without_underscores(variation[name])
        if tools := variation.get("tools"):
            found["tools"] = {tool["key"]: self._read_tool(tool) for tool in tools}
        if judges := (variation.get("judgeConfiguration") or {}).get("judges"):
            attached = [{"key": one["judgeConfigKey"], "samplingRate": one["samplingRate"]} for one in judges]
            found["judgeConfiguration"] = {"judges": attached}
        if config.get("evaluationMetricKey"):
            found["evaluationMetricKey"] = config["evaluationMetricKey"]
        return found

    def _read_model(self, variation: Json) -> Json:
        """Return the model with its parameters and prices, and the provider."""
        model: Json = variation.get("model") or {}
        key = variation.get("modelConfigKey")
        known = self._get(f"ai-configs/model-configs/{quote(key, safe='')}") if key else {}
        prices = {name: known[name] for name in CUSTOM_PARAMETERS.values() if known.get(name) is not None}
        custom = {**(model.get("custom") or {}), **prices}
        name = model.get("modelName") or model.get("name") or known.get("id")
        if not name:
            return {}
        return {
            "model": {
                "name": name,
                **({"parameters": model["parameters"]} if model.get("parameters") else {}),
                **({"custom": custom} if custom else {}),
            },
            **({"provider": {"name": known["provider"]}} if known.get("provider") else {}),
        }

    def _read_tool(self, attached: Json) -> Json:
        known = self._get(f"ai-tools/{quote(attached['key'], safe='')}")
        found = {
            "name": attached["key"],
            "type": "function",
            "description": known.get("description"),
            "parameters": known.get("schema"),
            "customParameters": attached.get("customParameters") or known.get("customParameters"),
        }
        return {name: value for name, value in found.items() if value is not None}


def _without_underscores(node: Any) -> Any:
    """Return JSON of the REST API without its links, with the names of the SDKs: ``_untracked`` is ``untracked``."""
    if isinstance(node, list):
        return [_without_underscores(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {name.removeprefix("_"): _without_underscores(value) for name, value in node.items() if name != "_links"}
