"""AI Configs as Python code for ``track_ai(default=…)``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .._ai_configs import snake_case

Json = dict[str, Any]

_NAMES = (
    "AIAgentConfigDefault",
    "AICompletionConfigDefault",
    "AIJudgeConfigDefault",
    "JudgeConfiguration",
    "LDMessage",
    "LDTool",
    "ModelConfig",
    "ProviderConfig",
)
_CLASSES = {"agent": "AIAgentConfigDefault", "judge": "AIJudgeConfigDefault"}


def write_default(flags: Mapping[str, Json]) -> str:
    """Return Python code that defines the variation of each AI Config that most contexts get."""
    code = "\n\n".join(_define(key, flag["variations"][_find_usual(flag)]) for key, flag in flags.items())
    used = [name for name in _NAMES if f"{name}(" in code]
    return f"from ldai import {', '.join(used)}\n\n{code}"


def _find_usual(flag: Json) -> int:
    """Return the number of the variation that is served by default: the one with the largest share of a rollout."""
    if not flag["on"] and flag.get("offVariation") is not None:
        return int(flag["offVariation"])
    fallthrough = flag["fallthrough"]
    if "rollout" in fallthrough:
        shares = fallthrough["rollout"]["variations"]
        return int(max(shares, key=lambda share: share["weight"])["variation"])
    return int(fallthrough.get("variation", 0))


def _define(key: str, value: Json) -> str:
    meta = value["_ldMeta"]
    name = re.sub(r"\W+|^(?=\d)", "_", key).upper()
    lines = [f"    enabled={meta['enabled']!r},"]
    if model := value.get("model"):
        options = "".join(f", {part}={model[part]!r}" for part in ("parameters", "custom") if part in model)
        lines.append(f"    model=ModelConfig({model['name']!r}{options}),")
    if provider := value.get("provider"):
        lines.append(f"    provider=ProviderConfig({provider['name']!r}),")
    if messages := value.get("messages"):
        lines.append("    messages=[")
        lines += [f"        LDMessage(role={one['role']!r}, content={one['content']!r})," for one in messages]
        lines.append("    ],")
    if instructions := value.get("instructions"):
        lines.append(f"    instructions={instructions!r},")
    if tools := value.get("tools"):
        lines.append("    tools={")
        lines += [f"        {tool!r}: {_make_tool(found)}," for tool, found in tools.items()]
        lines.append("    },")
    if judges := value.get("judgeConfiguration", {}).get("judges"):
        made = (
            f"JudgeConfiguration.Judge(key={one['key']!r}, sampling_rate={one['samplingRate']!r})" for one in judges
        )
        lines.append(f"    judge_configuration=JudgeConfiguration(judges=[{', '.join(made)}]),")
    if metric := value.get("evaluationMetricKey"):
        lines.append(f"    evaluation_metric_key={metric!r},")
    about = f"# {key!r}, variation {meta['variationKey']!r}, version {meta['version']!r}\n"
    made_of = _CLASSES.get(meta["mode"], "AICompletionConfigDefault")
    return f"{about}{name} = {made_of}(\n" + "\n".join(lines) + "\n)"


def _make_tool(tool: Json) -> str:
    return f"LDTool({', '.join(f'{snake_case(name)}={value!r}' for name, value in tool.items())})"
