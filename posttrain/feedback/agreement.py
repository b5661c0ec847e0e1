"""How well people agree, kind by kind, by the same measure as ratings in data (`data/steps/agreement.py`).

A ranking counts as one judgement of every two of its outputs: the first is better, as good, or worse. Knows no store.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import combinations

import polars as pl

from posttrain.data.steps.agreement import Agreement, Level, figures, sketch
from posttrain.feedback.answers import Answer
from posttrain.feedback.items import Kind

LEVELS: Mapping[Kind, Level] = {"ranking": "ordinal", "rating": "ordinal", "harm": "nominal", "fact": "nominal"}
"""How two judgements of a kind are compared. Corrections are texts, of which no two need be equal."""


def agreement_by_kind(answers: Iterable[Answer]) -> dict[Kind, Agreement]:
    """The agreement on every kind of item that has answers which can be compared."""
    judged: dict[Kind, dict[str, list[dict[str, str | int]]]] = {}
    for answer in answers:
        for unit, value in _judgements(answer):
            judgement: dict[str, str | int] = {"annotator": answer.annotator, "rating": value}
            judged.setdefault(answer.kind, {}).setdefault(unit, []).append(judgement)
    return {kind: _figures(units, LEVELS[kind]) for kind, units in sorted(judged.items())}


def _figures(units: Mapping[str, list[dict[str, str | int]]], level: Level) -> Agreement:
    ratings = [json.dumps(said) for said in units.values()]
    return figures([sketch(pl.DataFrame({"source": list(units), "ratings": ratings}))], level)


def _judgements(answer: Answer) -> Iterable[tuple[str, int]]:
    """(what is judged, as a number) of everything that an answer says."""
    if answer.kind == "ranking" and answer.ranking is not None:
        for first, second in combinations(range(len(answer.ranking)), 2):
            better, worse = answer.ranking[first], answer.ranking[second]
            yield f"{answer.item}:{first}:{second}", (better < worse) - (better > worse)
    elif answer.kind == "rating" and answer.rating is not None:
        yield answer.item, answer.rating
    elif answer.kind in ("harm", "fact") and answer.verdict is not None:
        yield answer.item, int(answer.verdict == "keep")
