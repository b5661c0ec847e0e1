"""Does a model say the same when it is asked again? The first rows, asked greedily, several times at random, and under
paraphrased instructions; every pair of answers to one row either agrees or does not.

| column | counts, over the pairs of answers to one row |
| --- | --- |
| `answers_agree` | say the same once parsed (`vote.canonical`); one that cannot be read agrees with none |
| `wrappers_agree` | JSON comes in the same wrapper: bare, fenced, with prose; without JSON it agrees with none |
| `styles_agree` | are built alike: the same keys, with values of the same kinds |
| `answer_pairs` | all pairs |

Whether answers are right is not asked here. Knows nothing of models.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

from posttrain.artifacts import Frozen
from posttrain.evaluation import parse
from posttrain.evaluation.metrics import JSON_KINDS
from posttrain.evaluation.metrics.structured import built
from posttrain.evaluation.vote import canonical
from posttrain.prompts import Message

NAME = "consistency"
"""The name under which `Scores.slices` holds the scores, and by which gates ask for them."""
FOR_JSON = ("wrapper_agreement", "style_agreement")


class Consistency(Frozen):
    """How often which rows are asked (`evaluate.consistency` of the spec)."""

    rows: int = 50
    repeats: int = 3
    temperature: float = 0.7
    paraphrases: tuple[str, ...] = ()
    """Instructions in other words; `{instruction}` in one stands for the row's own."""


def paraphrased(turns: Sequence[Message], paraphrase: str) -> list[Message]:
    """A conversation under another instruction."""
    told = bool(turns) and turns[0]["role"] == "system"
    own = turns[0]["content"] if told else ""
    head = {"role": "system", "content": paraphrase.replace("{instruction}", own)}
    return [head, *turns[1 if told else 0 :]]


def metrics(kind: str) -> tuple[str, ...]:
    """The metrics of consistency for a kind of task."""
    return (NAME, *(FOR_JSON if kind in JSON_KINDS else ()))


def compared(kind: str, rows: Sequence[Mapping[str, Any]], answers: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """Each row with its answers (the greedy one first) and the columns that the metrics sum."""
    return [
        {
            "id": row["id"],
            "prompt": row["prompt"],
            "expected": row["completion"],
            "output": given[0],
            "answers": json.dumps(list(given), ensure_ascii=False),
            **_agreements(kind, given),
        }
        for row, given in zip(rows, answers, strict=True)
    ]


def _agreements(kind: str, given: Sequence[str]) -> dict[str, float]:
    ways: dict[str, Callable[[str], str | None]] = {"answers_agree": lambda output: canonical(kind, output)}
    if kind in JSON_KINDS:
        ways |= {"wrappers_agree": _wrapper, "styles_agree": _style}
    pairs = len(given) * (len(given) - 1) / 2
    return {name: _agreeing([way(output) for output in given]) for name, way in ways.items()} | {"answer_pairs": pairs}


def _agreeing(said: Sequence[str | None]) -> float:
    return float(sum(one is not None and one == other for one, other in combinations(said, 2)))


def _wrapper(output: str) -> str | None:
    wrapper = parse.find(output).wrapper
    return None if wrapper == "none" else wrapper


def _style(output: str) -> str | None:
    value = parse.find(output).value
    return None if value is None else built(value)
