"""The dev server's messages about wrong flags, compared with the behaviour of the SDKs."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
from ldai import LDAIClient
from ldclient import Config, Context, LDClient
from ldclient.impl.model.feature_flag import FeatureFlag
from ldclient.impl.model.segment import Segment
from ldclient.integrations.test_data import TestData

from ldai_integrations.devserver import DevServer, FlagFileError
from ldai_integrations.devserver._checks import check_ai_config

from .samples import CHAT, FLAGS, Json, variation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLAUSE = {"attribute": "plan", "op": "in", "values": ["premium"]}
ROLLOUT = {"variations": [{"variation": 1, "weight": 100000}]}

# A change to a good flag, and the message about it.
WRONG_FLAGS: list[tuple[Json, str]] = [
    ({"key": None}, "key must be a string, not null"),
    ({"key": 3}, "key must be a string, not 3"),
    ({"version": None}, "version must be an integer, not null"),
    ({"version": "1"}, 'version must be an integer, not "1"'),
    ({"version": 1.5}, "version must be an integer, not 1.5"),
    ({"on": "yes"}, 'on must be true or false, not "yes"'),
    ({"variations": {}}, "variations must be an array, not an object"),
    ({"offVariation": "0"}, 'offVariation must be an integer, not "0"'),
    ({"fallthrough": 1}, "fallthrough must be an object"),
    ({"fallthrough": {"rollout": {}}}, "fallthrough.rollout.variations is missing"),
    (
        {"fallthrough": {"rollout": {"variations": [{"variation": 1}]}}},
        "fallthrough.rollout.variations[0].weight is missing",
    ),
    ({"rules": {}}, "rules must be an array"),
    ({"rules": [3]}, "rules[0] must be an object"),
    ({"rules": [{"variation": 1}]}, "rules[0].clauses is missing"),
    (
        {"rules": [{"variation": 1, "clauses": [{**CLAUSE, "op": None}]}]},
        "rules[0].clauses[0].op must be a string, not null",
    ),
    (
        {"rules": [{"variation": 1, "clauses": [{**CLAUSE, "negate": 1}]}]},
        "rules[0].clauses[0].negate must be true or false",
    ),
    ({"targets": [{"variation": 1, "values": [1]}]}, "targets[0].values[0] must be a string, not 1"),
    ({"contextTargets": [{"values": []}]}, "contextTargets[0].variation is missing"),
    ({"prerequisites": [{"key": "other"}]}, "prerequisites[0].variation is missing"),
    ({"salt": 1}, "salt must be a string, not 1"),
    ({"debugEventsUntilDate": "today"}, 'debugEventsUntilDate must be a number, not "today"'),
    ({"samplingRatio": "1"}, 'samplingRatio must be an integer, not "1"'),
    ({"migration": {"checkRatio": "1"}}, 'migration.checkRatio must be an integer, not "1"'),
]
# The SDK accepts these flags, but serves the caller's default.
MISLEADING_FLAGS: list[tuple[Json, str]] = [
    ({"key": "other"}, "key is 'other', but its entry is 'chat'; make the two equal"),
    ({"fallthrough": {}}, "fallthrough has neither a variation nor a rollout"),
    ({"fallthrough": None}, "fallthrough must be an object, not null"),
    ({"variations": None}, "variations must be an array, not null"),
    ({"fallthrough": {"variation": 3}}, "fallthrough.variation is 3, but there are 3 variations; the first is 0"),
    (
        {"variations": CHAT["variations"][:1], "fallthrough": {"variation": 2}, "offVariation": 0},
        "fallthrough.variation is 2, but there is 1 variation; the first is 0",
    ),
    ({"offVariation": -1}, "offVariation is -1, but there are 3 variations; the first is 0"),
    ({"rules": [{"variation": 9, "clauses": [CLAUSE]}]}, "rules[0].variation is 9, but there are 3 variations"),
    ({"rules": [{"clauses": [CLAUSE]}]}, "rules[0] has neither a variation nor a rollout"),
    (
        {"fallthrough": {"rollout": {"variations": [{"variation": 5, "weight": 1}]}}},
        "fallthrough.rollout.variations[0].variation is 5",
    ),
    ({"targets": [{"variation": 4, "values": ["ada"]}]}, "targets[0].variation is 4"),
    ({"contextTargets": [{"variation": 4, "values": ["ada"]}]}, "contextTargets[0].variation is 4"),
    ({"version": True}, "version must be an integer, not true"),
]
WRONG_SEGMENTS: list[tuple[Json, str]] = [
    ({"key": None}, "key must be a string, not null"),
    ({"included": "ada"}, "included must be an array"),
    ({"included": [1]}, "included[0] must be a string, not 1"),
    ({"includedContexts": [{}]}, "includedContexts[0].values is missing"),
    ({"rules": [{"clauses": [{}]}]}, "rules[0].clauses[0].attribute is missing"),
    ({"unbounded": "no"}, 'unbounded must be true or false, not "no"'),
    ({"generation": "1"}, 'generation must be an integer, not "1"'),
]
GOOD_FLAGS: list[Json] = [
    {},
    {"fallthrough": {"rollout": {**ROLLOUT, "kind": "experiment", "contextKind": "user", "seed": 61}}},
    {"rules": [{"id": "r", "clauses": [CLAUSE], "rollout": ROLLOUT}], "targets": None, "debugEventsUntilDate": None},
    {"offVariation": None, "debugEventsUntilDate": 1795458469850, "trackEvents": True, "migration": {"checkRatio": 2}},
    {"prerequisites": [{"key": "other", "variation": 0}], "contextTargets": [{"variation": 1, "values": []}]},
]


def refuse(source: Any) -> FlagFileError:
    """Return the error with which a dev server refuses these flags."""
    with pytest.raises(FlagFileError) as refusal:
        DevServer(source)
    return refusal.value


@pytest.mark.parametrize(("change", "message"), WRONG_FLAGS)
def test_flag_that_the_sdk_rejects_is_refused(change: Json, message: str) -> None:
    """A flag that makes the SDK reject all flags is refused. The message names the flag and the field."""
    flag = {"version": 1, **CHAT, **change}
    with pytest.raises(ValueError, match="flag/segment data"):
        FeatureFlag(flag)
    assert str(refuse({"flags": {"chat": flag}})).startswith(f"flag 'chat': {message}")


@pytest.mark.parametrize(("change", "message"), MISLEADING_FLAGS)
def test_flag_that_serves_nothing_is_refused(change: Json, message: str) -> None:
    """A flag that the SDK accepts but cannot serve is refused. The message names the flag and the field."""
    flag = {**CHAT, **change}
    FeatureFlag(flag)
    assert str(refuse({"flags": {"chat": flag}})).startswith(f"flag 'chat': {message}")


@pytest.mark.parametrize(("change", "message"), WRONG_SEGMENTS)
def test_wrong_segment_is_refused(change: Json, message: str) -> None:
    """A segment that makes the SDK reject all flags is refused. The message names the segment and the field."""
    segment = {"key": "beta", "version": 1, **change}
    with pytest.raises(ValueError, match="flag/segment data"):
        Segment(segment)
    assert str(refuse({**FLAGS, "segments": {"beta": segment}})).startswith(f"segment 'beta': {message}")


@pytest.mark.parametrize("change", GOOD_FLAGS)
def test_good_flag_is_accepted(change: Json) -> None:
    """A flag that the SDK accepts and can serve is accepted."""
    flag = {**CHAT, **change}
    FeatureFlag(flag)
    assert [config.key for config in DevServer({"flags": {"chat": flag}}).ai_configs] == ["chat"]


def test_good_segment_is_accepted() -> None:
    """A segment with every kind of member is accepted; one under a wrong key is refused."""
    members = {"included": ["ada"], "excludedContexts": [{"contextKind": "org", "values": ["acme"]}]}
    segment = {"key": "beta", "version": 1, "rules": [{"clauses": [CLAUSE], "weight": 5}], **members}
    DevServer({**FLAGS, "segments": {"beta": segment}})
    assert [problem.field for problem in refuse({**FLAGS, "segments": {"gamma": segment}}).problems] == ["key"]


@pytest.mark.parametrize("prompt", [{"text": "a secret"}, ["a secret"]])
def test_prompts_do_not_get_into_messages(prompt: Any) -> None:
    """An object or an array of a wrong type is not quoted, because it may contain a prompt."""
    message = str(refuse({"flags": {"chat": {**CHAT, "salt": prompt}}}))
    assert message.startswith("flag 'chat': salt must be a string, not an ")
    assert "secret" not in message


# A change to a good variation, and the message about it.
UNREADABLE: list[tuple[Any, str]] = [
    ("a string", "variations[1] must be an object"),
    ({"_ldMeta": None}, "variations[1]._ldMeta must be an object"),
    ({"_ldMeta": {"enabled": True, "variationKey": "v", "version": "new"}}, "variations[1]._ldMeta.version must be"),
    ({"model": {}}, "variations[1].model.name is missing; add it: the name of the model, as its provider spells it"),
    ({"messages": [{"role": "user"}]}, "variations[1].messages[0].content is missing; add it: the text."),
    (
        {"messages": [{"content": "hi"}]},
        "variations[1].messages[0].role is missing; add it: the role: `system`, `user` or `assistant`",
    ),
    ({"messages": [{"role": "user", "content": 3}]}, "variations[1].messages[0].content must be a string"),
]
IGNORED: list[tuple[Json, str]] = [
    ({"model": "gpt-4o"}, "variations[1].model must be an object"),
    ({"model": {"name": None}}, "variations[1].model.name must be a string, not null"),
    ({"messages": "hi"}, "variations[1].messages must be an array, not a string"),
    ({"messages": ["hi"]}, "variations[1].messages[0] must be an object, not a string"),
]
SUSPECT: list[tuple[Json, str]] = [
    ({"_ldMeta": {"variationKey": "v", "version": 1}}, "variations[1]._ldMeta.enabled is missing; add it: whether"),
    ({"_ldMeta": {"enabled": True}}, "variations[1]._ldMeta.variationKey is missing"),
    (
        {"_ldMeta": {"enabled": True, "variationKey": "v", "mode": "chat"}},
        "variations[1]._ldMeta.mode must be one of 'completion', 'agent' or 'judge', not \"chat\"",
    ),
    (
        {"_ldMeta": {"enabled": True, "variationKey": "v", "mode": "agent"}},
        "variations[1].instructions is missing; in the mode 'agent', SDKs read instructions and ignore messages",
    ),
    (
        {"_ldMeta": {"enabled": True, "variationKey": "v"}, "messages": [], "instructions": "hi"},
        "variations[1]._ldMeta.mode is missing; without it, LaunchDarkly's newer AI SDK reads a completion; write",
    ),
    ({"provider": None}, "variations[1].provider.name is missing; LaunchDarkly's newer AI SDK raises an exception"),
    ({"provider": {"name": ""}}, "variations[1].provider.name is missing; LaunchDarkly's newer AI SDK raises"),
    ({"provider": {}}, "variations[1].provider.name is missing; add it: the name of the provider, such as"),
    ({"provider": "OpenAI"}, "variations[1].provider must be an object, not a string"),
    ({"instrctions": "hi"}, "variations[1].instrctions is not known and ignored; did you mean 'instructions'?"),
    (
        {"model": {"name": "gpt-4o", "parmeters": {}}},
        "variations[1].model.parmeters is not known and ignored; did you mean 'parameters'?",
    ),
    ({"judgeConfig": {}}, "variations[1].judgeConfig is not known and ignored; did you mean 'judgeConfiguration'?"),
    (
        {"judgeConfiguration": {"judges": [{"key": "chat", "samplingRate": 7}]}},
        "variations[1].judgeConfiguration.judges[0].samplingRate must be at most 1, not 7",
    ),
    (
        {"judgeConfiguration": {"judges": [{"key": "relevance", "samplingRate": 1}]}},
        "variations[1].judgeConfiguration.judges[0].key is 'relevance', but there is no such AI Config; add it",
    ),
    (
        {"messages": [{"role": "human", "content": "hi"}]},
        "variations[1].messages[0].role must be one of 'system', 'user', 'assistant' or 'developer', not \"human\"",
    ),
    (
        {"model": {"name": "gpt-4o", "custom": {"costPerInputToken": "free"}}},
        'variations[1].model.custom.costPerInputToken must be a number, not "free"',
    ),
    (
        {"model": {"name": "gpt-4o", "custom": {"costPerInputToken": -1}}},
        "variations[1].model.custom.costPerInputToken must be at least 0, not -1",
    ),
    (
        {"model": {"name": "gpt-4o", "custom": {"costPerInputToken": 1.5e-7, "costPerOutputToken": 0.6}}},
        "variations[1].model.custom.costPerOutputToken is 0.6 USD per token; if this is the price of a million tokens,"
        " write 6e-07",
    ),
    (
        {"model": {"name": "gpt-4o", "custom": {"costPerCachedInputToken": 1}}},
        "variations[1].model.custom.costPerCachedInputToken is 1 USD per token",
    ),
    (
        {"model": {"name": "gpt-4o", "custom": {"costPerInputTokens": 1e-7, "tier": "free"}}},
        "variations[1].model.custom.costPerInputTokens is not known and ignored; did you mean 'costPerInputToken'?",
    ),
    (
        {"messages": [{"role": "user", "content": "hi", "$coment": ""}]},
        "variations[1].messages[0].$coment is not known and ignored; did you mean '$comment'?",
    ),
]


@pytest.fixture(scope="module")
def ai_sdk() -> Iterator[tuple[TestData, LDAIClient]]:
    """Give LaunchDarkly's AI SDK any variation one likes."""
    data = TestData.data_source()
    client = LDClient(Config("sdk-test", update_processor_class=data, send_events=False))
    yield data, LDAIClient(client)
    client.close()


def flag_with(change: Any) -> Json:
    """Return a flag whose second variation is changed."""
    good = variation("v", model={"name": "gpt-4o"}, messages=[{"role": "user", "content": "hi"}])
    changed = {**deepcopy(good), **change} if isinstance(change, dict) else change
    return {**CHAT, "variations": [variation("off", enabled=False), changed], "rules": []}


def refuse_file(flag: Json, path: Path) -> Any:
    """Return the one problem for which a dev server refuses a file with this flag."""
    path.write_text(json.dumps({"flags": {"chat": flag}}), encoding="utf-8")
    [problem] = refuse(path).problems
    return problem


@pytest.mark.parametrize(("change", "message"), UNREADABLE)
def test_variation_on_which_the_ai_sdk_raises_is_refused(
    change: Any, message: str, ai_sdk: tuple[TestData, LDAIClient], tmp_path: Path
) -> None:
    """A file with a variation on which the AI SDK raises is refused. The message names the field."""
    flag = flag_with(change)
    data, client = ai_sdk
    data.update(data.flag("chat").variations(*flag["variations"]).fallthrough_variation(1))
    with pytest.raises((AttributeError, KeyError, TypeError, ValueError)):
        client.completion_config("chat", Context.create("ada"))
    problem = refuse_file(flag, tmp_path / "flags.json")
    assert problem.severity == "unreadable"
    assert str(problem).startswith(f"flag 'chat': {message}")


@pytest.mark.parametrize(("change", "message"), IGNORED)
def test_values_that_the_ai_sdk_ignores_are_refused(
    change: Json, message: str, ai_sdk: tuple[TestData, LDAIClient], tmp_path: Path
) -> None:
    """A file with a model or messages that the AI SDK ignores is refused. The message names the field."""
    flag = flag_with(change)
    data, client = ai_sdk
    data.update(data.flag("chat").variations(*flag["variations"]).fallthrough_variation(1))
    config = client.completion_config("chat", Context.create("ada"))
    assert not (config.messages and config.model and config.model.name)
    problem = refuse_file(flag, tmp_path / "flags.json")
    assert problem.severity == "unreadable"
    assert str(problem).startswith(f"flag 'chat': {message}")


@pytest.mark.parametrize(("change", "message"), [*UNREADABLE, *IGNORED, *SUSPECT])
def test_program_may_serve_any_ai_config(change: Any, message: str, caplog: pytest.LogCaptureFixture) -> None:
    """A program may serve AI Configs that are unreadable or suspect. A warning names the field."""
    assert [config.key for config in DevServer({"flags": {"chat": flag_with(change)}}).ai_configs] == ["chat"]
    [line] = caplog.messages
    assert line.startswith(f"warning: flag 'chat': {message}")
    assert line.endswith(" (served anyway)")


@pytest.mark.parametrize(("change", "message"), SUSPECT)
def test_suspect_variation_is_served(
    change: Json, message: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file with a variation that works, but is probably a mistake, is served. A warning names the field."""
    path = tmp_path / "flags.json"
    path.write_text(json.dumps({"flags": {"chat": flag_with(change)}}), encoding="utf-8")
    assert [config.key for config in DevServer(path).ai_configs] == ["chat"]
    [line] = caplog.messages
    assert line.startswith(f"warning: flag 'chat': {message}")
    assert line.endswith(" (served anyway)")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"offVariations": 0}, "offVariations is not known and ignored; did you mean 'offVariation'?"),
        (
            {"fallthrough": {"rollout": {"variations": [{"variation": 1, "weight": 90}]}}},
            "fallthrough.rollout has weights with the sum 90; make it 100000",
        ),
        (
            {"rules": [{"clauses": [CLAUSE], "rollout": {"variations": [{"variation": 0, "weight": 100001}]}}]},
            "rules[0].rollout has weights with the sum 100001",
        ),
    ],
)
def test_suspect_targeting_is_served(change: Json, message: str) -> None:
    """A misspelled field and weights that are not the whole are warnings."""
    flag = {name: value for name, value in flag_with({}).items() if name != "offVariation"} | change
    [problem] = check_ai_config("chat", flag)
    assert (problem.severity, str(problem).startswith(f"flag 'chat': {message}")) == ("suspect", True)


def test_two_variations_of_one_name() -> None:
    """Variations that are on and have the same key are a warning: LaunchDarkly adds up their figures."""
    flag = flag_with({})
    twice = {**flag, "variations": [*flag["variations"], flag["variations"][1]]}
    [problem] = check_ai_config("chat", twice)
    message = "flag 'chat': variations[2]._ldMeta.variationKey is 'v', as in variations[1]; give each a key"
    assert (problem.severity, str(problem).startswith(message)) == ("suspect", True)


def test_other_unknown_fields_are_left_alone() -> None:
    """A field that is not similar to a known one may be LaunchDarkly's."""
    assert check_ai_config("chat", {**flag_with({"sampling": 1}), "clientSideAvailability": {}}) == []


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([], 'the file: must be an object with "flags" or "flagValues"'),
        ({"flag": {}}, 'the file: must be an object with "flags" or "flagValues"'),
        ({"flags": []}, "the file: flags must be an object"),
        ({"flags": {}, "segments": 1}, "the file: segments must be an object"),
        ({"flags": {"chat": CHAT}, "flagValues": {"chat": 1}}, "flag 'chat': is in both flags and flagValues"),
        ({"flags": {"chat": 1}}, "flag 'chat': must be an object"),
    ],
)
def test_other_content_is_refused(source: Any, message: str) -> None:
    """Content that is not a flag file is refused with one message."""
    refusal = refuse(source)
    assert str(refusal).startswith(message)
    assert len(refusal.problems) == 1


def test_all_problems_are_listed() -> None:
    """The error lists the problems of all flags, one per line."""
    refusal = refuse({"flags": {"chat": {**CHAT, "version": "1"}, "b": {**CHAT, "key": "b", "on": 1}}})
    assert len(str(refusal).splitlines()) == 2


def test_ai_configs_are_listed() -> None:
    """A server lists key, mode and variation keys of each AI Config. Agent graphs have the mode ``graph``."""
    serve = {"version": 1, "fallthrough": {"variation": 0}}
    graph = {
        "key": "graph",
        **serve,
        "variations": [{"_ldMeta": {"enabled": True, "variationKey": "hop"}, "root": "a"}],
    }
    agent = {
        **graph,
        "key": "agent",
        "variations": [{"_ldMeta": {"enabled": True, "variationKey": "v", "mode": "agent"}}],
    }
    found = DevServer({"flags": {"chat": CHAT, "graph": graph, "agent": agent}}).ai_configs
    assert [(config.key, config.mode, config.variations) for config in found] == [
        ("chat", "completion", ("disabled", "small", "large")),
        ("graph", "graph", ("hop",)),
        ("agent", "agent", ("v",)),
    ]


def test_agents_of_a_graph(caplog: pytest.LogCaptureFixture) -> None:
    """An edge without a key, and an agent that the file does not have, are warnings."""
    edges = {"chat": [{"key": "answer", "handoff": {"description": "Now."}}, {}, {"key": "chat"}], "tirage": []}
    graph = {"_ldMeta": {"enabled": True, "variationKey": "v"}, "root": "triage", "edges": edges}
    serve = {"on": True, "fallthrough": {"variation": 0}}
    DevServer({"flags": {"chat": CHAT, "flow": {"key": "flow", **serve, "variations": [graph]}}})
    missing = "but there is no such AI Config; add it, or correct the key (served anyway)"
    assert caplog.messages == [
        "warning: flag 'flow': variations[0].edges.chat[1].key is missing; add it: the key of the agent that takes over"
        " (served anyway)",
        f"warning: flag 'flow': variations[0].root is 'triage', {missing}",
        f"warning: flag 'flow': variations[0].edges.chat[0].key is 'answer', {missing}",
        f"warning: flag 'flow': variations[0].edges.tirage is 'tirage', {missing}",
    ]


@pytest.mark.parametrize("said", [{}, {"mode": None}])
def test_mode_of_the_prompt(said: Json) -> None:
    """A server lists an AI Config that does not say its mode with the mode of its prompt, in which it is read."""
    agent = {"_ldMeta": {"enabled": True, "variationKey": "v", **said}, "instructions": "hi"}
    chat = {"_ldMeta": {"enabled": True, "variationKey": "v", **said}, "messages": [{"role": "user", "content": "hi"}]}
    serve = {"on": True, "fallthrough": {"variation": 0}}
    flags = {
        "agent": {"key": "agent", **serve, "variations": [agent]},
        "chat": {"key": "chat", **serve, "variations": [chat]},
    }
    assert [config.mode for config in DevServer({"flags": flags}).ai_configs] == ["agent", "completion"]


def test_prompts_in_variations_do_not_get_into_messages() -> None:
    """A text of a variation in the place of another type is not quoted."""
    flag = {**CHAT, "variations": [variation("v", model={"name": "gpt-4o"}, messages="a secret")]}
    problems = check_ai_config("chat", flag)
    assert [str(one) for one in problems] == ["flag 'chat': variations[0].messages must be an array, not a string"]
