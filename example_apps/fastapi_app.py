"""A FastAPI app whose models, prompts and parameters come from LaunchDarkly AI Configs.

::

    ldai dev --configs example_apps/configs.json  # prints its address
    LDAI_DEV_SERVER=http://127.0.0.1:8765 OPENAI_API_KEY=... uvicorn ldai_integrations._example_apps.fastapi_app:app

With ``LAUNCHDARKLY_SDK_KEY`` instead of ``LDAI_DEV_SERVER``, the same app uses LaunchDarkly.
"""

import json
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from ldclient import Context
from openai import APIError, AsyncOpenAI
from pydantic import BaseModel, StringConstraints

from ldai_integrations import Run, Settings, Tracking, track_ai, wrap_client
from ldai_integrations._example_apps import shop
from ldai_integrations.feedback import FeedbackSettings
from ldai_integrations.starlette import TrackingMiddleware, feedback_routes


def ld_context(request: Request) -> Context:
    """Return the LD context of the user. The targeting rules of the AI Configs depend on it."""
    user = request.headers.get("X-User", "guest")  # a real app reads it from the session
    return Context.builder(user).name(user.title()).set("plan", shop.plan_of(user)).build()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Close the connections to the model server at shutdown."""
    async with client:
        yield


feedback = FeedbackSettings(
    config_keys={"support-bot", "order-agent", "summary"},
    header="X-Feedback-Token",
    event="feedback",
    secret=os.environ.get("SECRET_KEY") or secrets.token_hex(),  # signs the feedback tokens
)
tracking = Tracking.from_env(settings=Settings(feedback=feedback))
# Reads OPENAI_API_KEY and OPENAI_BASE_URL. Its calls are recorded in the run of the request.
client = wrap_client(AsyncOpenAI())
app = FastAPI(title=shop.NAME, lifespan=lifespan)
app.add_middleware(TrackingMiddleware, tracking=tracking, ld_context=ld_context)  # also flushes at shutdown
app.router.routes.extend(feedback_routes(tracking))


class Question(BaseModel):
    """The question of a customer."""

    question: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


@app.get("/", response_class=HTMLResponse)
async def home() -> str:
    """Return the page. It uses no AI, so nothing is tracked."""
    return shop.PAGE


@app.post("/chat")
@track_ai(config_key="support-bot", variables={"shop": shop.NAME})
async def chat(run: Run, body: Question) -> Response:
    """Answer a question in one response."""
    response = await client.chat.completions.create(**request_to_model(run, body))
    return answer(run, response.choices[0].message.content)


@app.post("/chat/stream")
@track_ai(config_key="support-bot", variables={"shop": shop.NAME})
async def chat_stream(run: Run, body: Question) -> Response:
    """Answer a question word by word, as server-sent events."""
    stream = await client.chat.completions.create(
        **request_to_model(run, body),
        stream=True,
        stream_options={"include_usage": True},  # without it, OpenAI sends no usage, and the tokens are estimated
    )

    async def events() -> AsyncIterator[str]:
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                yield f"data: {json.dumps({'text': chunk.choices[0].delta.content})}\n\n"
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream", headers={"X-Run-Id": run.id})


@app.post("/orders/{order_id}/help")
@track_ai(config_key="order-agent", mode="agent", variables=lambda order_id, **_: {"order_id": order_id})
async def order_help(run: Run, order_id: str, body: Question) -> Response:
    """Let the agent look up an order and answer: two provider calls, one run."""
    if order_id not in shop.ORDERS:
        raise HTTPException(404, "There is no such order.")  # the model was not called, so no run is reported
    asked = request_to_model(run, body) | {"tools": run.tools(client)}
    response = await client.chat.completions.create(**asked)
    message = response.choices[0].message
    if message.tool_calls:
        found = [
            {"role": "tool", "tool_call_id": call.id, "content": shop.ORDERS[order_id]} for call in message.tool_calls
        ]
        asked["messages"] += [message, *found]
        response = await client.chat.completions.create(**asked)
    return answer(run, response.choices[0].message.content)


@app.post("/summary")
@track_ai(config_key="summary")
async def summary(run: Run, body: Question) -> Response:
    """Summarise a text. If the AI Config is off, return the beginning of the text instead."""
    if not run.config.enabled:
        return JSONResponse({"answer": body.question[:40]})  # no run is reported if the AI Config is off
    response = await client.chat.completions.create(**request_to_model(run, body))
    return answer(run, response.choices[0].message.content)


@app.exception_handler(APIError)
async def model_failed(_: Request, __: Exception) -> Response:
    """Answer that the model failed. The run has already been reported as an error."""
    return JSONResponse({"error": "The model does not answer. Please try again."}, status_code=502)


def request_to_model(run: Run, body: Question) -> dict[str, Any]:
    """Return the arguments for the openai package from the AI Config, or answer 503 if it is off."""
    if not run.config.enabled:
        raise HTTPException(503, "The assistant is turned off.")
    return {"model": run.model, "messages": run.messages(user=body.question), **run.parameters}


def answer(run: Run, text: str | None) -> Response:
    """Return an answer with its run id, which can be looked up in LaunchDarkly."""
    return JSONResponse({"answer": text}, headers={"X-Run-Id": run.id})
