"""``python -m tests.exits.waitress_server FD``: the WSGI application on waitress, until SIGTERM."""

from __future__ import annotations

import signal
import socket
import sys

import waitress

from .applications import wsgi

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it for what they run in the background
    waitress.serve(wsgi, sockets=[socket.socket(fileno=int(sys.argv[1]))], threads=4)
