"""Count tokens without a rank file: ten features of the text, weighed."""

from __future__ import annotations

import re

_PIECES = re.compile(r"[A-Za-z]+|[0-9]{1,3}|[^\x00-\x7f]|\n+|[ \t]{2,}|[^\sA-Za-z0-9]+")


def estimate(text: str) -> int:
    """Return about the number of o200k_base tokens in a text.

    Weights by least squares on 6,141 texts of recorded prompts and answers, those of long words on descriptions of
    packages as well, November 2026. Off at the median by 3.3 % on recorded prose, 3.7 % on descriptions and 3.3 % on
    docstrings that they were not fitted to; about 15 % at the 95th percentile. About 10 ms for 100,000 characters.
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
