"""Token usage: read from a provider's response or stream, counted in a text, estimated for a request.

Responses are recognized by their format; no provider's package is imported. No function raises because of the values
that it is given, and only :func:`prefetch` uses the network.
"""

from __future__ import annotations

from ._decoders import AmazonDecoder, Decoder, SSEReader, decoder, texts_in
from ._encoding_files import Progress, prefetch
from ._encodings import count_with, encoding_at_hand, encoding_files, warm_up
from ._estimates import estimate_output, estimate_prompt
from ._fields import parse_amount
from ._reader import StreamReader, extract, extract_stream, is_provider_line, is_response, read
from ._readings import CalledTool, Reading
from ._spans import read_span
from ._sums import reconcile
from ._tokens import TextTally, count_tokens

__all__ = [
    "AmazonDecoder",
    "Decoder",
    "Progress",
    "Reading",
    "SSEReader",
    "StreamReader",
    "TextTally",
    "CalledTool",
    "count_tokens",
    "count_with",
    "decoder",
    "encoding_at_hand",
    "encoding_files",
    "estimate_output",
    "estimate_prompt",
    "extract",
    "extract_stream",
    "is_provider_line",
    "is_response",
    "parse_amount",
    "prefetch",
    "read",
    "read_span",
    "reconcile",
    "texts_in",
    "warm_up",
]
