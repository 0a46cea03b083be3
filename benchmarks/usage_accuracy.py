"""Usage against the truth: ``python -m benchmarks.usage_accuracy --corpus records.jsonl.xz``.

The corpus is a file of recorded provider responses with their true usage, one JSON object a line, compressed with xz.
It is not part of the project; CONTRIBUTING.md says what a record looks like.
"""

from __future__ import annotations

import argparse
import base64
import json
import lzma
import re
import statistics
import struct
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from ldai_integrations.records import Usage
from ldai_integrations.usage import (
    Reading,
    StreamReader,
    count_tokens,
    estimate_output,
    estimate_prompt,
    extract,
    extract_stream,
    read,
    warm_up,
)

from ._peers import Record, model_of, peer_counters

# What stands in the corpus in place of an image's data.
_CUT_IMAGE = re.compile(r"<<b64 removed [^<>]*?kind=(?!pdf|wav|mp3)\w+ w=(?P<width>\d+) h=(?P<height>\d+)[^<>]*>>")
# A provider with fewer records than this says nothing about the rest.
_FEWEST = 10

_API_OF = {
    "openai-chat": "chat",
    "azure-openai-chat": "chat",
    "openai-responses": "responses",
    "azure-openai-responses": "responses",
    "openai-embeddings": "embeddings",
    "anthropic-messages": "messages",
    "bedrock-converse": "converse",
    "gemini-generate": "generate",
}


def main() -> None:
    """Print what is extracted exactly, and how far estimates are off."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="the .jsonl.xz file of recorded responses")
    records = list(_records(parser.parse_args().corpus))
    warm_up(models=["gpt-4"], timeout=60)
    _print_extraction(records)
    _print_prompts(records)
    _print_outputs(records)


def _records(path: Path) -> Iterator[Record]:
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(_CUT_IMAGE.sub(_image_head, line))


def _image_head(cut: re.Match[str]) -> str:
    """Return the first bytes of a PNG of the size that the corpus notes where it left an image out."""
    size = struct.pack(">II", int(cut["width"]), int(cut["height"]))
    return base64.b64encode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + size + b"\x08\x06").decode()


# Extraction


def _print_extraction(records: Iterable[Record]) -> None:
    exact: dict[str, list[bool]] = defaultdict(list)
    for record in records:
        if record.get("set") != "no_usage" and record.get("usage_true"):
            exact[record["provider"]].append(_is_exact(_extracted(record), record["usage_true"]))
    everything = [hit for hits in exact.values() for hit in hits]
    wrong = everything.count(False)
    print(f"extracted usage equal to the truth: {_share(everything)}, all but {wrong} of {len(everything)} records")
    for provider, hits in sorted(exact.items(), key=lambda item: -len(item[1])):
        print(f"  {provider:30} {len(hits):5} {_share(hits):>8}")


def _extracted(record: Record) -> Usage | None:
    return extract_stream(record["response_chunks"]) if record["streaming"] else extract(record["response_json"])


def _is_exact(usage: Usage | None, truth: Mapping[str, int]) -> bool:
    if usage is None:
        return False
    found = {"input": usage.input_tokens, "output": usage.output_tokens, "total": usage.total_tokens}
    return all(truth.get(name) in (None, count) for name, count in found.items())


# Prompts


def _print_prompts(records: Iterable[Record]) -> None:
    contestants = {"ours": _our_prompt, "words x 4/3": _words, "plain count": _plain, **peer_counters()}
    errors: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        api, truth = _API_OF.get(record["provider"]), (record.get("usage_true") or {}).get("input")
        if api is None or not truth or not record.get("request_json"):
            continue
        for name, estimate in contestants.items():
            guess = estimate(record, api)
            if guess is not None:
                errors[api][name].append(abs(guess - truth) / truth)
    print("\nestimated input, error against the truth: median / 95th percentile, share exact")
    _print_errors(errors)


def _our_prompt(record: Record, api: str) -> int | None:
    usage = estimate_prompt(record["request_json"], model=model_of(record), api=api)  # type: ignore[arg-type]  # one of the APIs
    return usage.input_tokens if usage is not None else None


def _words(record: Record, _api: str) -> int:
    return round(len(_prompt_text(record).split()) * 4 / 3)


def _plain(record: Record, _api: str) -> int:
    return count_tokens(_prompt_text(record))


def _prompt_text(record: Record) -> str:
    request = record["request_json"]
    said = (request.get(name) for name in ("messages", "input", "instructions", "contents", "system"))
    return " ".join(json.dumps(part, ensure_ascii=False) for part in said if part)


# Outputs


def _print_outputs(records: Iterable[Record]) -> None:
    contestants: dict[str, Callable[[Reading, str], int | None]] = {
        "ours": lambda reading, model: (
            estimate_output(reading.text, model=model, tool_calls=reading.tool_calls).output_tokens
        ),
        "words x 4/3": lambda reading, _model: round(len(reading.text.split()) * 4 / 3),
        "plain count": lambda reading, _model: count_tokens(reading.text),
    }
    errors: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        truth = record.get("usage_true") or {}
        reading = _read(record)
        if not truth.get("output") or truth.get("reasoning") or reading is None or not reading.text:
            continue
        if reading.tool_calls or truth["output"] < 10:
            continue
        for name, estimate in contestants.items():
            error = abs((estimate(reading, model_of(record)) or 0) - truth["output"]) / truth["output"]
            errors[record["provider"]][name].append(error)
    print("\nestimated output of 10 tokens and more, text only: median / 95th percentile, share exact")
    _print_errors({provider: rows for provider, rows in errors.items() if len(rows["ours"]) >= _FEWEST})


def _read(record: Record) -> Reading | None:
    if not record["streaming"]:
        return read(record["response_json"])
    reader = StreamReader()
    for event in record["response_chunks"]:
        reader.feed(event)
    return reader.reading() if reader.recognised else None


# Both


def _print_errors(errors: Mapping[str, Mapping[str, list[float]]]) -> None:
    for category, rows in sorted(errors.items(), key=lambda item: -len(item[1]["ours"])):
        figures = "   ".join(
            f"{name} {statistics.median(found):.1%} / {_percentile(found, 95):.1%}, {_share([not e for e in found])}"
            for name, found in rows.items()
        )
        print(f"  {category:24} {len(rows['ours']):5}   {figures}")


def _percentile(values: list[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def _share(hits: list[bool]) -> str:
    return f"{sum(hits) / len(hits):.1%}" if hits else "-"


if __name__ == "__main__":
    main()
