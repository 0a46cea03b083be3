"""Tokens: who can make one, who can vote with it, and for how long."""

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
    """A clock that only the test moves."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


def verified(tokens: Tokens, token: Any, user: Context = ADA) -> str:
    """Return the resumption token of a token that a user votes with."""
    return tokens.verify(token, lambda: user)[0]


def test_a_token_brings_back_what_was_signed() -> None:
    """LaunchDarkly's token comes back as it was, for the user's context as it is now."""
    tokens = Tokens([SECRET], max_age=60)
    token = tokens.sign(tracker_token(), ADA, anonymous=False)
    later = Context.builder("ada").set("plan", "premium").build()

    assert tokens.verify(token, lambda: later) == (tracker_token(), later)


def test_a_made_up_context_comes_back_with_its_token() -> None:
    """The key of a context that only its request had is in the token, and nobody is asked who votes."""
    tokens = Tokens([SECRET], max_age=60)
    anonymous = Context.builder("7c0c").anonymous(True).build()
    token = tokens.sign(tracker_token(), anonymous, anonymous=True)

    def never() -> Context:
        raise AssertionError("asked who votes")

    assert tokens.verify(token, never) == (tracker_token(), anonymous)


def test_time_is_over_when_it_is_over() -> None:
    """A token is good until its last second, and told apart from a forged one after it; clocks that lag do no harm."""
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
    """The last secret signs and all verify, so old tokens stay good until the old secret is taken away."""
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
    """A token made here is good in a process that shares nothing with this one but the secret."""
    spawn = multiprocessing.get_context("spawn")
    answers = spawn.Queue()
    token = Tokens([SECRET], max_age=60).sign(tracker_token(), ADA, anonymous=False)
    process = spawn.Process(target=_verify_elsewhere, args=(token, answers))
    process.start()

    assert answers.get(timeout=50) == tracker_token()
    process.join()


def test_any_change_of_any_character_is_refused() -> None:
    """However a token is changed, it is refused or still says the same; 3,000 changes, the same in each test run."""
    tokens, chance = Tokens([SECRET], max_age=60), random.Random(20)
    token = tokens.sign(tracker_token(), ADA, anonymous=False)
    alphabet = string.ascii_letters + string.digits + "-_.=+/ %\x00é\n"
    refused = 0
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
        changed = "".join(characters)
        try:
            said = verified(tokens, changed)
        except InvalidTokenError:
            refused += 1
        else:
            # Base64 can spell one signature in several ways; what is signed is the same, and so is its one vote.
            assert said == tracker_token()
            assert changed.rpartition(".")[0] == token.rpartition(".")[0]
    assert refused > 2_900


@pytest.mark.parametrize("length", [0, 1, 200, MAX_CHARS, MAX_CHARS + 1, 1_000_000])
def test_noise_is_refused(length: int) -> None:
    """Random characters of any length, with the dots of a token or without, are refused."""
    tokens, chance = Tokens([SECRET], max_age=60), random.Random(length)
    noise = "".join(chance.choices(string.printable + "é👍", k=length))
    for token in (noise, f"{noise}.a.1.b", f"..1.{noise}", f"{noise[:9]}.{noise[:9]}.{noise[:9]}.{noise}"):
        with pytest.raises(InvalidTokenError):
            verified(tokens, token)


def test_what_is_too_long_is_not_even_looked_at() -> None:
    """A token that is validly signed and longer than any of ours is refused before the user is asked for."""
    tokens = Tokens([SECRET], max_age=60)
    token = tokens.sign("A" * MAX_CHARS, ADA, anonymous=False)

    def never() -> Context:
        raise AssertionError("asked who votes")

    with pytest.raises(InvalidTokenError):
        tokens.verify(token, never)


@pytest.mark.parametrize("key", ["ada", "ada@example.org", "é👍", "a" * 256, "a.b.c", "\ud800"])
def test_any_key_of_a_user_binds(key: str) -> None:
    """Whatever the user's key is, their token is good for them and for no other."""
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
