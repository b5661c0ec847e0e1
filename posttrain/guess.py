"""Which task kind completions look like, for a spec to start from. Knows texts only."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Literal

Kind = Literal["intent_slots", "extraction", "classification", "text", "verifiable"]

LONGEST_LABEL = 40
"""Characters of a completion that may be a label, at most; ours, as are the two below."""
ROWS_A_LABEL = 4
"""Rows that each label has on average, at least: otherwise short completions are answers, not labels."""
FEWEST_ROWS = 8
"""Of fewer rows it cannot be told whether completions repeat."""


def guess_kind(first: str, *others: str) -> Kind:
    """The task kind that completions look like: by the first one when it is JSON, else by all of them."""
    value = _json(first)
    if isinstance(value, dict) and set(value) == {"intent", "slots"}:
        return "intent_slots"
    if isinstance(value, dict) and set(value) == {"label"}:
        return "classification"
    if isinstance(value, dict | list):
        return "extraction"
    completions = [text.strip() for text in (first, *others)]
    if all(_ANSWERED.search(text) for text in completions):
        return "verifiable"
    if _are_labels(completions):
        return "classification"
    return "verifiable" if all(_NUMBER.fullmatch(text) for text in completions) else "text"


_ANSWERED = re.compile(r"####\s*[-$€£¥]?\s*\d[\d,.]*\s*%?\s*$")
_NUMBER = re.compile(r"[-$€£¥]{0,2}\d[\d,]*(?:\.\d+)?\s*%?")


def _are_labels(completions: Sequence[str]) -> bool:
    """Whether they are short texts, of which the same come again and again; numbers, too, if they are few."""
    distinct = set(completions)
    short = all(0 < len(text) <= LONGEST_LABEL and len(text.splitlines()) == 1 for text in distinct)
    return short and len(completions) >= FEWEST_ROWS and 1 < len(distinct) <= len(completions) / ROWS_A_LABEL


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
