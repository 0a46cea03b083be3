"""``python -m tests.contract.gevent_server FD``: the WSGI application on gevent's own server, until SIGTERM."""

from gevent import monkey

monkey.patch_all()

import signal
import socket
import sys

import gevent
from gevent.pool import Pool
from gevent.pywsgi import WSGIServer

from .applications import wsgi

if __name__ == "__main__":
    # With a pool it waits for the requests that are being served when it is stopped.
    server = WSGIServer(socket.socket(fileno=int(sys.argv[1])), wsgi(), spawn=Pool(), log=None)
    gevent.signal_handler(signal.SIGTERM, server.stop)
    server.serve_forever()
