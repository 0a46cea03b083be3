"""A script that calls a model without a web request."""

# pyright: strict

import sys

from ldclient import Context
from openai import OpenAI

from ldai_integrations import FlushReport, Run, Tracking, track_ai, wrap_client

tracking = Tracking.from_env()
client = wrap_client(OpenAI())


def summarize(text: str, run: Run) -> str:
    """Return a summary."""
    answer = run.request(client, user=text).send()
    run.evaluate("length", len(answer.text) / max(len(text), 1))
    return answer.text


def main(texts: list[str]) -> FlushReport:
    """Summarize each text in a run of its own."""
    for text in texts:
        with track_ai(
            config_key="nightly-report", tracking=tracking, ld_context=lambda: Context.create("reporter")
        ) as run:
            if run.config.enabled:
                print(summarize(text, run))
    return tracking.flush()


if __name__ == "__main__":
    sys.exit(0 if main(sys.argv[1:]).complete else 1)
