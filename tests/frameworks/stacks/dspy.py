"""DSPy's models and modules, with its own engine and with LiteLLM."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import cache
from typing import Any

from .stack import Stack, wait

_TOOL = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object", "properties": {}}}}
_CALL = {"id": "1", "type": "function", "function": {"name": "lookup", "arguments": "{}"}}
_LOOP = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": None, "tool_calls": [_CALL]},
    {"role": "tool", "tool_call_id": "1", "content": "found"},
]
_FIRST = "DSPy does not report when the first token arrives."
_LEFT = "DSPy does not report the end of a call whose stream is left: the input is estimated, the output is unknown."
_UNASKED = "DSPy does not request the usage of streams through LiteLLM, which counts the tokens itself."


def _model(url: str, model: str, **options: Any) -> Any:
    import dspy

    options = {"cache": False, "num_retries": 0, **options}
    return dspy.LM(f"openai/{model}", api_base=f"{url}/v1", api_key="none", **options)


@cache
def _module() -> Any:
    """Return a module that asks its model, without the formats of DSPy's signatures."""
    import dspy

    class Ask(dspy.Module):
        def forward(self, question: str) -> Any:
            return dspy.Prediction(answer=dspy.settings.lm(question))

        async def aforward(self, question: str) -> Any:
            return dspy.Prediction(answer=await dspy.settings.lm.acall(question))

    return Ask()


def _stream(model: Any) -> None:
    import dspy

    with dspy.context(lm=model):
        for _ in dspy.streamify(_module(), async_streaming=False)(question="Hi"):
            pass


def _leave(model: Any) -> None:
    import dspy

    with dspy.context(lm=model):
        stream = dspy.streamify(_module(), async_streaming=False)(question="Hi")
        next(stream)
        stream.close()


async def _astream(model: Any) -> None:
    import dspy

    with dspy.context(lm=model):
        stream: AsyncIterator[Any] = dspy.streamify(_module())(question="Hi")
        async for _ in stream:
            pass


def _loop(model: Any) -> None:
    model("Hi", tools=[_TOOL])
    model(messages=_LOOP, tools=[_TOOL])


async def _aloop(model: Any) -> None:
    await model.acall("Hi", tools=[_TOOL])
    await model.acall(messages=_LOOP, tools=[_TOOL])


STACKS = (
    Stack(
        name="dspy",
        package="dspy",
        whole=lambda url, model: _model(url, model)("Hi"),
        stream=lambda url, model: _stream(_model(url, model)),
        tools=lambda url, model: _loop(_model(url, model)),
        leave=lambda url, model: _leave(_model(url, model)),
        exceptions={"first token": _FIRST, "early end": _LEFT},
    ),
    Stack(
        name="dspy, async",
        package="dspy",
        whole=lambda url, model: wait(_model(url, model).acall("Hi")),
        stream=lambda url, model: wait(_astream(_model(url, model))),
        tools=lambda url, model: wait(_aloop(_model(url, model))),
        exceptions={"first token": _FIRST},
    ),
    Stack(
        name="dspy, litellm",
        package="dspy",
        whole=lambda url, model: _model(url, model, engine="litellm")("Hi"),
        stream=lambda url, model: _stream(_model(url, model, engine="litellm")),
        tools=lambda url, model: _loop(_model(url, model, engine="litellm")),
        leave=lambda url, model: _leave(_model(url, model, engine="litellm")),
        exceptions={"first token": _FIRST, "stream": _UNASKED, "early end": _LEFT},
    ),
)
