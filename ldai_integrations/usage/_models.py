"""Model names, in whatever form a provider, gateway or deployment writes them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from ._constants import FAMILIES, OPENAI_RULES
from ._encodings import CL100K, O200K, EncodingSpec
from ._families import Family, OpenAIRules
from ._values import text

_COMPILED = tuple((re.compile(family.pattern), family) for family in FAMILIES)
_SPECS = {spec.name: spec for spec in (O200K, CL100K)}
# A longer name is nobody's model; it would only fill the cache.
_LONGEST_NAME = 200


def family_of(model: Any) -> Family:
    """Return the family of a model.

    The name may carry a vendor, region, gateway, fine-tune or deployment around it, in any case: ``gpt-4o``,
    ``openai/gpt-4o``, ``ft:gpt-4o:acme::id``, ``My_GPT4o_deployment``, ``us.anthropic.claude-sonnet-4-…``. Unknown
    names belong to the family "other".
    """
    return _family(text(model)[:_LONGEST_NAME])


@lru_cache(maxsize=512)
def _family(name: str) -> Family:
    written = name.lower().replace("_", "-").replace(" ", "-")
    return next(family for pattern, family in _COMPILED if pattern.search(written))


def openai_rules(family: Family, api: str) -> OpenAIRules:
    """Return what one of OpenAI's APIs adds for one of its families: ``responses``, or for any other word ``chat``."""
    known = api if api == "responses" else "chat"
    before, since = (rules for rules in OPENAI_RULES if rules.api == known)
    return since if family.name.startswith("gpt-5") else before


def encoding_of(family: Family) -> EncodingSpec:
    """Return the encoding that counts for a family."""
    return _SPECS[family.encoding]
