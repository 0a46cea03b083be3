"""The views of a Django application, and the functions that its settings name."""

# pyright: strict

from django.http import HttpRequest, JsonResponse
from django.urls import path
from ldclient import Context
from openai import OpenAI

from ldai_integrations import Run, Tracking, track_ai, wrap_client
from ldai_integrations.django import feedback_urls

tracking = Tracking.from_env()
client = wrap_client(OpenAI())


def ld_context(request: HttpRequest) -> Context:
    """Return the user of a request."""
    return Context.create(request.headers.get("X-User", "guest"))


def unavailable(request: HttpRequest) -> JsonResponse:
    """Answer if the AI Config is disabled."""
    return JsonResponse({"path": request.path}, status=503)


@track_ai(config_key="support-bot", on_disabled=unavailable)
def chat(request: HttpRequest, run: Run) -> JsonResponse:
    """Answer a question."""
    question = request.body.decode()
    response = client.chat.completions.create(model=run.model, messages=run.messages(user=question), **run.parameters)
    return JsonResponse({"answer": response.choices[0].message.content})


urlpatterns = [path("chat", chat), *feedback_urls()]
