"""A Flask application."""

# pyright: strict

from flask import Flask, Request, request
from flask.typing import ResponseReturnValue
from ldclient import Context
from openai import OpenAI

from ldai_integrations import Run, RunRecord, Tracking, run_finished, track_ai, wrap_client
from ldai_integrations.flask import AITracking, get_tracking

app = Flask(__name__)
client = wrap_client(OpenAI())


def ld_context(request: Request) -> Context:
    """Return the user of a request."""
    return Context.create(request.headers.get("X-User", "guest"))


AITracking(app, Tracking.from_env(), ld_context=ld_context)


def unavailable() -> ResponseReturnValue:
    """Answer if the AI Config is disabled."""
    return "The assistant is not available.", 503


@app.post("/chat")
@track_ai(config_key="support-bot", on_disabled=unavailable)
def chat(run: Run) -> ResponseReturnValue:
    """Answer a question."""
    question = str(request.form["question"])
    response = client.chat.completions.create(model=run.model, messages=run.messages(user=question), **run.parameters)
    return {"answer": response.choices[0].message.content, "token": run.feedback_token}


@app.get("/health")
def health() -> ResponseReturnValue:
    """Return the state of the connection."""
    stats = get_tracking().stats()
    return {"launchdarkly": stats.connection, "problems": stats.diagnostics}


@run_finished.connect_via("support-bot")
def bill(config_key: str, *, record: RunRecord) -> None:
    """Print what a run cost."""
    tokens = record.usage.total_tokens if record.usage is not None else None
    print(config_key, record.outcome, record.duration_ms, tokens)
