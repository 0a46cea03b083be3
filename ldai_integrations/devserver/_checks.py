"""Check flags before they are served: their structure, and AI Configs that LaunchDarkly's AI SDK cannot read."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from .._ai_configs import MODES, agents_of, mode_of
from .._prices import prices_per_million
from ._flag_models import File, Flag, Part, Serve, Variation, describe_field
from ._json import Json

Severity = Literal["structure", "unreadable", "suspect"]
Payload = dict[str, dict[str, Json]]
KINDS = ("flags", "segments")
# A flag with one of these fields in a variation is an AI Config, or was meant to be one.
_AI_CONFIG_FIELDS = ("_ldMeta", "messages", "instructions")
# What each of pydantic's error types expects.
_EXPECTED = {
    "string_type": "a string",
    "string_too_short": "a string that is not empty",
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
    "literal_error": "one of {expected}",
    "greater_than_equal": "at least {ge:g}",
    "less_than_equal": "at most {le:g}",
}
# The values of these fields of a variation can be shown, and the roles of messages. Others may contain prompts, which
# must not get into a log.
_SHOWN = ("_ldMeta", "model", "judgeConfiguration")
_ROLE = ".role"
# The AI SDK raises an exception on a wrong value in one of these fields, or ignores the value.
_READ = ("_ldMeta.version", "model", "messages")
# It does not read these.
_NOT_READ = "model.custom."
# The weights of a rollout are thousandths of a percent.
_WHOLE = 100_000
# An unknown field is probably misspelled if it is at least so similar to a known one,
_SIMILAR = 0.8
# or if it has at least so many characters and a known one begins with it.
_SHORTEST = 5
# An AI Config that is off, or an agent graph, does not need these.
_OF_ENABLED = ("_ldMeta.mode", "_ldMeta.variationKey")


@dataclass(frozen=True)
class Problem:
    """One error in a flag file.

    Attributes:
        item: The flag or segment, such as ``flag 'support-bot'``.
        field: The field, such as ``variations[1].model.name``; empty for the item as a whole.
        text: What is wrong, and what to do.
        severity: ``structure`` if an SDK would reject all flags because of it, ``unreadable`` if LaunchDarkly's AI
            SDK raises an exception or ignores the value, ``suspect`` if it works but is probably a mistake.
    """

    item: str
    field: str
    text: str
    severity: Severity

    def __str__(self) -> str:
        """Return the problem as one line."""
        return f"{self.item}: {self.field} {self.text}" if self.field else f"{self.item}: {self.text}"


class FlagFileError(ValueError):
    """Flags that cannot be served; the message has one line per problem.

    Attributes:
        problems: At least one.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems: tuple[Problem, ...] = tuple(problems)


def check_mapping(source: Mapping[str, Any]) -> tuple[Payload, list[Problem]]:
    """Return the payload of flags that a program passes.

    A test may need an AI Config that the AI SDK cannot read. Therefore only problems of the structure are refused.

    Args:
        source: The content of a flag file.

    Returns:
        The payload to serve, and its other problems.

    Raises:
        FlagFileError: An SDK would reject these flags.
    """
    return check_source(json.loads(json.dumps(source)), refused=["structure"])


def check_source(source: object, *, refused: Collection[Severity]) -> tuple[Payload, list[Problem]]:
    """Return the payload for the content of a flag file.

    Args:
        source: The parsed JSON.
        refused: The severities that are refused.

    Returns:
        The payload, and the problems that were not refused.

    Raises:
        FlagFileError: There are problems of a refused severity.
    """
    file = _read_file(source)
    flags = file.flags or {}
    structure = [problem for key, flag in flags.items() for problem in _check_flag(key, flag)]
    for key, segment in (file.segments or {}).items():
        structure += _check_key(f"segment '{key}'", key, segment.key)
    if structure:  # the checks of AI Configs need a correct structure
        raise FlagFileError(structure)
    payload = _build_payload(source)
    found = payload["flags"]
    problems = [problem for key, flag in found.items() for problem in check_ai_config(key, flag)]
    problems += [problem for key, flag in found.items() for problem in _check_keys(key, flag, found)]
    if fatal := [problem for problem in problems if problem.severity in refused]:
        raise FlagFileError(fatal)
    return payload, problems


def _read_file(source: object) -> File:
    """Validate the structure of a flag file."""
    if not isinstance(source, dict) or not source.keys() & {"flags", "flagValues"}:
        text = 'must be an object with "flags" or "flagValues"; `ldai init` writes an example'
        raise FlagFileError([Problem("the file", "", text, "structure")])
    try:
        file = File.model_validate(source)
    except ValidationError as error:
        raise FlagFileError(list(_describe_file(error))) from None
    if twice := (file.flags or {}).keys() & (file.flag_values or {}).keys():
        text = "is in both flags and flagValues; keep one"
        raise FlagFileError([Problem(f"flag '{key}'", "", text, "structure") for key in sorted(twice)])
    return file


def _build_payload(source: Any) -> Payload:
    """Turn ``flagValues`` into flags and set missing versions to 1, as the SDK's own file reader does."""
    constant = {
        key: {"key": key, "on": True, "fallthrough": {"variation": 0}, "variations": [value]}
        for key, value in (source.get("flagValues") or {}).items()
    }
    kinds = (("flags", {**(source.get("flags") or {}), **constant}), ("segments", source.get("segments") or {}))
    return {name: {key: {"version": 1, **item} for key, item in items.items()} for name, items in kinds}


def _check_flag(key: str, flag: Flag) -> Iterator[Problem]:
    """Yield the errors with which an SDK serves nothing from a flag."""
    name, count = f"flag '{key}'", len(flag.variations)
    yield from _check_key(name, key, flag.key)
    for path, index in _variation_indexes(flag):
        if index is None:
            text = "has neither a variation nor a rollout; add the number of a variation, the first is 0"
            yield Problem(name, path, text, "structure")
        elif not 0 <= index < count:
            there_are = "there is 1 variation" if count == 1 else f"there are {count} variations"
            text = f"is {index}, but {there_are}; the first is 0"
            yield Problem(name, path, text, "structure")


def _check_key(name: str, expected: str, found: str) -> Iterator[Problem]:
    if found != expected:
        yield Problem(name, "key", f"is '{found}', but its entry is '{expected}'; make the two equal", "structure")


def _describe_file(error: ValidationError) -> Iterator[Problem]:
    """Yield the problem of each of pydantic's errors about a file, with the name of the flag or segment."""
    for detail in error.errors(include_url=False):
        kind, *rest = detail["loc"]
        if rest and kind in KINDS:
            name, path = f"{str(kind).removesuffix('s')} '{rest[0]}'", rest[1:]
        else:
            name, path = "the file", [kind, *rest]
        yield Problem(name, _name_field(path), _describe(detail, "File", is_shown=True), "structure")


def _name_field(path: Sequence[int | str]) -> str:
    """Return the name of a field as people write it, such as ``variations[1].model.name``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _describe(detail: Any, model: str, *, is_shown: bool) -> str:
    """Return what is wrong with a value, what it is, and what to do."""
    if detail["type"] == "missing":
        return f"is missing; add it: {describe_field(model, detail['loc'])}"
    value = detail["input"]
    expected = _EXPECTED.get(detail["type"], detail["msg"]).format(**detail.get("ctx", {}))
    match value:
        case None:
            found = "null"
        case dict():
            found = "an object"
        case list():
            found = "an array"
        case _ if is_shown:
            found = json.dumps(value)[:40]
        case str():
            found = "a string"
        case _:
            found = "another value"
    return f"must be {expected}, not {found}"


def _variation_indexes(flag: Flag) -> Iterator[tuple[str, int | None]]:
    """Yield each field that names a variation by its index; the index is ``None`` if nothing would be served."""
    if flag.off_variation is not None:
        yield "offVariation", flag.off_variation
    for path, serve in _serves(flag):
        if serve.variation is not None:
            yield f"{path}.variation", serve.variation
        elif serve.rollout is not None:
            for number, weighted in enumerate(serve.rollout.variations):
                yield f"{path}.rollout.variations[{number}].variation", weighted.variation
        else:
            yield path, None
    for name, targets in (("targets", flag.targets), ("contextTargets", flag.context_targets)):
        for number, target in enumerate(targets or ()):
            yield f"{name}[{number}].variation", target.variation


def _serves(flag: Flag) -> Iterator[tuple[str, Serve]]:
    """Yield the fields that say what to serve."""
    yield "fallthrough", flag.fallthrough
    for number, rule in enumerate(flag.rules or ()):
        yield f"rules[{number}]", rule


@dataclass(frozen=True)
class AIConfig:
    """A summary of one AI Config.

    Attributes:
        key: Its key.
        mode: ``completion``, ``agent``, ``judge``, or ``graph`` for an agent graph.
        variations: The variation keys, in order.
    """

    key: str
    mode: str
    variations: tuple[str, ...]


def list_ai_configs(flags: Json) -> list[AIConfig]:
    """Return the AI Configs among the flags, in the order of the file."""
    found = []
    for key, flag in flags.items():
        values = [value for value in flag["variations"] if isinstance(value, dict)]
        metas = [value["_ldMeta"] for value in values if isinstance(value.get("_ldMeta"), dict)]
        if not metas:
            continue
        modes = [mode for mode in map(mode_of, values) if mode in MODES]
        mode = "graph" if any("root" in value for value in values) else next(iter(modes), "completion")
        found.append(AIConfig(key, mode, tuple(str(meta.get("variationKey", "")) for meta in metas)))
    return found


def check_ai_config(key: str, flag: Json) -> list[Problem]:
    """Return the problems of a flag as an AI Config; an empty list for any other flag."""
    variations = flag["variations"]
    if not any(isinstance(value, dict) and any(name in value for name in _AI_CONFIG_FIELDS) for value in variations):
        return []
    parsed = Flag.model_validate(flag)
    found = [*_find_misspelled(flag, parsed), *_check_rollouts(parsed), *_check_names(variations)]
    for index, value in enumerate(variations):
        found += [(f"variations[{index}]{path}", text, severity) for path, text, severity in _check_variation(value)]
    return [Problem(f"flag '{key}'", path, text, severity) for path, text, severity in found]


_Found = Iterator[tuple[str, str, Severity]]


def _find_misspelled(source: Json, part: Part, path: str = "") -> _Found:
    """Yield the unknown fields of an object, and of the objects in it, whose names are similar to an absent field's."""
    known = {field.alias or name: name for name, field in type(part).model_fields.items()}
    absent = sorted(known.keys() - source.keys())
    for name in sorted(source.keys() - known.keys()):
        longer = [other for other in absent if len(name) >= _SHORTEST and other.startswith(name)]
        for similar in difflib.get_close_matches(name, absent, 1, _SIMILAR) or longer[:1]:
            yield f"{path}{name}", f"is not known and ignored; did you mean '{similar}'?", "suspect"
    for alias, name in known.items():
        inner = getattr(part, name)
        if isinstance(inner, Part):
            yield from _find_misspelled(source[alias], inner, f"{path}{alias}.")
        elif isinstance(inner, list):
            for index, item in enumerate(inner):
                if isinstance(item, Part):
                    yield from _find_misspelled(source[alias][index], item, f"{path}{alias}[{index}].")


def _check_rollouts(flag: Flag) -> _Found:
    """Yield the rollouts whose weights are not the whole."""
    for path, serve in _serves(flag):
        if serve.rollout is not None:
            total = sum(weighted.weight for weighted in serve.rollout.variations)
            if total != _WHOLE:
                text = f"has weights with the sum {total}; make it {_WHOLE}, so that each variation gets its share"
                yield f"{path}.rollout", text, "suspect"


def _check_names(variations: Sequence[object]) -> _Found:
    """Yield the variations that are on and have the key of another one."""
    found: dict[object, int] = {}
    for index, value in enumerate(variations):
        match value:
            case {"_ldMeta": {"enabled": True, "variationKey": str(name)}} if name in found:
                text = f"is '{name}', as in variations[{found[name]}]; give each a key, or their figures are added up"
                yield f"variations[{index}]._ldMeta.variationKey", text, "suspect"
            case {"_ldMeta": {"enabled": True, "variationKey": str(name)}}:
                found[name] = index


def _check_keys(key: str, flag: Json, keys: Collection[str]) -> Iterator[Problem]:
    """Yield the judges of an AI Config, and the agents of a graph, that are not among the keys of the file."""
    for index, value in enumerate(flag["variations"]):
        named: list[tuple[str, object]] = []
        match value:
            case {"_ldMeta": _, "judgeConfiguration": {"judges": list(judges)}}:
                found = [judge.get("key") if isinstance(judge, dict) else None for judge in judges]
                named = [(f"judgeConfiguration.judges[{number}].key", name) for number, name in enumerate(found)]
            case {"_ldMeta": _, "root": _}:
                named = [*agents_of(value)]
        for path, name in named:
            if isinstance(name, str) and name not in keys:
                text = f"is '{name}', but there is no such AI Config; add it, or correct the key"
                yield Problem(f"flag '{key}'", f"variations[{index}].{path}", text, "suspect")


def _check_variation(value: object) -> _Found:
    """Yield field, text and severity of each problem of a variation."""
    fields = value if isinstance(value, dict) else {}
    meta = fields.get("_ldMeta")
    meta = meta if isinstance(meta, dict) else {}
    is_served = meta.get("enabled") is True and "root" not in fields
    try:
        parsed = Variation.model_validate(value)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            path = _name_field(detail["loc"])
            if is_served or not path.startswith(_OF_ENABLED):
                text = _describe(detail, "Variation", is_shown=path.startswith(_SHOWN) or path.endswith(_ROLE))
                severity = _find_severity(path, detail["type"])
                yield f".{path}" if path else "", text, severity
    else:
        yield from _find_misspelled(fields, parsed, ".")
        for name, price in prices_per_million((fields.get("model") or {}).get("custom")):
            text = f"is {price:g} USD per token; if this is the price of a million tokens, write {price / 1e6:g}"
            yield f".model.custom.{name}", text, "suspect"
    if is_served:
        mode = mode_of(fields)
        if mode == "agent" and meta.get("mode") is None:
            text = 'is missing; without it, LaunchDarkly\'s newer AI SDK reads a completion; write "mode": "agent"'
            yield "._ldMeta.mode", text, "suspect"
        text, other = ("instructions", "messages") if mode == "agent" else ("messages", "instructions")
        if other in fields and text not in fields and mode in MODES:
            yield f".{text}", f"is missing; in the mode '{mode}', SDKs read {text} and ignore {other}", "suspect"
        provider = fields.get("provider")
        # The model reports a provider of another type, and one whose name is missing.
        if fields.get("model") and (provider is None or (isinstance(provider, dict) and provider.get("name") == "")):
            yield ".provider.name", "is missing; LaunchDarkly's newer AI SDK raises an exception without it", "suspect"


def _find_severity(path: str, error_type: str) -> Severity:
    """Return how severe one of pydantic's errors about a variation is."""
    if path in ("", "_ldMeta"):
        is_read = error_type != "missing"
    else:
        is_read = path.startswith(_READ) and not path.startswith(_NOT_READ)
    # The AI SDK takes any text for one with a list of allowed texts, such as a role.
    return "unreadable" if is_read and error_type != "literal_error" else "suspect"
