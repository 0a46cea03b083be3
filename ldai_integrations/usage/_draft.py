"""The provider calls of a response or a stream while they are read: the functions in ``_formats/`` write to a draft.

First they say which call an event belongs to:

===================================================  ===================================================
what the event is                                    what to call
===================================================  ===================================================
a whole response                                     ``begin(id, whole=True)``; the id may be ``None``
the first event of a stream                          ``begin(id, anew=True)``
another event that names the response                ``begin(id)``
the last event, which may be the first with the id   ``begin(id, ends=True)``
any event of a format without ids and first events   ``begin_next()``, which follows a finish reason
one of several responses in an object                ``begin(id, place="its place")``
the sum of all calls of a framework                  ``begin_sum()``
===================================================  ===================================================

Then they say what it contains: ``add_text``, ``add_reasoning``, ``call_tool``, ``count``, ``finish``, ``describe``. If
``begin`` returns true, the text of this response may be known already, and must not be added again.
"""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from operator import add

from ..records import Usage
from ._call_draft import BoundedText, CallDraft, ToolCallDraft
from ._counts import has_fees, read_billed, read_cost, read_counts, read_gateway_cost
from ._fields import fields_of, get, number, text
from ._readings import CalledTool, Reading
from ._shapes import BEDROCK_METRICS, COHERE, Shape

# Most calls of a stream that are kept apart, and most ids and tool calls of a stream.
_MOST_CALLS = 1_024
_MOST_IDS = 4_096
_MOST_TOOL_CALLS = 1_024
# Longest text of all calls of a stream together that is kept, in characters. The rest is only counted.
_MOST_TEXT_OF_STREAM = 4_194_304
#: Longest name of a model, a tool or a finish reason that is kept, in characters.
LONGEST_NAME = 256


class Draft:
    """The calls of a response or a stream. Formats write to it, :meth:`reading` returns the result.

    Attributes:
        call: The call that the current event belongs to.
        entry: The name of the current entry of a list of responses; empty outside of a list.
        event: The number of the current event.
        pieces: The number of texts, reasoning and tool calls, or pieces of them, so far.
        api: The API that answered, as :class:`Reading` names it.
        has_sum: Whether a framework reported the usage of all calls as one sum.
        has_whole: Whether there was a whole response, and not only events of a stream.
        has_start: Whether there was an event that says that it is the first one of a stream.
        has_part: Whether there was an event that says that its answer goes on.
        has_cached: Whether there was an answer of a framework's cache. Its text and its usage are not read.
    """

    def __init__(self) -> None:
        self._left = _MOST_TEXT_OF_STREAM
        self._tool_calls = 0
        self.call = CallDraft()
        self._calls = [self.call]
        self._by_id: dict[str, CallDraft] = {}
        self.entry = ""
        self.event = 0
        self.pieces = 0
        self.api = "chat"
        self.has_sum = False
        self.has_whole = False
        self.has_start = False
        self.has_part = False
        self.has_cached = False

    # The current call

    def begin(
        self,
        call_id: object = None,
        *,
        place: str = "",
        anew: bool = False,
        whole: bool = False,
        ends: bool = False,
    ) -> bool:
        """Switch to a call: the following belongs to it. Return whether anything of it was known before.

        Without an id nothing changes, except for a whole response in a list, which is a call of its own.

        Args:
            call_id: The provider's id of the response, which may come again. The call gets it.
            place: The place in an object by which a response without an id is known.
            anew: This event starts a response. If the id is known, it belongs to another call.
            whole: This event is a whole response.
            ends: This event ends a response. It is that of the current call if this call has no id yet.
        """
        self.has_whole |= whole
        self.has_start |= anew
        name = text(call_id) or place or (self.entry if whole else "")
        known = None if anew else self._by_id.get(name)
        is_known = known is not None and not known.is_empty
        is_current = ends and not self.call.ids and not self.call.finished_at
        if known is not None:
            self.call = known
        elif (name or anew) and not self.call.is_empty and not is_current:
            self._switch()
        if name and (name in self._by_id or len(self._by_id) < _MOST_IDS):
            self._by_id[name] = self.call
        self.identify(call_id)
        return is_known

    def add_alias(self, call_id: str) -> None:
        """Know the current call by another id as well, if it has only begun and no other call has that id."""
        has_only_begun = self.call.ids and not self.call.has_answer
        if has_only_begun and call_id not in self._by_id and len(self._by_id) < _MOST_IDS:
            self._by_id[call_id] = self.call

    def begin_sum(self) -> None:
        """Switch to a call that stands for the sum of all calls; it has no id."""
        self.begin(place="sum")
        self.has_sum = True

    def begin_next(self) -> None:
        """Switch to a new call if the current one has ended."""
        if self.call.finished_at and self.call.finished_at < self.event:
            self._switch()

    def _switch(self) -> None:
        if len(self._calls) < _MOST_CALLS:
            self.call = CallDraft()
            self._calls.append(self.call)

    # What the current call contains

    def add_text(self, value: object) -> bool:
        """Add visible text; return whether there was any."""
        return self.write(text(value), self.call.text)

    def add_reasoning(self, value: object) -> bool:
        """Add reasoning that the provider shows; return whether there was any."""
        return self.write(text(value), self.call.reasoning)

    def write(self, piece: str, to: BoundedText) -> bool:
        """Add a piece to the text or the reasoning of the current call; return whether it is more than nothing."""
        if not piece:
            return False
        self._left -= to.add(piece, self._left)
        self.pieces += 1
        self.call.spoke_at = self.event
        return True

    def call_tool(self, key: object, name: object = None, arguments: object = None, call_id: object = None) -> None:
        """Add a tool call or a piece of one, if it contains anything.

        Args:
            key: What the pieces of one tool call share; ``None`` for a complete tool call.
            name: The tool's name.
            arguments: A piece of JSON text.
            call_id: The provider's id of the tool call. A named piece with another id is another tool call: some
                servers number all of them 0.
        """
        if name is None and arguments is None:
            return
        piece, title, identity = text(arguments), text(name)[:LONGEST_NAME], text(call_id)[:LONGEST_NAME]
        if not piece and not title:
            return
        self.pieces += 1
        self.call.spoke_at = self.event
        calls = self.call.tool_calls
        if key is None:
            key = ("whole", len(calls))
        known = calls.get(key)
        if known is not None and title and identity and known.call_id and identity != known.call_id:
            calls[key, known.call_id] = calls.pop(key)
            known = None
        if known is None:
            if self._tool_calls == _MOST_TOOL_CALLS:
                return
            self._tool_calls += 1
            known = calls[key] = ToolCallDraft(title, identity)
        known.name = known.name or title
        if piece:
            self._left -= known.arguments.add(piece, self._left)

    def identify(self, response_id: object) -> None:
        """Add another id of the response than that of :meth:`begin`."""
        name = text(response_id)
        if name and name not in self.call.ids and len(self._by_id) < _MOST_IDS:
            self.call.ids[name] = None
            self._by_id[name] = self.call

    def describe(self, response: object) -> None:
        """Take the id, the model and the cost of a response, if it has them under these names."""
        self.identify(get(response, "id"))
        self.name_model(get(response, "model"))
        self.price(response)

    def finish(self, reason: object, choice: int = 0) -> None:
        """Take the reason why generation ended; the first choice's last reason is kept. ``"error"`` is a failure.

        Call it at the end of every answer, streamed or whole, with the name of the event if the provider gives no
        reason. If an answer has no end, its consumer may have left it, so that its usage is a lower bound.
        """
        if reason is None or number(reason) == 0:  # the first member of Google's enumerations stands for none
            return
        word = (text(reason) or text(get(reason, "value")) or text(get(reason, "name")))[:LONGEST_NAME]
        if not word:
            return
        call = self.call
        call.finished_at = self.event
        call.choices[choice] = True
        if word.lower() == "error":  # Cohere, Mistral, OpenRouter, Vercel's gateway
            call.error = call.error or word
        if not call.reason or choice <= call.choice:
            call.reason, call.choice = word, choice

    def name_model(self, value: object) -> None:
        """Take the model's name."""
        self.call.model = text(value)[:LONGEST_NAME] or self.call.model

    def name_tier(self, value: object) -> None:
        """Take the service tier that answered."""
        self.call.service_tier = text(value).lower() or self.call.service_tier

    def fail(self, error: object) -> None:
        """Take the type or code of an error object, if there is one; never its message.

        A field that Mistral's client has not received is an object of the class ``Unset``.
        """
        if error is not None and self.call.error is None and type(error).__name__ != "Unset":
            code = text(get(error, "type", "status", "code")) or text(get(error, "code"))
            if not code:
                status = number(get(error, "code", "status_code"))
                code = str(status) if status is not None else "error"
            self.call.error = code[:100]

    def count(self, raw: object, *, shape: Shape | None = None, begun: bool = False, response: object = None) -> bool:
        """Take a usage object; return whether it was one.

        Args:
            raw: The object.
            shape: Its shape, if that is not one of ``SHAPES``, because its names are common words.
            begun: The answer has only begun, so that its output is not known yet.
            response: What has the usage object, if that may be an object of LiteLLM.
        """
        if raw is None:
            return False
        usage = fields_of(raw)
        counts = read_counts(usage, shape)
        if counts is None:
            return False
        if begun:
            counts = counts.without("output_tokens")
        call = self.call
        call.has_wrong_counts |= counts.has_wrong
        call.has_fees |= has_fees(usage)
        call.cost = call.cost if (cost := read_cost(usage, response)) is None else cost
        if counts.shape is COHERE:
            call.billed = read_billed(usage)
        self.name_tier("fast" if usage.get("speed") == "fast" else usage.get("service_tier"))  # Anthropic
        if counts.has_tokens:
            call.counted_at = call.reported_at = self.event
        if counts.shape is BEDROCK_METRICS:
            call.metrics = counts
        elif counts.values:
            call.counts = counts if call.counts is None else call.counts.updated(counts)
        return True

    def count_unless_zero(self, raw: object, *, shape: Shape | None = None) -> bool:
        """Take a usage object that has only zeros if the provider sent none; return whether it has other counts."""
        counts = read_counts(raw, shape)
        return counts is not None and (counts.has_tokens or counts.has_wrong) and self.count(raw, shape=shape)

    def count_further(self, place: str, raw: object) -> None:
        """Take a usage object beside that of the response: of what another model did for the call."""
        counts = read_counts(raw)
        further = self.call.further
        if counts is not None and counts.has_tokens and (place in further or len(further) < _MOST_CALLS):
            further[place] = counts, text(get(raw, "model"))[:LONGEST_NAME]

    def price(self, response: object) -> None:
        """Take the cost that a gateway adds beside the usage object of a response."""
        cost = read_gateway_cost(response)
        self.call.cost = self.call.cost if cost is None else cost

    def count_delta(self, raw: object) -> None:
        """Take the usage of a LangChain chunk: a running total or a part, depending on the integration.

        A total repeats the input. A part has the input only if it is the first one. An unknown input is sent as zero.
        """
        counts = read_counts(raw)
        if not counts:
            return
        call = self.call
        call.counted_at = self.event
        if not counts.values.get("input_tokens"):
            counts = counts.without("input_tokens", "total_tokens") if call.counts is None else call.counts.plus(counts)
        call.counts = counts

    # The result

    @property
    def size(self) -> int:
        """How many characters are kept: of text, reasoning and the arguments of tool calls."""
        return _MOST_TEXT_OF_STREAM - self._left

    @property
    def has_usage(self) -> bool:
        """Whether any call has usage."""
        return any(call.has_usage for call in self._calls)

    @property
    def has_text(self) -> bool:
        """Whether any call has visible text."""
        return any(call.text for call in self._calls)

    def usage(self) -> Usage | None:
        """Return the usage of all calls together: a lower bound if a call that has content has no usage."""
        known = [usage for usage in (call.usage() for call in self._calls) if usage is not None]
        if not known:
            return None
        total = reduce(add, known)
        is_partial = not self.has_sum and any(call.has_content and not call.has_usage for call in self._calls)
        return replace(total, lower_bound=True) if is_partial else total

    def reading(self) -> Reading:
        """Return what is known so far."""
        parts = [self._read(call) for call in self._calls if not call.is_empty]
        if not parts and self.has_cached:
            return Reading(is_whole=True, is_cached=True)
        parts = parts or [self._read(self.call)]
        if len(parts) == 1:
            return parts[0]
        return Reading(
            usage=self.usage(),
            text="".join(part.text for part in parts),
            tool_calls=tuple(call for part in parts for call in part.tool_calls),
            model=next((part.model for part in reversed(parts) if part.model), None),
            error=next((part.error for part in parts if part.error), None),
            finish_reasons=tuple(reason for part in parts for reason in part.finish_reasons),
            reasoning="".join(part.reasoning for part in parts),
            tallies=tuple(tally for part in parts for tally in part.tallies),
            ids=tuple(name for part in parts for name in part.ids),
            api=self.api,
            parts=tuple(parts),
            has_wrong_counts=any(part.has_wrong_counts for part in parts),
            has_usage_so_far=any(part.has_usage_so_far for part in parts),
            has_open_choices=any(part.has_open_choices for part in parts),
            is_whole=self.has_whole,
            is_start=self.has_start,
            is_part=self.has_part,
        )

    def _read(self, call: CallDraft) -> Reading:
        """Return what is known of one call."""
        usage, has_open_choices = call.usage(), not all(call.choices.values())
        may_follow = not self.has_whole and (not call.reason or has_open_choices)
        has_usage_so_far = may_follow and 0 < call.reported_at <= call.spoke_at
        if usage is not None and has_usage_so_far and usage.output_tokens == 0:  # Gemini counts the output later
            usage = replace(usage, output_tokens=None, total_tokens=None)
        return Reading(
            usage=usage,
            text=str(call.text),
            tool_calls=tuple(CalledTool(tool.name, str(tool.arguments)) for tool in call.tool_calls.values()),
            model=call.model,
            error=call.error,
            finish_reasons=(call.reason,) if call.reason else (),
            reasoning=str(call.reasoning),
            tallies=tuple(text.tally for text in (call.text, call.reasoning) if text.tally is not None),
            ids=tuple(call.ids),
            api=self.api,
            service_tier=call.service_tier,
            cost=call.cost,
            billed=call.billed_parts(),
            has_wrong_counts=call.has_wrong_counts,
            has_fees=call.has_fees,
            has_usage_so_far=has_usage_so_far,
            has_open_choices=has_open_choices,
            is_whole=self.has_whole,
            is_start=self.has_start,
            is_part=self.has_part,
            received_at=call.received_at,
        )
