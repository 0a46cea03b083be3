"""The votes of one application, from the token of a run to the event in LaunchDarkly."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, get_args

from ldai.tracker import FeedbackKind, LDAIConfigTracker

from .._diagnostics import Diagnostics, raise_if_from_signal
from .._identity import TrackerIdentity, add_model, model_of_token, resumption_token_of
from .._locks import NO_PROCESS, forks
from ..exceptions import ConfigurationError
from ..settings import FeedbackSettings, Secret
from ..typing import VoteKind
from ._http import MOST_BYTES, Answer, make_refusal, too_long, too_many
from ._stores import MemoryStore, RateLimit, SQLiteStore, open_store
from ._tokens import MAX_CHARS, ExpiredTokenError, InvalidTokenError, Tokens
from ._workers import has_other_workers

if TYPE_CHECKING:
    from ldclient import Context

_KINDS = get_args(VoteKind)


class Feedback:
    """The tokens and votes of an application. Thread-safe.

    Only the first vote of each run counts. LaunchDarkly's events cannot be withdrawn, so a second vote would count as
    that of a second voter.

    Args:
        settings: The options of the application.
        send: Sends an event, as ``LDClient.track`` does; raises an exception if the event is not accepted.
        diagnostics: Where failures are noted.
    """

    def __init__(self, settings: FeedbackSettings, send: Callable[..., None], diagnostics: Diagnostics) -> None:
        self.settings = settings
        self._send_event = send
        self._diagnostics = diagnostics
        self._config_keys = frozenset(settings.config_keys)
        self._store = open_store(settings.store)
        if isinstance(self._store, SQLiteStore) and self._store.was_locked:
            diagnostics.note(
                "feedback store",
                "start",
                "The SQLite file of votes is locked by another process. The application starts, and votes are answered "
                "with 503 until the file is free. Look for a backup, or for a program that keeps a transaction open.",
            )
        self._is_shared = settings.store is not None
        # An event loop must not wait for the store, and a flood must not reach it: the memory of this process refuses
        # first.
        self._limit_here = RateLimit(settings.requests_per_minute, MemoryStore())
        self._limit = RateLimit(settings.requests_per_minute if self._is_shared else 0, self._store)
        self._secrets = settings.secrets
        self._tokens = Tokens(self._secrets, max_age=settings.max_age) if self._secrets else None
        self._looked_in = NO_PROCESS

    def require_secret(self, of_framework: Sequence[Secret] = ()) -> None:
        """Check at set-up that tokens can be signed.

        Args:
            of_framework: The secrets of the web framework; the last one signs. They are used if the settings have none.

        Raises:
            ConfigurationError: If there is no secret, or if another application has set a different one.
        """
        if self.settings.secret is not None:
            return
        secrets = [secret for secret in of_framework if secret]
        if not secrets and self._secrets:  # another integration has set one
            return
        if not secrets:
            raise ConfigurationError(
                "Feedback tokens cannot be signed, because there is no secret. Give FeedbackSettings(secret=…), or set "
                "the variable LDAI_FEEDBACK_SECRET. With Flask or Django, it is enough to set SECRET_KEY before the "
                "tracking is put on the application."
            )
        if self._secrets and self._secrets != secrets:
            raise ConfigurationError(
                "Two applications with different SECRET_KEYs share one Tracking, so it is not clear which signs "
                "feedback tokens; give FeedbackSettings(secret=…), or each application a Tracking of its own"
            )
        self._secrets, self._tokens = secrets, Tokens(secrets, max_age=self.settings.max_age)

    def look_for_workers(self) -> None:
        """Warn if several processes take votes without a shared store. Call it when an endpoint is made."""
        self._looked_in = forks.count
        self._warn_of_workers(None)

    def votes_on(self, config_key: str) -> bool:
        """Return whether users vote on the runs of an AI Config."""
        return config_key in self._config_keys

    def token(
        self, tracker: LDAIConfigTracker, ld_context: Context, *, anonymous: bool, model: Mapping[str, object]
    ) -> str:
        """Return the token of a run; an empty one, which is logged, if there cannot be a token.

        Args:
            tracker: The tracker of the run.
            ld_context: The LD context of the run.
            anonymous: Whether the context was made for one request only.
            model: ``modelKey`` and ``modelVersion`` of the variation, for the process that counts the vote. It may be
                another one, which does not know them.
        """
        if self._looked_in not in (NO_PROCESS, forks.count):  # an endpoint was made before this process was forked
            self.look_for_workers()
        if self._tokens is None:
            self._diagnostics.note(
                "feedback",
                "secret",
                "Runs have no feedback_token, because there is no secret. Give FeedbackSettings(secret=…), or set the "
                "variable LDAI_FEEDBACK_SECRET.",
            )
            return ""
        token = self._tokens.sign(add_model(resumption_token_of(tracker), model), ld_context, anonymous=anonymous)
        if len(token) <= MAX_CHARS:
            return token
        self._diagnostics.note(
            "feedback", "length", "A feedback_token is too long and left out. Shorten the config key."
        )
        return ""

    def refuse(self, method: str, client: str, length: int) -> Answer | None:
        """Return the answer to a request whose body need not be read, or ``None``.

        Args:
            method: The HTTP method.
            client: The address of the client; empty if the server does not know it.
            length: The length of the body in bytes, from the headers.
        """
        if method != "POST":
            return make_refusal(405, "Send votes with POST.", headers=[("Allow", "POST")])
        wait = self._limit_here.seconds_to_wait(client)
        if wait:
            return too_many(wait)
        return too_long() if length > MOST_BYTES else None

    def vote(
        self,
        fields: Mapping[str, object],
        ld_context: Callable[[], Context],
        client: str,
        *,
        is_multiprocess: bool | None = None,
        until: float = math.inf,
    ) -> Answer:
        """Count one vote. It may wait for the store, so do not call it on an event loop.

        Args:
            fields: ``token`` and ``kind``. Other fields are ignored and never stored.
            ld_context: Returns the LD context of the voter.
            client: The address of the client; empty if the server does not know it.
            is_multiprocess: Whether other processes take votes, too, as WSGI servers say it in ``wsgi.multiprocess``;
                ``None`` if the server does not say it.
            until: The time on the monotonic clock after which the vote is refused, because it has waited too long.
        """
        assert self._tokens is not None, "an endpoint calls require_secret when it is made"
        self._warn_of_workers(is_multiprocess)
        try:
            if time.monotonic() > until:
                raise TimeoutError("the votes before this one took too long")
            wait = self._limit.seconds_to_wait(client)
            return too_many(wait) if wait else self._count(self._tokens, fields, ld_context)
        except Exception as exc:  # of the store, or of the client
            raise_if_from_signal(exc)
            store = type(self._store).__name__
            self._diagnostics.note(
                "feedback store",
                store,
                "A vote was not counted, because %s failed (%s). It is answered with 503, and can be sent again. The "
                "traceback shows whether to look after the store or the LDClient.",
                store,
                type(exc).__name__,
                exc=exc,
            )
            return make_refusal(503, "Votes are not taken at the moment.", headers=[("Retry-After", "5")])

    def _count(self, tokens: Tokens, fields: Mapping[str, object], ld_context: Callable[[], Context]) -> Answer:
        if not fields:
            return make_refusal(400, "Send token and kind as a JSON object or as a form, with the Content-Type of it.")
        kind = fields.get("kind")
        if not isinstance(kind, str) or kind not in _KINDS:
            return make_refusal(400, f"The kind of a vote is one of {', '.join(_KINDS)}.")
        try:
            token, voter = tokens.verify(fields.get("token"), ld_context)
        except ExpiredTokenError:
            return make_refusal(410, "This answer is too old to be voted on.")
        except InvalidTokenError:
            return make_refusal(400, "The token is not valid.")
        identity = TrackerIdentity.of_token(token)
        if not self.votes_on(identity.config_key):
            return make_refusal(400, "The token is not valid.")
        first = self._store.keep(identity.run_id, kind, seconds=self.settings.max_age)
        if first is None:
            self._send(token, voter, kind, identity.run_id)
        if first is None or first == kind:
            return Answer(204, headers=[("Cache-Control", "no-store")])
        return make_refusal(409, "This answer has been voted on; the first vote counts.", kind=str(first))

    def _send(self, token: str, voter: Context, kind: str, run_id: str) -> None:
        """Send the event of a vote. If that fails, forget the vote, so that it can be sent again."""
        model = model_of_token(token)

        def track(event_name: str, ld_context: Context, data: dict[str, object], value: float) -> None:
            self._send_event(event_name, ld_context, {**data, **model}, value)

        try:
            client: Any = SimpleNamespace(track=track)  # all that a tracker uses of it
            resumed: Any = LDAIConfigTracker.from_resumption_token(token, client, voter)
            resumed.value.track_feedback({"kind": FeedbackKind(kind)})
        except Exception:
            self._store.discard(run_id)
            raise

    def _warn_of_workers(self, is_multiprocess: bool | None) -> None:
        """Note that other workers do not see the votes of this one, as far as that can be known."""
        if not self._is_shared and (has_other_workers() if is_multiprocess is None else is_multiprocess):
            self._diagnostics.note(
                "feedback",
                "workers",
                "Several processes take votes, and each counts for itself: a run can get one vote in each. "
                'Give FeedbackSettings(store="sqlite:///votes.db"), or the address of a Redis.',
            )
