"""What other vendors' vocabularies make of a text, beside OpenAI's."""

from __future__ import annotations

import random

import pytest

from ldai_integrations.usage import TextTally, count_tokens, count_with, warm_up
from ldai_integrations.usage._constants import FAMILIES
from ldai_integrations.usage._encodings import O200K, shelf
from ldai_integrations.usage._vocabularies import kinds_of

CLAUDE, CLAUDE_5, GEMINI = "claude-sonnet-4-5", "claude-opus-4-8", "gemini-2.5-flash"
MIXTRAL, MISTRAL, LLAMA, QWEN, DEEPSEEK = "mixtral-8x7b", "mistral-large", "llama-3.3-70b", "qwen3-32b", "deepseek-chat"


@pytest.fixture(autouse=True)
def _exact() -> None:
    """Have o200k_base loaded."""
    warm_up(timeout=60)


def more(text: str, model: str) -> int:
    """Return how many tokens more a text has for a model than for OpenAI's."""
    return count_tokens(text, model=model) - count_tokens(text, model="gpt-4o")


@pytest.mark.parametrize(("model", "digits"), [(GEMINI, True), (MISTRAL, True), (QWEN, True), (CLAUDE, False)])
def test_digits(model: str, digits: bool) -> None:
    """A vocabulary without numbers writes them digit by digit; OpenAI's has up to three in a token."""
    assert count_tokens("12345678", model="gpt-4o") == 3
    assert count_tokens("12345678", model=model) == (8 if digits else 3)


@pytest.mark.parametrize(("model", "apart"), [(GEMINI, 1), (CLAUDE, 1), (MIXTRAL, 1), (MISTRAL, 0), (LLAMA, 0)])
@pytest.mark.parametrize("text", ["So it is.\n\nAnd on", "file_name", ".Where", "{\n"])
def test_signs(text: str, model: str, apart: int) -> None:
    """Signs are apart from letters or a line break behind them where a vocabulary is not made like OpenAI's."""
    assert more(text, model) == apart


def test_rare_words() -> None:
    """The fewer words a vocabulary has, the more often one is several tokens; frequent ones are one in all."""
    frequent, rare = "the time of the", " alphabetical"
    assert [more(frequent, model) for model in (LLAMA, MISTRAL, CLAUDE, CLAUDE_5)] == [0, 0, 0, 0]
    assert count_tokens(rare, model="gpt-4o") == 1
    assert [more(rare, model) for model in (GEMINI, LLAMA, CLAUDE, CLAUDE_5)] == [0, 1, 1, 2]


@pytest.mark.parametrize(
    ("text", "spaces"),
    [("42 km", 1), ("17 + 4 = 21", 2), ("42 43", 0), ("at 42", 0), ("42", 0), ("42 (so it is", 1)],
)
def test_a_space_after_a_number(text: str, spaces: int) -> None:
    """Claude has a token for the space that follows a number, unless another number follows."""
    assert more(text, CLAUDE) == spaces


# What the vendors' own tokenizers count: Gemma's, Mistral's, Meta's, Alibaba's and DeepSeek's as they were published,
# and a reconstruction of Anthropic's from what its API counts.
_PROSE = (
    "The lighthouse at Graz has no sea to warn, and yet it is lit every evening at six. Tourists ask why; the keeper, "
    "who is 71, tells them that a light does not need a ship.\n\nNobody has ever argued with that. In 1984 a "
    "delegation from Trieste came to study it, stayed for eleven days, and left without a report."
)
_MARKDOWN = (
    "## Quarterly report\n\n- **Revenue**: $12,500 (up 3 % from 2023)\n- **Costs**: $9,870\n- See [the appendix]"
    "(https://example.com/appendix) for details\n\n1. Approve the budget\n2. Call `get_weather()` on day 14\n\n"
    "Questions? Write to the treasurer."
)
_JSON = (
    '{"title": "The Left Hand of Darkness", "author": "Ursula K. Le Guin", "year": 1969, "isbn": "9780441478125", '
    '"in_stock": true, "prices": [7.99, 12.5], "tags": ["fiction", "classic"]}'
)


@pytest.mark.parametrize(
    ("model", "counts"),
    [
        (CLAUDE, (81, 83, 72)),
        (CLAUDE_5, (109, 105, 90)),
        (GEMINI, (78, 83, 79)),
        (MIXTRAL, (88, 98, 87)),
        (MISTRAL, (79, 86, 84)),
        (LLAMA, (77, 75, 68)),
        (QWEN, (80, 83, 80)),
        (DEEPSEEK, (77, 75, 72)),
    ],
)
def test_counts_are_near_those_of_the_vendors_own_tokenizers(model: str, counts: tuple[int, ...]) -> None:
    """Of prose, markdown and JSON alike, within 7 %."""
    for text, tokens in zip((_PROSE, _MARKDOWN, _JSON), counts, strict=True):
        assert count_tokens(text, model=model) == pytest.approx(tokens, rel=0.07)


@pytest.mark.parametrize("model", [CLAUDE, CLAUDE_5, GEMINI, MIXTRAL, MISTRAL, LLAMA])
def test_a_tally_counts_as_the_whole_does(model: str) -> None:
    """However a text is cut into chunks, each number, sign, rare word and space of it counts once."""
    chance = random.Random(model)
    words = ["Hello", "1984", "42 + 17 = 59.\n\n", "get_weather()", "counterfactual", "naïve", "日本", "don't"]
    text = " ".join(chance.choices(words, k=60_000))
    tally, at = TextTally(model), 0
    while at < len(text):
        size = chance.randint(1, 400)
        tally.add(text[at : at + size])
        at += size

    assert len(text) > 400_000
    assert tally.tokens() == count_tokens(text, model=model)


@pytest.mark.parametrize("text", ["", " ", "\n", "7", "\ud800", "<|endoftext|>", "é", "👩‍👩‍👧"])
def test_no_text_makes_it_raise(text: str) -> None:
    """The shortest and strangest texts count at least what is there."""
    assert count_tokens(text, model=CLAUDE) >= bool(text)


def test_openai_models_have_no_vocabulary_but_their_own() -> None:
    """What is exact stays so; and the rules for others are rules about o200k_base."""
    assert all(family.vocabulary is None for family in FAMILIES if family.openai)
    assert {family.encoding for family in FAMILIES if family.vocabulary is not None} == {O200K.name}


def test_every_token_has_a_kind() -> None:
    """The table that vocabularies read is as long as the encoding, and says of known tokens what they are."""
    encoding = shelf.get(O200K)
    assert encoding is not None
    kinds = kinds_of(encoding)

    assert kinds == shelf.kinds
    assert len(kinds) == len(encoding.token_byte_values())
    known = {' "/': "S", "_name": "j", ".\n\n": "j", " the": "W", "the": "w", "日本": "w", "123": "3", "7": "1"}
    known |= {" +": "S", " ": "o", "\n\n": "o", ",": "o", "    ": "o"}
    for token, kind in known.items():
        ranks = encoding.encode(token)
        assert (len(ranks), chr(kinds[ranks[0]])) == (1, kind), token


@pytest.mark.parametrize("stand_in", [True, False])
def test_without_an_encoding_the_factor_serves(monkeypatch: pytest.MonkeyPatch, stand_in: bool) -> None:
    """What counts no tokens of o200k_base is scaled as a whole."""
    if stand_in:
        with count_with(lambda text: 100):
            assert count_tokens("Hello", model=CLAUDE) == 113
        return
    monkeypatch.setattr(shelf, "get", lambda spec: None)
    plain = count_tokens(_PROSE, model="gpt-4o")
    assert count_tokens(_PROSE, model=CLAUDE) == round(plain * 1.13)
