"""A client of one's own that talks to a Relay Proxy, which a dev server stands for, in place of LaunchDarkly."""

from __future__ import annotations

from ldai_integrations import Tracking
from ldai_integrations.devserver import DevServer

from ..delivery.conftest import complete_runs, send_runs, uris
from ..flags import FLAGS
from .conftest import Connect


def test_all_by_way_of_the_relay(connect: Connect, server: DevServer) -> None:
    """With the three addresses set to the Relay Proxy's, AI Configs come from it, and every event goes to it, once."""
    tracking = Tracking(connect(**uris(server.url)))
    assert tracking.stats().connection == "ok"
    send_runs(tracking, 500)

    assert tracking.flush(60).complete
    assert complete_runs(server) == 500


def test_events_past_the_relay(connect: Connect, server: DevServer) -> None:
    """Without its address for events, AI Configs come from the Relay Proxy, and it is sent no event."""
    with DevServer(FLAGS) as launchdarkly:
        relay = {"base_uri": server.url, "stream_uri": server.url}
        tracking = Tracking(connect(**relay, events_uri=launchdarkly.url))
        send_runs(tracking, 500)

        assert tracking.flush(60).complete
        assert complete_runs(launchdarkly) == 500
    assert server.events() == []
