"""What the dev server says about flags that are wrong, compared with what the SDKs do with them."""

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

from ldai_integrations.devserver import FlagFileError
from ldai_integrations.devserver._ai_configs import ai_configs, check_ai_config
from ldai_integrations.devserver._flags import load_mapping
from ldai_integrations.devserver._structure import check_flag, check_segment

from .samples import CHAT, Json, variation

if TYPE_CHECKING:
    from collections.abc import Iterator

CLAUSE = {"attribute": "plan", "op": "in", "values": ["premium"]}
ROLLOUT = {"variations": [{"variation": 1, "weight": 100000}]}

# A change to a good flag, where it is found, and what is said.
WRONG_FLAGS: list[tuple[Json, str]] = [
    ({"key": None}, "key is missing"),
    ({"key": 3}, "key must be a string, not 3"),
    ({"version": None}, "version is missing"),
    ({"version": "1"}, "version must be an integer, not '1'"),
    ({"version": 1.5}, "version must be an integer, not 1.5"),
    ({"on": "yes"}, "on must be true or false, not 'yes'"),
    ({"variations": {}}, "variations must be an array, not an object"),
    ({"offVariation": "0"}, "offVariation must be an integer, not '0'"),
    ({"fallthrough": 1}, "fallthrough must be an object"),
    ({"fallthrough": {"rollout": {}}}, "fallthrough.rollout.variations is missing"),
    (
        {"fallthrough": {"rollout": {"variations": [{"variation": 1}]}}},
        "fallthrough.rollout.variations[0].weight is missing",
    ),
    ({"rules": {}}, "rules must be an array"),
    ({"rules": [3]}, "rules[0] must be an object"),
    ({"rules": [{"variation": 1}]}, "rules[0].clauses is missing"),
    ({"rules": [{"variation": 1, "clauses": [{**CLAUSE, "op": None}]}]}, "rules[0].clauses[0].op is missing"),
    (
        {"rules": [{"variation": 1, "clauses": [{**CLAUSE, "negate": 1}]}]},
        "rules[0].clauses[0].negate must be true or false",
    ),
    ({"targets": [{"variation": 1, "values": [1]}]}, "targets[0].values[0] must be a string, not 1"),
    ({"contextTargets": [{"values": []}]}, "contextTargets[0].variation is missing"),
    ({"prerequisites": [{"key": "other"}]}, "prerequisites[0].variation is missing"),
    ({"salt": 1}, "salt must be a string, not 1"),
    ({"debugEventsUntilDate": "today"}, "debugEventsUntilDate must be a number, not 'today'"),
    ({"samplingRatio": "1"}, "samplingRatio must be an integer, not '1'"),
    ({"migration": {"checkRatio": "1"}}, "migration.checkRatio must be an integer, not '1'"),
]
# The SDK takes these, and then serves the caller's default.
MISLEADING_FLAGS: list[tuple[Json, str]] = [
    ({"key": "other"}, "key is 'other', but it stands under 'chat': make the two equal"),
    ({"fallthrough": {}}, "fallthrough has neither a variation nor a rollout"),
    ({"fallthrough": None}, "fallthrough is missing"),
    ({"variations": None}, "variations is missing"),
    ({"fallthrough": {"variation": 3}}, "fallthrough.variation is 3, but there are 3 variations (the first is 0)"),
    ({"offVariation": -1}, "offVariation is -1, but there are 3 variations (the first is 0)"),
    ({"rules": [{"variation": 9, "clauses": [CLAUSE]}]}, "rules[0].variation is 9, but there are 3 variations"),
    ({"rules": [{"clauses": [CLAUSE]}]}, "rules[0] has neither a variation nor a rollout"),
    (
        {"fallthrough": {"rollout": {"variations": [{"variation": 5, "weight": 1}]}}},
        "fallthrough.rollout.variations[0].variation is 5",
    ),
    ({"targets": [{"variation": 4, "values": ["ada"]}]}, "targets[0].variation is 4"),
    ({"contextTargets": [{"variation": 4, "values": ["ada"]}]}, "contextTargets[0].variation is 4"),
    ({"version": True}, "version must be an integer, not True"),
]
WRONG_SEGMENTS: list[tuple[Json, str]] = [
    ({"key": None}, "key is missing"),
    ({"included": "ada"}, "included must be an array"),
    ({"included": [1]}, "included[0] must be a string, not 1"),
    ({"includedContexts": [{}]}, "includedContexts[0].values is missing"),
    ({"rules": [{"clauses": [{}]}]}, "rules[0].clauses[0].attribute is missing"),
    ({"unbounded": "no"}, "unbounded must be true or false, not 'no'"),
    ({"generation": "1"}, "generation must be an integer, not '1'"),
]
GOOD_FLAGS: list[Json] = [
    {},
    {"fallthrough": {"rollout": {**ROLLOUT, "kind": "experiment", "contextKind": "user", "seed": 61}}},
    {"rules": [{"id": "r", "clauses": [CLAUSE], "rollout": ROLLOUT}], "targets": None, "debugEventsUntilDate": None},
    {"offVariation": None, "debugEventsUntilDate": 1795458469850, "trackEvents": True, "migration": {"checkRatio": 2}},
    {"prerequisites": [{"key": "other", "variation": 0}], "contextTargets": [{"variation": 1, "values": []}]},
]


@pytest.mark.parametrize(("change", "said"), WRONG_FLAGS)
def test_what_the_sdk_rejects_is_refused(change: Json, said: str) -> None:
    """A flag that makes the SDK reject a whole payload is refused, with its name and field."""
    flag = {**CHAT, **change}
    with pytest.raises(ValueError, match="flag/segment data"):
        FeatureFlag(flag)
    assert str(check_flag("chat", flag)[0]).startswith(f"flag 'chat': {said}")


@pytest.mark.parametrize(("change", "said"), MISLEADING_FLAGS)
def test_what_serves_nothing_is_refused(change: Json, said: str) -> None:
    """A flag that the SDK accepts but cannot serve is refused, with its name and field."""
    flag = {**CHAT, **change}
    FeatureFlag(flag)
    assert str(check_flag("chat", flag)[0]).startswith(f"flag 'chat': {said}")


@pytest.mark.parametrize(("change", "said"), WRONG_SEGMENTS)
def test_wrong_segment_is_refused(change: Json, said: str) -> None:
    """A segment that makes the SDK reject a whole payload is refused, with its name and field."""
    segment = {"key": "beta", "version": 1, **change}
    with pytest.raises(ValueError, match="flag/segment data"):
        Segment(segment)
    assert str(check_segment("beta", segment)[0]).startswith(f"segment 'beta': {said}")


@pytest.mark.parametrize("change", GOOD_FLAGS)
def test_good_flag_passes(change: Json) -> None:
    """What the SDK takes and can serve is not refused."""
    flag = {**CHAT, **change}
    FeatureFlag(flag)
    assert check_flag("chat", flag) == []


def test_good_segment_passes() -> None:
    """A segment with every kind of member is not refused, one under a wrong key is."""
    members = {"included": ["ada"], "excludedContexts": [{"contextKind": "org", "values": ["acme"]}]}
    segment = {"key": "beta", "version": 1, "rules": [{"clauses": [CLAUSE], "weight": 5}], **members}
    assert check_segment("beta", segment) == []
    assert [problem.field for problem in check_segment("gamma", segment)] == ["key"]


# A change to a good variation, and what is said about it.
UNREADABLE: list[tuple[Any, str]] = [
    ("a string", "variations[1] must be an object"),
    ({"_ldMeta": None}, "variations[1]._ldMeta must be an object"),
    ({"_ldMeta": {"enabled": True, "variationKey": "v", "version": "new"}}, "variations[1]._ldMeta.version must be"),
    ({"model": {}}, "variations[1].model.name is missing: the AI SDK raises without it"),
    ({"messages": [{"role": "user"}]}, "variations[1].messages[0].content is missing: the AI SDK raises"),
    ({"messages": [{"content": "hi"}]}, "variations[1].messages[0].role is missing: the AI SDK raises"),
    ({"messages": [{"role": "user", "content": 3}]}, "variations[1].messages[0].content must be a string"),
]
DROPPED: list[tuple[Json, str]] = [
    ({"model": "gpt-4o"}, "variations[1].model must be an object"),
    ({"model": {"name": None}}, "variations[1].model.name must be a string that is not empty"),
    ({"messages": "hi"}, "variations[1].messages must be an array of {role, content}"),
    ({"messages": ["hi"]}, "variations[1].messages must be an array of {role, content}"),
]
SUSPECT: list[tuple[Json, str]] = [
    ({"_ldMeta": {"variationKey": "v", "version": 1}}, "variations[1]._ldMeta.enabled must be true or false"),
    ({"_ldMeta": {"enabled": True}}, "variations[1]._ldMeta.variationKey is missing"),
    ({"_ldMeta": {"enabled": True, "variationKey": "v", "mode": "chat"}}, "variations[1]._ldMeta.mode is 'chat'"),
    (
        {"_ldMeta": {"enabled": True, "variationKey": "v", "mode": "agent"}},
        "variations[1].instructions is missing: in mode 'agent' the SDK reads instructions and ignores messages",
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


@pytest.mark.parametrize(("change", "said"), UNREADABLE)
def test_what_the_ai_sdk_raises_on_is_unreadable(change: Any, said: str, ai_sdk: tuple[TestData, LDAIClient]) -> None:
    """A variation on which the AI SDK raises is called unreadable, with its field."""
    flag = flag_with(change)
    data, client = ai_sdk
    data.update(data.flag("chat").variations(*flag["variations"]).fallthrough_variation(1))
    with pytest.raises((AttributeError, KeyError, TypeError, ValueError)):
        client.completion_config("chat", Context.create("ada"))
    (problem,) = check_ai_config("chat", flag)
    assert problem.severity == "unreadable"
    assert str(problem).startswith(f"flag 'chat': {said}")


@pytest.mark.parametrize(("change", "said"), DROPPED)
def test_what_the_ai_sdk_drops_is_unreadable(change: Json, said: str, ai_sdk: tuple[TestData, LDAIClient]) -> None:
    """A model or messages that the AI SDK passes over in silence are called unreadable, with the field."""
    flag = flag_with(change)
    data, client = ai_sdk
    data.update(data.flag("chat").variations(*flag["variations"]).fallthrough_variation(1))
    config = client.completion_config("chat", Context.create("ada"))
    assert not (config.messages and config.model and config.model.name)
    (problem,) = check_ai_config("chat", flag)
    assert problem.severity == "unreadable"
    assert str(problem).startswith(f"flag 'chat': {said}")


@pytest.mark.parametrize(("change", "said"), SUSPECT)
def test_what_was_hardly_meant_is_suspect(change: Json, said: str) -> None:
    """A variation that works, but not as its author will have meant, is served with a word about it."""
    flag = flag_with(change)
    payload, (problem,) = load_mapping({"flags": {"chat": flag}})
    assert payload["flags"]["chat"] == flag
    assert problem.severity == "suspect"
    assert str(problem).startswith(f"flag 'chat': {said}")


def test_forgotten_meta_is_suspect() -> None:
    """An AI Config written without any _ldMeta is disabled, which is said."""
    flag = {**CHAT, "variations": [{"model": {"name": "gpt-4o"}, "messages": []}] * 3}
    assert {problem.field for problem in check_ai_config("chat", flag)} == {
        f"variations[{n}]._ldMeta" for n in range(3)
    }


def test_plain_flags_are_left_alone() -> None:
    """A flag that is no AI Config is served whatever its values are, and not listed."""
    values = {"bool": True, "number": 3, "json": {"model": "T"}, "null": None}
    payload, problems = load_mapping({"flagValues": values})
    assert problems == []
    assert ai_configs(payload["flags"]) == []
    assert json.loads(json.dumps(payload["flags"]["json"]["variations"])) == [{"model": "T"}]


def test_program_may_serve_what_the_ai_sdk_cannot_read() -> None:
    """Flags set by a program may hold a malformed AI Config, as a test of an application needs."""
    payload, (problem,) = load_mapping({"flags": {"chat": flag_with({"model": {}})}})
    assert payload["flags"]["chat"]["variations"][1]["model"] == {}
    assert problem.field == "variations[1].model.name"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ([], 'the file: must be an object with "flags" or "flagValues"'),
        ({"flag": {}}, 'the file: must be an object with "flags" or "flagValues"'),
        ({"flags": []}, "the file: flags must be an object"),
        ({"flags": {}, "segments": 1}, "the file: segments must be an object"),
        ({"flags": {"chat": CHAT}, "flagValues": {"chat": 1}}, "flag 'chat': is in both flags and flagValues"),
        ({"flags": {"chat": 1}}, "flag 'chat': must be an object"),
    ],
)
def test_content_that_is_no_flag_file_is_refused(source: Any, said: str) -> None:
    """Content of another form is refused with a sentence."""
    with pytest.raises(FlagFileError) as refusal:
        load_mapping(source)
    assert str(refusal.value).startswith(said)
    assert len(refusal.value.problems) == 1


def test_all_problems_are_told_at_once() -> None:
    """A refusal lists the problems of all flags, one per line."""
    with pytest.raises(FlagFileError) as refusal:
        load_mapping({"flags": {"chat": {**CHAT, "version": "1"}, "b": {**CHAT, "key": "b", "on": 1}}})
    assert len(str(refusal.value).splitlines()) == 2


def test_ai_configs_are_summarised() -> None:
    """Key, mode and variation keys of each AI Config are listed, graphs as such."""
    graph = {"key": "graph", "variations": [{"_ldMeta": {"enabled": True, "variationKey": "hop"}, "root": "a"}]}
    agent = {"key": "agent", "variations": [{"_ldMeta": {"enabled": True, "variationKey": "v", "mode": "agent"}}]}
    found = ai_configs({"chat": CHAT, "graph": graph, "agent": agent})
    assert [(config.key, config.mode, config.variations) for config in found] == [
        ("chat", "completion", ("disabled", "small", "large")),
        ("graph", "graph", ("hop",)),
        ("agent", "agent", ("v",)),
    ]
