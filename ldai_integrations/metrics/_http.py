"""Requests to LaunchDarkly's REST API: addresses, retries and errors."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3

from .._http import LOOPBACK, limit_heads, read_body, read_retry_after, split_address, without_login
from .._version import __version__
from ..exceptions import ConfigurationError, MetricsError

#: The instances of LaunchDarkly by name (https://launchdarkly.com/docs/api, "Federal and EU environments").
HOSTS = {
    "launchdarkly": "https://app.launchdarkly.com",
    "eu": "https://app.eu.launchdarkly.com",
    "federal": "https://app.launchdarkly.us",
}

_TOKEN_FORM = re.compile(r"[\x21-\x7e]{1,4096}")
_TRIES = 5  # of one request, including the first
_MOST_BYTES = 33_554_432  # of an answer
_BACKOFF_SECONDS = 0.5  # urllib3 retries at once, then after twice this, then doubles it each time: 7 s in all
_LONGEST_RESET_SECONDS = 86_400.0  # a rate limit that lasts longer is not one
_API_VERSION = "20240415"  # the current one; without the header, the token's own version decides

_REMEDIES = {
    400: "check env, the keys and, for metrics, the time range",
    401: "give an API access token (api-…) that is valid; SDK keys do not work here",
    403: "give the access token a role that may read this project's AI Configs",
    404: "check the keys of the AI Config and the project",
    429: "wait, or ask less often; the limits are shared by all tokens of the account",
}


class Connection:
    """A connection to one LaunchDarkly instance. Thread-safe.

    Args:
        base_url: A name in :data:`HOSTS`, or an address; plain http only on this machine.
        token: The access token. It is sent in the Authorization header and nowhere else.
        timeout: The time for one try in seconds: to connect, for each silence, and for the whole body.
        max_wait: The longest wait for one rate limit in seconds.

    Raises:
        ConfigurationError: If the address or the token cannot work.
    """

    def __init__(self, base_url: str, token: str, *, timeout: float, max_wait: float) -> None:
        self.base_url = _check_url(HOSTS.get(base_url, base_url))
        self._token = _check_token(token)
        self._timeout = timeout
        self._pool = _make_pool(self.base_url)
        limit_heads(self._pool)
        self._retry = _Retry(max_wait=max_wait)

    def get(self, path: str, query: Mapping[str, str]) -> object:
        """Return the JSON at a path.

        Raises:
            MetricsError: If there is none. The text says why and what to do.
        """
        headers = {
            "Authorization": self._token,
            "LD-API-Version": _API_VERSION,
            "User-Agent": f"ldai-integrations/{__version__}",
        }
        try:
            response = self._pool.request(
                "GET",
                f"{self.base_url}{path}",
                fields=dict(query),
                headers=headers,
                timeout=urllib3.Timeout(connect=self._timeout, read=self._timeout),
                retries=self._retry,
                preload_content=False,
            )
            body = read_body(response, seconds=self._timeout, most_bytes=_MOST_BYTES)
        except urllib3.exceptions.HTTPError as exc:
            raise self._unreachable(exc) from exc
        except ValueError as exc:
            raise MetricsError(
                f"{self.base_url} sent an answer that cannot be used: {exc}; check the address", status=None
            ) from exc
        if response.status != 200:
            raise self._refused(response, body)
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as exc:
            raise MetricsError(
                f"{self.base_url} answered with something that is not JSON; check the address", status=200
            ) from exc

    def _refused(self, response: urllib3.BaseHTTPResponse, body: bytes) -> MetricsError:
        status = response.status
        said = _read_message(body).replace(self._token, "…")
        remedy = _REMEDIES.get(status, "check the address and https://status.launchdarkly.com")
        if status == 404 and urlsplit(self.base_url).hostname not in LOOPBACK:  # the dev server accepts any token
            remedy += ", and that the token belongs to this LaunchDarkly instance"
        wait = _read_wait(response)
        if wait is not None:
            remedy = f"try again in {wait:.0f} s; the limits are shared by all tokens of the account"
        answer = f"HTTP {status}{f' ({said})' if said else ''}"
        return MetricsError(f"{self.base_url} answered {answer}: {remedy}", status=status)

    def _unreachable(self, exc: urllib3.exceptions.HTTPError) -> MetricsError:
        reason = getattr(exc, "reason", None) or exc
        refused = isinstance(reason, urllib3.exceptions.NewConnectionError)  # which urllib3 derives from its timeout
        remedy = "check the address, the network and https_proxy"
        if isinstance(reason, urllib3.exceptions.TimeoutError) and not refused:
            cause = f"did not answer within {self._timeout:g} s, {_TRIES} times"
        else:
            cause = f"could not be reached ({type(reason).__name__})"
            if urlsplit(self.base_url).hostname in LOOPBACK:
                remedy = "start the dev server (`ldai dev`), or correct the address"
        return MetricsError(f"{self.base_url} {cause}: {remedy}", status=None)


class _Retry(urllib3.Retry):
    """A policy of retries after server errors, lost connections and rate limits, with a limit on each wait."""

    def __init__(self, *, max_wait: float, **options: Any) -> None:
        defaults = {
            "total": _TRIES - 1,
            "backoff_factor": _BACKOFF_SECONDS,
            "status_forcelist": (429, 500, 502, 503, 504),
            "raise_on_status": False,
            "redirect": False,  # the token is for this host alone
            "raise_on_redirect": False,
        }
        super().__init__(**{**defaults, **options})
        self._max_wait = max_wait

    def new(self, **changes: Any) -> _Retry:
        """Pass the limit on to the next try."""
        return super().new(max_wait=self._max_wait, **changes)

    def increment(self, method: Any = None, url: Any = None, response: Any = None, *args: Any, **options: Any) -> Any:
        """Give up at once if the rate limit lasts longer than the longest wait; the response is then final."""
        wait = None if response is None else _read_wait(response)
        if wait is not None and wait > self._max_wait:
            raise urllib3.exceptions.MaxRetryError(options["_pool"], url)
        changed = super().increment(method, url, response, *args, **options)
        if response is not None:
            response.close()  # nobody needs the body, which may be endless
        return changed

    def get_retry_after(self, response: urllib3.BaseHTTPResponse) -> float | None:
        """Return the seconds to wait, with some jitter; ``None`` for the usual backoff."""
        wait = _read_wait(response)
        return None if wait is None else wait + random.uniform(0, 0.5)


def _read_wait(response: urllib3.BaseHTTPResponse) -> float | None:
    """Return for how many seconds LaunchDarkly asks to wait; ``None`` if it does not. The longest wait counts.

    Resets are in milliseconds since the epoch. Every response has them, so they only matter on a 429.
    """
    headers, now = response.headers, time.time()
    resets = [v for k, v in headers.items() if k.lower().startswith("x-ratelimit-") and k.lower().endswith("reset")]
    waits = [float(value) / 1000 - now for value in resets if value.isdecimal() and response.status == 429]
    after = read_retry_after(response)
    if after is not None:
        waits.append(after)
    return min(max(0.0, *waits), _LONGEST_RESET_SECONDS) if waits else None


def _read_message(body: bytes) -> str:
    """Return LaunchDarkly's own message about an error, shortened; an empty text if it sent something else."""
    try:
        message = json.loads(body)["message"]
    except (ValueError, KeyError, TypeError):
        return ""
    return message[:200] if isinstance(message, str) else ""


def _check_token(token: str) -> str:
    """Refuse a text that is not an access token, without showing it."""
    token = token.strip() if isinstance(token, str) else ""
    if not _TOKEN_FORM.fullmatch(token):
        raise ConfigurationError("api_token is empty or has characters that no access token has; copy it whole")
    if token.startswith(("sdk-", "mob-")):
        raise ConfigurationError(
            f"api_token begins with {token[:4]!r}: that is the key of an SDK; give an API access token (api-…), "
            "from LaunchDarkly's Authorization page. The commands read it from LAUNCHDARKLY_ACCESS_TOKEN"
        )
    return token


def _check_url(url: str) -> str:
    parts, shown = split_address(url), without_login(url)
    if parts is not None and "@" in parts.netloc:
        raise ConfigurationError(f"base_url has a user name or a password; give the address without them: {shown:.200}")
    if parts is None or parts.query or parts.fragment:
        raise ConfigurationError(
            f"base_url is {shown!r:.200}; give {', '.join(HOSTS)}, or an address such as https://…"
        )
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ConfigurationError(
            f"base_url is {shown!r}: over plain http the access token would be readable on the network; use https"
        )
    return url.rstrip("/")


def _make_pool(url: str) -> urllib3.PoolManager:
    """Return a pool that uses https_proxy or http_proxy, unless no_proxy names the host."""
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    if not proxy or proxy_bypass(parts.hostname or ""):
        return urllib3.PoolManager()
    credentials = urlsplit(proxy)
    headers = None
    if credentials.username:
        userinfo = f"{unquote(credentials.username)}:{unquote(credentials.password or '')}"
        headers = urllib3.make_headers(proxy_basic_auth=userinfo)
    return urllib3.ProxyManager(proxy, proxy_headers=headers)
