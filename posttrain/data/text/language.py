"""Which language a text is in, and whether that was to be expected. Says nothing when it is not sure.

A regular expression recognizes the great mass of English and Chinese; the rest is shown to a model of 139 languages
(py3langid, which carries it in its package). Names of languages are ISO 639 codes: "en", "zh". Written forms of Chinese
are one language. Knows nothing of rows or rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import polars as pl

from posttrain.data.text.prose import exempt
from posttrain.data.text.words import explained
from posttrain.errors import SpecError

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

SURE = 0.99
"""Probability from which on the model is believed (this project): below it, names and titles are taken for Latin, Malay
or Galician; from it on, none of the 48,000 English and Chinese texts that this was measured on is."""
LEAST = 25
"""Bytes of letters that a text must have to be judged: 25 Latin or nine Chinese letters."""
READ = 500
"""Characters at the beginning of a text that are looked at."""

_LETTERS = r"[^\W\d_]"
_NOT_LETTERS = r"[\W\d_]+"
_HAN = r"[\x{3400}-\x{9fff}\x{f900}-\x{faff}\x{20000}-\x{3ffff}]"
_KANA = r"[\x{3041}-\x{3096}\x{30a1}-\x{30fa}]"
# Frequent English words that are not words of another language written in Latin letters, as "of" is in Dutch.
_ENGLISH = (
    r"(?i)(?-u:\b)(?:the|and|to|that|with|for|this|you|are|it|from|have|what|how|will|can|my|your|which|has|been|by)"
    r"(?-u:\b)"
)
# What the model tells apart and people do not, and "zxx", which is no language: numbers, names, code.
_SAME = {"zh": ("wuu", "yue"), "en": ("pcm",), "ar": ("ary", "arz"), "no": ("nn",), "es": ("ext", "an")}
_NO_LANGUAGE = "zxx"


def language_problems(texts: pl.Series, allowed: Sequence[str]) -> pl.Series:
    """The language of each text of prose that is surely in none of the allowed ones, and how sure that is; else "".

    Args:
        allowed: ISO 639 codes; a region or script ("zh-hant") makes no difference.

    An answer may well be in another language because its prompt asks for it: this finds rows to look at. JSON, code
    and texts of fewer than some 25 letters are not judged. Raises `SpecError` for a language that the model lacks.
    """
    wanted = _known(allowed)
    begun = texts.str.head(READ)
    suspects = ~_at_home(begun, wanted)
    at = suspects.arg_true()
    if len(at):
        rest = begun.gather(at)
        judged = (rest.str.replace_all(_NOT_LETTERS, "").str.len_bytes() >= LEAST) & ~exempt(texts.gather(at))
        suspects.scatter(at, judged)
    return explained(begun, suspects, partial(_foreign, allowed=wanted))


def languages(texts: pl.Series) -> pl.Series:
    """The most likely language of each text, for reports; "" where the model gives it less than one half."""
    begun = texts.str.head(READ)
    known = [pl.when(_at_home(begun, frozenset({code}))).then(pl.lit(code)) for code in ("en", "zh")]
    found = pl.select(pl.coalesce(*known, pl.lit("")).alias(texts.name)).to_series()
    asked = (found == "") & begun.str.contains(_LETTERS)
    return pl.select(pl.when(asked).then(explained(begun, asked, _most_likely)).otherwise(found)).to_series()


def _at_home(texts: pl.Series, allowed: frozenset[str]) -> pl.Series:
    """Whether each text is plainly English or Chinese, if that is allowed."""
    home = pl.repeat(False, len(texts), dtype=pl.Boolean, eager=True)
    if "en" in allowed:
        home |= texts.str.count_matches(_ENGLISH) * 100 >= texts.str.len_chars().clip(lower_bound=1)
    if "zh" in allowed:
        han = texts.str.count_matches(_HAN)
        home |= (han * 4 >= texts.str.len_chars()) & (texts.str.count_matches(_KANA) * 20 <= han) & (han > 0)
    return home


def _known(allowed: Sequence[str]) -> frozenset[str]:
    """The model's codes for these languages, and for what is no language."""
    codes = {code.casefold().replace("_", "-").split("-")[0] for code in allowed}
    if unknown := sorted(codes - set(_identifier().labels)):
        raise SpecError(
            f"language: found {', '.join(unknown)}, expected ISO 639 codes of languages that can be told apart "
            f"({', '.join(sorted(_identifier().labels))}); write one of those, such as en or zh"
        )
    return frozenset({*codes, _NO_LANGUAGE, *(same for code in codes for same in _SAME.get(code, ()))})


def _foreign(text: str, allowed: frozenset[str]) -> str:
    others = [(code, share) for code, share in _identifier().rank(text) if code not in allowed]
    sure = sum(share for _, share in others)
    return f"{_plain(others[0][0])} ({sure:.1%} sure)" if sure >= SURE else ""


def _most_likely(text: str) -> str:
    code, share = _identifier().rank(text)[0]
    return _plain(code) if share >= 0.5 and code != _NO_LANGUAGE else ""


def _plain(code: str) -> str:
    """The language that people would name."""
    return next((name for name, same in _SAME.items() if code in same), code)


@lru_cache(maxsize=1)
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
