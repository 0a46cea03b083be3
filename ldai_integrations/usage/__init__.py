"""Token usage: read from a provider's response or stream, counted in a text, estimated for a request.

Responses are recognised by their shape; no provider's package is imported. Nothing here raises on what it is given, and
nothing touches the network but :func:`prefetch`.
"""

from __future__ import annotations

from ._at_hand import encoding_at_hand, rank_files
from ._counting import TextTally, count_tokens, count_with, warm_up
from ._download import Progress, prefetch
from ._output import estimate_output
from ._prompt import estimate_prompt
from ._reading import StreamReader, extract, extract_stream, read
from ._readings import Reading, ToolCall
from ._spans import read_span
from ._sse import SSEReader

__all__ = [
    "Progress",
    "Reading",
    "SSEReader",
    "StreamReader",
    "TextTally",
    "ToolCall",
    "count_tokens",
    "count_with",
    "encoding_at_hand",
    "estimate_output",
    "estimate_prompt",
    "extract",
    "extract_stream",
    "prefetch",
    "rank_files",
    "read",
    "read_span",
    "warm_up",
]
