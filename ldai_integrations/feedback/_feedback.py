"""The votes of one application, from the token of a run to the event in LaunchDarkly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, cast, get_args

from ldai.tracker import FeedbackKind, LDAIConfigTracker

from .._identity import TrackerIdentity, resumption_token_of
from .._service_settings import FeedbackSettings, Secret
from ..exceptions import ConfigurationError
from ..typing import VoteKind
from ._http import MOST_BYTES, Answer, confirm, refuse, too_long
from ._memory import MemoryVotes, RateLimit
from ._tokens import MAX_CHARS, ExpiredTokenError, InvalidTokenError, Tokens

if TYPE_CHECKING:
    from ldclient import Context, LDClient

    from .._diagnostics import Diagnostics

_KINDS = get_args(VoteKind)


class Feedback:
    """The tokens and votes of an application. Thread-safe.

    The first vote of each run counts, as long as its tokens are valid: LaunchDarkly's events cannot be withdrawn, and a
    second one would count as a second voter.

    Args:
        settings: The options of the application.
        client: The client that sends the votes.
        diagnostics: Where failures are noted.
    """

    def __init__(self, settings: FeedbackSettings, client: LDClient, diagnostics: Diagnostics) -> None:
        self.settings = settings
        self._client = client
        self._diagnostics = diagnostics
        self._config_keys = frozenset(settings.config_keys)
        self._votes = settings.votes if settings.votes is not None else MemoryVotes()
        self._limit = RateLimit(settings.requests_per_minute)
        self._secrets = settings.secrets
        self._tokens = Tokens(self._secrets, max_age=settings.max_age) if self._secrets else None

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
                "Feedback tokens cannot be signed: there is no secret. Give FeedbackSettings(secret=…), or with Flask "
                "or Django set SECRET_KEY before the tracking is put on the application"
            )
        if self._secrets and self._secrets != secrets:
            raise ConfigurationError(
                "Two applications with different SECRET_KEYs share one Tracking, so it is not clear which signs "
                "feedback tokens; give FeedbackSettings(secret=…), or each application a Tracking of its own"
            )
        self._secrets, self._tokens = secrets, Tokens(secrets, max_age=self.settings.max_age)

    def votes_on(self, config_key: str) -> bool:
        """Return whether users vote on the runs of an AI Config."""
        return config_key in self._config_keys

    def token(self, tracker: LDAIConfigTracker, ld_context: Context, *, anonymous: bool) -> str:
        """Return the token of a run; an empty one, which is logged, if there cannot be a token.

        Args:
            tracker: The tracker of the run.
            ld_context: The LD context of the run.
            anonymous: Whether the context was made for one request only.
        """
        if self._tokens is None:
            self._diagnostics.note(
                "feedback",
                "secret",
                "Runs have no feedback_token: there is no secret. Give FeedbackSettings(secret=…).",
            )
            return ""
        token = self._tokens.sign(resumption_token_of(tracker), ld_context, anonymous=anonymous)
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
            return refuse(405, "Send votes with POST.", headers=[("Allow", "POST")])
        wait = self._limit.seconds_to_wait(client)
        if wait:
            return refuse(429, "Too many votes; try again later.", headers=[("Retry-After", str(wait))])
        return too_long() if length > MOST_BYTES else None

    def vote(self, fields: Mapping[str, object], ld_context: Callable[[], Context]) -> Answer:
        """Count one vote. It may wait for the store of votes, so do not call it on an event loop.

        Args:
            fields: ``token`` and ``kind``. Other fields are ignored and never stored.
            ld_context: Returns the LD context of the voter.
        """
        kind = fields.get("kind")
        if not isinstance(kind, str) or kind not in _KINDS:
            return refuse(400, f"The kind of a vote is one of {', '.join(_KINDS)}.")
        assert self._tokens is not None, "an endpoint calls require_secret when it is made"
        try:
            token, voter = self._tokens.verify(fields.get("token"), ld_context)
        except ExpiredTokenError:
            return refuse(410, "This answer is too old to be voted on.")
        except InvalidTokenError:
            return refuse(400, "The token is not valid.")
        identity = TrackerIdentity.of_token(token)
        if not self.votes_on(identity.config_key):
            return refuse(400, "The token is not valid.")
        try:
            first = self._votes.keep(identity.run_id, kind, seconds=self.settings.max_age)
            if first is None:
                resumed = LDAIConfigTracker.from_resumption_token(token, self._client, voter)
                cast(LDAIConfigTracker, resumed.value).track_feedback({"kind": FeedbackKind(kind)})
        except Exception as exc:  # of the application's store, or of the client
            self._diagnostics.failed("feedback store", type(self._votes).__name__, exc)
            return refuse(503, "Votes are not taken at the moment.", headers=[("Retry-After", "5")])
        if first is None or first == kind:
            return confirm()
        return refuse(409, "This answer has been voted on; the first vote counts.", kind=str(first))
