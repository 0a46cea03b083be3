"""Check one AI Config as it is served to a context."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from ldclient import Context, LDClient

from ..._ai_configs import MODES, agents_of, mode_of
from ..._launchdarkly.templates import missing_variables
from ..._launchdarkly.variations import problem_with
from ..._prices import prices_per_million
from ...usage import encoding_at_hand
from .findings import Finding, ok, problem, skipped, warning

# How many keys of AI Configs a remedy names.
_MOST_KEYS = 10
_TO_ANYONE = " to an anonymous user; other users may get another one: give --context-key or --context"
# For each provider name of LaunchDarkly, in lower case: the module to import and the package to install.
_PACKAGES = {
    "openai": ("openai", "openai"),
    "azure": ("openai", "openai"),
    "azureopenai": ("openai", "openai"),
    "deepseek": ("openai", "openai"),
    "anthropic": ("anthropic", "anthropic"),
    "bedrock": ("boto3", "boto3"),
    "gemini": ("google.genai", "google-genai"),
    "google": ("google.genai", "google-genai"),
    "vertexai": ("google.genai", "google-genai"),
    "mistral": ("mistralai", "mistralai"),
    "cohere": ("cohere", "cohere"),
    "groq": ("groq", "groq"),
    "ollama": ("ollama", "ollama"),
}
# The packages with which the AI SDK calls judges (ldai/providers/runner_factory.py). One of them is enough.
_JUDGE_PACKAGES = {
    "ldai_openai": "launchdarkly-server-sdk-ai-openai",
    "ldai_langchain": "launchdarkly-server-sdk-ai-langchain",
}


def check_config(client: LDClient, key: str, ld_context: Context, *, for_anyone: bool) -> Iterator[Finding]:
    """Evaluate an AI Config and check the variation.

    Args:
        client: A connected client that sends no events.
        key: Key of the AI Config.
        ld_context: The context to evaluate it for.
        for_anyone: Whether the context is an anonymous user, because the command was given none.
    """
    detail = client.variation_detail(key, ld_context, None)
    reason: Mapping[str, Any] = detail.reason or {}
    about = f"AI Config {key!r}"
    if reason.get("errorKind") == "FLAG_NOT_FOUND":
        yield problem(about, "does not exist here", _advise_on_key(client, key, ld_context))
    elif reason.get("kind") == "ERROR":
        yield problem(about, f"cannot be evaluated ({reason.get('errorKind')})", "check its targeting")
    elif detail.value is None:
        yield problem(about, "is off and has no variation for this case", "turn its targeting on")
    else:
        yield from _check_value(about, detail.value, _TO_ANYONE if for_anyone else "", reason)
        if isinstance(detail.value, dict) and "root" in detail.value:
            yield from _check_graph(client, detail.value, ld_context)


def _check_graph(client: LDClient, graph: Mapping[str, Any], ld_context: Context) -> Iterator[Finding]:
    """Name the first agent of a graph, and the agents that do not exist."""
    yield ok("graph", f"an agent graph with the root {str(graph['root'])!r}: run its agents in track_graph")
    for key in dict.fromkeys(key for _, key in agents_of(graph)):
        reason = client.variation_detail(key, ld_context, None).reason or {}
        if reason.get("errorKind") == "FLAG_NOT_FOUND":
            remedy = _advise_on_key(client, key, ld_context)
            yield problem(f"agent {key!r}", "is in the graph, but does not exist here", remedy)


def known_keys(client: LDClient, ld_context: Context) -> list[str]:
    """Return the keys of all AI Configs, in order."""
    served = client.all_flags_state(ld_context).to_values_map()
    return sorted(name for name, value in served.items() if isinstance(value, dict) and "_ldMeta" in value)


def _advise_on_key(client: LDClient, key: str, ld_context: Context) -> str:
    """Return what to do about a key that does not exist: name a similar one, or all."""
    known = known_keys(client, ld_context)
    if similar := get_close_matches(key, known, n=1):
        return f"did you mean {similar[0]!r}?"
    if not known:
        return "there are no AI Configs at all: check that the SDK key belongs to their environment, or the file"
    more = f" and {len(known) - _MOST_KEYS} more" if len(known) > _MOST_KEYS else ""
    return f"check the key, and where AI Configs come from; there are {', '.join(known[:_MOST_KEYS])}{more}"


def _check_value(about: str, value: Any, whom: str, reason: Mapping[str, Any]) -> Iterator[Finding]:
    meta = value.get("_ldMeta") if isinstance(value, dict) else None
    mode = str((mode_of(value) if isinstance(value, dict) else None) or "completion")
    wrong = problem_with(value, mode)
    if wrong is not None or not isinstance(meta, dict):
        yield problem(about, f"cannot be served: {wrong}", "correct the variation")
        return
    variation, version = meta.get("variationKey", ""), meta.get("version", 1)
    yield ok(about, f"serves variation {variation!r}, version {version} ({_describe_reason(reason)}){whom}")
    if "root" in value:  # an agent graph has neither mode nor model, and nobody reads whether it is enabled
        return
    if not meta.get("enabled"):
        yield warning(
            "enabled",
            "the AI Config is disabled for this context: handlers get config.enabled == False, and nothing is reported",
            "turn its targeting on, or serve another variation to this context",
        )
        return
    yield ok("enabled", "yes, for this context")
    yield _check_mode(mode, value)
    yield from _check_model(value)


def _describe_reason(reason: Mapping[str, Any]) -> str:
    kind = str(reason.get("kind", ""))
    rule = f" {reason['ruleId']}" if reason.get("ruleId") else ""
    return {"OFF": "targeting is off", "FALLTHROUGH": "the default rule"}.get(
        kind, kind.lower().replace("_", " ") + rule
    )


def _check_mode(mode: str, value: Mapping[str, Any]) -> Finding:
    if mode == "judge":
        return warning("mode", "it is a judge", "track the AI Config that the judge is attached to instead")
    if mode not in MODES:
        return warning("mode", f"there is no mode {mode!r}", f"set it to one of {', '.join(MODES)}")
    text = "instructions" if mode == "agent" else "messages"
    if not value.get(text):
        return warning("mode", f"the mode is {mode!r}, but the variation has no {text}", f"add {text} to the variation")
    return ok("mode", f"read it with track_ai(config_key=…, mode={mode!r})" if mode == "agent" else "completion")


def _check_model(value: Mapping[str, Any]) -> Iterator[Finding]:
    model, provider = value.get("model"), value.get("provider")
    name = model.get("name") if isinstance(model, dict) else None
    if not isinstance(model, dict) or not name:
        yield warning("model", "the variation has no model", "choose one for it")
        return
    yield ok("model", str(name))
    for custom, price in prices_per_million(model.get("custom")):
        remedy = f"if this is the price of a million tokens, write {price / 1e6:g}"
        yield warning("prices", f"{custom} is {price:g} USD per token", remedy)
    yield from _check_variables(value)
    provider_name = str(provider.get("name") or "") if isinstance(provider, dict) else ""
    if not provider_name and _is_installed("launchdarkly_ai_server"):
        yield warning(
            "newer AI SDK",
            "the variation names no provider, without which launchdarkly-ai-server raises an exception",
            "name the provider of its model",
        )
    yield _check_provider(provider_name)
    if value.get("judgeConfiguration"):
        yield _check_judges()
    encoding, available = encoding_at_hand(str(name))
    if available:
        yield ok("tokens", f"can be counted with {encoding} if a provider does not report them")
    else:
        yield warning(
            "tokens",
            f"{encoding} is not on this machine: if a provider does not report tokens, the estimate is rough",
            "pip install 'ldai-integrations[offline-tokens]', or run `ldai encodings prefetch` at build time",
        )


def _check_variables(value: Mapping[str, Any]) -> Iterator[Finding]:
    """Name the variables of the prompt, which the application has to give."""
    messages = value.get("messages") or ()
    texts = [*(str(message.get("content", "")) for message in messages), str(value.get("instructions") or "")]
    known: dict[str, Any] = {"ldctx": {}, "ldContext": {}}
    found = {name for text in texts for name in missing_variables(text, known)}
    if names := sorted(name for name in found if name.split(".")[0] not in known):
        yield ok("variables", f"the prompt has {', '.join(names)}: give them with track_ai(variables=…)")


def _check_provider(provider: str) -> Finding:
    package = _PACKAGES.get(provider.lower().replace(" ", "").replace("-", "").replace("_", ""))
    if package is None:
        return skipped(
            "provider",
            f"{provider}: the package for it is not known" if provider else "the variation names none",
            "check that the client which your handler uses is installed",
        )
    name, distribution = package
    if _is_installed(name):
        return ok("provider", f"{provider}, and the package {distribution} is installed")
    return warning(
        "provider", f"{provider}, but the package {distribution} is not installed here", f"pip install {distribution}"
    )


def _check_judges() -> Finding:
    if found := [name for name in _JUDGE_PACKAGES if _is_installed(name)]:
        return ok("judges", f"are attached, and {_JUDGE_PACKAGES[found[0]]} is installed")
    first, second = _JUDGE_PACKAGES.values()
    return warning(
        "judges",
        "are attached, but no package of the AI SDK that can call them is installed",
        f"pip install {first} (or {second})",
    )


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:
        return False
