"""``python -m tests.exits.gevent_server FD HOW``: streams on gevent's own server, until SIGTERM kills or stops it."""

from gevent import monkey

monkey.patch_all()

import signal
import socket
import sys

import gevent
from gevent.pool import Pool
from gevent.pywsgi import WSGIServer

from .streaming import app

if __name__ == "__main__":
    # With a pool it waits for the requests that are being served when it is stopped.
    server = WSGIServer(socket.socket(fileno=int(sys.argv[1])), app, spawn=Pool(), log=None)
    server.stop_timeout = 3
    if sys.argv[2] == "stopped":
        gevent.signal_handler(signal.SIGTERM, server.stop)
    server.serve_forever()
