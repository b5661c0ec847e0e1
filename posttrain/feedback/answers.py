"""What one person said of one item, and whether it answers what was asked.

Knows nothing of where answers are kept, or what is made of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from posttrain.errors import DataError
from posttrain.feedback.items import Item, Kind

LOWEST, HIGHEST = 1, 5
MAX_TEXT = 100_000
"""Characters of a correction or a note: more is no answer of a person, and would fill the store."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Answer:
    """One annotator's word on one item; a later one takes its place.

    `ranking` has the rank of each output in the item's own order, 1 for the best, equal ranks for ties. `rating` is 1
    to 5. `text` is the completion as it should be. `verdict` is about the row: keep or drop. `at` is UTC.
    """

    item: str
    annotator: str
    kind: Kind
    at: datetime = field(default_factory=_now)
    ranking: tuple[int, ...] | None = None
    rating: int | None = None
    text: str | None = None
    verdict: Literal["keep", "drop"] | None = None
    note: str = ""


def check(answer: Answer, item: Item) -> None:
    """Whether the answer answers the item. Raises `DataError` saying what is missing or wrong."""
    where = f"answer of {answer.annotator} to {item.id}"
    if answer.kind != item.kind:
        raise DataError(f"{where}: found kind {answer.kind}, expected {item.kind}, what was asked; answer that")
    if answer.at.utcoffset() is None:
        raise DataError(f"{where}: found a time without zone, expected UTC; write datetime.now(UTC)")
    if max(len(answer.text or ""), len(answer.note)) > MAX_TEXT:
        raise DataError(f"{where}: longer than {MAX_TEXT:,} characters, expected a text by a person; shorten it")
    if wrong := _wrong(answer, item):
        found, expected = wrong
        raise DataError(f"{where}: found {found}, expected {expected}; answer again")


def _wrong(answer: Answer, item: Item) -> tuple[str, str] | None:
    """(found, expected) of an answer that does not fit; None when it does."""
    match item.kind:
        case "ranking":
            ranks, outputs = answer.ranking or (), len(item.outputs)
            if len(ranks) != outputs or not all(1 <= rank <= outputs for rank in ranks):
                return f"ranks {list(ranks)}", f"one from 1 to {outputs} for each of {outputs} outputs"
        case "rating":
            if answer.rating is None or not LOWEST <= answer.rating <= HIGHEST:
                return f"rating {answer.rating}", f"{LOWEST} to {HIGHEST}"
        case "correction":
            if answer.verdict is None and not (answer.text or "").strip():
                return "no text", "the completion as it should be, or a verdict"
        case _:
            if answer.verdict not in ("keep", "drop"):
                return f"verdict {answer.verdict}", "keep or drop"
            if answer.text is not None and not answer.text.strip():
                return "a blank correction", "a text or none"
    return None
