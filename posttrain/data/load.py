"""Sources to rows: reads the spec's files and turns every record into a row with its id and place.

`blocks` reads, in order and in flat memory; `parse` does the work, anywhere; `read` does both. A row that cannot be
decoded, is no JSON or has not its format's shape is kept, with its problem and its raw text, for validation to
quarantine. Knows nothing of rules.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from posttrain.data import formats
from posttrain.data.engine import Engine, Local
from posttrain.data.files import Batch, Chunk, Fault, chunks, origins
from posttrain.data.formats import TEXTS, RowKind, Shape
from posttrain.data.formats.ranked_rows import by_pair
from posttrain.data.formats.rating_lines import by_answer
from posttrain.data.rows import Row
from posttrain.data.sources import PLAIN_TEXT, Reading, kind_of, reading
from posttrain.errors import DataError
from posttrain.spec.sections.data import Source

MAX_UNREADABLE = 0.20
"""A larger share of a file's rows that cannot be read means that the file is not what the spec takes it for."""


@dataclass(frozen=True)
class Block:
    """Some rows of one file, as they lie there, and all that is needed to parse them. Pickles."""

    shown: str
    shape: Shape
    kind: RowKind
    content: Chunk | pl.DataFrame


@dataclass(frozen=True)
class Problem:
    """Why a row could not be read as it should: the rule that it breaks and what was found."""

    rule: str
    value: str


@dataclass(frozen=True)
class Loaded:
    """All rows of a split in file order, and the problems of some, by row id."""

    rows: list[Row]
    problems: dict[str, Problem]


def blocks(sources: Sequence[Source], root: Path, split: str) -> Iterator[Block]:
    """A split's rows in file order, in blocks of some thousand; reading is sequential and memory stays flat.

    Raises `DataError` for a file that is missing, empty or broken, in another encoding, or without the columns that
    its format needs, and for sources of different kinds in one split.
    """
    readings = _readings(sources, root, split)
    kind = kind_of(readings, split)
    for each in readings:
        found = (
            Block(origin.shown, each.shape, kind, chunk)
            for origin in each.checked_origins()
            for chunk in chunks(origin, each.shape.names)
        )
        if "annotator" in each.shape.columns:  # one rating a line: a row's lines may lie in two blocks
            frames = by_answer(parse(block) for block in found)
            yield from (Block("", each.shape, kind, frame) for frame in frames)
        else:
            yield from found


def parse(block: Block) -> pl.DataFrame:
    """The block's rows: `id`, `source`, the texts of their kind, kept columns, `problem_rule` and `problem`.

    All columns are text and never null. `problem_rule` is "encoding", "schema" or "" for a sound row; a row that
    cannot be read at all has its raw text as `prompt`.
    """
    if isinstance(block.content, pl.DataFrame):
        return block.content
    if isinstance(block.content, Batch) and (frame := _columnar(block, block.content)) is not None:
        return frame
    parsed = block.content.parse()
    unreadable = {at for at, fault in parsed.faults.items() if fault.rule == "schema" or not parsed.rows[at]}
    texts, wrong = formats.convert_all(parsed.rows, block.shape, unreadable)
    faults = {**parsed.faults, **{at: parsed.faults.get(at) or Fault("schema", words) for at, words in wrong.items()}}
    for at in unreadable | wrong.keys():
        texts["prompt"][at] = faults[at].raw or parsed.raw(at)
    kept = {name: [formats.text(row.get(name)) for row in parsed.rows] for name in block.shape.keep}
    frame = _frame(block, parsed.numbers, {**texts, **kept}, faults)
    return by_pair(frame, row_id) if block.shape.format == "ranking" else frame


def _columnar(block: Block, content: Batch) -> pl.DataFrame | None:
    texts = formats.texts_of(content.batch, block.shape)
    if texts is None:
        return None
    return _frame(block, range(content.first, content.first + content.batch.num_rows), texts, {})


def _frame(
    block: Block, numbers: Sequence[int], texts: Mapping[str, Sequence[str] | pl.Series], faults: dict[int, Fault]
) -> pl.DataFrame:
    sources = [f"{block.shown}:{number}" for number in numbers]
    columns = {"id": [row_id(source) for source in sources], "source": sources, **texts}
    frame = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
    if block.kind == "messages" and "messages" not in texts:
        frame = frame.with_columns(_as_messages(frame))
    return _with_problems(frame, faults, block.kind)


def row_id(source: str) -> str:
    """Sixteen hexadecimal digits that stay the same as long as the row stays on its line."""
    return hashlib.sha256(source.encode()).hexdigest()[:16]


def _as_messages(frame: pl.DataFrame) -> pl.Series:
    said = frame.select("system", "prompt", "completion").iter_rows()
    whole = [formats.as_json(system, [("user", prompt), ("assistant", told)]) for system, prompt, told in said]
    return pl.Series("messages", whole, dtype=pl.String)


def _with_problems(frame: pl.DataFrame, faults: dict[int, Fault], kind: RowKind) -> pl.DataFrame:
    """The frame with its faults, and with those texts that may not be blank and are."""
    rules, words = ([""] * frame.height for _ in range(2))
    for at, fault in faults.items():
        rules[at], words[at] = fault.rule, fault.words
    needed = [name for name in TEXTS[kind] if name in ("prompt", "completion", "chosen", "rejected")]
    blank = [pl.when(pl.col(name).str.strip_chars() == "").then(pl.lit(name)) for name in needed]
    found = frame.select(pl.concat_str(blank, separator=" and ", ignore_nulls=True).alias("blank"))["blank"]
    for at in (found != "").arg_true():
        if not rules[at]:
            rules[at], words[at] = "schema", f"{found[at]} empty"
    return frame.with_columns(
        pl.Series("problem_rule", rules, dtype=pl.String), pl.Series("problem", words, dtype=pl.String)
    )


# --- whole splits --------------------------------------------------------------------------------------------


def read(sources: Sequence[Source], root: Path, split: str, engine: Engine | None = None) -> Iterator[pl.DataFrame]:
    """A split's rows, parsed where the engine says (by default here), in file order. Raises as `blocks` does, and
    when more than `MAX_UNREADABLE` of a file's rows have a problem."""
    return refusing_unreadable((engine or Local()).map(parse, blocks(sources, root, split)))


def refusing_unreadable(frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The same frames. Raises `DataError` after a file too many of whose rows have a problem, naming the first."""
    file, rows, bad = "", 0, 0
    first: tuple[str, str] = ("", "")
    for frame in frames:
        if not frame.height:
            continue
        now = str(frame["source"][0]).rpartition(":")[0]
        if now != file:
            _refuse(file, rows, bad, first)
            file, rows, bad = now, 0, 0
        wrong = frame.filter(pl.col("problem_rule") != "")
        if wrong.height and not bad:
            first = (wrong["source"][0], wrong["problem"][0])
        rows, bad = rows + frame.height, bad + wrong.height
        yield frame
    _refuse(file, rows, bad, first)


def _refuse(file: str, rows: int, bad: int, first: tuple[str, str]) -> None:
    if bad > MAX_UNREADABLE * rows:
        raise DataError(
            f"{first[0]}: {first[1]}; {bad:,} of {rows:,} rows of {file} cannot be read, expected at most "
            f"{MAX_UNREADABLE:.0%}; mend or remove them, or see the source's format and columns in the spec"
        )


def row_kind(sources: Sequence[Source], root: Path, split: str) -> RowKind:
    """The kind of row that a split has, seen from the heads of its files. Raises `DataError` (see `blocks`)."""
    return kind_of(_readings(sources, root, split), split)


def kept_columns(sources: Sequence[Source]) -> tuple[str, ...]:
    """The further columns that any of the sources keeps."""
    return tuple(dict.fromkeys(name for source in sources for name in source.keep))


def _readings(sources: Sequence[Source], root: Path, split: str) -> list[Reading]:
    return [
        reading(source, root, f"data.{split}[{index}]", split in PLAIN_TEXT) for index, source in enumerate(sources)
    ]


def digests(sources: Sequence[Source], root: Path, split: str) -> list[dict[str, object]]:
    """Each source with what changes when its content does. Raises `DataError` when a file is missing."""
    return [
        {
            **source.model_dump(),
            "files": {each.shown: each.identity() for each in origins(source, root, f"data.{split}[{index}]")},
        }
        for index, source in enumerate(sources)
    ]


def load(sources: Sequence[Source], root: Path, split: str) -> Loaded:
    """Every row of a split's files, in memory. Raises `DataError` (see `read`)."""
    rows: list[Row] = []
    problems: dict[str, Problem] = {}
    for frame in read(sources, root, split):
        found = frame.filter(pl.col("problem_rule") != "").select("id", "problem_rule", "problem")
        problems |= {row: Problem(rule, words) for row, rule, words in found.iter_rows()}
        rows += frame.drop("problem_rule", "problem").to_dicts()
    return Loaded(rows, problems)
