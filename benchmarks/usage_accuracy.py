"""The accuracy of usage: ``python -m benchmarks.usage_accuracy --corpus records.jsonl.xz``.

The corpus is a file of recorded provider responses with their true usage, one JSON object a line, compressed with xz.
It is not part of the project; CONTRIBUTING.md says what a record looks like.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from ldai_integrations.records import Usage
from ldai_integrations.usage import (
    Reading,
    StreamReader,
    count_tokens,
    estimate_prompt,
    extract,
    extract_stream,
    read,
    warm_up,
)
from ldai_integrations.usage._families import family_of

from ._errors import Errors, by_category, print_errors, share
from ._peers import peer_counters
from ._records import Record, half_of, model_of, records_in

# Figures of a provider with fewer records than this are not printed.
_FEWEST = 10
# In a shorter answer, one token is too large a share.
_SHORTEST = 10

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
    """Print how much usage is extracted exactly, and the errors of estimates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="the .jsonl.xz file of recorded responses")
    parser.add_argument("--half", type=int, choices=(1, 2), help="take the records of every other repository only")
    args = parser.parse_args()
    records = half_of(list(records_in(args.corpus)), args.half)
    warm_up(models=["gpt-4"], timeout=60)
    _print_extraction(records)
    _print_prompts(records)
    _print_outputs(records)


# Extraction


def _print_extraction(records: Iterable[Record]) -> None:
    exact: dict[str, list[bool]] = defaultdict(list)
    consistent: list[bool] = []
    for record in records:
        if record.get("set") != "no_usage" and record.get("usage_true"):
            usage = _extracted(record)
            exact[record["provider"]].append(_is_exact(usage, record["usage_true"]))
            consistent.append(usage is not None and _is_consistent(usage))
    everything = [hit for hits in exact.values() for hit in hits]
    wrong = everything.count(False)
    print(f"extracted usage equal to the truth: {share(everything)}, all but {wrong} of {len(everything)} records")
    print(f"consistent sums: {share(consistent)}, {consistent.count(True)} of {len(consistent)} records")
    for provider, hits in sorted(exact.items(), key=lambda item: -len(item[1])):
        print(f"  {provider:30} {len(hits):5} {share(hits):>8}")


def _extracted(record: Record) -> Usage | None:
    return extract_stream(record["response_chunks"]) if record["streaming"] else extract(record["response_json"])


def _is_exact(usage: Usage | None, truth: Mapping[str, int]) -> bool:
    if usage is None:
        return False
    found = {"input": usage.input_tokens, "output": usage.output_tokens, "total": usage.total_tokens}
    return all(truth.get(name) in (None, count) for name, count in found.items())


def _is_consistent(usage: Usage) -> bool:
    """Return whether the counts add up to the total, and no count is smaller than its parts."""
    inputs, outputs, total = usage.input_tokens, usage.output_tokens, usage.total_tokens
    if inputs is not None and max(usage.cached_input_tokens or 0, usage.cache_write_input_tokens or 0) > inputs:
        return False
    if outputs is not None and (usage.reasoning_tokens or 0) > outputs:
        return False
    return None in (inputs, outputs, total) or (inputs or 0) + (outputs or 0) + (usage.other_tokens or 0) == total


# Prompts


def _print_prompts(records: Iterable[Record]) -> None:
    contestants = {"ours": _our_prompt, "words x 4/3": _words, "plain count": _plain, **peer_counters()}
    errors, unknown = by_category(), Counter[str]()
    for record in records:
        api, truth = _API_OF.get(record["provider"]), (record.get("usage_true") or {}).get("input")
        if api is None or not truth or not record.get("request_json"):
            continue
        ours = _estimated_prompt(record, api)
        unknown[api] += ours is None
        for name, estimate in contestants.items():
            guess = estimate(record, api)
            if guess is not None and ours is not None:
                for category in _categories(record, api, ours):
                    errors[category][name].append(abs(guess - truth) / truth)
    print("\nestimated input, error against the truth: median / 95th percentile, share exact")
    print_errors(errors)
    left_out = ", ".join(f"{count} of {api}" for api, count in unknown.items() if count)
    print(f"  not estimated: {left_out or 'none'}")


def _categories(record: Record, api: str, ours: Usage) -> list[str]:
    """Return the categories of a prompt: its API, the content of a chat, and whether its estimate is a lower bound."""
    if ours.lower_bound:
        return [api, f"{api}, lower bounds"]
    if api != "chat":
        return [api, f"{api}, all shown"] if api in ("responses", "messages", "generate") else [api]
    request = record["request_json"]
    asked = (
        ("with images", "image_url" in json.dumps(request["messages"])),
        ("with functions", request.get("tools") or request.get("functions")),
        ("with a schema", (request.get("response_format") or {}).get("type") == "json_schema"),
        ("words alone", True),
    )
    return [api, f"{api}, " + next(name for name, applies in asked if applies)]


def _estimated_prompt(record: Record, api: str) -> Usage | None:
    return estimate_prompt(record["request_json"], model=model_of(record), api=api)  # type: ignore[arg-type]  # one of the APIs


def _our_prompt(record: Record, api: str) -> int | None:
    usage = _estimated_prompt(record, api)
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
    """Print the errors for texts and for tool calls without text; hidden reasoning cannot be estimated."""
    texts, calls = by_category(), by_category()
    for record in records:
        truth, reading = record.get("usage_true") or {}, _read(record)
        if not truth.get("output") or truth.get("reasoning") or reading is None:
            continue
        table = texts if not reading.tool_calls else calls if not reading.text else None
        if table is not None and (table is calls or truth["output"] >= _SHORTEST):
            family = family_of(model_of(record))
            for category in (
                record["provider"],
                f"of {family.name}",
                "OpenAI" if family.openai else "all other vendors",
            ):
                _judge_output(record, reading, table[category])
    print(f"\nestimated output of {_SHORTEST} tokens and more, text only: median / 95th percentile, share exact")
    print_errors({category: rows for category, rows in texts.items() if len(rows["ours"]) >= _FEWEST})
    print("\nestimated output, tool calls only: median / 95th percentile, share exact")
    print_errors({category: rows for category, rows in calls.items() if len(rows["ours"]) >= _FEWEST})


def _judge_output(record: Record, reading: Reading, errors: Errors) -> None:
    model, truth, shown = model_of(record), record["usage_true"]["output"], reading.reasoning + reading.text
    words = shown or " ".join(f"{call.name} {call.arguments}" for call in reading.tool_calls)
    guesses = {
        "ours": reading.estimate(model=model).output_tokens,
        "asked known": reading.estimate(model=model, request=record.get("request_json")).output_tokens,
        "words x 4/3": round(len(words.split()) * 4 / 3),
        "plain count": count_tokens(words),
    }
    for name, guess in guesses.items():
        errors[name].append(abs((guess or 0) - truth) / truth)


def _read(record: Record) -> Reading | None:
    if not record["streaming"]:
        return read(record["response_json"])
    reader = StreamReader()
    for event in record["response_chunks"]:
        reader.feed(event)
    return reader.reading() if reader.recognised else None


if __name__ == "__main__":
    main()
