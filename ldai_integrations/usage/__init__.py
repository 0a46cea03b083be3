"""Token usage: read from a provider's response or stream, counted in a text, estimated for a request.

Responses are recognised by their shape; no provider's package is imported. No function raises because of the values
that it is given, and only :func:`prefetch` uses the network.
"""

from __future__ import annotations

from ._counting import TextTally, count_tokens, count_with, encoding_at_hand, rank_files, warm_up
from ._decoding import Decoder, decoder
from ._download import Progress, prefetch
from ._prompt import estimate_prompt
from ._readings import Reading, ToolCall, estimate_output
from ._spans import read_span
from ._sse import SSEReader
from ._streams import StreamReader, extract, extract_stream, is_provider_line, is_response, read

__all__ = [
    "Decoder",
    "Progress",
    "Reading",
    "SSEReader",
    "StreamReader",
    "TextTally",
    "ToolCall",
    "count_tokens",
    "count_with",
    "decoder",
    "encoding_at_hand",
    "estimate_output",
    "estimate_prompt",
    "extract",
    "extract_stream",
    "is_provider_line",
    "is_response",
    "prefetch",
    "rank_files",
    "read",
    "read_span",
    "warm_up",
]
