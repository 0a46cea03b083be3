"""The AI Configs that the tests serve."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def meta(key: str, *, mode: str = "completion", enabled: bool = True, version: int = 1) -> Json:
    """Build what LaunchDarkly says about a variation."""
    return {"enabled": enabled, "variationKey": key, "version": version, "mode": mode}


def flag(key: str, *variations: Any, **fields: Any) -> Json:
    """Build a flag that serves its first variation to everybody."""
    served = {"on": True, "fallthrough": {"variation": 0}, "offVariation": 0}
    return {"key": key, "version": 1, "salt": key, **served, "variations": list(variations), **fields}


def system(text: str) -> list[Json]:
    """Build the messages of a prompt that has only a system message."""
    return [{"role": "system", "content": text}]


_GPT = {"model": {"name": "gpt-4o-mini", "parameters": {"temperature": 0.2}}, "provider": {"name": "OpenAI"}}
_PREMIUM = {"contextKind": "user", "attribute": "plan", "op": "in", "values": ["premium"]}

CHAT = flag(
    "chat",
    {"_ldMeta": meta("small"), **_GPT, "messages": system("You help{{#company}} {{company}}{{/company}}.")},
    {"_ldMeta": meta("large", version=3), **_GPT, "model": {"name": "gpt-4o"}, "messages": system("Be thorough.")},
    rules=[{"id": "premium", "variation": 1, "clauses": [_PREMIUM]}],
)
#: The same AI Config under another key.
SUMMARY = {**CHAT, "key": "summary"}
GREETING = flag("greeting", {"_ldMeta": meta("polite"), **_GPT, "messages": system("{{greeting}} {{ldctx.key}}")})
AGENT = flag(
    "agent",
    {"_ldMeta": meta("helper", mode="agent"), **_GPT, "instructions": "Help{{#company}} {{company}}{{/company}}."},
)
JUDGE = flag(
    "relevance",
    {
        "_ldMeta": meta("strict", mode="judge"),
        **_GPT,
        "messages": system("Judge the answer."),
        "evaluationMetricKey": "$ld:ai:judge:relevance",
    },
)
JUDGED = flag(
    "judged",
    {
        "_ldMeta": meta("small"),
        **_GPT,
        "messages": system("Be brief."),
        "judgeConfiguration": {"judges": [{"key": "relevance", "samplingRate": 1.0}]},
    },
)
#: Its variation says that it is disabled.
DISABLED = flag("disabled", {"_ldMeta": meta("disabled", enabled=False), **_GPT})
#: Targeting is off and there is nothing to serve then.
OFF = flag("off", {"_ldMeta": meta("small"), **_GPT}, on=False, offVariation=None)
#: Its targeting points to a variation that does not exist; the dev server refuses to serve such a flag.
ASTRAY = flag("astray", {"_ldMeta": meta("small"), **_GPT}, fallthrough={"variation": 7})

#: Variations that the AI SDK raises on, or misreads; by key.
MALFORMED: dict[str, Any] = {
    "not-an-object": True,
    "no-meta": {**_GPT, "messages": system("Hello.")},
    "null-meta": {"_ldMeta": None, **_GPT},
    "version-as-text": {"_ldMeta": {**meta("v"), "version": "one"}, **_GPT},
    "enabled-as-text": {"_ldMeta": {**meta("v"), "enabled": "false"}, **_GPT, "messages": system("Hello.")},
    "variation-key-as-number": {"_ldMeta": {**meta("v"), "variationKey": 7}, **_GPT},
    "model-without-name": {"_ldMeta": meta("v"), "model": {"parameters": {}}},
    "messages-as-text": {"_ldMeta": meta("v"), **_GPT, "messages": "Hello."},
    "message-as-text": {"_ldMeta": meta("v"), **_GPT, "messages": ["Hello."]},
    "message-without-content": {"_ldMeta": meta("v"), **_GPT, "messages": [{"role": "system"}]},
    "unclosed-tag": {"_ldMeta": meta("v"), **_GPT, "messages": system("Hello {{#names}}.")},
    "unclosed-tag-in-instructions": {"_ldMeta": meta("v"), **_GPT, "instructions": "{{#names}}"},
}

FLAGS: Json = {
    "flags": {
        item["key"]: item
        for item in (
            *(CHAT, SUMMARY, GREETING, AGENT, JUDGE, JUDGED, DISABLED, OFF),
            *(flag(key, variation) for key, variation in MALFORMED.items()),
        )
    },
    "segments": {},
}
