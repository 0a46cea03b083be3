"""Whether code is in a run, asked with public names only."""

from __future__ import annotations

from contextvars import Context

from ldai_integrations import current_run


def in_run() -> bool:
    """Return whether a run, open or finished, is bound here."""
    return current_run().config_key != Context().run(current_run).config_key
