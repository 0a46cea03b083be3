"""``python -m tests.exits.gevent_server FD HOW``: streams on gevent's own server, until SIGTERM kills or stops it."""

from gevent import monkey

monkey.patch_all()

import signal  # noqa: E402  # patched first, as gevent demands
import socket  # noqa: E402
import sys  # noqa: E402

import gevent  # noqa: E402
from gevent.pool import Pool  # noqa: E402
from gevent.pywsgi import WSGIServer  # noqa: E402

from .streaming import app  # noqa: E402

if __name__ == "__main__":
    # With a pool it waits for the requests that are being served when it is stopped.
    server = WSGIServer(socket.socket(fileno=int(sys.argv[1])), app, spawn=Pool(), log=None)
    server.stop_timeout = 3
    if sys.argv[2] == "stopped":
        gevent.signal_handler(signal.SIGTERM, server.stop)
    server.serve_forever()
