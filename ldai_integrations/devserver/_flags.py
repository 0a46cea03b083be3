"""Check flags before they are served, and keep those that are, with versions that only ever grow."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._ai_configs import check_ai_config
from ._problems import FlagFileError, Problem, Severity
from ._structure import check_flag, check_segment

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

Payload = dict[str, dict[str, dict[str, Any]]]
KINDS = ("flags", "segments")


def load_mapping(source: Mapping[str, Any]) -> tuple[Payload, list[Problem]]:
    """Take flags from a program.

    A test may want an AI Config that the AI SDK cannot read, so only a payload that would be rejected as a
    whole is refused.

    Args:
        source: As in a flag file.

    Returns:
        The payload to serve, and what else is wrong with it.

    Raises:
        FlagFileError: An SDK would reject these flags.
    """
    return checked_payload(json.loads(json.dumps(source)), refused=["structure"])


def checked_payload(source: Any, *, refused: Collection[Severity]) -> tuple[Payload, list[Problem]]:
    """Turn the content of a flag file into what SDKs are served.

    Args:
        source: The parsed JSON.
        refused: The severities not to accept.

    Returns:
        The payload, and the problems that were accepted.

    Raises:
        FlagFileError: There are problems of a refused severity.
    """
    payload = _expanded(source)
    structure = [
        *(problem for key, flag in payload["flags"].items() for problem in check_flag(key, flag)),
        *(problem for key, segment in payload["segments"].items() for problem in check_segment(key, segment)),
    ]
    if structure:  # what follows relies on the structure
        raise FlagFileError(structure)
    problems = [problem for key, flag in payload["flags"].items() for problem in check_ai_config(key, flag)]
    fatal = [problem for problem in problems if problem.severity in refused]
    if fatal:
        raise FlagFileError(fatal)
    return payload, problems


def _expanded(source: Any) -> Payload:
    """Return the payload with ``flagValues`` turned into flags and missing versions set to 1, as the SDK's own file
    reader does."""
    if not isinstance(source, dict) or not source.keys() & {"flags", "flagValues"}:
        raise FlagFileError([Problem("the file", "", 'must be an object with "flags" or "flagValues"', "structure")])
    for name in (*KINDS, "flagValues"):
        if not isinstance(source.get(name, {}), dict):
            raise FlagFileError([Problem("the file", name, "must be an object", "structure")])
    flags, values = source.get("flags", {}), source.get("flagValues", {})
    for key in flags.keys() & values.keys():
        raise FlagFileError([Problem(f"flag '{key}'", "", "is in both flags and flagValues: keep one", "structure")])
    flags = {**flags, **{key: _constant_flag(key, value) for key, value in values.items()}}
    return {
        name: {key: {"version": 1, **item} if isinstance(item, dict) else item for key, item in items.items()}
        for name, items in (("flags", flags), ("segments", source.get("segments", {})))
    }


def _constant_flag(key: str, value: object) -> dict[str, Any]:
    return {"key": key, "on": True, "fallthrough": {"variation": 0}, "variations": [value]}


@dataclass(frozen=True)
class Change:
    """Tell how one flag or segment differs from what was served before.

    Attributes:
        kind: ``flags`` or ``segments``.
        key: Key of the flag or segment.
        version: Its new version, also that of a deletion.
        item: The new JSON; ``None`` when it was deleted.
    """

    kind: str
    key: str
    version: int
    item: dict[str, Any] | None


class FlagStore:
    """Hold the flags being served. Every change of an item, deletion included, gets a higher version.

    To be used from one thread.
    """

    def __init__(self, payload: Payload) -> None:
        """Serve a payload under the versions it has.

        Args:
            payload: Checked flags and segments.
        """
        self._versions: dict[tuple[str, str], int] = {}
        self.payload: Payload = {kind: {} for kind in KINDS}
        self.replace(payload)

    def replace(self, payload: Payload) -> list[Change]:
        """Serve another payload.

        Returns:
            What changed, deletions last.
        """
        changes = [
            self._change(kind, key, item)
            for kind in KINDS
            for key, item in payload[kind].items()
            if _content(item) != _content(self.payload[kind].get(key))
        ]
        changes += [
            self._change(kind, key, None) for kind in KINDS for key in self.payload[kind].keys() - payload[kind].keys()
        ]
        changed = {(change.kind, change.key): change.item for change in changes}
        self.payload = {
            kind: {key: changed.get((kind, key)) or self.payload[kind][key] for key in payload[kind]} for kind in KINDS
        }
        self.body = json.dumps(self.payload, separators=(",", ":")).encode()
        self.etag = f'"{hashlib.sha256(self.body).hexdigest()[:32]}"'
        return changes

    def _change(self, kind: str, key: str, item: dict[str, Any] | None) -> Change:
        version = max(self._versions.get((kind, key), 0) + 1, item["version"] if item else 0)
        self._versions[kind, key] = version
        return Change(kind, key, version, {**item, "version": version} if item else None)


def _content(item: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return {name: value for name, value in item.items() if name != "version"} if item else None
