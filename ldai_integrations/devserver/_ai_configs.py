"""Read the AI Configs among the flags: list them, and find what LaunchDarkly's AI SDK would stumble over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ._problems import Problem, Severity

MODES = ("completion", "agent", "judge")
# What makes a flag an AI Config, or look as if it was meant to be one.
_MARKS = ("_ldMeta", "messages", "instructions")


@dataclass(frozen=True)
class AIConfig:
    """Summarise one AI Config.

    Attributes:
        key: Its key.
        mode: ``completion``, ``agent``, ``judge``, or ``graph`` for an agent graph.
        variations: The variation keys, in order.
    """

    key: str
    mode: str
    variations: tuple[str, ...]


def ai_configs(flags: Mapping[str, Any]) -> list[AIConfig]:
    """Return the AI Configs among these flags, in the order of the file; plain flags are left out."""
    found = []
    for key, flag in flags.items():
        metas = [v["_ldMeta"] for v in flag["variations"] if isinstance(v, dict) and isinstance(v.get("_ldMeta"), dict)]
        if metas:
            graph = any(isinstance(v, dict) and "root" in v for v in flag["variations"])
            mode = "graph" if graph else next((m["mode"] for m in metas if m.get("mode") in MODES), "completion")
            found.append(AIConfig(key, mode, tuple(str(meta.get("variationKey", "")) for meta in metas)))
    return found


def check_ai_config(key: str, flag: Mapping[str, Any]) -> list[Problem]:
    """Return what is wrong with a flag's variations as an AI Config; nothing for a plain flag."""
    if not any(isinstance(value, dict) and any(mark in value for mark in _MARKS) for value in flag["variations"]):
        return []
    return [
        Problem(f"flag '{key}'", f"variations[{index}]{path}", text, severity)
        for index, value in enumerate(flag["variations"])
        for path, text, severity in _wrong(value)
    ]


_Found = Iterator[tuple[str, str, Severity]]


def _wrong(value: Any) -> _Found:
    if not isinstance(value, dict):
        yield "", "must be an object, as in every AI Config: the AI SDK raises on anything else", "unreadable"
    elif "_ldMeta" not in value:
        yield "._ldMeta", 'is missing: the AI Config counts as disabled; add {"enabled": true, …}', "suspect"
    elif not isinstance(value["_ldMeta"], dict):
        yield "._ldMeta", "must be an object: the AI SDK raises on anything else", "unreadable"
    else:
        yield from _wrong_model(value)
        yield from _wrong_messages(value)
        yield from _wrong_meta(value, value["_ldMeta"])


def _wrong_model(value: Mapping[str, Any]) -> _Found:
    model = value.get("model")
    if model is None:
        return
    if not isinstance(model, dict):
        yield ".model", 'must be an object such as {"name": "gpt-4o-mini"}: the AI SDK drops it', "unreadable"
    elif "name" not in model:
        yield ".model.name", "is missing: the AI SDK raises without it; give the model its name", "unreadable"
    elif not isinstance(model["name"], str) or not model["name"]:
        yield ".model.name", "must be a string that is not empty", "unreadable"


def _wrong_messages(value: Mapping[str, Any]) -> _Found:
    messages = value.get("messages")
    if messages is None:
        return
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        yield ".messages", "must be an array of {role, content}: the AI SDK drops them", "unreadable"
        return
    for index, message in enumerate(messages):
        for name in ("role", "content"):
            if not isinstance(message.get(name), str):
                text = "must be a string" if name in message else "is missing: the AI SDK raises without it"
                yield f".messages[{index}].{name}", text, "unreadable"


def _wrong_meta(value: Mapping[str, Any], meta: Mapping[str, Any]) -> _Found:
    if not isinstance(meta.get("version", 1), int):
        yield "._ldMeta.version", "must be an integer: the AI SDK raises on anything else", "unreadable"
    if not isinstance(meta.get("enabled"), bool):
        yield "._ldMeta.enabled", "must be true or false: the AI Config counts as disabled without it", "suspect"
    if meta.get("enabled") is not True or "root" in value:
        return
    mode = meta.get("mode", "completion")
    if mode not in MODES:
        yield "._ldMeta.mode", f"is {mode!r:.40}: write one of {', '.join(MODES)}", "suspect"
    if not isinstance(meta.get("variationKey"), str) or not meta.get("variationKey"):
        yield "._ldMeta.variationKey", "is missing: metrics cannot tell this variation from a default", "suspect"
    text, other = ("instructions", "messages") if mode == "agent" else ("messages", "instructions")
    if other in value and text not in value:
        yield f".{text}", f"is missing: in mode '{mode}' the SDK reads {text} and ignores {other}", "suspect"
