"""Is anything invented: which of an answer's values stand in what the model was told.

Compared are runs of words and numbers, so that case, blanks, punctuation, full and half width and the ways to write a
number do not count. A value that is rephrased (a date written otherwise, a sum) counts as invented.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from posttrain.evaluation.metrics.metric import Answer, Cells

_HAN = "\u3040-\u30ff\u3400-\u9fff"
_TOKEN = re.compile(rf"\d{{1,3}}(?:,\d{{3}})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|[{_HAN}]|[^\W\d_{_HAN}]+")


def values_in_input(answer: Answer) -> Cells:
    """(values of the answer that stand in its input, values that had to).

    The input is the prompt. Booleans, null, empty texts, what the task's JSON Schema lists (`enum`, `const`) and what
    the system message says need not stand there: they are chosen, not copied. An output without JSON is one invented
    value.
    """
    if answer.found.value is None:
        return 0.0, 1.0
    chosen = listed(answer.json_schema)
    prompt, system = (f" {' '.join(tokens(text))} " for text in (answer.prompt, answer.system))
    values = [
        f" {run} " for run in (" ".join(tokens(text)) for text in leaves(answer.found.value)) if run not in chosen
    ]
    copied = [run for run in values if run.strip() and (run in prompt or run not in system)]
    return float(sum(run in prompt for run in copied)), float(len(copied))


def tokens(text: str) -> list[str]:
    """The words and numbers of a text; each Chinese or Japanese character is a word.

    >>> tokens("Ｐaid 1,000.50 EUR")
    ['paid', '1000.5', 'eur']
    """
    found = _TOKEN.findall(unicodedata.normalize("NFKC", text).casefold())
    return [_number(token) if token[0].isdigit() else token for token in found]


def _number(token: str) -> str:
    whole, _, decimals = token.replace(",", "").partition(".")
    decimals = decimals.rstrip("0")
    return (whole.lstrip("0") or "0") + (f".{decimals}" if decimals else "")


def leaves(value: Any) -> Iterator[str]:
    """Texts and numbers of nested JSON, keys left out."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from leaves(item)
    elif isinstance(value, str):
        yield value
    elif value is not None and not isinstance(value, bool):
        yield json.dumps(value)


@lru_cache(maxsize=8)
def listed(json_schema: str) -> frozenset[str]:
    """Every value that a JSON Schema lists, as tokens."""
    return frozenset(" ".join(tokens(text)) for text in _listed(json.loads(json_schema or "{}")))


def _listed(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for part in schema:
            yield from _listed(part)
    elif isinstance(schema, dict):
        for key, part in schema.items():
            if key in ("enum", "const"):
                yield from leaves(part if isinstance(part, list) else [part])
            else:
                yield from _listed(part)
