"""A reference table: what is known of which entity, by which names, and of what kind each column's values are.

Reads the user's file into memory: reference tables are small beside the rows. Knows nothing of rows.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import polars as pl

from posttrain.data.steps.fact_values import Stated, dates, numbers
from posttrain.errors import DataError
from posttrain.spec.sections.facts import FactsSpec

Kind = Literal["number", "year", "date", "name"]
LONG = ("entity", "attribute", "value")
SHORTEST = 3
"""Characters: names no longer than this must be written in the same case, for "US" is not "us"."""

_READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".csv": lambda path: pl.read_csv(path, infer_schema=False),
    ".tsv": lambda path: pl.read_csv(path, infer_schema=False, separator="\t"),
    ".parquet": pl.read_parquet,
    ".jsonl": lambda path: pl.read_ndjson(path, infer_schema_length=None),
}


@dataclass(frozen=True)
class Phrases:
    """Texts to look for, in lower case, the longest first; `plural` allows an s or es at the end."""

    words: tuple[str, ...]
    plural: bool

    def among(self, text: str) -> bool:
        """Whether one of them may stand in the text (in lower case), whole words or not: a quick first look."""
        return any(word in text for word in self.words)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where they stand as whole words, whatever their case; none inside another. Chinese has no word boundaries."""
        lower = text.lower()
        found: list[tuple[int, int]] = []
        for word in self.words:
            start = lower.find(word)
            while start >= 0:
                end = self._end(lower, start, word)
                if end and not any(start < other and begin < end for begin, other in found):
                    found.append((start, end))
                start = lower.find(word, start + 1)
        return sorted(found)

    def _end(self, text: str, start: int, word: str) -> int:
        """Where the word that starts here ends; 0 when it is a part of a longer one."""
        if start and _joins(text[start - 1], word[0]):
            return 0
        for ending in ("", "s", "es") if self.plural else ("",):
            end = start + len(word) + len(ending)
            whole = end >= len(text) or not _joins(text[end - 1], text[end])
            if whole and text.endswith(ending, start + len(word), end):
                return end
        return 0


def _joins(first: str, second: str) -> bool:
    """Whether two neighbouring characters are of one word; Chinese characters are words of their own."""
    return first.isalnum() and second.isalnum() and not (_is_han(first) or _is_han(second))


def _is_han(character: str) -> bool:
    return "\u3040" <= character <= "\u9fff"


@dataclass(frozen=True)
class Column:
    """A checked column: its name, how texts refer to it, and how its values compare."""

    name: str
    kind: Kind
    words: Phrases
    unit: str


@dataclass(frozen=True)
class Reference:
    """`entities`: folded name → entity; `facts`: (entity, column) → the right values as written, in any order."""

    columns: Mapping[str, Column]
    entities: Mapping[str, str]
    facts: Mapping[tuple[str, str], tuple[str, ...]]
    known: Mapping[str, frozenset[str]]
    """Column of names → all of its values, folded."""
    spellings: frozenset[str]
    """Names as the table has them."""

    def entity(self, name: str) -> str:
        """The entity of this name; "" when there is none."""
        return self.entities.get(folded(name), "")

    def column(self, words: str) -> Column | None:
        """The column that is meant."""
        text = words.strip()
        return next((column for column in self.columns.values() if (0, len(text)) in column.words.spans(text)), None)


def folded(text: str) -> str:
    """A name for comparison: Unicode NFKC, case-folded, runs of blanks as one."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


@lru_cache(maxsize=8)
def reference(path: str, spec: str) -> Reference:
    """The table at `path`, read as `spec` (a `FactsSpec` as JSON) says; kept per process.

    Raises: `DataError` for a missing or unreadable file, a missing column, or a table without values.
    """
    return _reference(Path(path), FactsSpec.model_validate_json(spec))


def _reference(path: Path, spec: FactsSpec) -> Reference:
    table = _long(_read(path, spec), spec)
    if not table.height:
        raise DataError(f"{spec.reference}: found no values to check against, expected at least one; add rows")
    entities, spellings = _entities(table)
    facts: dict[tuple[str, str], list[str]] = defaultdict(list)
    values: dict[str, list[str]] = defaultdict(list)
    for entity, _, attribute, value in table.iter_rows():
        facts[entity, attribute].append(value)
        values[attribute].append(value)
    columns = {name: _column(name, found, spec) for name, found in values.items()}
    known = {name: frozenset(map(folded, values[name])) for name, column in columns.items() if column.kind == "name"}
    return Reference(columns, entities, {at: tuple(found) for at, found in facts.items()}, known, spellings)


def _read(path: Path, spec: FactsSpec) -> pl.DataFrame:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{spec.reference}: found a {path.suffix or 'nameless'} file, expected {', '.join(_READERS)}")
    try:
        frame = reader(path)
    except FileNotFoundError as error:
        raise DataError(f"{spec.reference}: no such file; correct curate.facts.reference") from error
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).split("\n")[0]
        raise DataError(f"{spec.reference}: cannot be read as {path.suffix} ({reason}); mend the file") from error
    return frame.with_columns(pl.all().cast(pl.String).fill_null("").str.normalize("NFKC"))


def _long(frame: pl.DataFrame, spec: FactsSpec) -> pl.DataFrame:
    """(entity, aliases, attribute, value), one line a value that is not blank, of the columns to check."""
    names = frame.columns
    _demand([name for name in (spec.key, spec.aliases) if name], names, spec)
    aliases = pl.col(spec.aliases) if spec.aliases else pl.lit("")
    if spec.key is None and set(LONG) <= set(names):
        table = frame.select("entity", aliases.alias("aliases"), "attribute", "value")
        if spec.columns:
            _demand(spec.columns, table["attribute"].unique(maintain_order=True).to_list(), spec)
            table = table.filter(pl.col("attribute").is_in(list(spec.columns)))
    else:
        key = spec.key or ("entity" if "entity" in names else names[0])
        _demand(spec.columns, names, spec)
        checked = list(spec.columns) or [name for name in names if name not in (key, spec.aliases)]
        table = frame.select(pl.col(key).alias("entity"), aliases.alias("aliases"), *checked).unpivot(
            checked, index=["entity", "aliases"], variable_name="attribute", value_name="value"
        )
    return table.with_columns(pl.all().str.strip_chars()).filter((pl.col("entity") != "") & (pl.col("value") != ""))


def _demand(wanted: Mapping[str, object] | list[str], present: list[str], spec: FactsSpec) -> None:
    missing = [name for name in wanted if name not in present]
    if missing:
        raise DataError(
            f"{spec.reference}: found columns {', '.join(present)}, expected {' and '.join(missing)}; correct "
            "key, aliases or columns in curate.facts"
        )


def _entities(table: pl.DataFrame) -> tuple[dict[str, str], frozenset[str]]:
    entities: dict[str, str] = {}
    spellings: set[str] = set()
    for entity, aliases in table.select("entity", "aliases").unique(maintain_order=True).iter_rows():
        for name in (entity, *aliases.split("|")):
            if name.strip():
                entities.setdefault(folded(name), entity)
                spellings.add(name.strip())
    return entities, frozenset(spellings)


def _column(name: str, values: list[str], spec: FactsSpec) -> Column:
    words = phrases([name.replace("_", " "), *spec.columns.get(name, ())], plural=True)
    return Column(name, _kind(values), words, spec.units.get(name, ""))


def _kind(values: list[str]) -> Kind:
    """What nine tenths of a column's values are; years are whole numbers up to 2100, half of them from 1000 on."""
    late = sum(bool(re.fullmatch(r"[12]\d{3}", value)) for value in values) >= 0.5 * len(values)
    tests: dict[Kind, Callable[[str], bool]] = {
        "year": lambda value: late and bool(re.fullmatch(r"\d{1,4}", value)) and int(value) <= 2100,
        "date": lambda value: _is_all(value, list(dates(value))),
        "number": lambda value: _is_all(value, list(numbers(value))),
    }
    for kind, test in tests.items():
        if sum(map(test, values)) >= 0.9 * len(values):
            return kind
    return "name"


def _is_all(value: str, found: list[Stated]) -> bool:
    return len(found) == 1 and found[0].text.strip() == value


def phrases(words: Iterable[str], plural: bool) -> Phrases:
    """A search for these texts."""
    lowered = {word.strip().lower() for word in words} - {""}
    return Phrases(tuple(sorted(lowered, key=lambda word: (-len(word), word))), plural)
