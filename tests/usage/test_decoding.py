"""Bodies are decoded while they arrive, in bounded memory."""

from __future__ import annotations

import gzip
import sys
import zlib

import pytest

from ldai_integrations.usage import decoder

BODY = b"data: Hello\n\n" * 5_000


def raw_deflate(data: bytes) -> bytes:
    """Return deflate without zlib's header, as some servers send it."""
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


ENCODED = {
    "gzip": ("gzip", gzip.compress(BODY)),
    "x-gzip": ("X-GZIP", gzip.compress(BODY)),
    "two members": ("gzip", gzip.compress(BODY[:100]) + gzip.compress(BODY[100:])),
    "deflate": ("deflate", zlib.compress(BODY)),
    "raw deflate": ("deflate", raw_deflate(BODY)),
    "identity": ("identity", BODY),
    "none": ("", BODY),
    "both": ("gzip, deflate", zlib.compress(gzip.compress(BODY))),
}


@pytest.mark.parametrize("size", [1, 7, 1_000_000])
@pytest.mark.parametrize(("encoding", "data"), ENCODED.values(), ids=ENCODED)
def test_a_body_is_decoded_however_it_is_cut(encoding: str, data: bytes, size: int) -> None:
    """The chunks of a body together decode to the whole body."""
    decode = decoder(encoding)
    assert decode is not None
    decoded = b"".join(decode.decode(data[at : at + size]) for at in range(0, len(data), size))

    assert decoded == BODY
    assert not decode.exhausted


@pytest.mark.parametrize("encoding", ["br", "gzip, br", "compress", "nonsense"])
def test_an_unknown_encoding_has_no_decoder(encoding: str) -> None:
    """There is no decoder for an encoding that the standard library does not have."""
    assert decoder(encoding) is None


def test_zstd_has_a_decoder_where_the_standard_library_has_one() -> None:
    """Python 3.14 and later decode zstd."""
    assert (decoder("zstd") is not None) is (sys.version_info >= (3, 14))


@pytest.mark.parametrize(("encoding", "data"), ENCODED.values(), ids=ENCODED)
def test_a_body_that_is_cut_off_or_corrupt_never_raises(encoding: str, data: bytes) -> None:
    """Decoding stops at corrupt data."""
    decode = decoder(encoding)
    assert decode is not None
    decode.decode(data[: len(data) // 2])
    for _ in range(3):
        decode.decode(b"\xff\x00nonsense" * 20)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "gzip, deflate"])
def test_the_output_is_bounded(encoding: str) -> None:
    """A small body that would decode to very much is decoded to 64 MiB at most."""
    bomb = bytes(100_000_000)
    data = gzip.compress(bomb) if "gzip" in encoding else bomb
    data = zlib.compress(data) if "deflate" in encoding else data
    decode = decoder(encoding)
    assert decode is not None
    size = sum(len(decode.decode(data[at : at + 65_536])) for at in range(0, len(data), 65_536))

    assert decode.exhausted
    assert size == 64 * 1_048_576
    assert decode.decode(b"more") == b""
