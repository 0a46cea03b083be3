"""Text to a number of tokens: at once, or as it streams by."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from . import _regex_counter
from ._encodings import O200K, EncodingSpec, shelf
from ._families import Family
from ._models import encoding_of, family_of
from ._values import text as plain

# A space between two visible characters: every pre-token of OpenAI's encodings ends before it, so the parts on both
# sides count for themselves (no mismatch in 120,000 random texts).
_SAFE_CUT = re.compile(r"(?<=\S) (?=\S)")
# How far back from a wished cut a safe one is looked for, characters.
_LOOK_BACK = 4_096
# Longest text given to tiktoken at once: a run of a million spaces overflows its stack, and merging is quadratic.
_LONGEST = 200_000
# A tally joins its chunks to pieces of this length, characters, and counts and drops the oldest when it has more than
# so many: about 262,000 characters, or 60,000 tokens of English. Counting a piece takes about 1 ms.
_PIECE, _MOST_PIECES = 16_384, 15
# How long a piece without a safe cut grows before it is cut anywhere, characters.
_CUT_ANYHOW_AT = 262_144


def count_tokens(text: str, *, model: str | None = None) -> int:
    """Count the tokens of a text with the best counter there is at this moment.

    That is the encoding of the model's family times the family's factor, or a regular expression where no encoding is
    loaded. Never raises, never touches the network and never waits for a lock. About 50 µs for 1,000 characters.

    Args:
        text: Any text; anything but a string counts as empty.
        model: The model's name in any form; ``None`` counts with o200k_base.
    """
    family = family_of(model)
    return round(count_raw(plain(text), family) * family.factor)


def count_raw(text: str, family: Family) -> int:
    """Count the tokens of a text with a family's encoding, before the family's factor."""
    if not text:
        return 0
    encoding = shelf.get(encoding_of(family))
    if encoding is None:
        return _regex_counter.estimate(text)
    if len(text) <= _LONGEST:
        return len(encoding.encode(text, disallowed_special=()))
    return sum(len(encoding.encode(piece, disallowed_special=())) for piece in _pieces(text))


def _pieces(text: str) -> Iterator[str]:
    start = 0
    while len(text) - start > _LONGEST:
        end = _safe_cut(text, start, start + _LONGEST) or start + _LONGEST
        yield text[start:end]
        start = end
    yield text[start:]


def _safe_cut(text: str, start: int, end: int) -> int:
    """Return the last place up to ``end`` where both sides count for themselves; 0 if there is none near it."""
    cut = 0
    for match in _SAFE_CUT.finditer(text, max(start + 1, end - _LOOK_BACK), end + 1):
        cut = match.start()
    return cut


class TextTally:
    """Count the tokens of a text that arrives in chunks: exactly, and in bounded memory.

    Chunks are joined before they are counted, since a chunk's border is not a token's. Not for use from two threads at
    once. A chunk costs about 0.2 µs. The last 262,000 characters wait, however they came, and are counted by
    :meth:`tokens` alone; of a longer text, every 16,384 characters are counted as they pass, in about a millisecond.

    Args:
        model: The model whose tokens are counted; ``None`` counts with o200k_base.
    """

    __slots__ = ("_chunks", "_family", "_pieces", "_recent", "_settled_tokens", "chars")

    def __init__(self, model: str | None = None) -> None:
        self._family = family_of(model)
        self._chunks: list[str] = []
        self._recent = 0
        self._pieces: deque[str] = deque()
        self._settled_tokens = 0
        #: Characters so far.
        self.chars = 0

    def add(self, text: str) -> None:
        """Append a chunk."""
        self._chunks.append(text)
        size = len(text)
        self.chars += size
        self._recent += size
        if self._recent >= _PIECE:
            self._settle()

    def tokens(self) -> int:
        """Return the tokens so far; more text may follow."""
        waiting = count_raw("".join((*self._pieces, *self._chunks)), self._family)
        return round((self._settled_tokens + waiting) * self._family.factor)

    def _settle(self) -> None:
        pieces = self._pieces
        pieces.append("".join(self._chunks))
        self._chunks.clear()
        self._recent = 0
        if len(pieces) > _MOST_PIECES:
            oldest = pieces.popleft()
            cut = _safe_cut(oldest, 0, len(oldest)) or (len(oldest) if len(oldest) >= _CUT_ANYHOW_AT else 0)
            self._settled_tokens += count_raw(oldest[:cut], self._family)
            pieces[0] = oldest[cut:] + pieces[0]


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
