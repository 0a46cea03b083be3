"""A FastAPI application that streams Server-Sent Events."""

# pyright: strict

import json
from collections.abc import AsyncIterator

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse
from ldclient import Context
from openai import AsyncOpenAI
from pydantic import BaseModel

from ldai_integrations import Run, Settings, Tracking, current_run, track_ai, wrap_client
from ldai_integrations.starlette import TrackingMiddleware

tracking = Tracking.from_env(settings=Settings(flush_timeout=2.0))
client = wrap_client(AsyncOpenAI(), include_usage=True)


def ld_context(request: Request) -> Context:
    """Return the user of a request."""
    return Context.builder(request.headers.get("X-User", "guest")).set("path", request.url.path).build()


app = FastAPI()
app.add_middleware(TrackingMiddleware, tracking=tracking, ld_context=ld_context)


class Question(BaseModel):
    """The body of a request."""

    text: str


async def events(question: str, run: Run) -> AsyncIterator[str]:
    """Yield an event for each part of the answer."""
    stream = await client.chat.completions.create(
        model=run.model, messages=run.messages(user=question), stream=True, **run.parameters
    )
    async for chunk in stream:
        for choice in chunk.choices:
            if choice.delta.content:
                yield f"data: {json.dumps({'text': choice.delta.content})}\n\n"
    yield f"data: {json.dumps({'run': current_run().id})}\n\n"


@app.post("/chat")
@track_ai(config_key="support-bot")
async def chat(question: Question, run: Run) -> StreamingResponse:
    """Stream the answer to a question."""
    if not run.config.enabled:
        raise HTTPException(503, "The assistant is not available.")
    return StreamingResponse(events(question.text, run), media_type="text/event-stream")
