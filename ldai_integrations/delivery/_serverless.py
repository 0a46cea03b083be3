"""Platforms that stop the CPU between requests."""

from __future__ import annotations

import os
from collections.abc import Mapping

# Each is set by the platform itself, in the process that serves requests.
_VARIABLES = (
    # AWS Lambda: reserved; docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html, "Defined runtime
    # environment variables".
    "AWS_LAMBDA_FUNCTION_NAME",
    # Google Cloud Run services and Cloud Run functions (2nd gen. Cloud Functions):
    # cloud.google.com/run/docs/container-contract, "Environment variables"; jobs have CLOUD_RUN_JOB in its place.
    "K_SERVICE",
    # Azure Functions: learn.microsoft.com/azure/azure-functions/functions-app-settings.
    "FUNCTIONS_WORKER_RUNTIME",
    # Vercel: vercel.com/docs/environment-variables/system-environment-variables, at build and run time, where the
    # project exposes system variables.
    "VERCEL",
)


def is_serverless(environ: Mapping[str, str] | None = None) -> bool:
    """Tell whether the process may be frozen as soon as a request has been answered.

    Args:
        environ: What to read instead of ``os.environ``.
    """
    env = os.environ if environ is None else environ
    return any(env.get(name) for name in _VARIABLES)
