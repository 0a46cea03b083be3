"""Pydantic models of the flags and segments that LaunchDarkly's server SDKs accept.

One flag with a wrong structure makes an SDK reject all flags. The fields and their types are those that
the SDK reads. Unknown fields are allowed, as in the SDK.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Part(BaseModel):
    """A JSON object whose values must have exactly the declared types; ``null`` is the same as no value."""

    model_config = ConfigDict(strict=True, alias_generator=to_camel)


class Clause(Part):
    """One condition of a rule."""

    attribute: str
    op: str
    values: list[object]
    context_kind: str | None = None
    negate: bool | None = None


class Target(Part):
    """The context keys that get one variation."""

    variation: int
    values: list[str]
    context_kind: str | None = None


class WeightedVariation(Part):
    """A variation and its share of a rollout."""

    variation: int
    weight: int
    untracked: bool | None = None


class Rollout(Part):
    """A split of contexts among variations."""

    variations: list[WeightedVariation]
    context_kind: str | None = None
    bucket_by: str | None = None
    kind: str | None = None
    seed: int | None = None


class Serve(Part):
    """A variation or a rollout to serve."""

    variation: int | None = None
    rollout: Rollout | None = None


class Rule(Serve):
    """A targeting rule."""

    clauses: list[Clause]
    id: str | None = None
    track_events: bool | None = None


class Prerequisite(Part):
    """Another flag and the variation that it must serve."""

    key: str
    variation: int


class Migration(Part):
    """The settings of a migration flag."""

    check_ratio: int | None = None


class Flag(Part):
    """A feature flag."""

    key: str
    version: int
    variations: list[object]
    fallthrough: Serve
    on: bool | None = None
    off_variation: int | None = None
    rules: list[Rule] | None = None
    targets: list[Target] | None = None
    context_targets: list[Target] | None = None
    prerequisites: list[Prerequisite] | None = None
    salt: str | None = None
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
    context_kind: str | None = None


class SegmentRule(Part):
    """A rule that adds contexts to a segment."""

    clauses: list[Clause]
    weight: int | None = None
    bucket_by: str | None = None
    rollout_context_kind: str | None = None


class Segment(Part):
    """A segment."""

    key: str
    version: int
    included: list[str] | None = None
    excluded: list[str] | None = None
    included_contexts: list[SegmentTarget] | None = None
    excluded_contexts: list[SegmentTarget] | None = None
    rules: list[SegmentRule] | None = None
    salt: str | None = None
    deleted: bool | None = None
    unbounded: bool | None = None
    unbounded_context_kind: str | None = None
    generation: int | None = None
