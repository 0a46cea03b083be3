"""Provider calls that others have seen, such as an instrumentation that makes spans of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .output import Output

# Most operations of one run whose places are known; calls in later ones count without a look at what is around them.
_MOST_PLACES = 10_000


class Overheard:
    """Collect the calls of one run that others tell of: operations within each other, some of which are calls.

    Of those within each other the innermost call counts, and not the sums around it. Every operation has a number, and
    may be told of more than once. May be written from several threads; every write is a single one.
    """

    __slots__ = ("_around", "_outputs", "_places")

    def __init__(self) -> None:
        self._places: dict[int, int] = {}
        self._around: set[int] = set()
        self._outputs: dict[int, Output] = {}

    def began(self, number: int, around: int) -> None:
        """Take an operation that has begun, and the one that it is in; 0 for none."""
        if len(self._places) < _MOST_PLACES:
            self._places[number] = around

    def called(self, number: int, output: Output) -> bool:
        """Take what an operation that has ended tells of a call; tell whether it counts."""
        above, one = set[int](), self._places.get(number)
        while one and one not in above:
            above.add(one)
            one = self._places.get(one)
        if number in self._around or not above.isdisjoint(self._outputs):
            return False
        self._around |= above
        self._outputs[number] = output
        return True

    def outputs(self) -> list[Output]:
        """Return what the calls so far told."""
        return list(self._outputs.values())


def only_overheard(overheard: Iterable[Output], seen: Sequence[Output]) -> list[Output]:
    """Return those of the overheard outputs that nothing of ours has seen, so that no call counts twice.

    One that names its response is known by that name. Of a response without a name the tokens must do: each output
    that was seen stands for one overheard call with the same number of them.

    Args:
        overheard: What others have seen.
        seen: What we have seen, by a wrapped client, by ``run.observe`` or in what the handler returned.
    """
    ids = {name for output in seen for name in output.ids}
    named = {name for output in overheard for name in output.ids if name in ids}
    rest = [output for output in seen if named.isdisjoint(output.ids)]
    return [output for output in overheard if named.isdisjoint(output.ids) and not _took_twin(output, rest)]


def _took_twin(output: Output, seen: list[Output]) -> bool:
    twin = next((index for index, one in enumerate(seen) if _may_be_one(one, output)), None)
    if twin is not None:
        del seen[twin]
    return twin is not None


def _may_be_one(seen: Output, overheard: Output) -> bool:
    if (seen.ids and overheard.ids) or seen.usage is None or overheard.usage is None:
        return False
    if overheard.usage.output_tokens is not None and seen.usage.output_tokens is not None:
        return seen.usage.output_tokens == overheard.usage.output_tokens  # tokens of a cache are counted differently
    return seen.usage.input_tokens == overheard.usage.input_tokens
