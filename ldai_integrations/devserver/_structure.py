"""Check flags and segments against the shape that LaunchDarkly's server SDKs insist on.

One flag of a wrong shape makes an SDK reject the whole payload, so nothing is served that fails here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ._problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True)
class Shape:
    """Describe an object: its fields and what each must be. A list of one kind means an array of it."""

    required: Mapping[str, Kind] = field(default_factory=dict)
    optional: Mapping[str, Kind] = field(default_factory=dict)


Kind = type | Shape | list[Any]

CLAUSE = Shape({"attribute": str, "op": str, "values": list}, {"contextKind": str, "negate": bool})
TARGET = Shape({"variation": int, "values": [str]}, {"contextKind": str})
WEIGHTED_VARIATION = Shape({"variation": int, "weight": int}, {"untracked": bool})
ROLLOUT = Shape({"variations": [WEIGHTED_VARIATION]}, {"contextKind": str, "bucketBy": str, "kind": str, "seed": int})
SERVE: dict[str, Kind] = {"variation": int, "rollout": ROLLOUT}
FLAG = Shape(
    {"key": str, "version": int, "variations": list, "fallthrough": Shape(optional=SERVE)},
    {
        "on": bool,
        "offVariation": int,
        "rules": [Shape({"clauses": [CLAUSE]}, {"id": str, "trackEvents": bool, **SERVE})],
        "targets": [TARGET],
        "contextTargets": [TARGET],
        "prerequisites": [Shape({"key": str, "variation": int})],
        "salt": str,
        "trackEvents": bool,
        "trackEventsFallthrough": bool,
        "debugEventsUntilDate": float,
        "deleted": bool,
        "excludeFromSummaries": bool,
        "samplingRatio": int,
        "migration": Shape(optional={"checkRatio": int}),
    },
)
SEGMENT_TARGET = Shape({"values": [str]}, {"contextKind": str})
SEGMENT_RULE = Shape({"clauses": [CLAUSE]}, {"weight": int, "bucketBy": str, "rolloutContextKind": str})
SEGMENT = Shape(
    {"key": str, "version": int},
    {
        "included": [str],
        "excluded": [str],
        "includedContexts": [SEGMENT_TARGET],
        "excludedContexts": [SEGMENT_TARGET],
        "rules": [SEGMENT_RULE],
        "salt": str,
        "deleted": bool,
        "unbounded": bool,
        "unboundedContextKind": str,
        "generation": int,
    },
)

_NAMES = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    list: "an array",
    dict: "an object",
}


def check_flag(key: str, flag: object) -> list[Problem]:
    """Return what would make an SDK reject this flag, or serve nothing from it."""
    found = [*_mismatches(flag, FLAG, "")] or [*_wrong_key(key, flag), *_wrong_variations(flag)]
    return [Problem(f"flag '{key}'", path, text, "structure") for path, text in found]


def check_segment(key: str, segment: object) -> list[Problem]:
    """Return what would make an SDK reject this segment."""
    found = [*_mismatches(segment, SEGMENT, "")] or [*_wrong_key(key, segment)]
    return [Problem(f"segment '{key}'", path, text, "structure") for path, text in found]


def _mismatches(value: Any, kind: Kind, path: str) -> Iterator[tuple[str, str]]:
    """Yield (path, text) for each place where a value is not of its kind."""
    if isinstance(kind, Shape):
        if not isinstance(value, dict):
            yield path, "must be an object"
            return
        for name, expected in {**kind.required, **kind.optional}.items():
            inner = f"{path}.{name}".lstrip(".")
            if value.get(name) is not None:
                yield from _mismatches(value[name], expected, inner)
            elif name in kind.required:
                yield inner, "is missing"
    elif isinstance(kind, list):
        if not isinstance(value, list):
            yield path, "must be an array"
            return
        for index, item in enumerate(value):
            yield from _mismatches(item, kind[0], f"{path}[{index}]")
    elif not _is_a(value, kind):
        # Objects and arrays may hold prompts, which are nobody's business in a log.
        found = _NAMES[type(value)] if isinstance(value, (dict, list)) else f"{value!r:.40}"
        yield path, f"must be {_NAMES[kind]}, not {found}"


def _is_a(value: object, kind: type) -> bool:
    # JSON's true is no number, though Python's True is an int.
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _wrong_key(key: str, item: Any) -> Iterator[tuple[str, str]]:
    if item["key"] != key:
        yield "key", f"is '{item['key']}', but it stands under '{key}': make the two equal"


def _wrong_variations(flag: Any) -> Iterator[tuple[str, str]]:
    """Yield each index that points at no variation, and each rule that serves nothing."""
    count = len(flag["variations"])
    for path, index in _indices(flag):
        if index is None:
            yield path, "has neither a variation nor a rollout"
        elif not 0 <= index < count:
            yield path, f"is {index}, but there are {count} variations (the first is 0)"


def _indices(flag: Any) -> Iterator[tuple[str, int | None]]:
    if flag.get("offVariation") is not None:
        yield "offVariation", flag["offVariation"]
    yield from _served("fallthrough", flag["fallthrough"])
    for number, rule in enumerate(flag.get("rules") or ()):
        yield from _served(f"rules[{number}]", rule)
    for name in ("targets", "contextTargets"):
        for number, target in enumerate(flag.get(name) or ()):
            yield f"{name}[{number}].variation", target["variation"]


def _served(path: str, serve: Any) -> Iterator[tuple[str, int | None]]:
    if serve.get("variation") is not None:
        yield f"{path}.variation", serve["variation"]
    elif serve.get("rollout") is not None:
        for number, weighted in enumerate(serve["rollout"]["variations"]):
            yield f"{path}.rollout.variations[{number}].variation", weighted["variation"]
    else:
        yield path, None
