"""Several answers to one prompt: when two of them say the same, and which one most of them say.

Answers are compared as parsed: JSON whatever its spelling, a label folded, a number by its value. Knows nothing of
models.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

from posttrain.evaluation import parse
from posttrain.evaluation.final_answer import final_number
from posttrain.evaluation.metrics import JSON_KINDS, PROSE_KINDS


def canonical(kind: str, output: str) -> str | None:
    """Text that is equal exactly when two answers of this kind say the same; None for one that cannot be read.

    >>> canonical("extraction", '{"b": 2.0, "a": "x"}') == canonical("extraction", '```json\\n{"a":"x","b":2}\\n```')
    True
    """
    if kind in JSON_KINDS:
        value = parse.find(output).value
        return None if value is None else json.dumps(_plain(value), sort_keys=True, ensure_ascii=False)
    if kind == "classification":
        return parse.label(output) or None
    if kind == "verifiable":
        number = final_number(output)
        return None if number is None else f"{number.value}{'%' if number.percent else ''}"
    return " ".join(unicodedata.normalize("NFKC", output).casefold().split()) or None


def read_as(kind: str, output: str) -> str:
    """What metrics read in an output, as text; "" where nothing can be read.

    JSON and labels as `canonical` has them, the final number of a verifiable answer, the code of an answer in code;
    prose is read as it is.

    >>> read_as("verifiable", "She has 3 + 4 = 7 apples."), read_as("classification", "Label: Rain.")
    ('7', 'rain')
    """
    if kind == "code":
        return parse.code(output)
    return output if kind in PROSE_KINDS else canonical(kind, output) or ""


def winner(kind: str, outputs: Sequence[str]) -> tuple[int, int]:
    """(place of the first output that says what most say, how many say it).

    Of equal numbers the one first seen wins. Outputs that cannot be read have no vote; where none can, the first
    output stands, with no votes.
    """
    said = [canonical(kind, output) for output in outputs]
    votes = Counter(each for each in said if each is not None)
    if not votes:
        return 0, 0
    most = max(votes.values())
    best = next(each for each in said if each is not None and votes[each] == most)
    return said.index(best), most


def _plain(value: Any) -> Any:
    """JSON in which 2.0 is 2, and text has no blanks around it."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return value.strip()
    return int(value) if isinstance(value, float) and value.is_integer() else value
