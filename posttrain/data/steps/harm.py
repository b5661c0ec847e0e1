"""Curation step: word lists find harmful answers (S3): clear hits drop a row, unsure ones send it to review.

A word of the built-in lists is *clear* (a slur, an obscenity that has no other use), *unsure*, or harmless and not
looked for: `word_lists/README.md` says who chose. Words make points: a clear one two, said again one more, unsure ones
one each and two at most together, a word of the user's own list three. Two points are for a person to look at; three
drop the row. So one vulgar word decides nothing, a text about sex education goes to review at worst, and a single
slur, which may be quoted, does too.

Only answers are looked at, of a pair the chosen one: a harmful request with a good answer, and the bad side of a pair,
are what safety is learned from. JSON is a label, and left alone. Knows nothing of meaning: harm in decent words is for
a classifier.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import polars as pl

from posttrain.data import findings
from posttrain.data.text.json_columns import decoded
from posttrain.data.text.prose import is_json
from posttrain.errors import DataError
from posttrain.spec.sections.harm import BUILT_IN, HarmSpec

_LISTS = Path(__file__).parent / "word_lists"
_TURNS = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
REVIEW, DROP = 2, 3
"""Points from which on a row goes to review, and is dropped."""

# What a refusal says in its first sentences; 1 % of the answers that XSTest's people call full compliance say it too.
_REFUSAL_HEAD = 300
_REFUSAL = (
    r"(?i:(?-u:\b)(?:"
    r"(?:i|we) (?:can['’]?t|cannot|can not|won['’]?t|will not|must (?:refuse|decline)|decline|would rather not)"
    r"|i(?: am|['’]m) (?:not able|unable|not going|sorry|afraid)|i apologi[sz]e|my apologies|goes against"
    r"|i do(?: not|n['’]t) (?:feel comfortable|condone|want to)"
    r"|not (?:[a-z]+ )?(?:appropriate|acceptable|ethical|comfortable|okay) (?:or [a-z]+ )?(?:to|for me|with)"
    r")(?-u:\b)|^[^a-z]*sorry(?-u:\b))"
    r"|抱歉|对不起|我(?:不能|无法|拒绝|不会)|(?:不能|无法|不便|不愿)(?:提供|帮助|帮你|协助|回答|满足|参与|支持)"
)
_LATIN = re.compile(r"[a-z0-9](?:[ -~]*[a-z0-9])?")


@dataclass(frozen=True)
class Words:
    """Words to look for, by how sure a hit is."""

    unsure: frozenset[str]
    clear: frozenset[str]
    own: frozenset[str]

    @cached_property
    def all(self) -> frozenset[str]:
        """All of them."""
        return self.unsure | self.clear | self.own


@dataclass(frozen=True)
class Harm:
    """Look for words in answers. `make` reads the lists first, to say what is wrong with them."""

    words: Words
    keep_refusals: bool = True
    prompts: bool = False
    name: str = "harm"
    reason: str = "words of the harm lists in the answer"

    @classmethod
    def make(cls, spec: HarmSpec, root: Path) -> Harm:
        """The step; files of words lie below `root`. Raises `DataError` for a file that is missing or empty."""
        allowed = {word.casefold() for word in spec.allowed}
        listed = {word for name in spec.word_lists if name in BUILT_IN for word in _read(_LISTS / f"{name}.txt", name)}
        own = {word for name in spec.word_lists if name not in BUILT_IN for word in _read(root / name, name)}
        clear = listed & set(_read(_LISTS / "clear.txt", "clear.txt"))
        unsure = listed - clear - set(_read(_LISTS / "harmless.txt", "harmless.txt"))
        words = Words(*(frozenset(each - allowed) for each in (unsure - own, clear - own, own)))
        return cls(words, spec.keep_refusals, spec.prompts)

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Findings about a batch: verdict drop or review; value the words, with how often they stand there."""
        pattern = _pattern(self.words)
        if not pattern:
            return findings.none()
        texts = _answers(rows)
        texts = (rows["prompt"] + "\n" + texts) if self.prompts else texts
        at = texts.str.contains(pattern).arg_true()
        at = at.filter(~is_json(_answers(rows).gather(at)))
        if self.keep_refusals:
            at = at.filter(~refuses(_answers(rows).gather(at)))
        said = [self._judged(words) for words in texts.gather(at).str.extract_all(pattern).to_list()]
        judged = pl.DataFrame({"row": at, "said": said}, schema={"row": pl.Int64, "said": pl.List(pl.String)})
        judged = judged.filter(pl.col("said").list.len() > 0)
        verdict, value = (judged["said"].list.get(place) for place in (0, 1))
        return findings.findings(judged["row"], value, "no such words", verdict=verdict)

    def _judged(self, found: Sequence[str]) -> list[str]:
        """Verdict and value; none when the words are too few."""
        words, said = self.words, Counter(map(self._listed, found))
        clear = said.keys() & words.clear
        points = 3 * len(said.keys() & words.own) + 2 * len(clear) + min(2, len(said.keys() & words.unsure))
        points += any(said[word] > 1 for word in clear)
        value = ", ".join(f"{word} ({count})" if count > 1 else word for word, count in said.most_common(5))
        return [] if points < REVIEW else ["drop" if points >= DROP else "review", value]

    def _listed(self, word: str) -> str:
        """The word as its list has it: a plural may stand for its singular."""
        word = word.casefold()
        return word if word in self.words.all else word.removesuffix("s")


def refuses(texts: pl.Series) -> pl.Series:
    """Whether each answer refuses, by what its first 300 characters say, in English or Chinese.

    On XSTest's answers of three models, which people labelled: 87 % of the full refusals and 1.4 % of the full
    compliances.
    """
    return texts.str.head(_REFUSAL_HEAD).str.contains(_REFUSAL)


def _answers(rows: pl.DataFrame) -> pl.Series:
    """What each row teaches: every turn of the assistant, the chosen side of a pair, nothing that people disliked."""
    if "chosen" in rows.columns:
        return rows["chosen"]
    answers = rows["completion"]
    if "messages" in rows.columns:
        turns = pl.element().struct.field
        said = pl.element().filter(turns("role") == "assistant").struct.field("content")
        spoken = decoded(rows["messages"], _TURNS).list.eval(said).list.join("\n", ignore_nulls=True)
        answers = spoken.fill_null("").zip_with(rows["messages"] != "", answers)
    if "label" in rows.columns:
        answers = answers.zip_with(rows["label"] != "false", pl.repeat("", rows.height, eager=True))
    return answers


def _read(path: Path, shown: str) -> list[str]:
    """The words of a list, case-folded. Raises `DataError`."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"curate.harm.word_lists: {shown} cannot be read ({error}), expected {', '.join(BUILT_IN)} or a text file "
            "in UTF-8, a word a line; correct the name"
        ) from error
    words = [line.casefold() for line in lines if line and not line.startswith("#")]
    if not words:
        raise DataError(
            f"curate.harm.word_lists: {shown} has no words, expected a word a line; add some or leave it out"
        )
    return words


@lru_cache(maxsize=8)
def _pattern(words: Words) -> str:
    """An expression for Polars: Latin words whole, with a plural; all others wherever they stand; longest first."""
    latin: list[str] = []
    others: list[str] = []
    for word in sorted(words.all, key=lambda word: (-len(word), word)):
        (latin if _LATIN.fullmatch(word) else others).append(re.escape(word))
    bounded = [rf"(?-u:\b)(?i-u:(?:{'|'.join(latin)})s?)(?-u:\b)"] if latin else []
    return "|".join([*bounded, *(f"(?i:{word})" if re.search("[a-z]", word) else word for word in others)])
