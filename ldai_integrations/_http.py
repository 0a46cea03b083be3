"""Addresses of servers, and their answers: in a limited time and of a limited size."""

from __future__ import annotations

import re
import socket
import threading
import time
from contextlib import suppress
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import SplitResult, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

# How long the head of an answer may take. The read timeout limits each silence only: a server that sends one header
# per second would hold up its client for minutes.
_HEAD_SECONDS = 15.0
_CHUNK_BYTES, _FEW_BYTES = 65_536, 32
# Python takes the brackets for the host, whatever is around them.
_BRACKETS = re.compile(r"\[[^][]*\](:[0-9]*)?")
#: The hosts that plain http may reach: nobody reads keys on the way.
LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def split_address(url: str) -> SplitResult | None:
    """Return the parts of an http or https address; ``None`` if the text is not one."""
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # of the port, or of brackets
        return None
    host = parts.netloc.rpartition("@")[2]
    return parts if is_address and ("[" not in host or _BRACKETS.fullmatch(host)) else None


def without_login(url: str) -> str:
    """Return an address as messages show it: without a user name and a password."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def limit_heads(pool: urllib3.PoolManager) -> None:
    """Limit how long the head of an answer may take, for all connections of a pool.

    It may take 15 seconds, or as long as the read timeout if that is longer.
    """
    pool.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}


def read_retry_after(response: urllib3.BaseHTTPResponse) -> float | None:
    """Return for how many seconds a server asks not to be asked again; ``None`` if it does not say so."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
        until = until.replace(tzinfo=until.tzinfo or timezone.utc)  # dates of HTTP are in UTC, with and without a zone
        return max(0.0, until.timestamp() - time.time())
    except (ValueError, OverflowError):  # no date, or one out of range
        return None


def read_body(response: urllib3.BaseHTTPResponse, *, seconds: float, most_bytes: int) -> bytes:
    """Return the body of a response that was requested without its content.

    Raises:
        urllib3.exceptions.HTTPError: It could not be read.
        ValueError: It takes longer, or is larger, than allowed. The connection is closed.
    """
    end, body = time.monotonic() + seconds, bytearray()
    while chunk := _read_arrived(response):
        body += chunk
        if len(body) > most_bytes or time.monotonic() > end:
            response.close()
            raise ValueError(f"it has more than {most_bytes:,} bytes, or takes longer than {seconds:g} s")
    response.release_conn()
    return bytes(body)


def _read_arrived(response: urllib3.BaseHTTPResponse) -> bytes:
    """Wait for the next bytes, and return them; empty at the end.

    An old urllib3 has no ``read1``. Its ``read`` waits for all bytes that it is asked for, so it is asked for a few.
    """
    return response.read1(_CHUNK_BYTES) if hasattr(response, "read1") else response.read(_FEW_BYTES)


class _LimitedConnection(HTTPConnection):
    """A connection that is shut down if the head of the answer takes too long."""

    def getresponse(self) -> Any:
        """Wait for the head of the answer.

        Raises:
            TimeoutError: It takes too long.
        """
        # Before version 2, urllib3 sets the read timeout of the socket only.
        seconds = max(_HEAD_SECONDS, self.timeout or 0.0, self.sock.gettimeout() or 0.0)
        is_late = threading.Event()
        watch = threading.Timer(seconds, self._shut_down, (is_late,))
        watch.daemon = True
        with suppress(RuntimeError):  # the interpreter is shutting down and starts no more threads
            watch.start()
        try:
            response = super().getresponse()
            if not is_late.is_set():
                return response
            response.close()  # the end of the connection looks like the end of the head
        except Exception:
            if not is_late.is_set():
                raise
        finally:
            watch.cancel()
        raise TimeoutError(f"the head of the answer took longer than {seconds:g} s")

    def _shut_down(self, is_late: threading.Event) -> None:
        is_late.set()
        with suppress(OSError, AttributeError):  # it was closed meanwhile
            self.sock.shutdown(socket.SHUT_RDWR)


class _LimitedTLSConnection(_LimitedConnection, HTTPSConnection):
    """The same for https."""


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _LimitedConnection


class _TLSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _LimitedTLSConnection
