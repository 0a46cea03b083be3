"""``python -m tests.contract.gevent_server FD``: the WSGI application on gevent's own server, until SIGTERM."""

from gevent import monkey

monkey.patch_all()

import signal  # noqa: E402  # patched first, as gevent demands
import socket  # noqa: E402
import sys  # noqa: E402

import gevent  # noqa: E402
from gevent.pool import Pool  # noqa: E402
from gevent.pywsgi import WSGIServer  # noqa: E402

from .applications import wsgi  # noqa: E402

if __name__ == "__main__":
    # With a pool it waits for the requests that are being served when it is stopped.
    server = WSGIServer(socket.socket(fileno=int(sys.argv[1])), wsgi(), spawn=Pool(), log=None)
    gevent.signal_handler(signal.SIGTERM, server.stop)
    server.serve_forever()
