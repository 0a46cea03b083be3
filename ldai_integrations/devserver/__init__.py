"""A local stand-in for LaunchDarkly: it sends flags to SDKs, receives their events, and computes metrics.

Nothing leaves the machine::

    with DevServer(Path("flags.json")) as server:
        client = LDClient(Config("sdk-dev", base_uri=server.url, stream_uri=server.url, events_uri=server.url))

:attr:`DevServer.url` is also the address of a page that shows what has arrived: figures over time, runs with their
events, and warnings.

``ldai dev`` runs the same server from the command line. It needs the extra ``[dev]``.
"""

from __future__ import annotations

from .._extras import needs_extra

with needs_extra("dev"):
    from ._checks import FlagFileError
    from ._flag_file import read_flag_file
    from ._server import DevServer

__all__ = ["DevServer", "FlagFileError", "read_flag_file"]
