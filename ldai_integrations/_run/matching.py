"""Which reports describe the same provider call, so that each call counts once.

A report is matched by the id of its response, else by its tokens. Reports of the most trusted source come first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import takewhile

from ..records import Usage
from ..usage import Reading
from .failures import is_refused_with
from .ledger import SOURCES, Ledger, ProviderCall

# How many calls may be combined in search of the ones that an aggregate stands for: 2 ** 12 sums.
_MOST_COMBINED = 12
# The ids of responses that runs of this process saw before they were complete; the oldest are forgotten. Methods of
# a deque need no lock.
_awaited: deque[str] = deque(maxlen=1_000)


class CountedCall:
    """A provider call that counts, with everything that its sources reported about it.

    Its answer failed (``is_failed``), was stopped before it began (``is_stopped``), had not begun when the run ended
    (``is_pending``), or has arrived, at least in part. In each case, ``is_unfinished`` says whether the provider may
    bill more than is known.

    Attributes:
        call: The report of the most trusted source.
        reading: What is known about the response.
    """

    __slots__ = ("_error", "_forms", "call", "reading")

    def __init__(self, call: ProviderCall, reading: Reading) -> None:
        self.call = call
        self.reading = reading
        self._error = call.error
        # The forms of the response in the reports of each source.
        self._forms: dict[str, list[type | None]] = {_reporter_of(call): [call.form]}

    @property
    def usage(self) -> Usage:
        """The provider's figures; all unknown if it sent none."""
        return self.reading.usage or Usage()

    @property
    def is_failed(self) -> bool:
        """Whether the call raised an exception, or its response carries an error."""
        return bool(self._error or self.reading.error)

    @property
    def is_of_framework(self) -> bool:
        """Whether a framework has reported the call."""
        return any(name not in SOURCES for name in self._forms)

    @property
    def is_stopped(self) -> bool:
        """Whether the call was cancelled before anything of its answer arrived."""
        return self.call.is_cancelled and not self.reading.has_output

    @property
    def is_unanswered(self) -> bool:
        """Whether the call failed or was stopped.

        Of a stopped call, a framework may have passed on what it does not report.
        """
        return self.is_failed or (self.is_stopped and self.call.source != "framework")

    @property
    def is_pending(self) -> bool:
        """Whether nothing of the answer had arrived when the run ended."""
        return self.call.ended_at is None and not self.reading.has_output

    @property
    def answered_at(self) -> float | None:
        """When the answer was complete; ``None`` if it is not known to be."""
        is_finished = self.call.finished_at is not None and self.reading.finish_reasons
        return self.call.finished_at if is_finished else self.call.ended_at

    @property
    def is_unfinished(self) -> bool:
        """Whether the end of the answer has not arrived, so that it may have more tokens than are known.

        Nobody waited for it or read it, or the stream ended without it: a proxy may end a response whose source broke
        off.
        """
        call, reading, usage = self.call, self.reading, self.usage
        has_all = not reading.has_open_choices or (usage.output_tokens is not None and not reading.has_usage_so_far)
        if reading.finish_reasons and has_all:
            return False
        if call.is_cut_short or call.is_waiting:
            return True
        if reading == Reading(error=reading.error) and is_refused_with(reading.error or ""):
            return False  # the stream is a refusal, and nothing else
        if call.is_stream or call.first_token_at is not None:
            return call.ended_at is None or usage.output_tokens is None or reading.has_usage_so_far
        return call.ended_at is None and usage.output_tokens is None and usage.total_tokens is None

    def is_free_for(self, report: ProviderCall) -> bool:
        """Return whether a report of another source may describe this call.

        A framework makes its calls between the callbacks about them, unless one of them comes late.
        """
        apis = {self.call.api, report.api} - {""}
        if _reporter_of(report) in self._forms or (len(apis) == 2 and "embeddings" in apis):
            return False
        if report.source not in ("framework", "sdk") or report.begins_late or self.call.begins_late:
            return True
        return report.encloses(self.call)

    def is_made_by(self, report: ProviderCall) -> bool:
        """Return whether the code of another call has made this one, as a framework does with a wrapped client."""
        return self.call.source in ("client", "framework") and self.is_free_for(report) and report.encloses(self.call)

    def may_be_in(self, report: ProviderCall, reading: Reading) -> bool:
        """Return whether a report without an id may be about this call, or about several calls with this one.

        A call to which nobody has answered has no usage, and one that was read to its end has not failed. The time of a
        span is that of its call, unless the application has observed the call, which it does later. A response has one
        text.
        """
        if reading.usage is not None and self.call.has_no_response:
            return False
        if reading.error and not (self.is_failed or self.call.is_cut_short):  # which others may report as a failure
            return False
        if report.source == "span" and self.call.source != "observed" and not report.overlaps(self.call):
            return False
        return not (_is_response(report, reading) and _are_other_texts(self.reading.text, reading.text))

    def is_repeated_by(self, report: ProviderCall, reading: Reading) -> bool:
        """Return whether a report is about this response, although its source has reported it before.

        A handler may observe a stream and then the message that was put together from it, or an object and then its
        dict. So a report in another form is a repetition if it has the same id. Without ids to compare, it is one if
        text, model and tokens are the same.

        A report in the same form is another call, even with the same id: some servers give each response the same one.
        It is a repetition only if a more trusted source has seen the call, or if both are whole responses with the same
        usage.
        """
        source = _reporter_of(report)
        forms = self._forms.get(source)
        if forms is None:
            return False
        if not set(reading.ids).isdisjoint(self.reading.ids):
            is_copy = report.is_whole and reading.usage is not None and reading.usage == self.usage
            return is_copy or forms[0] is not report.form or source != _reporter_of(self.call)
        if report.form in forms or reading.usage is None or _are_comparable(reading.ids, self.reading.ids):
            return False
        models = {reading.model, self.reading.model} - {None, ""}
        is_same = len(models) < 2 and not _are_other_texts(self.reading.text, reading.text)
        return is_same and _tokens(reading.usage) == _tokens(self.usage)

    def may_lack_figures_of(self, report: ProviderCall, reading: Reading) -> bool:
        """Return whether a report without an id may have the figures that are missing here.

        A response that the application observes with its usage is usually that of another call, because this one would
        have seen the usage. But a framework may have dropped it. Then the application observed the response while the
        framework waited for it.
        """
        if self.reading.usage is not None or self.is_failed != bool(report.error or reading.error):
            return False
        if reading.usage is not None and _is_response(report, reading):
            is_during = self.call.begins_late or self.call.overlaps(report)
            return self.call.source == "framework" and is_during and self.may_be_in(report, reading)
        return self.may_be_in(report, reading)

    def add(self, report: ProviderCall, reading: Reading) -> None:
        """Fill gaps with what another source reports about the same call."""
        self._forms.setdefault(_reporter_of(report), []).append(report.form)
        mine, tokens = self.reading, _tokens(self.usage)
        usage = reading.usage or Usage()
        # A framework may write zeros for usage that it did not get.
        has_counts = any((usage.input_tokens, usage.output_tokens, usage.total_tokens))
        # The stream was left, or broke off; the whole response may be observed later.
        lacks_end = (None in tokens or mine.has_usage_so_far) and reading.finish_reasons
        counted = reading if has_counts and (tokens == (None, None) or lacks_end) else mine
        self.reading = replace(
            mine,
            usage=counted.usage,
            has_usage_so_far=counted.has_usage_so_far,
            has_open_choices=counted.has_open_choices,
            billed=counted.billed,
            cost=counted.cost if mine.cost is None else mine.cost,
            service_tier=mine.service_tier or reading.service_tier,
            has_fees=mine.has_fees or reading.has_fees,
            model=mine.model or reading.model,
            finish_reasons=mine.finish_reasons or reading.finish_reasons,
            ids=mine.ids or reading.ids,
            tool_calls=mine.tool_calls or reading.tool_calls,
            text=mine.text or reading.text,
        )

    def note_refusal(self, error: str) -> None:
        """Note that the framework that made the call failed because of its answer. The provider may bill the answer."""
        self._error = error
        self.call.is_cut_short |= self.usage == Usage()

    def complete(self, reading: Reading) -> None:
        """Take the complete response, which a lookup found: what broke off before is not a failure."""
        # The run of an assistant does not repeat the tools that it called.
        self.reading = replace(reading, tool_calls=reading.tool_calls or self.reading.tool_calls)
        self._error = ""


def _reporter_of(call: ProviderCall) -> str:
    """Return who reports a call: each framework is a source of its own, because one may call models through another."""
    return call.framework or call.source


def count_calls(ledger: Ledger, since: float) -> list[CountedCall]:
    """Return every call of a run that has ended once, in the order of their starts.

    Args:
        ledger: The ledger of the run.
        since: The start of the run, in seconds since the epoch.
    """
    counted: list[CountedCall] = []
    for calls in _calls_by_trust(ledger):
        found: list[CountedCall] = []
        for call in calls:
            found += _new_calls(call, counted, found, since)
        counted = [one for one in counted if not _merge_observed_sum(one, found)] + found
    for one in counted:
        if one.call.is_background and _is_incomplete(one.reading):
            _await_response(one.reading)
    return sorted(counted, key=lambda one: one.call.started_at)


def _calls_by_trust(ledger: Ledger) -> list[list[ProviderCall]]:
    """Return the calls that each source reports, those of the most trusted source first.

    A framework that calls models through another one begins its calls first, and knows less about them.
    """
    calls: dict[str, list[ProviderCall]] = {}
    for call in ledger:
        calls.setdefault(_reporter_of(call), []).append(call)
    first_begun = reversed(calls.values())
    return sorted(first_begun, key=lambda of_source: SOURCES.index(of_source[0].source))


def _new_calls(
    call: ProviderCall, counted: list[CountedCall], same_source: list[CountedCall], since: float
) -> list[CountedCall]:
    """Return the calls in a report that nobody has reported before; merge the others into the known calls.

    Responses from before the run was opened, beside later ones, are the earlier messages of a chat.
    """
    reading = call.read()
    if call.is_lookup:
        return [] if reading is None else _looked_up(call, reading, same_source)
    if call.is_refusal or (call.source == "sdk" and call.error and reading is not None):
        refused = _answer_before(call, counted)
        if refused is not None and not refused.is_failed:
            refused.note_refusal(call.error)
    if reading is None:
        return _new_calls_without_response(call, counted)
    if call.source == "client":
        return [CountedCall(call, part) for part in reading.calls]
    new, known = [], []
    parts = [part for part in reading.calls if part.received_at is None or part.received_at >= since]
    for part in parts or reading.calls:
        free = [one for one in counted if one.is_free_for(call)]
        repeated = (one for one in (*counted, *same_source) if one.is_repeated_by(call, part))
        twin = _twin(part, call, free) or next(repeated, None)
        if twin is not None:
            twin.add(call, part)
            known.append(twin)
            continue
        calls = [one for one in free if one.may_be_in(call, part)]
        if not _merge_sum(part, calls, is_exact=call.source == "framework" or _is_response(call, part)):
            new.append(CountedCall(call, part))
    # A framework reports all of its calls. Others in its state, such as the messages of a chat, are of earlier runs.
    return [] if any(one.is_of_framework for one in known) else new


def _answer_before(failed: ProviderCall, counted: list[CountedCall]) -> CountedCall | None:
    """Return the last call that the code of a failed one had made: of those that had ended, if there are any.

    Others may belong to calls of the framework at the same time.
    """
    made = [one for one in counted if one.is_made_by(failed)]
    now = failed.ended_at
    ended = [one for one in made if now is not None and one.call.ended_at is not None and one.call.ended_at <= now]
    return max(ended or made, key=lambda one: one.call.ended_at or one.call.started_at, default=None)


def _new_calls_without_response(call: ProviderCall, counted: list[CountedCall]) -> list[CountedCall]:
    """Return a call whose response says nothing, or that failed before it, unless another source has seen it."""
    reading = Reading(error=call.error or None)
    if call.source == "client":
        return [CountedCall(call, reading)]
    if call.source == "observed" and call.is_unread:
        # The code that the application waited for may have made calls that were seen.
        is_awaited = call.form is None or call.ended_at is not None
        is_seen = is_awaited and any(one.is_free_for(call) and call.encloses(one.call) for one in counted)
        return [] if is_seen else [CountedCall(call, reading)]
    if not call.error and call.source not in ("framework", "sdk"):
        return []
    is_failed = bool(call.error)
    twin = next((one for one in counted if one.is_failed == is_failed and one.is_free_for(call)), None)
    if twin is None:
        return [CountedCall(call, reading)]
    twin.add(call, reading)
    return []


def _looked_up(call: ProviderCall, reading: Reading, known: list[CountedCall]) -> list[CountedCall]:
    """Return the response of a lookup if it counts; complete the call of this run that started it.

    It counts once: when it is complete, after it was seen in this process before it was.
    """
    twin = next((one for one in known if not set(reading.ids).isdisjoint(one.reading.ids)), None)
    if _is_incomplete(reading):
        if twin is None:
            _await_response(reading)
    elif twin is not None:
        if _is_incomplete(twin.reading):
            twin.complete(reading)
    elif _is_awaited(reading):
        return [CountedCall(call, reading)]
    return []


def _is_incomplete(reading: Reading) -> bool:
    """Return whether a response has only begun."""
    return reading.usage is None and reading.error is None and not reading.finish_reasons


def _await_response(reading: Reading) -> None:
    """Remember the id of a response that is not complete."""
    for response_id in reading.ids:
        if response_id not in _awaited:
            _awaited.append(response_id)


def _is_awaited(reading: Reading) -> bool:
    """Return whether the id of a response was remembered; it is forgotten by this."""
    for response_id in reading.ids:
        try:
            _awaited.remove(response_id)
        except ValueError:
            continue
        return True
    return False


def _twin(reading: Reading, report: ProviderCall, free: Sequence[CountedCall]) -> CountedCall | None:
    """Find the call that a report describes: by its response id, else by its tokens, else the first without figures.

    A response with the same id and another text is another one: some servers give all responses the same id.
    """
    for one in free:
        if not set(reading.ids).isdisjoint(one.reading.ids) and not _are_other_texts(one.reading.text, reading.text):
            return one
    others = [one for one in free if not _are_comparable(reading.ids, one.reading.ids)]
    same = []
    if reading.usage is not None:
        same = [one for one in others if _tokens(one.usage) == _tokens(reading.usage)]
        same += [one for one in others if _differ_by_cache(one.usage, reading.usage)]
        if not same and _are_sum(_numbers(reading.usage), [_numbers(one.usage) for one in others]):
            return None  # it is the sum of several calls
    # What the newer SDK reports about several calls is their sum.
    if report.source != "sdk" or len(others) == 1:
        same += [one for one in others if one.may_lack_figures_of(report, reading)]
    return same[0] if same else None


def _merge_observed_sum(known: CountedCall, found: Iterable[CountedCall]) -> bool:
    """Merge an observed result into the calls that a less trusted source has seen one by one, if it is their sum.

    The result of an agent, which has neither ids nor a finish reason, may contain more than these calls.
    """
    reading = known.reading
    if known.call.source != "observed" or reading.usage is None:
        return False
    calls = [one for one in found if known.is_free_for(one.call)]
    return _merge_sum(reading, calls, is_exact=_is_response(known.call, reading))


def _is_response(report: ProviderCall, reading: Reading) -> bool:
    """Return whether the application has observed the response of a single call, and not the result of an agent."""
    return report.source == "observed" and bool(reading.ids or reading.finish_reasons or reading.has_input_only)


def _are_other_texts(one: str, other: str) -> bool:
    """Return whether two texts are those of different answers: neither is the beginning of the other."""
    one, other = one.strip(), other.strip()
    return bool(one and other) and not (one.startswith(other) or other.startswith(one))


def _merge_sum(reading: Reading, calls: Sequence[CountedCall], *, is_exact: bool) -> bool:
    """Merge a report that is the sum of some calls into these calls; return whether it is one.

    It is one if it has no response id of its own, and no figures or the sum of some calls. If it contains more than
    all of them, the rest belongs to a call without usage, unless a framework has reported that call, which knows what
    its results contain. Without such a call, nobody saw some calls, and the known figures are a lower bound.

    Args:
        reading: What is known about the report.
        calls: The calls that it may be about.
        is_exact: Whether it contains no more than these calls.
    """
    if not calls or any(_are_comparable(reading.ids, one.reading.ids) for one in calls):
        return False
    if reading.usage is None:
        return True
    tokens, figures = _numbers(reading.usage), [_numbers(one.usage) for one in calls]
    if _are_sum(tokens, figures):
        return True
    total = _total(figures)
    if is_exact or tokens[0] < total[0] or tokens[1] < total[1]:
        return False
    unknowns = [one for one in calls if one.reading.usage is None and not (one.is_failed or one.is_of_framework)]
    unknown = unknowns[0] if unknowns else None
    if unknown is not None:
        rest = Usage(tokens[0] - total[0], tokens[1] - total[1]).with_total()
        unknown.reading = replace(unknown.reading, usage=rest)
    else:
        calls[0].reading = replace(calls[0].reading, usage=replace(calls[0].usage, lower_bound=True))
    return True


def _are_sum(tokens: tuple[int, int], figures: Sequence[tuple[int, int]]) -> bool:
    """Return whether tokens are the sum of all calls, or of some of the first ones."""
    return tokens == _total(figures) or tokens in _sums(figures[:_MOST_COMBINED])


def _total(figures: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return sum(pair[0] for pair in figures), sum(pair[1] for pair in figures)


def _sums(figures: Iterable[tuple[int, int]]) -> set[tuple[int, int]]:
    """Return the sums of all combinations of calls."""
    sums: set[tuple[int, int]] = set()
    for pair in figures:
        sums |= {(pair[0] + known[0], pair[1] + known[1]) for known in sums} | {pair}
    return sums


def _are_comparable(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Return whether some ids are of the same kind, so that different ids mean different calls.

    Frameworks give responses ids of their own (``run-…``) beside the provider's (``chatcmpl-…``).
    """
    return not _kinds(one).isdisjoint(_kinds(other))


def _kinds(ids: tuple[str, ...]) -> set[str]:
    return {"".join(takewhile(str.isalpha, one)) for one in ids}


def _tokens(usage: Usage) -> tuple[int | None, int | None]:
    return usage.input_tokens, usage.output_tokens


def _differ_by_cache(one: Usage, other: Usage) -> bool:
    """Return whether two usages are the same, except that only one of them counts cached tokens as input."""
    if one.output_tokens is None or one.output_tokens != other.output_tokens:
        return False
    difference = abs((one.input_tokens or 0) - (other.input_tokens or 0))
    caches = [(usage.cached_input_tokens or 0, usage.cache_write_input_tokens or 0) for usage in (one, other)]
    return any(difference in (read, written, read + written) for read, written in caches)


def _numbers(usage: Usage) -> tuple[int, int]:
    return usage.input_tokens or 0, usage.output_tokens or 0
