"""``python -m tests.exits.waitress_server FD MODULE:APP``: a WSGI application on waitress, until SIGTERM."""

from __future__ import annotations

import pkgutil
import signal
import socket
import sys

import waitress

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it for what they run in the background
    app = pkgutil.resolve_name(sys.argv[2])
    waitress.serve(app, sockets=[socket.socket(fileno=int(sys.argv[1]))], threads=4)
