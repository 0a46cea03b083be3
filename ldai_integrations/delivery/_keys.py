"""What can be seen of an SDK key without asking LaunchDarkly, in words that never repeat the key."""

from __future__ import annotations

import re
from dataclasses import dataclass

# What ldclient accepts (it silently replaces any other key by an empty one).
_FORM = re.compile(r"[A-Za-z0-9._-]{1,8192}")
# The other credentials that LaunchDarkly shows beside an SDK key, by their form.
_OTHER_KEYS = {
    "a mobile key": re.compile(r"mob-.*"),
    "an API access token": re.compile(r"api-.*"),
    "a client-side ID": re.compile(r"[0-9a-f]{24}"),
}


@dataclass(frozen=True, slots=True)
class KeyProblem:
    """Say why a key cannot work, for a sentence that begins with what the key is called.

    Attributes:
        text: What is wrong with it.
        remedy: What to do.
        everywhere: Whether ldclient itself takes no such key; any other will do for a dev server.
    """

    text: str
    remedy: str
    everywhere: bool = False


def problem_with_key(key: str) -> KeyProblem | None:
    """Say what is wrong with an SDK key, if that can be seen by its form."""
    if not _FORM.fullmatch(key):
        return KeyProblem(
            f"has {len(key)} characters, some of which no SDK key has",
            "copy the SDK key of your environment from LaunchDarkly, without quotes or spaces",
            everywhere=True,
        )
    for what, form in _OTHER_KEYS.items():
        if form.fullmatch(key):
            return KeyProblem(
                f"is {what}, with which a server gets nothing",
                "use the SDK key (sdk-…) of the environment, which stands beside it in LaunchDarkly",
            )
    return None
