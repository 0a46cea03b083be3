"""Tokens are valid for one user, for a limited time, and only if they are signed."""

from __future__ import annotations

import multiprocessing
import random
import string
from typing import Any

import pytest
from ldclient import Context

from ldai_integrations.feedback._tokens import MAX_CHARS, ExpiredTokenError, InvalidTokenError, Tokens

from .cases import ADA, SECRET, tracker_token

OLD, NEW = "the secret of last year, long enough", "the secret of this year, long enough"


class Clock:
    """A clock that the test sets."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def verified(tokens: Tokens, token: Any, user: Context = ADA) -> str:
    """Return the resumption token of a token that a user votes with."""
    return tokens.verify(token, lambda: user)[0]


def test_a_token_brings_back_what_was_signed() -> None:
    """The resumption token is returned unchanged, with the user's current context."""
    tokens = Tokens([SECRET], max_age=60)
    token = tokens.sign(tracker_token(), ADA, anonymous=False)
    later = Context.builder("ada").set("plan", "premium").build()

    assert tokens.verify(token, lambda: later) == (tracker_token(), later)


def test_a_made_up_context_comes_back_with_its_token() -> None:
    """The token of an anonymous run contains its key, and the voter's context is not needed."""
    tokens = Tokens([SECRET], max_age=60)
    anonymous = Context.builder("7c0c").anonymous(True).build()
    token = tokens.sign(tracker_token(), anonymous, anonymous=True)

    def never() -> Context:
        raise AssertionError("asked who votes")

    assert tokens.verify(token, never) == (tracker_token(), anonymous)


def test_time_is_over_when_it_is_over() -> None:
    """A token is valid until its last second, and then expired, not invalid. A clock that is behind does not matter."""
    clock = Clock()
    tokens = Tokens([SECRET], max_age=60, clock=clock)
    token = tokens.sign(tracker_token(), ADA, anonymous=False)

    for seconds in (-30, 0, 59):
        clock.now = Clock.now + seconds
        assert verified(tokens, token)
    for seconds in (60, 10**9):
        clock.now = Clock.now + seconds
        with pytest.raises(ExpiredTokenError):
            verified(tokens, token)
        with pytest.raises(InvalidTokenError):
            verified(tokens, token, Context.create("eve"))


def test_secrets_are_rotated_without_losing_votes() -> None:
    """The last secret signs and all are accepted, so old tokens are valid until the old secret is removed."""
    before, during, after = (Tokens(secrets, max_age=60) for secrets in ([OLD], [OLD, NEW], [NEW]))
    old, new = (tokens.sign(tracker_token(), ADA, anonymous=False) for tokens in (before, during))

    assert verified(during, old)
    assert verified(after, new)
    for tokens, token in ((before, new), (after, old)):
        with pytest.raises(InvalidTokenError):
            verified(tokens, token)


def _verify_elsewhere(token: str, answers: Any) -> None:
    answers.put(verified(Tokens([SECRET], max_age=60), token))


def test_another_process_verifies_with_the_secret_alone() -> None:
    """A token is valid in a process that shares only the secret."""
    spawn = multiprocessing.get_context("spawn")
    answers = spawn.Queue()
    token = Tokens([SECRET], max_age=60).sign(tracker_token(), ADA, anonymous=False)
    process = spawn.Process(target=_verify_elsewhere, args=(token, answers))
    process.start()

    assert answers.get(timeout=50) == tracker_token()
    process.join()


def test_any_change_of_any_character_is_refused() -> None:
    """Each of 3,000 changes of a token makes it invalid."""
    tokens, chance = Tokens([SECRET], max_age=60), random.Random(20)
    token = tokens.sign(tracker_token(), ADA, anonymous=False)
    alphabet = string.ascii_letters + string.digits + "-_.=+/ %\x00é\n"
    for _ in range(3_000):
        characters = list(token)
        for _ in range(chance.choice((1, 1, 1, 2, 8))):
            place, change = chance.randrange(len(characters)), chance.random()
            if change < 0.5:
                characters[place] = chance.choice(alphabet)
            elif change < 0.75:
                del characters[place]
            else:
                characters.insert(place, chance.choice(alphabet))
        if characters == list(token):
            continue
        with pytest.raises(InvalidTokenError):
            verified(tokens, "".join(characters))


@pytest.mark.parametrize("added", ["=", "==", "%", "!!!!"])
def test_a_signature_has_one_spelling(added: str) -> None:
    """A token whose signature has other characters, but the same bytes in base64, is invalid."""
    tokens = Tokens([SECRET], max_age=60)
    token = tokens.sign(tracker_token(), ADA, anonymous=False)
    others = [token[:-1] + last for last in string.ascii_letters + string.digits + "-_" if last != token[-1]]
    for changed in (token + added, *others):
        with pytest.raises(InvalidTokenError):
            verified(tokens, changed)


@pytest.mark.parametrize("length", [0, 1, 200, MAX_CHARS, MAX_CHARS + 1, 1_000_000])
def test_noise_is_refused(length: int) -> None:
    """Random characters of any length, with the dots of a token or without, are refused."""
    tokens, chance = Tokens([SECRET], max_age=60), random.Random(length)
    noise = "".join(chance.choices(string.printable + "é👍", k=length))
    for token in (noise, f"{noise}.a.1.b", f"..1.{noise}", f"{noise[:9]}.{noise[:9]}.{noise[:9]}.{noise}"):
        with pytest.raises(InvalidTokenError):
            verified(tokens, token)


def test_what_is_too_long_is_not_even_looked_at() -> None:
    """A token with a valid signature that is too long is refused before the voter's context is read."""
    tokens = Tokens([SECRET], max_age=60)
    token = tokens.sign("A" * MAX_CHARS, ADA, anonymous=False)

    def never() -> Context:
        raise AssertionError("asked who votes")

    with pytest.raises(InvalidTokenError):
        tokens.verify(token, never)


@pytest.mark.parametrize("key", ["ada", "ada@example.org", "é👍", "a" * 256, "a.b.c", "\ud800"])
def test_any_key_of_a_user_binds(key: str) -> None:
    """A token is valid for its user, whatever the key, and for no other."""
    tokens, user = Tokens([SECRET], max_age=60), Context.create(key)
    token = tokens.sign(tracker_token(), user, anonymous=False)

    assert verified(tokens, token, user)
    for other in (Context.create(key + "x"), Context.create(key, "device"), Context.create_multi(user, _DEVICE)):
        with pytest.raises(InvalidTokenError):
            verified(tokens, token, other)


_DEVICE = Context.create("phone", "device")


def test_the_longest_keys_of_launchdarkly_fit() -> None:
    """A config key and a variation key of 256 characters make a token that is not too long."""
    token = Tokens([SECRET], max_age=60).sign(tracker_token("k" * 512), ADA, anonymous=False)
    assert len(token) < MAX_CHARS


@pytest.mark.parametrize(
    ("owner", "thief"),
    [
        (Context.create("x", "org"), Context.create("org:x")),
        (Context.create("org:x"), Context.create("x", "org")),
        (
            Context.create_multi(Context.create("a"), Context.create("b", "org")),
            Context.create("org:b:user:a"),
        ),
        (Context.create("x"), Context.create("x", "org")),
    ],
)
def test_kinds_are_part_of_the_signature(owner: Context, thief: Context) -> None:
    """A user whose key looks like another context's kind and key cannot vote for that context."""
    tokens = Tokens([SECRET], max_age=60)
    token = tokens.sign(tracker_token(), owner, anonymous=False)
    assert verified(tokens, token, owner) == tracker_token()
    with pytest.raises(InvalidTokenError):
        verified(tokens, token, thief)
