"""The one table of measured constants: model families, and what their APIs add to a text.

Figures are medians of the provider's own count against ours, with tiktoken 0.14. A new model release can change any of
them; an estimate never overwrites a provider's number.
"""

from __future__ import annotations

from dataclasses import replace

from ._families import Extras, Family, ImagePrice, OpenAIRules, Vocabulary

_ANSWERS = "recorded answers of public projects"
_BOTH = "recorded requests and answers of public projects"
_NAMES = "tiktoken's table of model names"
_OF_ANTHROPIC, _OF_GOOGLE = "Anthropic, Vision, 2026-11", "Google, Understand and count tokens, 2026-11"
_MEASURED = "2026-11"

# From the tokenizers themselves, each beside o200k_base on 6,200 texts in 2026-11: recorded answers and prompts, code,
# JSON, descriptions of packages, 24 languages. Gemma 3's (which is Gemini's), Llama 3's, Mistral's first and Tekken,
# Qwen's and DeepSeek's as they were published; for Claude ctok 1.3, a reconstruction from what Anthropic's API counts.
# Vendors' own counts of recorded answers agree with them. Cohere's is from recorded answers alone.
_GEMMA_WORDS = Vocabulary(digits=True, signs=True)
_CLAUDE_WORDS = Vocabulary(words=(50_000,), signs=True, spaces=True)
_CLAUDE_5_WORDS = Vocabulary(words=(5_000, 15_000), signs=True, spaces=True)
_OF_128_000 = Vocabulary(words=(130_000,))

_OPENAI = Family(name="gpt-4o", pattern="", source=_BOTH, measured=_MEASURED, openai=True, per_page=8)
_O_SERIES = replace(
    _OPENAI,
    hides_reasoning=True,
    priming=2,
    per_output=10,
    per_output_call=16,
    per_responses_output=6,
    per_responses_call=11,
    image=ImagePrice(base=75, per_tile=150),
)
_GPT5 = replace(_O_SERIES, per_output=9, image=ImagePrice(base=70, per_tile=140))
_CLAUDE = Family(
    name="claude",
    pattern="",
    source=_BOTH,
    measured=_MEASURED,
    factor=1.13,
    vocabulary=_CLAUDE_WORDS,
    image=ImagePrice(pixels_per_token=750, most=1_600, source=_OF_ANTHROPIC),
    per_output=3,
    per_reasoning=8,
    splits_arguments=True,
    per_output_calls=17,
    per_output_call=16,
    per_output_argument=15,
    spared_opening=17,
    spared_closing=10,
    priming=5,
    per_message=2,
    per_tools=495,
    per_tool=20,
    per_forced_tools=100,
    per_thinking=28,
    per_call=50,
    tool_factor=1.12,
    per_format=60,
    format_factor=2.3,
    per_page=1_580,
)
_GEMINI = Family(
    name="gemini",
    pattern="",
    source=_BOTH,
    measured=_MEASURED,
    factor=1.04,
    vocabulary=_GEMMA_WORDS,
    image=ImagePrice(base=258, per_tile=0, source=_OF_GOOGLE),
    priming=0,
    splits_arguments=True,
    per_output_call=0,
    tool_factor=0.5,
    per_page=258,
)
_THINKING_GEMINI = replace(
    _GEMINI, hides_reasoning=True, priming=1, per_call=15, per_output_call=8, per_output_argument=3, tool_factor=1.0
)
_OTHER = Family(name="other", pattern="", source=_ANSWERS, measured=_MEASURED)


def _patches(tokens: float, *, recorded: bool = False) -> ImagePrice:
    return ImagePrice(per_patch=tokens, source=f"{_BOTH}, {_MEASURED}") if recorded else ImagePrice(per_patch=tokens)


# The first whose pattern is found is meant.
FAMILIES = (
    replace(
        _OPENAI,
        name="embedding",
        pattern=r"text-embedding(?!-(00\d|v\d))|embedding-ada",
        source=_NAMES,
        encoding="cl100k_base",
        priming=0,
    ),
    replace(_OTHER, name="gpt-oss", pattern=r"gpt-oss", factor=1.07, hides_reasoning=True, priming=67),
    replace(_GPT5, name="gpt-5 chat", pattern=r"gpt-?[5-9](\.\d+)?-chat", hides_reasoning=False),
    replace(_GPT5, name="gpt-5.4+", pattern=r"gpt-?(5\.([4-9]|\d\d)|[6-9]|1\d)", per_output=3, per_responses_output=4),
    replace(_GPT5, name="gpt-5 mini", pattern=r"gpt-?5[.\d]*-mini", image=_patches(1.2, recorded=True)),
    replace(_GPT5, name="gpt-5 nano", pattern=r"gpt-?5[.\d]*-nano", image=_patches(1.5, recorded=True)),
    replace(_GPT5, name="gpt-5", pattern=r"gpt-?5|codex"),
    replace(_OPENAI, name="gpt-4.1 mini", pattern=r"gpt-?4[.-]?1-mini", image=_patches(1.62)),
    replace(_OPENAI, name="gpt-4.1 nano", pattern=r"gpt-?4[.-]?1-nano", image=_patches(2.46)),
    replace(_OPENAI, name="gpt-4o mini", pattern=r"gpt-?4o-mini", image=ImagePrice(base=2_833, per_tile=5_667)),
    replace(
        _OPENAI,
        name="gpt-4o",
        pattern=r"gpt-?4o|gpt-?4[.-]?[15](?!\d)|gpt-(audio|realtime|image)|computer-use|omni-",
    ),
    replace(
        _OPENAI,
        name="gpt-4 of 2023",
        pattern=r"gpt-?4(-32k)?(-0[36]1[34])?$",
        encoding="cl100k_base",
        per_output_call=4,
    ),
    replace(
        _OPENAI,
        name="gpt-4",
        pattern=r"gpt-?4|gpt-?3|(davinci|babbage)-002|davinci:|text-davinci",
        encoding="cl100k_base",
    ),
    replace(_O_SERIES, name="o4-mini", pattern=r"\bo4-mini", per_output=20, image=_patches(1.72)),
    replace(_O_SERIES, name="o-series", pattern=r"\bo[1-9]\b(?!\.)"),
    replace(
        _CLAUDE,
        name="claude 5",
        pattern=r"claude-((opus-4[.-]([7-9]|\d\d)|4[.-]([7-9]|\d\d)-opus)(?!\d)|[a-z]+-[5-9]|[5-9])",
        factor=1.47,
        vocabulary=_CLAUDE_5_WORDS,
        per_output_calls=22,
        per_output_call=21,
        per_output_argument=20,
        spared_opening=22,
        spared_closing=13,
        tool_factor=1.47,
    ),
    replace(_CLAUDE, name="claude 4.5", pattern=r"claude-([a-z]+-)?4[.-]([5-9]|\d\d)(?!\d)"),
    replace(_CLAUDE, name="claude 4", pattern=r"claude-([a-z]+-)?4", per_tools=310, per_forced_tools=0),
    replace(_CLAUDE, name="claude 3 haiku", pattern=r"claude-3.*haiku", per_tools=260, tool_factor=1.15),
    replace(
        _CLAUDE,
        name="claude 3 opus",
        pattern=r"claude-3-opus",
        per_tools=527,
        per_forced_tools=-217,
        tool_factor=1.15,
    ),
    replace(_CLAUDE, name="claude 3", pattern=r"claude", per_tools=310, per_forced_tools=0, tool_factor=1.15),
    replace(_THINKING_GEMINI, name="gemini 3", pattern=r"gemini-([3-9]|flash-latest|pro-latest)"),
    replace(_THINKING_GEMINI, name="gemini 2.5", pattern=r"gemini-2[.-]5"),
    replace(
        _GEMINI,
        name="gemini 2.0",
        pattern=r"gemini-2",
        image=ImagePrice(base=258, per_tile=258, crops=True, source=_OF_GOOGLE),
    ),
    replace(_GEMINI, name="gemini", pattern=r"gemini|palm-2|(text|chat|code)-bison|embedding-(00\d|gecko)"),
    replace(_OTHER, name="gemma", pattern=r"gemma", factor=1.135, vocabulary=_GEMMA_WORDS, priming=8, per_output=1),
    replace(_OTHER, name="llama 4", pattern=r"llama-?v?4", priming=15, per_output=1),
    replace(
        _OTHER,
        name="llama 3",
        pattern=r"(?<!o)llama",
        factor=1.03,
        vocabulary=_OF_128_000,
        priming=15,
        per_output=1,
    ),
    replace(_OTHER, name="nova", pattern=r"\bnova-", factor=1.01, priming=0, per_output=1),
    replace(_OTHER, name="titan", pattern=r"\btitan\b", factor=1.04, priming=0, per_output=1),
    replace(
        _OTHER,
        name="mistral 1",
        pattern=r"mixtral|mistral-(7b|tiny)",
        factor=1.25,
        vocabulary=Vocabulary(words=(35_000,), digits=True, signs=True),
        per_output=1,
        per_tools=10,
        per_output_call=15,
        tool_factor=1.47,
    ),
    replace(
        _OTHER,
        name="mistral",
        pattern=r"mistral|ministral|codestral|devstral|pixtral|magistral|voxtral",
        factor=1.08,
        vocabulary=Vocabulary(words=(100_000,), digits=True),
        per_tools=10,
        per_output_call=13,
        tool_factor=1.47,
    ),
    replace(
        _OTHER,
        name="cohere",
        pattern=r"\bcommand\b|cohere|\baya-",
        factor=1.06,
        vocabulary=Vocabulary(digits=True, signs=True),
        priming=0,
        per_output=1,
        per_output_call=58,
    ),
    replace(_OTHER, name="grok", pattern=r"grok", factor=0.98, hides_reasoning=True, priming=8),
    replace(
        _OTHER,
        name="deepseek",
        pattern=r"deepseek",
        factor=1.03,
        vocabulary=_OF_128_000,
        per_output_call=0,
        per_tools=130,
    ),
    replace(
        _OTHER,
        name="qwen",
        pattern=r"qwen|qwq",
        factor=1.03,
        vocabulary=Vocabulary(digits=True),
        priming=9,
        per_output=1,
    ),
    replace(_OTHER, name="glm", pattern=r"glm", factor=1.065, priming=9),
    _OTHER,
)


_BEFORE = OpenAIRules(
    api="chat",
    models="gpt-3.5 to gpt-4.1, o-series",
    source=_BOTH,
    measured=_MEASURED,
    tools=Extras(-1, 3),
    schema=Extras(4, 8),
    tools_and_schema=Extras(-1, 3),
    forced_tool=7,
)
_SINCE = replace(
    _BEFORE,
    models="gpt-5 and later",
    assistant_text=2,
    per_call=10,
    parallel_calls=29,
    tools=Extras(84, 84),
    tools_and_schema=Extras(84, 84),
    forced_tool=-9,
)
_HOSTED = {"web_search": 294, "web_search_preview": 294}
# Of one recorded request, which bears its 19,017 characters out.
_HOSTED_SINCE = {"web_search": 4_295, "web_search_preview": 4_295}
OPENAI_RULES = (
    _BEFORE,
    _SINCE,
    replace(
        _BEFORE,
        api="responses",
        per_call=5,
        parallel_calls=-6,
        per_parallel_call=7,
        tools=Extras(-3, -3),
        schema=Extras(1, 1),
        tools_and_schema=Extras(-3, -3),
        hosted_tools=_HOSTED,
        forced_output_call=1,
        parallel_output_calls=19,
    ),
    replace(
        _SINCE,
        api="responses",
        per_call=11,
        parallel_calls=0,
        per_parallel_call=7,
        tools=Extras(3, 2),
        schema=Extras(0, 0),
        tools_and_schema=Extras(3, 2),
        hosted_tools=_HOSTED_SINCE,
        forced_output_call=1,
        parallel_output_calls=19,
    ),
)
