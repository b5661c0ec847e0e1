"""Answers as rows to train on: rankings and corrections as pairs, corrected and rated outputs as completions.

Pure: items and answers in, rows out, in an order that depends on nothing but them, so that the same answers make the
same file. Every row names who said so and the item's tag. Knows nothing of files, stores or specs.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from posttrain.feedback.answers import Answer
from posttrain.feedback.items import ROW, Item

PROVENANCE = ("annotator", "tag", "item")
"""Columns of every row that say where it comes from: who (several: joined by commas), the item's tag and its id."""
RATINGS = "ratings"
"""The column in which curation (`curate.annotators`) looks for ratings."""

Row = dict[str, str]


@dataclass(frozen=True)
class FeedbackRows:
    """What the answers give to train on: `completions` (prompt, completion, ratings), `pairs` (chosen, rejected)."""

    completions: tuple[Row, ...]
    pairs: tuple[Row, ...]


def rows_of(items: Iterable[Item], answers: Iterable[Answer]) -> FeedbackRows:
    """The rows that these answers give. Items about rows of the data give none: their verdicts say all."""
    said: dict[str, list[Answer]] = {}
    for answer in answers:
        said.setdefault(answer.item, []).append(answer)
    completions: list[Row] = []
    pairs: list[Row] = []
    for item in sorted(items, key=lambda each: each.id):
        words = sorted(said.get(item.id, ()), key=lambda each: each.annotator)
        if not words or ROW in item.context:
            continue
        match item.kind:
            case "ranking":
                pairs += _ranked(item, words)
            case "correction":
                completions += _corrected(item, words)
                pairs += _better_than_before(item, words)
            case "rating":
                completions.append(_rated(item, words))
            case _:
                pass  # a verdict on a text that is no row of the data has no row to act on
    return FeedbackRows(tuple(completions), tuple(pairs))


def _ranked(item: Item, words: Sequence[Answer]) -> Iterator[Row]:
    """A pair of every two outputs of which more people put the one first than the other; ties and draws give none."""
    for first, second in combinations(range(len(item.outputs)), 2):
        if item.outputs[first].text == item.outputs[second].text:
            continue
        ahead, behind = _who(words, first, second), _who(words, second, first)
        if len(ahead) == len(behind):
            continue
        wins = len(ahead) > len(behind)
        better, worse = (first, second) if wins else (second, first)
        chosen, rejected = item.outputs[better].text, item.outputs[worse].text
        yield _row(item, ahead if wins else behind, chosen=chosen, rejected=rejected)


def _who(words: Sequence[Answer], better: int, worse: int) -> list[str]:
    ranked = [(each.annotator, each.ranking) for each in words if each.ranking is not None]
    return [annotator for annotator, ranks in ranked if ranks[better] < ranks[worse]]


def _agreed(item: Item, words: Sequence[Answer]) -> tuple[str, list[str]] | None:
    """(the completion as it should be, who said so): what most people wrote, of equals the latest.

    "keep" is a word for the output as it stands; None when most people dropped the item.
    """
    texts = [(each.text or "").strip() if each.verdict is None or each.text else "" for each in words]
    spoken = [
        ("" if word.verdict == "drop" else text or item.outputs[0].text, word)
        for text, word in zip(texts, words, strict=True)
    ]
    counts = Counter(text for text, _ in spoken)
    latest = {text: max(word.at for other, word in spoken if other == text) for text in counts}
    best = max(counts, key=lambda text: (counts[text], latest[text], text))
    return (best, [word.annotator for text, word in spoken if text == best]) if best else None


def _corrected(item: Item, words: Sequence[Answer]) -> Iterator[Row]:
    if found := _agreed(item, words):
        text, people = found
        yield _row(item, people, completion=text, ratings="")


def _better_than_before(item: Item, words: Sequence[Answer]) -> Iterator[Row]:
    before = item.outputs[0].text
    found = _agreed(item, words)
    if found and before.strip() and found[0] != before.strip():
        yield _row(item, found[1], chosen=found[0], rejected=before)


def _rated(item: Item, words: Sequence[Answer]) -> Row:
    ratings = [{"annotator": each.annotator, "rating": each.rating} for each in words]
    listed = json.dumps(ratings, ensure_ascii=False)
    return _row(item, [each.annotator for each in words], completion=item.outputs[0].text, ratings=listed)


def _row(item: Item, people: Sequence[str], **texts: str) -> Row:
    told = {"annotator": ", ".join(sorted(people)), "tag": item.tag, "item": item.id}
    return {"system": item.system, "prompt": item.prompt, **texts, **told}
