"""LiteLLM's functions, and its Router."""

from __future__ import annotations

from typing import Any

from .stack import Stack, openai_clients, wait_on_running_loop

_MESSAGES = [{"role": "user", "content": "Hi"}]
_TOOL = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object", "properties": {}}}}
_FIRST = "LiteLLM reports the time of its first chunk, which may be empty."
_LEFT = "LiteLLM does not report a stream that its consumer leaves: the input is estimated, the output is unknown."


def _options(url: str, **more: Any) -> dict[str, Any]:
    stream = {"stream_options": {"include_usage": True}} if more.get("stream") else {}
    return {"messages": _MESSAGES, "api_base": f"{url}/v1", "api_key": "none", "max_retries": 0, **stream, **more}


def _complete(url: str, model: str, **more: Any) -> Any:
    import litellm

    clients = openai_clients(url)
    client = {"client": clients[0]} if clients is not None else {}
    return litellm.completion(f"openai/{model}", **_options(url, **client, **more))


async def _acomplete(url: str, model: str, **more: Any) -> Any:
    import litellm

    clients = openai_clients(url)
    client = {"client": clients[1]} if clients is not None else {}
    return await litellm.acompletion(f"openai/{model}", **_options(url, **client, **more))


def _answered(asked: Any) -> list[Any]:
    """Return the messages of the second call of a tool loop."""
    message = asked.choices[0].message
    call = message.tool_calls[0]
    return [*_MESSAGES, message, {"role": "tool", "tool_call_id": call.id, "content": "found"}]


def _loop(url: str, model: str) -> None:
    asked = _complete(url, model, tools=[_TOOL])
    _complete(url, model, tools=[_TOOL], messages=_answered(asked))


async def _aloop(url: str, model: str) -> None:
    asked = await _acomplete(url, model, tools=[_TOOL])
    await _acomplete(url, model, tools=[_TOOL], messages=_answered(asked))


def _leave(url: str, model: str) -> None:
    stream = _complete(url, model, stream=True)
    next(chunk for chunk in stream if chunk.choices and chunk.choices[0].delta.content)
    stream.close()


async def _astream(url: str, model: str) -> None:
    async for _ in await _acomplete(url, model, stream=True):
        pass


async def _aleave(url: str, model: str) -> None:
    stream = await _acomplete(url, model, stream=True)
    async for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            break
    await stream.aclose()


def _claude(url: str, model: str, **more: Any) -> Any:
    import litellm

    return litellm.completion(f"anthropic/{model}", _MESSAGES, api_base=url, api_key="none", max_retries=0, **more)


def _router(url: str, model: str) -> Any:
    import litellm

    params = {"model": f"openai/{model}", "api_base": f"{url}/v1", "api_key": "none", "max_retries": 0}
    return litellm.Router([{"model_name": "chat", "litellm_params": params}], num_retries=0)


STACKS = (
    Stack(
        name="litellm",
        package="litellm",
        takes_client=True,
        whole=_complete,
        stream=lambda url, model: list(_complete(url, model, stream=True)),
        tools=_loop,
        leave=_leave,
        exceptions={"early end": _LEFT, "first token": _FIRST},
    ),
    Stack(
        name="litellm, async",
        package="litellm",
        takes_client=True,
        whole=lambda url, model: wait_on_running_loop(_acomplete(url, model)),
        stream=lambda url, model: wait_on_running_loop(_astream(url, model)),
        tools=lambda url, model: wait_on_running_loop(_aloop(url, model)),
        leave=lambda url, model: wait_on_running_loop(_aleave(url, model)),
        exceptions={"early end": _LEFT, "first token": _FIRST},
    ),
    Stack(
        name="litellm, claude",
        package="litellm",
        whole=_claude,
        stream=lambda url, model: list(_claude(url, model, stream=True)),
    ),
    Stack(
        name="litellm router",
        package="litellm",
        whole=lambda url, model: _router(url, model).completion("chat", _MESSAGES),
        stream=lambda url, model: list(
            _router(url, model).completion("chat", _MESSAGES, stream=True, stream_options={"include_usage": True})
        ),
        exceptions={"first token": _FIRST},
    ),
)
