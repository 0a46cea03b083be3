"""A Flask app whose models, prompts and parameters come from LaunchDarkly AI Configs.

::

    ldai dev --configs example_apps/configs.json  # prints its address
    export LDAI_DEV_SERVER=http://127.0.0.1:8765 OPENAI_API_KEY=...
    waitress-serve --listen=127.0.0.1:8080 ldai_integrations._example_apps.flask_app:app

With ``LAUNCHDARKLY_SDK_KEY`` instead of ``LDAI_DEV_SERVER``, the same app uses LaunchDarkly.
"""

import json
import os
import secrets
from collections.abc import Iterator
from typing import Any

from flask import Flask, Request, Response, abort, jsonify, request
from flask.typing import ResponseReturnValue
from ldclient import Context
from openai import APIError, OpenAI

from ldai_integrations import Run, Settings, Tracking, track_ai
from ldai_integrations._example_apps import shop
from ldai_integrations.feedback import FeedbackSettings
from ldai_integrations.flask import AITracking, feedback_blueprint


def ld_context(request: Request) -> Context:
    """Return the LD context of the user. The targeting rules of the AI Configs depend on it."""
    user = request.headers.get("X-User", "guest")  # a real app reads it from the session
    return Context.builder(user).name(user.title()).set("plan", shop.plan_of(user)).build()


app = Flask(__name__)
app.secret_key = os.environ.get("SECRET_KEY") or secrets.token_hex()  # signs the feedback tokens
feedback = FeedbackSettings(
    config_keys={"support-bot", "order-agent", "summary"}, header="X-Feedback-Token", event="feedback"
)
tracking = Tracking.from_env(settings=Settings(feedback=feedback))
AITracking(app, tracking, ld_context=ld_context)
app.register_blueprint(feedback_blueprint())
client = OpenAI()  # reads OPENAI_API_KEY and OPENAI_BASE_URL


@app.get("/")
def home() -> ResponseReturnValue:
    """Return the page. It uses no AI, so nothing is tracked."""
    return shop.PAGE


@app.post("/chat")
@track_ai(config_key="support-bot", variables={"shop": shop.NAME})
def chat(run: Run) -> ResponseReturnValue:
    """Answer a question in one response."""
    response = run.observe(client.chat.completions.create(**request_to_model(run)))
    return answer(run, response.choices[0].message.content)


@app.post("/chat/stream")
@track_ai(config_key="support-bot", variables={"shop": shop.NAME})
def chat_stream(run: Run) -> ResponseReturnValue:
    """Answer a question word by word, as server-sent events."""
    stream = client.chat.completions.create(
        **request_to_model(run),
        stream=True,
        stream_options={"include_usage": True},  # without it, OpenAI sends no usage, and the tokens are estimated
    )

    def events() -> Iterator[str]:
        for chunk in run.observe(stream):
            if chunk.choices and chunk.choices[0].delta.content:
                yield f"data: {json.dumps({'text': chunk.choices[0].delta.content})}\n\n"
        yield "data: [DONE]\n\n"

    return Response(events(), mimetype="text/event-stream", headers={"X-Run-Id": run.id})


@app.post("/orders/<order_id>/help")
@track_ai(config_key="order-agent", mode="agent", variables=lambda order_id: {"order_id": order_id})
def order_help(run: Run, order_id: str) -> ResponseReturnValue:
    """Let the agent look up an order and answer: two provider calls, one run."""
    if order_id not in shop.ORDERS:
        abort(404, "There is no such order.")  # the model was not called, so no run is reported
    asked = request_to_model(run) | {"tools": run.tools(client)}
    response = run.observe(client.chat.completions.create(**asked))
    message = response.choices[0].message
    if message.tool_calls:
        found = [
            {"role": "tool", "tool_call_id": call.id, "content": shop.ORDERS[order_id]} for call in message.tool_calls
        ]
        asked["messages"] += [message, *found]
        response = run.observe(client.chat.completions.create(**asked))
    return answer(run, response.choices[0].message.content)


@app.post("/summary")
@track_ai(config_key="summary")
def summary(run: Run) -> ResponseReturnValue:
    """Summarise a text. If the AI Config is off, return the beginning of the text instead."""
    if not run.config.enabled:
        return jsonify(answer=question()[:40])  # no run is reported if the AI Config is off
    response = run.observe(client.chat.completions.create(**request_to_model(run)))
    return answer(run, response.choices[0].message.content)


@app.errorhandler(APIError)
def model_failed(_: APIError) -> ResponseReturnValue:
    """Answer that the model failed. The run has already been reported as an error."""
    return jsonify(error="The model does not answer. Please try again."), 502


def request_to_model(run: Run) -> dict[str, Any]:
    """Return the arguments for the openai package from the AI Config, or answer 503 if it is off."""
    if not run.config.enabled:
        abort(503, "The assistant is turned off.")
    return {"model": run.model, "messages": run.messages(user=question()), **run.parameters}


def question() -> str:
    """Return the question in the request, or answer 400."""
    text = request.get_json().get("question")
    if not isinstance(text, str) or not text.strip():
        abort(400, 'Send a question as JSON: {"question": "..."}')
    return text


def answer(run: Run, text: str | None) -> Response:
    """Return an answer with its run id, which can be looked up in LaunchDarkly."""
    response = jsonify(answer=text)
    response.headers["X-Run-Id"] = run.id
    return response
