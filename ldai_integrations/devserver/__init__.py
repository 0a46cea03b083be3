"""A LaunchDarkly for one machine: flags out over SSE, events in, metrics back, nothing of it on the internet.

::

    with DevServer(Path("flags.json")) as server:
        client = LDClient(Config("sdk-dev", base_uri=server.url, stream_uri=server.url, events_uri=server.url))

In a browser, :attr:`DevServer.url` is a page of what has arrived: figures over time, runs with their events, warnings.

``ldai dev`` runs the same server from the command line. It needs the extra ``[dev]``.
"""

from __future__ import annotations

from ._problems import FlagFileError
from ._server import DevServer

__all__ = ["DevServer", "FlagFileError"]
