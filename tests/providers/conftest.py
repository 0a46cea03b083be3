"""A provider on this machine."""

from __future__ import annotations

from ..clients.conftest import provider, serving_provider

__all__ = ["provider", "serving_provider"]
