"""The cost of counting tokens: of a text, against tiktoken alone, and of a chunk of a stream."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from ldai_integrations.usage import TextTally, count_tokens, warm_up
from ldai_integrations.usage._encoding_files import O200K
from ldai_integrations.usage._encodings import encodings

from ._measure import Figure, added_us, interleaved, per_unit, ratio

_TEXT = ("The quick brown fox jumps over the lazy dog, and nobody minds. " * 16)[:1_000]
# A stream of a megabyte without a space or a comma, which is the slowest to count.
_UNBROKEN = ["สวัสดีครับ"] * 100_000
# As providers stream: about four characters a chunk.
_WORDS = [word + " " for word in _TEXT.split()] * 50
_TIMES, _ROUNDS = 200, 40


# Nothing here waits. In CPU time, other work on the machine does not count.
_timed = partial(per_unit, clock=time.thread_time)


def _repeated(work: Callable[[], object]) -> Callable[[], object]:
    def many() -> None:
        for _ in range(_TIMES):
            work()

    return many


def _tally() -> int:
    tally = TextTally()
    add = tally.add
    for word in _WORDS:
        add(word)
    return tally.tokens()


def _slowest_chunk_ms() -> float:
    tally, slowest = TextTally(), 0.0
    for chunk in _UNBROKEN:
        began = time.thread_time()
        tally.add(chunk)
        slowest = max(slowest, time.thread_time() - began)
    return slowest * 1000


def figures() -> list[Figure]:
    """Measure a text of 1,000 characters, and a stream of words beside encoding their text once."""
    warm_up(timeout=60)
    encoding = encodings.get(O200K)
    assert encoding is not None, "no rank file on this machine: run `ldai encodings prefetch`"
    whole = "".join(_WORDS)
    times = interleaved(
        {
            "tiktoken": _timed(_repeated(lambda: len(encoding.encode(_TEXT))), _TIMES),
            "counted": _timed(_repeated(lambda: count_tokens(_TEXT)), _TIMES),
            "counted for Claude": _timed(_repeated(lambda: count_tokens(_TEXT, model="claude")), _TIMES),
            "encoded": _timed(lambda: len(encoding.encode(whole)), len(_WORDS)),
            "tallied": _timed(_tally, len(_WORDS)),
        },
        rounds=_ROUNDS,
    )
    return [
        Figure(what="count of 1 KB / tiktoken", value=ratio(times, "counted", "tiktoken"), at_most=1.2),
        Figure(
            what="count of 1 KB for Claude / tiktoken",
            value=ratio(times, "counted for Claude", "tiktoken"),
            at_most=1.2,
        ),
        Figure(
            what="count of a streamed chunk",
            value=added_us(times, "tallied", "encoded"),
            unit="µs",
            at_most=0.5,
            note="in addition to encoding the text once",
        ),
        Figure(
            what="slowest chunk of 1 MB without a space",
            value=min(_slowest_chunk_ms() for _ in range(3)),
            unit="ms",
            at_most=5,
        ),
    ]
