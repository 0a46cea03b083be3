"""Real LaunchDarkly clients get their flags from the dev server."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ldclient import Context

from .samples import edited

if TYPE_CHECKING:
    from ldai_integrations.devserver import DevServer

    from .conftest import Connect


def test_client_initialises(server: DevServer, connect: Connect) -> None:
    """A client is initialised with the served flags."""
    client = connect(server)
    assert client.is_initialized()
    assert client.variation("chat", Context.create("ada"), None)["_ldMeta"]["variationKey"] == "small"


def test_change_is_pushed(server: DevServer, connect: Connect) -> None:
    """A change reaches a running client within a second."""
    client = connect(server)
    seen = threading.Event()
    client.flag_tracker.add_listener(lambda change: seen.set())
    server.set_flags(edited(on=False))
    assert seen.wait(1)
    assert client.variation("chat", Context.create("ada"), None)["_ldMeta"]["variationKey"] == "disabled"
