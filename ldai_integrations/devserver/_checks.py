"""Check flags before they are served: their structure, and AI Configs that LaunchDarkly's AI SDK cannot read."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from ._flag_models import Flag, Segment

Severity = Literal["structure", "unreadable", "suspect"]
Payload = dict[str, dict[str, dict[str, Any]]]
KINDS = ("flags", "segments")
MODES = ("completion", "agent", "judge")
# A flag with one of these fields in a variation is an AI Config, or was meant to be one.
_AI_CONFIG_FIELDS = ("_ldMeta", "messages", "instructions")
# What each of pydantic's error types expects.
_EXPECTED = {
    "string_type": "a string",
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "an array",
    "model_type": "an object",
}


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
    """Flags that cannot be served; the message has one line per problem."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Store the problems.

        Args:
            problems: At least one.
        """
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
    payload = _build_payload(source)
    structure = [problem for key, flag in payload["flags"].items() for problem in _check_flag(key, flag)]
    structure += [problem for key, segment in payload["segments"].items() for problem in _check_segment(key, segment)]
    if structure:  # the checks of AI Configs need a correct structure
        raise FlagFileError(structure)
    problems = [problem for key, flag in payload["flags"].items() for problem in check_ai_config(key, flag)]
    if fatal := [problem for problem in problems if problem.severity in refused]:
        raise FlagFileError(fatal)
    return payload, problems


def _build_payload(source: object) -> Payload:
    """Turn ``flagValues`` into flags and set missing versions to 1, as the SDK's own file reader does."""
    if not isinstance(source, dict) or not source.keys() & {"flags", "flagValues"}:
        raise FlagFileError([Problem("the file", "", 'must be an object with "flags" or "flagValues"', "structure")])
    for name in (*KINDS, "flagValues"):
        if not isinstance(source.get(name, {}), dict):
            raise FlagFileError([Problem("the file", name, "must be an object", "structure")])
    flags, values = source.get("flags", {}), source.get("flagValues", {})
    for key in flags.keys() & values.keys():
        raise FlagFileError([Problem(f"flag '{key}'", "", "is in both flags and flagValues: keep one", "structure")])
    constant = {
        key: {"key": key, "on": True, "fallthrough": {"variation": 0}, "variations": [value]}
        for key, value in values.items()
    }
    return {
        name: {key: {"version": 1, **item} if isinstance(item, dict) else item for key, item in items.items()}
        for name, items in (("flags", {**flags, **constant}), ("segments", source.get("segments", {})))
    }


def _check_flag(key: str, item: object) -> list[Problem]:
    """Return the errors that make an SDK reject a flag or serve nothing from it."""
    name = f"flag '{key}'"
    try:
        flag = Flag.model_validate(item)
    except ValidationError as error:
        return _describe(name, error)
    problems = _check_key(name, key, flag.key)
    count = len(flag.variations)
    for path, index in _variation_indexes(flag):
        if index is None:
            problems.append(Problem(name, path, "has neither a variation nor a rollout", "structure"))
        elif not 0 <= index < count:
            text = f"is {index}, but there are {count} variations (the first is 0)"
            problems.append(Problem(name, path, text, "structure"))
    return problems


def _check_segment(key: str, item: object) -> list[Problem]:
    """Return the errors that make an SDK reject a segment."""
    name = f"segment '{key}'"
    try:
        segment = Segment.model_validate(item)
    except ValidationError as error:
        return _describe(name, error)
    return _check_key(name, key, segment.key)


def _check_key(name: str, expected: str, found: str) -> list[Problem]:
    if found == expected:
        return []
    return [Problem(name, "key", f"is '{found}', but its entry is '{expected}': make the two equal", "structure")]


def _describe(name: str, error: ValidationError) -> list[Problem]:
    """Turn pydantic's errors into problems that name the field as it is written in the file."""
    problems = []
    for detail in error.errors(include_url=False):
        parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"])
        value = detail["input"]
        if detail["type"] == "missing" or value is None:
            text = "is missing"
        else:
            # Objects and arrays may contain prompts, which must not get into a log.
            kind = "an object" if isinstance(value, dict) else "an array" if isinstance(value, list) else ""
            text = f"must be {_EXPECTED.get(detail['type'], detail['msg'])}, not {kind or f'{value!r:.40}'}"
        problems.append(Problem(name, "".join(parts).lstrip("."), text, "structure"))
    return problems


def _variation_indexes(flag: Flag) -> Iterator[tuple[str, int | None]]:
    """Yield each field that names a variation by its index; the index is ``None`` if nothing would be served."""
    if flag.off_variation is not None:
        yield "offVariation", flag.off_variation
    rules = ((f"rules[{number}]", rule) for number, rule in enumerate(flag.rules or ()))
    for path, serve in (("fallthrough", flag.fallthrough), *rules):
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


def list_ai_configs(flags: Mapping[str, Any]) -> list[AIConfig]:
    """Return the AI Configs among the flags, in the order of the file."""
    found = []
    for key, flag in flags.items():
        values = [value for value in flag["variations"] if isinstance(value, dict)]
        metas = [value["_ldMeta"] for value in values if isinstance(value.get("_ldMeta"), dict)]
        if not metas:
            continue
        modes = [meta["mode"] for meta in metas if meta.get("mode") in MODES]
        mode = "graph" if any("root" in value for value in values) else next(iter(modes), "completion")
        found.append(AIConfig(key, mode, tuple(str(meta.get("variationKey", "")) for meta in metas)))
    return found


def check_ai_config(key: str, flag: Mapping[str, Any]) -> list[Problem]:
    """Return the problems of a flag's variations as an AI Config; an empty list for any other flag."""
    variations = flag["variations"]
    if not any(isinstance(value, dict) and any(name in value for name in _AI_CONFIG_FIELDS) for value in variations):
        return []
    return [
        Problem(f"flag '{key}'", f"variations[{index}]{path}", text, severity)
        for index, value in enumerate(variations)
        for path, text, severity in _check_variation(value)
    ]


_Found = Iterator[tuple[str, str, Severity]]


def _check_variation(value: object) -> _Found:
    if not isinstance(value, dict):
        yield "", "must be an object, as in every AI Config: the AI SDK raises on anything else", "unreadable"
    elif "_ldMeta" not in value:
        yield "._ldMeta", 'is missing: the AI Config is disabled without it; add {"enabled": true, …}', "suspect"
    elif not isinstance(value["_ldMeta"], dict):
        yield "._ldMeta", "must be an object: the AI SDK raises on anything else", "unreadable"
    else:
        yield from _check_model(value.get("model"))
        yield from _check_messages(value.get("messages"))
        yield from _check_meta(value["_ldMeta"], value)


def _check_model(model: object) -> _Found:
    if model is None:
        return
    if not isinstance(model, dict):
        yield ".model", 'must be an object such as {"name": "gpt-4o-mini"}: the AI SDK ignores it', "unreadable"
    elif "name" not in model:
        yield ".model.name", "is missing: the AI SDK raises without it; add the name of the model", "unreadable"
    elif not isinstance(model["name"], str) or not model["name"]:
        yield ".model.name", "must be a string that is not empty", "unreadable"


def _check_messages(messages: object) -> _Found:
    if messages is None:
        return
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        yield ".messages", "must be an array of {role, content}: the AI SDK ignores them", "unreadable"
        return
    for index, message in enumerate(messages):
        for name in ("role", "content"):
            if not isinstance(message.get(name), str):
                text = "must be a string" if name in message else "is missing: the AI SDK raises without it"
                yield f".messages[{index}].{name}", text, "unreadable"


def _check_meta(meta: Mapping[str, Any], value: Mapping[str, Any]) -> _Found:
    if not isinstance(meta.get("version", 1), int):
        yield "._ldMeta.version", "must be an integer: the AI SDK raises on anything else", "unreadable"
    if not isinstance(meta.get("enabled"), bool):
        yield "._ldMeta.enabled", "must be true or false: the AI Config is disabled without it", "suspect"
    if meta.get("enabled") is not True or "root" in value:
        return
    mode = meta.get("mode", "completion")
    if mode not in MODES:
        yield "._ldMeta.mode", f"is {mode!r:.40}: write one of {', '.join(MODES)}", "suspect"
    if not isinstance(meta.get("variationKey"), str) or not meta.get("variationKey"):
        yield "._ldMeta.variationKey", "is missing: metrics cannot distinguish this variation from a default", "suspect"
    text, other = ("instructions", "messages") if mode == "agent" else ("messages", "instructions")
    if other in value and text not in value:
        yield f".{text}", f"is missing: in mode '{mode}' the SDK reads {text} and ignores {other}", "suspect"
