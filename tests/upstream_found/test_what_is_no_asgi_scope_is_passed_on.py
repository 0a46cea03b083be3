"""What a test sends instead of an ASGI scope is for the application to judge."""

from __future__ import annotations

import asyncio
from typing import Any

from ldai_integrations import RunRecord, Tracking
from ldai_integrations.asgi import ASGITrackingMiddleware


def test_a_scope_without_a_type(tracking: Tracking, records: list[RunRecord]) -> None:
    """The application is called with what the server gave, and nothing is tracked."""
    seen: list[tuple[Any, ...]] = []

    async def app(*args: Any) -> None:
        seen.append(args)

    given: tuple[Any, ...] = ({}, object(), object())
    asyncio.run(ASGITrackingMiddleware(app, tracking, config_key="chat")(*given))

    assert seen == [given]
    assert given[0] == {}
    assert records == []
