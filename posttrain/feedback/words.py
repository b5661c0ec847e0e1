"""Answers about rows of the data as verdicts, for the file beside the spec that curation heeds.

Pure: items and answers in, words out. Knows nothing of stores, and of files only whose row a word is about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC
from statistics import fmean
from typing import Any

from posttrain.data.account.row_verdict import RowVerdict, content, edit
from posttrain.feedback.answers import Answer
from posttrain.feedback.items import ROW, Item
from posttrain.spec.sections.annotators import AnnotatorsSpec

RULE = "rule"
"""The key of `Item.context` that names the rule which sent the row to review."""
COLUMN = "column"
"""The key of `Item.context` that names the row's column which the output is: completion, or chosen of a pair."""
REJECTED = "rejected"
"""The key of `Item.context` with the worse answer of a pair: part of what a word on the row is about."""


def words_of(items: Iterable[Item], answers: Iterable[Answer], limits: AnnotatorsSpec) -> list[RowVerdict]:
    """The verdicts that these answers give, oldest first: of an item's several answers the last counts.

    Rated rows are dropped when enough people find them too poor (`limits`, the spec's `curate.annotators`).
    """
    asked = {item.id: item for item in items if ROW in item.context}
    said: dict[str, list[Answer]] = {}
    for answer in sorted(answers, key=lambda each: each.at):
        if answer.item in asked:
            said.setdefault(answer.item, []).append(answer)
    found = [word for name, spoken in said.items() for word in _words(asked[name], spoken, limits)]
    return sorted(found, key=lambda word: (word.at, word.id))


def _words(item: Item, spoken: Sequence[Answer], limits: AnnotatorsSpec) -> Iterator[RowVerdict]:
    last = spoken[-1]
    if item.kind == "rating":
        ratings = [each.rating for each in spoken if each.rating is not None]
        if len(ratings) >= limits.min_annotators and fmean(ratings) < limits.min_mean:
            people = ", ".join(sorted(each.annotator for each in spoken))
            yield _word(item, last, verdict="drop", by=people, note=f"mean rating {fmean(ratings):.3g}")
    elif last.verdict == "drop":
        yield _word(item, last, verdict="drop")
    elif last.text is not None and last.text != item.outputs[0].text:
        texts = {item.context.get(COLUMN, "completion"): last.text}
        yield _word(item, last, verdict="edit", texts=texts, becomes=content(edit(_texts(item), texts)))
    elif last.verdict == "keep" or last.text is not None:
        yield _word(item, last, verdict="keep")


def _texts(item: Item) -> dict[str, str]:
    """The row's texts, as the item holds them."""
    row = {"prompt": item.prompt, item.context.get(COLUMN, "completion"): item.outputs[0].text}
    return row | ({"rejected": item.context[REJECTED]} if REJECTED in item.context else {})


def _word(item: Item, last: Answer, **values: Any) -> RowVerdict:
    at = last.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    told = {"by": last.annotator, "note": last.note} | values
    row = item.context[ROW]
    return RowVerdict(id=row, content=content(_texts(item)), rule=item.context[RULE], at=at, **told)
