"""DSPy's models and modules, with its own engine and with LiteLLM."""

from __future__ import annotations

from typing import Any

from .stack import Stack, wait


def _model(url: str, model: str, **options: Any) -> Any:
    import dspy

    options = {"cache": False, "num_retries": 0, **options}
    return dspy.LM(f"openai/{model}", api_base=f"{url}/v1", api_key="none", **options)


async def _acall(model: Any) -> None:
    await model.acall("Hi")


STACKS = (
    Stack(
        name="dspy",
        package="dspy",
        whole=lambda url, model: _model(url, model)("Hi"),
    ),
    Stack(
        name="dspy, async",
        package="dspy",
        whole=lambda url, model: wait(_acall(_model(url, model))),
    ),
    Stack(
        name="dspy, litellm",
        package="dspy",
        whole=lambda url, model: _model(url, model, engine="litellm")("Hi"),
    ),
)
