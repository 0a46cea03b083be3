"""The checks of an AI Config variation before it is served."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .._ai_configs import MODES, mode_of
from .templates import TemplateError, check_size, parse

# Each request reads them all, which takes up to 20 µs each, so that more would take longer than about 5 ms.
MOST_ENTRIES = 200


def problem_with(value: Any, mode: str) -> str | None:
    """Return why a variation cannot be served as an AI Config of ``mode``; ``None`` if it can.

    The text names fields and never their content, because prompts do not belong into logs.
    """
    if not isinstance(value, dict):
        kind = type(value).__name__
        return f"its variation is of type {kind}, not an AI Config; check that the key is not a plain flag's"
    return next(_problems(value, mode), None)


def _problems(value: dict[str, Any], mode: str) -> Iterator[str]:
    meta = value.get("_ldMeta")
    if not isinstance(meta, dict):
        yield "its variation has no _ldMeta; check that the key is an AI Config's and not a plain flag's"
        return
    yield from _meta_problems(meta, mode_of(value) if mode != "judge" else meta.get("mode"), mode)
    model = value.get("model")
    if isinstance(model, dict) and not isinstance(model.get("name"), str):
        yield "model.name is missing; choose a model for the variation"
    yield from _size_problems(value)
    yield from _message_problems(value.get("messages"))
    instructions = value.get("instructions")
    problem = _template_problem(instructions) if isinstance(instructions, str) else None
    if problem is not None:
        yield f"instructions {problem}"


def _size_problems(value: dict[str, Any]) -> Iterator[str]:
    parameters = _field(value.get("model"), "parameters")
    entries = {
        "messages": value.get("messages"),
        "tools": value.get("tools"),
        "model.parameters": parameters,
        "model.parameters.tools": _field(parameters, "tools"),
    }
    for name, found in entries.items():
        if isinstance(found, (list, dict)) and len(found) > MOST_ENTRIES:
            yield f"{name} has more than {MOST_ENTRIES} entries"
    messages = value.get("messages")
    texts = [_field(message, "content") for message in messages] if isinstance(messages, list) else []
    try:
        check_size([text for text in (*texts, value.get("instructions")) if isinstance(text, str)])
    except TemplateError as exc:
        yield f"its prompt {exc}"


def _field(value: object, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _meta_problems(meta: dict[str, Any], found: object, mode: str) -> Iterator[str]:
    if meta.get("enabled") and found in MODES and found != mode:
        if "judge" in (found, mode):
            remedy = "attach an AI Config of mode 'judge' as a judge, and track others only"
        else:
            remedy = f"use track_ai(mode={found!r}) or change the AI Config"
        yield f"it is of mode {found!r} but is read as {mode!r}; {remedy}"
    if not isinstance(meta.get("enabled", False), bool):
        yield f"_ldMeta.enabled is {meta['enabled']!r:.40}; write true or false, without quotes"
    version = meta.get("version", 1)
    if not isinstance(version, (int, float)):
        yield "_ldMeta.version is not a number"
    if not isinstance(meta.get("variationKey", ""), str):
        yield "_ldMeta.variationKey is not a string"


def _message_problems(messages: Any) -> Iterator[str]:
    if messages is None:
        return
    if not isinstance(messages, list):
        yield "messages is not a list"
        return
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            yield f"messages[{index}] is not an object"
        elif not isinstance(message.get("role"), str) or not isinstance(message.get("content"), str):
            yield f"messages[{index}] has no role or no content"
        else:
            problem = _template_problem(message["content"])
            if problem is not None:
                yield f"messages[{index}].content {problem}"


def _template_problem(template: str) -> str | None:
    try:
        parse(template)
    except TemplateError as exc:
        return str(exc)
    return None
