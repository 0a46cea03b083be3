"""Tasks of a Celery worker. Celery has no types, so its decorator is applied where the types do not matter."""

# pyright: strict

from ldclient import Context
from openai import OpenAI

from ldai_integrations import Run, Settings, Tracking, track_ai, wrap_client

tracking = Tracking.from_env(settings=Settings(report_estimates=False))
client = wrap_client(OpenAI())


def of_user(user: str, question: str) -> Context:
    """Return the LD context of a task from its arguments."""
    return Context.builder(user).set("questions", len(question)).build()


def nothing(user: str, question: str) -> None:
    """Answer if the AI Config is disabled."""


@track_ai(config_key="support-bot", tracking=tracking, ld_context=of_user, on_disabled=nothing)
def answer(run: Run, user: str, question: str) -> str | None:
    """Answer the question of a user."""
    response = client.chat.completions.create(model=run.model, messages=run.messages(user=question), **run.parameters)
    return response.choices[0].message.content


def ask_both(question: str) -> list[str | None]:
    """Call the task as a function, with its types."""
    return [answer("ada", question), answer(user="grace", question=question)]
