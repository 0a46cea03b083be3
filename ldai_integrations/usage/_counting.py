"""Text to a number of tokens: at once, or as it streams by."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from . import _regex_counter
from ._encodings import O200K, EncodingSpec, shelf
from ._families import Family
from ._models import encoding_of, family_of
from ._values import text as plain
from ._vocabularies import count_in

if TYPE_CHECKING:
    from tiktoken import Encoding

    from ..typing import TokenCounter

# Longest text that is counted at once, characters: about 1 ms of English, 7 ms of a text without spaces. Merging takes
# time quadratic in the length of a word, and a run of a million spaces overflows tiktoken's stack.
_PART = 16_384
# The last place where a letter or digit ends a word: all OpenAI's encodings end a pre-token there, so both sides count
# for themselves (no mismatch at 600,000 such places in 177,000 random texts). Not between a number and a space, which
# Claude counts together.
_SAFE_CUT = re.compile(
    r"(?s:.*)(?<=[^\W_])(?! (?<=[0-9] ))"
    r"(?=[\s!-&(-/:-@\[-`{-~\u2010-\u2015\u3001\u3002\uff01\uff0c\uff1a-\uff1f])"
)
# How far back from a wished cut a safe one is looked for, and how much is counted on both sides of one that is not,
# characters. Merges do not reach that far (no mismatch in 400,000 letters of any of 12 scripts); only a run of one
# character, or of digits, may count a token more or less for each cut.
_LOOK_BACK, _AGAIN = 4_096, 96
# A tally joins its chunks to parts, and counts and drops the oldest when it has more than so many: about 262,000
# characters, or 60,000 tokens of English.
_MOST_PARTS = 15


def count_tokens(text: str, *, model: str | None = None) -> int:
    """Count the tokens of a text with the best counter there is at this moment.

    That is the encoding of the model's family, with what becomes of its tokens in the family's own vocabulary or times
    the family's factor, or a regular expression where no encoding is loaded. Never raises, never touches the network
    and never waits for a lock. About 50 µs for 1,000 characters.

    Args:
        text: Any text; anything but a string counts as empty.
        model: The model's name in any form; ``None`` counts with o200k_base.
    """
    return round(count_own(plain(text), family_of(model)))


def count_own(text: str, family: Family) -> float:
    """Count the tokens of a text as the family's models have them, before rounding."""
    vocabulary = family.vocabulary
    if vocabulary is None or not text or shelf.stand_in is not None:
        return count_raw(text, family) * family.factor
    encoding, kinds = shelf.get(encoding_of(family)), shelf.kinds
    if encoding is None or not kinds:
        return count_raw(text, family) * family.factor
    return _in_parts(partial(count_in, vocabulary, encoding, kinds), text)


def count_raw(text: str, family: Family) -> int:
    """Count the tokens of a text with a family's encoding."""
    if shelf.stand_in is not None:
        return shelf.stand_in(text) if text else 0
    encoding = shelf.get(encoding_of(family)) if text else None
    return _in_parts(_regex_counter.estimate if encoding is None else partial(_encoded, encoding), text)


def _in_parts(count: Callable[[str], int], text: str) -> int:
    """Count a long text part by part."""
    tokens, start = 0, 0
    while len(text) - start > _PART:
        end, following = _cut(text, start + _PART)
        tokens += count(text[start:end]) - count(text[following:end])
        start = following
    return tokens + count(text[start:])


def _encoded(encoding: Encoding, text: str) -> int:
    return len(encoding.encode(text, disallowed_special=()))


def _cut(text: str, end: int) -> tuple[int, int]:
    """Return where a part ends, at ``end`` or not far before it, and where the next one begins.

    That is the same place if it is safe; otherwise the next one begins with what is counted twice, to be taken off.
    """
    safe = _SAFE_CUT.match(text, max(0, end - _LOOK_BACK), end + 1)
    return (safe.end(), safe.end()) if safe is not None else (end, end - _AGAIN)


class TextTally:
    """Count the tokens of a text that arrives in chunks: exactly, and in bounded memory.

    Chunks are joined before they are counted, since a chunk's border is not a token's. Not for use from two threads at
    once. A chunk costs about 0.2 µs. The last 262,000 characters wait, however they came, and are counted by
    :meth:`tokens` alone; of a longer text, every 16,384 characters are counted as they pass, in 1 to 7 ms.

    Args:
        model: The model whose tokens are counted; ``None`` counts with o200k_base.
    """

    __slots__ = ("_chunks", "_family", "_parts", "_recent", "_settled_tokens", "chars")

    def __init__(self, model: str | None = None) -> None:
        self._family = family_of(model)
        self._chunks: list[str] = []
        self._recent = 0
        self._parts: deque[str] = deque()
        self._settled_tokens = 0.0
        #: Characters so far.
        self.chars = 0

    def add(self, text: str) -> None:
        """Append a chunk."""
        self._chunks.append(text)
        size = len(text)
        self.chars += size
        self._recent += size
        if self._recent >= _PART:
            self._settle()

    def tokens(self) -> int:
        """Return the tokens so far; more text may follow."""
        return round(self._settled_tokens + count_own("".join((*self._parts, *self._chunks)), self._family))

    def _settle(self) -> None:
        parts = self._parts
        parts.append("".join(self._chunks))
        self._chunks.clear()
        self._recent = 0
        if len(parts) > _MOST_PARTS:
            oldest = parts.popleft()
            end, following = _cut(oldest, len(oldest))
            self._settled_tokens += count_own(oldest[:end], self._family)
            self._settled_tokens -= count_own(oldest[following:end], self._family)
            parts[0] = oldest[following:] + parts[0]


def warm_up(*, models: Iterable[str] = (), timeout: float | None = None, directory: Path | None = None) -> None:
    """Load the encodings that lie on this machine in a background thread; nothing is downloaded.

    Once per process; call it again in a forked child. From then on no count loads anything in the caller's thread.

    Args:
        models: Models that will be counted for; o200k_base is loaded in any case.
        timeout: Longest time to wait for the thread, in seconds; ``None`` does not wait.
        directory: A further directory to look for rank files in.
    """
    specs: dict[str, EncodingSpec] = {O200K.name: O200K}
    for model in models:
        spec = encoding_of(family_of(model))
        specs[spec.name] = spec
    thread = shelf.load_aside(specs.values(), directory)
    if timeout is not None and thread is not None:
        thread.join(timeout)


@contextmanager
def count_with(counter: TokenCounter) -> Iterator[None]:
    """Count every text with this counter meanwhile, in the whole process; for tests."""
    former, shelf.stand_in = shelf.stand_in, counter
    try:
        yield
    finally:
        shelf.stand_in = former
