"""What can be said of a piece of text without knowing its task: what are its words, and was it decoded rightly.

Row rules, Great Expectations and curation all ask here, so that they cannot disagree. Whatever is asked of many texts
is a function of a Polars series: one regular expression in Rust finds the few suspects, Python looks at those only.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from itertools import islice, pairwise

import polars as pl

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+")

WINDOW = 50


def words(text: str) -> list[str]:
    """The words, case-folded, without punctuation; each Chinese or Japanese character counts as one."""
    return _WORD.findall(text.casefold())


def key(text: str) -> str:
    """The text reduced to its words: two prompts with one key differ in case, spacing and punctuation only."""
    return " ".join(words(text))


def distinct_word_share(text: str, window: int = WINDOW) -> float:
    """Share of distinct word pairs in the most repetitive window of about `window` words, 0 to 1.

    What `codes.distinct_word_shares` says of many texts at once; the rule on repetition asks it of runs of words
    (`repetition.distinct_shares`, where the figures are). Texts of fewer than six words count as 1.
    """
    found = words(text)
    if len(found) < 6:
        return 1.0
    count = max(1, round(len(found) / window))
    cuts = [len(found) * index // count for index in range(count + 1)]
    return min(_distinct_pairs(found[start:stop]) for start, stop in pairwise(cuts))


def _distinct_pairs(found: list[str]) -> float:
    pairs = list(pairwise(found))
    return len(set(pairs)) / len(pairs)


def explained(texts: pl.Series, suspects: pl.Series, explain: Callable[[str], str]) -> pl.Series:
    """What `explain` says of each suspect text; "" for all others. `suspects` is a Boolean of the same length."""
    at = suspects.arg_true()
    if not len(at):
        return pl.repeat("", len(texts), dtype=pl.String, eager=True).alias(texts.name)
    said = pl.Series([explain(text) for text in texts.gather(at)], dtype=pl.String)
    return pl.repeat("", len(texts), dtype=pl.String, eager=True).scatter(at, said).alias(texts.name)


# Never in text that was decoded rightly: U+FFFD, and controls other than tab and line ends.
_DAMAGE = "[\ufffd\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
_SURROGATES = "[\ud800-\udfff]"
_LETTER = r"[^\W\d_]"
# What a continuation byte of UTF-8 (0x80 to 0xbf) becomes when it is read as Latin-1 or cp1252.
_CONTINUED = "\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_UNIT = f"(?:[Â-ß][{_CONTINUED}]|[à-ï][{_CONTINUED}]{{2}}|[ð-ô][{_CONTINUED}]{{3}})"
# One unit is enough where its lead ends no word; é”… may be French, so other leads count when two follow each other.
_AS_LATIN = (
    f"[ÃÂ][\u0080-\u00bf€‚ƒ„†‡ˆ‰Š‹ŒŽ˜™š›œžŸ]|Ã[“”‘’–—…•][a-zà-ÿ]|[a-z]Â[ .,]|â[{_CONTINUED}]{{2}}|â€|ðŸ|ï»¿"
    f"|{_UNIT}{{2}}"
)
# UTF-8 read as MacRoman (pi√±ata, it‚Äôs) or as Windows-1251.
_AS_OTHER = rf"{_LETTER}√[^\s\w]|√[©®±°≥º]{_LETTER}|‚Ä[ìîïòôúùû†¶¢π]|(?:[РС][а-яёїѓЂ-џ°±µ]){{4}}|вЂ[^\s\w]"
_MOJIBAKE = f"{_AS_LATIN}|{_AS_OTHER}"
_TRIES = 20  # places of a text that ftfy is asked about


def _leads() -> str:
    """What the first two of the three UTF-8 bytes of a Chinese character become when they are read as GBK."""
    pairs = (bytes([lead, second]) for lead in range(0xE2, 0xEA) for second in range(0x80, 0xC0))
    return "".join(pair.decode("gbk", "ignore") for pair in pairs)


# Chinese in UTF-8 read as GBK is full of such leads: three so close together stand in 96 % of 2,845 Chinese texts so
# garbled, and in none of the texts themselves. The others are what U+FFFD and uninitialized memory become.
_AS_GBK = f"[{_leads()}].{{0,3}}[{_leads()}].{{0,3}}[{_leads()}]|锟斤拷|烫{{4}}|屯{{4}}"
# Chinese in GBK read as Latin-1: ÄãºÃÊÀ½ç.
_FROM_GBK = "[\u00a1-\u00fe]{8,}"


def encoding_problems(texts: pl.Series) -> pl.Series:
    """What makes each text unreadable, in words; "" where nothing does. See `unreadable`."""
    suspects = texts.str.contains("|".join((_DAMAGE, _MOJIBAKE, _AS_GBK, _FROM_GBK)))
    return explained(texts, suspects, unreadable)


def unreadable(text: str) -> str:
    """What makes the text unreadable, in words; "" when nothing does.

    Mojibake is text that was read in another encoding than it was written in: UTF-8 as Latin-1, cp1252, MacRoman or
    Windows-1251 (ftfy, which can repair it, must agree), UTF-8 as GBK, GBK as Latin-1. Replacement characters, lone
    surrogates, and control characters other than tab and line ends are damage of their own.
    """
    return _mojibake(text) or _mojibake_of_gbk(text) or _damage(text)


@lru_cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _damage(text: str) -> str:
    found = _compiled(f"{_DAMAGE}|{_SURROGATES}").search(text)
    return f"character U+{ord(found[0]):04X} at {found.start()}" if found else ""


def _mojibake(text: str) -> str:
    from ftfy import fix_encoding

    for found in islice(_compiled(_MOJIBAKE).finditer(text), _TRIES):
        around = text[max(0, found.start() - 8) : found.end() + 8]
        if any(fix_encoding(part) != part for part in (found[0], around)):
            return f"mojibake {found[0]!r} at {found.start()}"
    return ""


def _mojibake_of_gbk(text: str) -> str:
    if found := _compiled(_AS_GBK).search(text):
        return f"mojibake {found[0]!r} at {found.start()} (Chinese read as GBK)"
    for found in _compiled(_FROM_GBK).finditer(text):
        meant = found[0][: len(found[0]) // 2 * 2].encode("latin-1").decode("gbk", "replace")
        if not found[0].isalpha() and all(_is_common(character) for character in meant):
            return f"mojibake {found[0][:8]!r} at {found.start()} (GBK read as Latin-1)"
    return ""


def _is_common(character: str) -> bool:
    """Whether it is one of the 3,755 common Chinese characters, the comma or the stop: GB 2312 has them in order."""
    return character in "，。" or (len(code := character.encode("gb2312", "ignore")) == 2 and 0xB0 <= code[0] <= 0xD7)
