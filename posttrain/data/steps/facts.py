"""Curation step: answers that state another value than a reference table go to review (S3: dates, names, numbers).

How a statement is found: the prompt or a sentence of the answer names an entity of the table (whole words, longest
first) and a checked column (by its name or the user's other words for it), and the sentence holds a value of that
column's kind. A sentence that names no entity or no column has those that the prompt asks about, if it is exactly
one. A row is right about a fact when any of its sentences states the right value; it says nothing when none states
one.

Statements of other shapes are for the user's own patterns. Knows nothing of where the table came from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import polars as pl

from posttrain.data import findings
from posttrain.data.rows import shorten
from posttrain.data.steps.fact_table import SHORTEST, Column, Phrases, Reference, folded, phrases, reference
from posttrain.data.steps.fact_values import Stated, dates, names, numbers, same_date, same_number
from posttrain.data.text import labels
from posttrain.spec.sections.facts import FactsSpec

_SENTENCE = re.compile(r"(?<=[.!?？])\s+|(?<=？)|[。！；\n]+")
_WORDS = re.compile(r"[\u3040-\u9fff]|[^\W_]+")
_YEAR = re.compile(r"[12]\d{3}")
_LONGEST_NAME = 5
SHORT = 300
"""Characters of a prompt that is all question."""


@dataclass(frozen=True)
class Facts:
    """Compare what answers state with one reference table. `make` reads the table first, to say what is wrong with it.

    Of a preference pair only the chosen side is looked at; JSON answers are not prose, and none of its business.
    """

    path: str
    spec: str
    name: str = "facts"

    @classmethod
    def make(cls, spec: FactsSpec, root: Path) -> Facts:
        """The step; relative paths start at `root`. Raises: `DataError` (see `fact_table.reference`)."""
        step = cls(str(root / spec.reference), spec.model_dump_json())
        reference(step.path, step.spec)
        return step

    @property
    def _settings(self) -> FactsSpec:
        return FactsSpec.model_validate_json(self.spec)

    @property
    def reason(self) -> str:
        """What it sets aside, in words."""
        return f"states another value than {self._settings.reference}"

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Findings, verdict review: one a row, of the first fact that it states wrongly."""
        known, settings = reference(self.path, self.spec), self._settings
        answer = "completion" if "completion" in rows.columns else "chosen"
        patterns = [re.compile(pattern) for pattern in settings.patterns]
        texts = rows.select(
            pl.int_range(rows.height, dtype=pl.Int64).alias("row"),
            pl.col("prompt").str.normalize("NFKC"),
            pl.col(answer).str.normalize("NFKC").alias("answer"),
        ).with_columns(names=_spelled(known))
        found: list[tuple[int, str]] = []
        for row, prompt, text, spellings in texts.filter(pl.col("names").list.len() > 0).iter_rows():
            if labels.is_json(text):
                continue
            statements = {**_seen(known, prompt, text, spellings), **_matched(known, patterns, text)}
            wrong = (_wrong(known, fact, stated, settings.tolerance) for fact, stated in statements.items())
            if words := next(filter(None, wrong), ""):
                found.append((row, words))
        values = [shorten(words, 200) for _, words in found]
        return findings.findings([row for row, _ in found], values, f"as in {settings.reference}", "", "review")


Fact = tuple[str, str]
"""Entity and column."""


def _spelled(known: Reference) -> pl.Expr:
    """The names of entities in prompt and answer, whole words or not: a quick first look at many rows."""
    together = pl.concat_str("prompt", pl.lit("\n"), "answer")
    return together.str.extract_many(sorted(known.spellings), ascii_case_insensitive=True, overlapping=True)


# --- what a row states ---------------------------------------------------------------------------------------


def _seen(known: Reference, prompt: str, answer: str, spellings: Sequence[str]) -> dict[Fact, list[Stated]]:
    """Every value stated in a sentence about one entity and a column, by fact."""
    together = f"{prompt}\n{answer}".lower()
    columns = [column for column in known.columns.values() if column.words.among(together)]
    if not columns:
        return {}
    entities = phrases(spellings, plural=False)
    question = _question(prompt)
    asked_about = _entities(known, entities, question)
    asked_for = [column for column in columns if column.words.spans(question)]
    found: dict[Fact, list[Stated]] = {}
    for sentence in _statements(answer):
        about = _entities(known, entities, sentence) or asked_about
        named = [column for column in columns if column.words.spans(sentence)]
        for column in named or asked_for[:1] * (len(asked_for) == 1):
            for fact in {(entity, column.name) for entity in about if len(about) == 1} & known.facts.keys():
                found.setdefault(fact, []).extend(_values(known, column, sentence, entities))
    return found


def _question(prompt: str) -> str:
    """What the prompt asks: all of a short one; of a long one, which brings a text along, its questions."""
    if len(prompt) <= SHORT:
        return prompt
    return " ".join(sentence for sentence in _SENTENCE.split(prompt) if sentence.endswith(("?", "？")))


def _statements(answer: str) -> Iterator[str]:
    return (sentence for sentence in _SENTENCE.split(answer) if sentence and not sentence.endswith(("?", "？")))


def _entities(known: Reference, entities: Phrases, text: str) -> set[str]:
    said = (text[start:end] for start, end in entities.spans(text))
    return {known.entity(name) for name in said if len(name) > SHORTEST or name in known.spellings} - {""}


def _values(known: Reference, column: Column, sentence: str, entities: Phrases) -> list[Stated]:
    """Values of the column's kind, those nearest to its name first."""
    if column.kind in ("year", "date"):
        found = list(dates(sentence))
    elif column.kind == "number":
        found = [value for value in numbers(sentence) if not _listed(sentence, value)]
    else:
        spans = [*_known_names(known.known[column.name], sentence), *names(sentence)]
        found = [value for value in spans if not _names_it(value.text, entities, column)]
    mention = column.words.spans(sentence)
    at = mention[0][0] if mention else 0
    return sorted(found, key=lambda value: abs(value.start - at))


def _names_it(text: str, entities: Phrases, column: Column) -> bool:
    """Whether a text is what the statement is about, not what it says."""
    return (0, len(text)) in entities.spans(text) or bool(column.words.spans(text))


def _listed(sentence: str, value: Stated) -> bool:
    """Whether it only numbers an entry of a list."""
    return not sentence[: value.start].strip() and sentence[value.start + len(value.text) :][:1] in (".", ")", "、")


def _known_names(vocabulary: frozenset[str], sentence: str) -> Iterator[Stated]:
    words = list(_WORDS.finditer(sentence))
    for size in range(_LONGEST_NAME, 0, -1):
        for first, last in zip(words, words[size - 1 :], strict=False):
            text = sentence[first.start() : last.end()]
            if folded(text) in vocabulary:
                yield Stated(text, first.start())


def _matched(known: Reference, patterns: list[re.Pattern[str]], answer: str) -> dict[Fact, list[Stated]]:
    """What the user's own patterns find."""
    found: dict[Fact, list[Stated]] = {}
    for match in (match for pattern in patterns for match in pattern.finditer(answer)):
        groups = {name: text for name, text in match.groupdict().items() if text}
        entity = known.entity(groups.pop("key", ""))
        pairs = [(groups["column"], groups["value"])] if "column" in groups and "value" in groups else groups.items()
        for words, text in pairs:
            column = known.columns.get(words) or known.column(words)
            if column and (entity, column.name) in known.facts:
                found.setdefault((entity, column.name), []).extend(_read(column, text) or [Stated(text, 0)])
    return found


# --- whether it is right -------------------------------------------------------------------------------------


def _wrong(known: Reference, fact: Fact, stated: list[Stated], tolerance: float) -> str:
    """What is wrong, in words; "" when a right value is among those stated, or none can be compared."""
    column = known.columns[fact[1]]
    right = [value for text in known.facts[fact] for value in _read(column, text)]
    comparable = [value for value in stated if any(_comparable(value, one, column) for one in right)]
    if not comparable or any(_agree(value, one, column, tolerance) for value in comparable for one in right):
        return ""
    entity, name = fact
    return f"{name} of {entity}: {comparable[0].text}; reference: {' or '.join(known.facts[fact])}"


@lru_cache(maxsize=65_536)
def _read(column: Column, text: str) -> list[Stated]:
    """A value of the table, as its column's kind."""
    if column.kind == "name":
        return [Stated(text, 0)]
    if column.kind == "year" and text.isdigit():
        return [Stated(text, 0, date=(int(text), 0, 0))]
    if column.kind in ("year", "date"):
        return list(dates(text))
    unit = f" {column.unit}" if column.unit and not any(value.dimension for value in numbers(text)) else ""
    return list(numbers(text + unit))


def _comparable(stated: Stated, right: Stated, column: Column) -> bool:
    """Numbers compare when the stated one has no unit or one of the same dimension, and does not look like a year."""
    if column.kind != "number":
        return True
    looks_like_year = bool(_YEAR.fullmatch(stated.text)) and not any(1000 <= one < 3000 for one in right.numbers)
    return stated.dimension in ("", right.dimension) and not looks_like_year


def _agree(stated: Stated, right: Stated, column: Column, tolerance: float) -> bool:
    if column.kind == "number":
        if stated.dimension or not right.dimension:
            return same_number(stated, right, tolerance)
        plain = next(numbers(re.sub(r"[^\d.,\s]+\s*$", "", right.text)), right)  # both in the table's own unit
        return same_number(stated, plain, tolerance)
    if column.kind == "name":
        said, known = (set(_WORDS.findall(folded(text))) for text in (stated.text, right.text))
        return said <= known or known <= said
    return same_date(stated, right)
