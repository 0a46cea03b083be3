"""The votes of one application, from the token that a run hands out to the event in LaunchDarkly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, cast, get_args

from ldai.tracker import FeedbackKind, LDAIConfigTracker

from .._identity import TrackerIdentity, resumption_token_of
from ..exceptions import ConfigurationError
from ..typing import VoteKind
from ._answers import Answer, counted, refused
from ._body import MOST_BYTES
from ._memory import MemoryVotes, RateLimit
from ._tokens import LONGEST, ExpiredTokenError, InvalidTokenError, Tokens

if TYPE_CHECKING:
    from ldclient import Context, LDClient

    from .._diagnostics import Diagnostics
    from ._settings import FeedbackSettings, Secret

_KINDS = get_args(VoteKind)


class Feedback:
    """Make tokens and take votes; thread-safe.

    Of each run the first vote counts, for as long as its tokens are valid: LaunchDarkly's events cannot be taken back,
    and a second one would count as a second voter.

    Args:
        settings: The application's options.
        client: Sends the votes.
        diagnostics: Counts what goes wrong.
    """

    def __init__(self, settings: FeedbackSettings, client: LDClient, diagnostics: Diagnostics) -> None:
        self.settings = settings
        self._client = client
        self._diagnostics = diagnostics
        self._config_keys = frozenset(settings.config_keys)
        self._votes = settings.votes if settings.votes is not None else MemoryVotes()
        self._limit = RateLimit(settings.requests_per_minute)
        self._secrets = settings.secrets
        self._tokens = self._tokens_of(self._secrets) if self._secrets else None

    def require_secret(self, of_framework: Sequence[Secret] = ()) -> None:
        """See to it, at set-up, that tokens can be signed.

        Args:
            of_framework: The framework's own secrets, the one that signs last; used where the settings have none.

        Raises:
            ConfigurationError: If there is no secret, or another application has brought a different one.
        """
        if self.settings.secret is not None:
            return
        secrets = [secret for secret in of_framework if secret]
        if not secrets and self._secrets:  # another door's framework has brought one
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
        self._secrets, self._tokens = secrets, self._tokens_of(secrets)

    def votes_on(self, config_key: str) -> bool:
        """Tell whether runs of an AI Config are voted on."""
        return config_key in self._config_keys

    def token(self, tracker: LDAIConfigTracker, ld_context: Context, *, anonymous: bool) -> str:
        """Return the token of a run, or an empty one, with a word in the log, where there can be none.

        Args:
            tracker: The run's.
            ld_context: Whose run it is.
            anonymous: Whether the context was made up for one request.
        """
        if self._tokens is None:
            self._diagnostics.note(
                "feedback",
                "secret",
                "Runs have no feedback_token: there is no secret. Give FeedbackSettings(secret=…).",
            )
            return ""
        token = self._tokens.sign(resumption_token_of(tracker), ld_context, anonymous=anonymous)
        if len(token) <= LONGEST:
            return token
        self._diagnostics.note(
            "feedback", "length", "A feedback_token is too long and left out; shorten the config key."
        )
        return ""

    def refuse(self, method: str, client: str, length: int) -> Answer | None:
        """Return the answer to a request that need not be read, or ``None``.

        Args:
            method: The HTTP method.
            client: The client's address; empty if the server does not know it.
            length: How long the body is said to be, in bytes.
        """
        if method != "POST":
            return refused(405, "Send votes with POST.", headers=[("Allow", "POST")])
        wait = self._limit.seconds_to_wait(client)
        if wait:
            return refused(429, "Too many votes; try again later.", headers=[("Retry-After", str(wait))])
        return too_long() if length > MOST_BYTES else None

    def vote(self, fields: Mapping[str, object], ld_context: Callable[[], Context]) -> Answer:
        """Take one vote; may wait for the store of votes, so not for an event loop.

        Args:
            fields: ``token`` and ``kind``; all others are ignored, and sent and kept nowhere.
            ld_context: Gives the LaunchDarkly context of whoever votes.
        """
        kind = fields.get("kind")
        if not isinstance(kind, str) or kind not in _KINDS:
            return refused(400, f"The kind of a vote is one of {', '.join(_KINDS)}.")
        assert self._tokens is not None, "an endpoint calls require_secret when it is made"
        try:
            token, voter = self._tokens.verify(fields.get("token"), ld_context)
        except ExpiredTokenError:
            return refused(410, "This answer is too old to be voted on.")
        except InvalidTokenError:
            return refused(400, "The token is not valid.")
        identity = TrackerIdentity.of_token(token)
        if not self.votes_on(identity.config_key):
            return refused(400, "The token is not valid.")
        return self._count(token, identity, kind, voter)

    def _count(self, token: str, identity: TrackerIdentity, kind: str, voter: Context) -> Answer:
        try:
            first = self._votes.keep(identity.run_id, kind, seconds=self.settings.max_age)
            if first is None:
                resumed = LDAIConfigTracker.from_resumption_token(token, self._client, voter)
                cast(LDAIConfigTracker, resumed.value).track_feedback({"kind": FeedbackKind(kind)})
        except Exception as exc:
            self._diagnostics.failed("feedback store", type(self._votes).__name__, exc)
            return refused(503, "Votes are not taken at the moment.", headers=[("Retry-After", "5")])
        if first is None or first == kind:
            return counted()
        return refused(409, "This answer has been voted on; the first vote counts.", kind=str(first))

    def _tokens_of(self, secrets: Sequence[Secret]) -> Tokens:
        return Tokens(secrets, max_age=self.settings.max_age)


def too_long() -> Answer:
    """Refuse a body that is longer than any vote."""
    return refused(413, f"A vote has at most {MOST_BYTES} bytes.")
