"""The number of tokens of a text, which is whole or arrives in chunks."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator

from ._encoding_files import SPECS
from ._encodings import count_with_tiktoken, encodings, has_old_tiktoken
from ._families import Family, family_of
from ._fields import text as plain

# Longest text that is counted at once, in characters: about 0.5 ms of English, 4 ms of a text without spaces. The time
# of tiktoken is quadratic in the length of a word, and a million spaces overflow its stack.
_PART = 8_192
# The same for tiktoken before 0.14, which is quadratic: about 15 ms of a text without spaces.
_PART_OF_OLD = 1_024
# The last place where a letter or digit ends a word. All encodings of OpenAI end a pre-token there, so that both sides
# can be counted separately (verified at 600,000 such places in 177,000 random texts).
_SAFE_CUT = re.compile(
    r"(?s:.*)(?<=[^\W_])"
    r"(?=[\s!-&(-/:-@\[-`{-~\u2010-\u2015\u3001\u3002\uff01\uff0c\uff1a-\uff1f])"
)
# How far before the end of a part a safe cut is searched, and how many characters are counted on both sides of a cut
# that is not safe. Merges do not reach so far (verified with 400,000 letters of 12 scripts). Only a run of one
# character, or of digits, may count one token more or less for each cut.
_LOOK_BACK, _AGAIN = 4_096, 96
# A tally joins its chunks to parts, and counts and drops the oldest part if it has more than this number: about 262,000
# characters, or 60,000 tokens of English.
_MOST_PARTS = 31
# The features of a text whose weighted sum is its number of tokens, if there is no encoding.
_PIECES = re.compile(r"[A-Za-z]+|[0-9]{1,3}|[^\x00-\x7f]|\n+|[ \t]{2,}|[^\sA-Za-z0-9]+")


def count_tokens(text: str, *, model: str | None = None) -> int:
    """Count the tokens of a text with the best counter that is available at this moment.

    That is the encoding of the model's family times the family's factor, or a regular expression if no encoding is
    loaded. Never raises, never uses the network and never waits for a lock. About 50 µs for 1,000 characters.

    Args:
        text: Any text; anything but a string counts as empty.
        model: The model's name in any form; ``None`` counts with o200k_base.
    """
    return round(count_for(plain(text), family_of(model)))


def count_for(text: str, family: Family) -> float:
    """Count the tokens of a text for a family, before rounding."""
    return count_raw(text, family) * family.factor


def count_raw(text: str, family: Family) -> int:
    """Count the tokens of a text with the encoding of a family."""
    if not text:
        return 0
    if encodings.stand_in is not None:
        return encodings.stand_in(text)
    encoding = encodings.get(SPECS[family.encoding])
    size = _PART if encoding is None or not has_old_tiktoken() else _PART_OF_OLD
    tokens = 0
    for sign, part in _parts(text, size):
        counted = None if encoding is None else count_with_tiktoken(encoding, part)
        tokens += sign * (_count_without_encoding(part) if counted is None else counted)
    return tokens


def _parts(text: str, size: int) -> Iterator[tuple[int, str]]:
    """Yield the parts of a text to count, each with 1; and with -1 what two of them have in common."""
    start = 0
    while len(text) - start > size:
        end, following = _cut(text, start + size, start)
        yield 1, text[start:end]
        yield -1, text[following:end]
        start = following
    yield 1, text[start:]


def _cut(text: str, end: int, start: int = 0) -> tuple[int, int]:
    """Return where a part ends, at ``end`` or shortly before, and where the next one begins.

    Both are the same place if the cut is safe. Otherwise the parts overlap, and the overlap is subtracted.
    """
    safe = _SAFE_CUT.match(text, max((start + end) // 2, end - _LOOK_BACK), end + 1)
    return (safe.end(), safe.end()) if safe is not None else (end, end - _AGAIN)


def _count_without_encoding(text: str) -> int:
    """Return about the number of o200k_base tokens in a text.

    The weights are a least squares fit on 6,141 texts of recorded prompts and answers, November 2026. The median error
    is 3.3 % on recorded prose, the 95th percentile about 15 %. About 10 ms for 100,000 characters.
    """
    total = 0.0
    for piece in _PIECES.findall(text):
        first, length = piece[0], len(piece)
        if first > "\x7f":
            total += 0.797 if "\u2e80" <= first <= "\ud7ff" else 0.834
        elif first.isalpha():
            total += 1.006
            if length > 6:
                total += 0.06 * (length - 6)
                if length > 12:
                    total += 0.3 * (length - 12)
        elif first.isdigit():
            total += 1.666
        elif first == "\n":
            total += 0.714
        elif first in " \t":
            total += 0.912
        else:
            total += 0.745 + 0.211 * (length - 1)
    return round(total) or bool(text)


class TextTally:
    """A counter of the tokens of a text that arrives in chunks: exact, and in bounded memory.

    Chunks are joined before they are counted, because a token may extend over several chunks. A chunk costs about
    0.2 µs. The last 262,000 characters are kept and counted by :meth:`tokens`. Of a longer text, 8,192 characters at a
    time are counted while it arrives, in 1 to 4 ms. Not for use from several threads at once.

    Args:
        model: The model whose tokens are counted; ``None`` counts with o200k_base.
    """

    __slots__ = ("_chunks", "_counted", "_family", "_parts", "_recent", "chars")

    def __init__(self, model: str | None = None) -> None:
        self._family = family_of(model)
        self._chunks: list[str] = []
        self._recent = 0
        self._parts: deque[str] = deque()
        self._counted = 0
        #: Characters so far.
        self.chars: int = 0

    def add(self, text: str) -> None:
        """Append a chunk."""
        self._chunks.append(text)
        size = len(text)
        self.chars += size
        self._recent += size
        if self._recent < _PART:
            return
        parts = self._parts
        parts.append("".join(self._chunks))
        self._chunks.clear()
        self._recent = 0
        if len(parts) > _MOST_PARTS:
            oldest = parts.popleft()
            end, following = _cut(oldest, len(oldest))
            self._counted += count_raw(oldest[:end], self._family) - count_raw(oldest[following:end], self._family)
            parts[0] = oldest[following:] + parts[0]

    def tokens(self) -> int:
        """Return the tokens so far; more text may follow."""
        waiting = "".join((*self._parts, *self._chunks))
        return round((self._counted + count_raw(waiting, self._family)) * self._family.factor)
