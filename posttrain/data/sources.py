"""A source of the spec, looked at: its files, the shape of their rows, and whether they go together.

Reads the head of files only. Knows nothing of rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from posttrain.data import formats
from posttrain.data.files import Chunk, Origin, Parsed, chunks, origins
from posttrain.data.formats import Named, RowKind, Shape
from posttrain.errors import DataError
from posttrain.spec.sections.data import Source

HEAD = 256 * 1024
"""Bytes that a look takes of a file."""
LOOKED_AT = 100
"""Rows from whose columns a file's shape is seen."""
PLAIN_TEXT = ("general", "general_held_out")
"""Splits whose rows may be nothing but text."""

_KEYS = {"data": "prompt", "intent": "completion", "text": "completion", "input": "", "history": "", "tools": "",
         "output_1": "", "output_2": "", "preference": "", "answers": "", "ranks": "", "correction": ""}  # fmt: skip
_NAMED = ("prompt", "completion", "system", "messages", "chosen", "rejected", "label", "annotator")
_SPELLED_OUT = ("prompt_completion", "preference", "unpaired", "rating")
"""Formats whose columns may have other names than the format's own."""
_OURS = ("id", "source", "problem_rule", "problem")


@dataclass(frozen=True)
class Reading:
    """A source's files in order, the shape of their rows, and the head of the first of them.

    `head` is the first chunk, `whole` whether it is all there is of that file, `present` the columns seen in it.
    """

    source: Source
    where: str
    origins: tuple[Origin, ...]
    shape: Shape
    head: Chunk
    whole: bool
    present: tuple[str, ...]

    def checked_origins(self) -> Iterator[Origin]:
        """The files, each looked into before it is given out: it has the first one's columns, or `DataError`."""
        for number, origin in enumerate(self.origins):
            if number:
                self._check_same(origin)
            yield origin

    def _check_same(self, origin: Origin) -> None:
        present = _present(_head(origin)[0].parse())
        if missing := [name for name in self.shape.needed if name not in present]:
            first = self.origins[0].shown
            raise DataError(
                f"{origin.shown}: found columns {', '.join(present) or 'none'}, expected {' and '.join(missing)} as in "
                f"{first}; name files of different columns as separate sources, or rename the columns"
            )


def reading(source: Source, root: Path, where: str, plain_text: bool = False) -> Reading:
    """Look at a source. `where` is its key in the spec; `plain_text` allows rows that are nothing but text.

    Raises `DataError` for a file that cannot be read, and for a missing column, naming row, the columns found and the
    line to write in the spec.
    """
    found = origins(source, root, where)
    chunk, whole = _head(found[0])
    head = chunk.parse()
    rows = [row for row in head.rows if row][:LOOKED_AT]
    if not rows:
        raise _no_rows(found[0], where, head)
    named = Named(
        source.format,
        {part: name for part in _NAMED if (name := getattr(source, part))},
        tuple(source.ratings),
        tuple(source.keep),
    )
    shape = formats.shape_of(rows, named, plain_text)
    present = _present(head)
    if unread := [part for part, name in named.columns.items() if name not in shape.names]:
        part = unread[0]
        raise DataError(
            f"{where}.{part}: found {named.columns[part]!r}, which rows of format {shape.format} have no use for, "
            f"expected {', '.join(shape.columns)}; remove it or set {where}.format"
        )
    if missing := [name for name in dict.fromkeys((*shape.needed, *shape.names)) if name not in present]:
        raise _missing(found[0], where, head, shape, missing, present, source.format)
    if clash := [name for name in shape.keep if name in (*_OURS, *formats.TEXTS[shape.kind])]:
        raise DataError(f"{where}.keep: {clash[0]} is a column of ours, expected another; rename it in the file")
    return Reading(source, where, tuple(found), shape, chunk, whole, present)


def settings(reading: Reading) -> dict[str, str | list[str]]:
    """The keys of a source in the spec that give the same shape without looking, less the path."""
    shape, source = reading.shape, reading.source
    told: dict[str, str | list[str]] = {
        name: value for name in ("name", "split", "revision") if (value := getattr(source, name))
    }
    told["format"] = shape.format
    if shape.format in _SPELLED_OUT:
        told |= {part: name for part, name in shape.columns.items() if part in _NAMED and part != name}
    if shape.ratings:
        told["ratings"] = list(shape.ratings) if len(shape.ratings) > 1 else shape.ratings[0]
    return told


def kind_of(readings: Sequence[Reading], split: str) -> RowKind:
    """The kind of row that a split's sources have together. Raises `DataError` when they do not go together."""
    kinds = {each.shape.kind: each for each in readings}
    if len(kinds) == 1:
        return readings[0].shape.kind
    if kinds.keys() == {"prompt_completion", "messages"}:
        return "messages"
    (first, one), (second, other) = list(kinds.items())[:2]
    raise DataError(
        f"data.{split}: {one.origins[0].shown} holds {first} rows and {other.origins[0].shown} {second} rows, expected "
        f"one kind; leave one out, or set {other.where}.format"
    )


def _head(origin: Origin) -> tuple[Chunk, bool]:
    """The first rows of a file, and whether these are all."""
    found = chunks(origin, size=HEAD)
    first = next(found)  # a file without any is a `DataError` of its own
    return first, next(found, None) is None


def _present(head: Parsed) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(name) for row in head.rows[:LOOKED_AT] for name in row))


def _no_rows(origin: Origin, where: str, head: Parsed) -> DataError:
    if not head.faults:
        return DataError(f"{origin.shown}: has no rows, expected at least one; add rows or correct {where}")
    at = min(head.faults)
    return DataError(
        f"{origin.shown}:{head.numbers[at]}: {head.faults[at].words}, and so are all {len(head.rows):,} rows looked "
        'at, expected an object such as {"prompt": …, "completion": …} a line, or one array of them; mend the file'
    )


def _missing(
    origin: Origin, where: str, head: Parsed, shape: Shape, missing: list[str], present: Sequence[str], format: str
) -> DataError:
    parts = {name: part for part, name in shape.columns.items()}
    parts |= dict.fromkeys(shape.ratings, "ratings") | dict.fromkeys(shape.keep, "keep")
    free = [name for name in present if name not in shape.names]
    fixes = []
    for name in missing:
        near = formats.suggestion(name, free)
        key = _KEYS.get(parts[name], parts[name])
        fixes.append(f"{where}.{key}: {near or '<column>'}" if key else f"{where}.format to another")
        free = [other for other in free if other != near]
    cure = f"set {' and '.join(dict.fromkeys(fixes))}"
    if tuple(present) == ("text",):
        cure = f"plain text belongs into data.general; or set {where}.format: text to have its first sentence continued"
    first = next((at for at, row in enumerate(head.rows) if row), 0)
    return DataError(
        f"{origin.shown}:{head.numbers[first]}: found columns {', '.join(present) or 'none'}, expected "
        f"{'column' if len(missing) == 1 else 'columns'} {' and '.join(missing)} (format {format}); {cure}"
    )
