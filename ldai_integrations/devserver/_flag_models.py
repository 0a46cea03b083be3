"""Pydantic models of a flag file: the flags and segments that LaunchDarkly's server SDKs accept, and AI Configs.

One flag with a wrong structure makes an SDK reject all flags. The fields and their types are those that the SDKs read.
Unknown fields are allowed, as in the SDKs. The JSON Schema and the tables of the documentation are made from these
models.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.json_schema import models_json_schema

from .._ai_configs import Mode
from ._json import Json


class Part(BaseModel):
    """A JSON object whose values must have exactly the declared types; ``null`` is the same as no value."""

    model_config = ConfigDict(strict=True, alias_generator=to_camel, use_attribute_docstrings=True)

    comment: Any = Field(None, alias="$comment")
    """A remark, which is ignored."""


class Meta(Part):
    """What LaunchDarkly says about a variation."""

    enabled: bool
    """Whether the AI Config is on for the users who get this variation."""
    variation_key: str = Field(min_length=1)
    """The name of the variation in records and metrics."""
    version: int = 1
    """The version of the variation; LaunchDarkly adds 1 with each change."""
    mode: Mode | None = None
    """What the AI Config is: `completion` has messages, `agent` has instructions, `judge` scores the runs of others.
    Without it, a variation with instructions and no messages is an agent, and any other a completion. LaunchDarkly's
    newer AI SDK reads each of them as a completion."""


class Custom(Part):
    """Values of your own, for `run.custom()`, and the prices of the model."""

    cost_per_input_token: float | None = Field(None, ge=0)
    """The price of an input token, in USD per token, not per million: $0.15 per million is 1.5e-7."""
    cost_per_output_token: float | None = Field(None, ge=0)
    """The price of an output token, in USD per token, not per million."""
    cost_per_cached_input_token: float | None = Field(None, ge=0)
    """The price of an input token from a cache, in USD per token, not per million."""


class Model(Part):
    """A model and its parameters."""

    name: str = Field(min_length=1)
    """The name of the model, as its provider spells it."""
    parameters: Json | None = None
    """Parameters of the call, such as `{"temperature": 0.2, "maxTokens": 400}`."""
    custom: Custom | None = None
    """Values of your own, for `run.custom()`, and the prices of the model."""


class Provider(Part):
    """The provider of a model."""

    name: str
    """The name of the provider, such as `OpenAI`, `Anthropic` or `Bedrock`."""


class Message(Part):
    """A message of a prompt."""

    role: Literal["system", "user", "assistant", "developer"]
    """The role: `system`, `user` or `assistant`; `developer` is another name for `system`."""
    content: str
    """The text. `{{variables}}` are filled in by `track_ai(variables=…)`, `{{ldctx.key}}` by the LD context."""


class Tool(Part):
    """A tool that the model may call."""

    name: str
    """The name of the tool."""
    type: str | None = None
    """The kind of tool, `function`."""
    description: str | None = None
    """When the model should call it."""
    parameters: Json | None = None
    """A JSON Schema of its arguments."""


class AttachedJudge(Part):
    """A judge that scores the runs of an AI Config."""

    key: str
    """The key of the AI Config with the mode `judge`."""
    sampling_rate: float = Field(ge=0, le=1)
    """The share of the runs that it scores, 0 to 1."""


class JudgeConfiguration(Part):
    """The judges of an AI Config."""

    judges: list[AttachedJudge]
    """The judges."""


class Edge(Part):
    """A handoff to another agent of a graph."""

    key: str
    """The key of the agent that takes over."""
    handoff: Json | None = None
    """Options of the handoff, such as `{"description": "For questions about a refund."}`."""


class Variation(Part):
    """A variation of an AI Config."""

    meta: Meta = Field(alias="_ldMeta")
    """The name of the variation, and whether it is on."""
    model: Model | None = None
    """The model."""
    provider: Provider | None = None
    """Its provider."""
    messages: list[Message] | None = None
    """The prompt, in the modes `completion` and `judge`."""
    instructions: str | None = None
    """The prompt in the mode `agent`."""
    tools: dict[str, Tool] | None = None
    """The tools by their keys."""
    judge_configuration: JudgeConfiguration | None = None
    """The judges of the AI Config."""
    output_format: Json | None = None
    """The JSON Schema of the answer."""
    evaluation_metric_key: str | None = None
    """The metric of a judge, such as `$ld:ai:judge:relevance`."""
    root: str | None = None
    """The key of the first agent of an agent graph, which has no model of its own."""
    edges: dict[str, list[Edge]] | None = None
    """The handoffs of a graph, by the key of the agent that hands over."""


class Clause(Part):
    """One condition of a rule."""

    attribute: str
    """The attribute of the LD context, such as `plan`."""
    op: str
    """The operator, such as `in`, `startsWith` or `segmentMatch`."""
    values: list[object]
    """The values to compare with; one is enough."""
    context_kind: str | None = None
    """The kind of the LD context; `user` by default."""
    negate: bool | None = None
    """Whether the clause applies if no value matches."""


class Target(Part):
    """The context keys that get one variation."""

    variation: int
    """The number of the variation; the first is 0."""
    values: list[str]
    """The keys of the LD contexts."""
    context_kind: str | None = None
    """The kind of the LD contexts; `user` by default."""


class WeightedVariation(Part):
    """A variation and its share of a rollout."""

    variation: int
    """The number of the variation; the first is 0."""
    weight: int
    """Its share in thousandths of a percent: 50000 is one half."""
    untracked: bool | None = None
    """Whether an experiment leaves out the contexts that get it."""


class Rollout(Part):
    """A split of contexts among variations."""

    variations: list[WeightedVariation]
    """The variations and their shares; together 100000."""
    context_kind: str | None = None
    """The kind of the LD context whose attribute decides; `user` by default."""
    bucket_by: str | None = None
    """The attribute that decides; the key by default."""
    kind: str | None = None
    """`experiment` for an experiment, otherwise `rollout`."""
    seed: int | None = None
    """A number that decides how the contexts are split, in place of key and salt."""


class Serve(Part):
    """A variation or a rollout to serve."""

    variation: int | None = None
    """The number of the variation; the first is 0."""
    rollout: Rollout | None = None
    """A split among variations, instead of one."""


class Rule(Serve):
    """A targeting rule."""

    clauses: list[Clause]
    """The conditions, all of which must apply."""
    id: str | None = None
    """A name of the rule, for the reason of an evaluation."""
    track_events: bool | None = None


class Prerequisite(Part):
    """Another flag and the variation that it must serve."""

    key: str
    """The key of the other flag."""
    variation: int
    """The number of the variation that it must serve; the first is 0."""


class Migration(Part):
    """The settings of a migration flag."""

    check_ratio: int | None = None


# A variation with this object is an AI Config. Another flag may have any values.
_ITEMS: Json = {"if": {"type": "object", "required": ["_ldMeta"]}, "then": {"$ref": "#/$defs/Variation"}}


class Flag(Part):
    """An AI Config, or any other flag."""

    key: str
    """The key, the same as that of the entry."""
    version: int = 1
    """The version; an edit raises it, so that it can be left out."""
    variations: list[Any] = Field(json_schema_extra={"items": _ITEMS})
    """The variations: in an AI Config each is a Variation."""
    fallthrough: Serve
    """What is served if no target and no rule applies."""
    on: bool | None = None
    """Whether targeting is on. If it is off, `offVariation` is served."""
    off_variation: int | None = None
    """The number of the variation that is served if targeting is off."""
    rules: list[Rule] | None = None
    """Targeting rules; the first one that applies decides."""
    targets: list[Target] | None = None
    """Variations for users with given keys."""
    context_targets: list[Target] | None = None
    """Variations for LD contexts of other kinds with given keys."""
    prerequisites: list[Prerequisite] | None = None
    """Other flags and the variations that they must serve."""
    salt: str | None = None
    """A text that decides how a rollout splits the contexts."""
    track_events: bool | None = None
    track_events_fallthrough: bool | None = None
    debug_events_until_date: float | None = None
    deleted: bool | None = None
    exclude_from_summaries: bool | None = None
    sampling_ratio: int | None = None
    migration: Migration | None = None


class SegmentTarget(Part):
    """Context keys of one kind."""

    values: list[str]
    """The keys of the LD contexts."""
    context_kind: str | None = None
    """The kind of the LD contexts; `user` by default."""


class SegmentRule(Part):
    """A rule that adds contexts to a segment."""

    clauses: list[Clause]
    """The conditions, all of which must apply."""
    weight: int | None = None
    """The share of these contexts that it adds, in thousandths of a percent; all by default."""
    bucket_by: str | None = None
    """The attribute that decides about the share; the key by default."""
    rollout_context_kind: str | None = None
    """The kind of the LD context whose attribute decides; `user` by default."""


class Segment(Part):
    """A segment: LD contexts to which the clause `segmentMatch` of a rule applies."""

    key: str
    """The key, the same as that of the entry."""
    version: int = 1
    """The version; an edit raises it, so that it can be left out."""
    included: list[str] | None = None
    """The keys of users in the segment."""
    excluded: list[str] | None = None
    """The keys of users that are not in it, whatever its rules say."""
    included_contexts: list[SegmentTarget] | None = None
    """LD contexts of other kinds in the segment."""
    excluded_contexts: list[SegmentTarget] | None = None
    """LD contexts of other kinds that are not in it."""
    rules: list[SegmentRule] | None = None
    """Rules that add LD contexts."""
    salt: str | None = None
    deleted: bool | None = None
    unbounded: bool | None = None
    unbounded_context_kind: str | None = None
    generation: int | None = None


class File(Part):
    """A flag file."""

    json_schema: str | None = Field(None, alias="$schema")
    """The JSON Schema of this file, with which an editor completes and checks it."""
    flags: dict[str, Flag] | None = None
    """AI Configs and other flags by their keys."""
    segments: dict[str, Segment] | None = None
    """Segments by their keys, for rules."""
    flag_values: Json | None = None
    """Flags with one value, by their keys."""


@functools.cache
def build_json_schema() -> Json:
    """Return the JSON Schema of a flag file, which nobody changes."""
    _, shared = models_json_schema([(File, "validation"), (Variation, "validation")], by_alias=True)
    definitions = shared["$defs"]
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **definitions.pop("File"),
        "anyOf": [{"required": ["flags"]}, {"required": ["flagValues"]}],
        "$defs": definitions,
    }
    found: Json = _shorten(schema)
    return found


def describe_field(model: str, path: Sequence[int | str]) -> str:
    """Return what a field is for, as a part of a sentence.

    Args:
        model: The name of the model at which the path begins.
        path: The names of the fields and the indexes of the items.
    """
    schema = build_json_schema()
    node = schema if model == "File" else schema["$defs"][model]
    for part in path:
        node = next((one for one in node.get("anyOf", ()) if one.get("type") != "null" and "required" not in one), node)
        node = schema["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node
        if isinstance(part, int):
            node = node["items"]
        else:
            node = node.get("properties", {}).get(part) or node["additionalProperties"]
    text = str(node.get("description", ""))
    return f"{text[:1].lower()}{text[1:].rstrip('.')}"


def _shorten(node: Any) -> Any:
    """Return a schema with each text in one line, without ``null`` as a default, and without titles.

    The titles repeat the names of the fields.
    """
    if isinstance(node, list):
        return [_shorten(item) for item in node]
    if isinstance(node, str):
        return " ".join(node.split())
    if not isinstance(node, dict):
        return node
    return {
        name: _shorten(value)
        for name, value in node.items()
        if not (name == "title" and isinstance(value, str)) and not (name == "default" and value is None)
    }
