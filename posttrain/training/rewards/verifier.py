"""The signal `verifier`: each task kind's own check against the row's known completion (column `expected`).

No model judges. Range 0 to 1. Pure; knows nothing of sampling or training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from posttrain.evaluation.metrics import verify
from posttrain.training.rewards.penalties import Reward
from posttrain.training.rewards.text import Told, plain


def intent_slots(
    prompts: Sequence[Any],
    completions: Sequence[Told],
    *,
    expected: Sequence[str],
    **columns: Any,
) -> list[float]:
    """Valid JSON first (0.2), then the intent (0.2), then slot F1 (0.6); 0 when not valid.

    >>> gold = '{"intent": "Play", "slots": {"artist": "blur"}}'
    >>> intent_slots(["play blur"] * 2, [gold, "no"], expected=[gold] * 2)
    [1.0, 0.0]
    """
    return _verified("intent_slots", completions, expected)


def extraction(
    prompts: Sequence[Any],
    completions: Sequence[Told],
    *,
    expected: Sequence[str],
    **columns: Any,
) -> list[float]:
    """Valid JSON first (0.4), then F1 of its fields (0.6); 0 when not valid."""
    return _verified("extraction", completions, expected)


def text(
    prompts: Sequence[Any],
    completions: Sequence[Told],
    *,
    expected: Sequence[str],
    **columns: Any,
) -> list[float]:
    """F1 of the words shared with the known completion: a weak stand-in where nothing can be verified."""
    return _verified("text", completions, expected)


def classification(
    prompts: Sequence[Any],
    completions: Sequence[Told],
    *,
    expected: Sequence[str],
    **columns: Any,
) -> list[float]:
    """1 for the right label, else 0."""
    return _verified("classification", completions, expected)


def verifiable(
    prompts: Sequence[Any],
    completions: Sequence[Told],
    *,
    expected: Sequence[str],
    **columns: Any,
) -> list[float]:
    """1 when the final number is right, else 0, whatever led there."""
    return _verified("verifiable", completions, expected)


def _verified(kind: str, completions: Sequence[Told], expected: Sequence[str]) -> list[float]:
    pairs = zip(completions, expected, strict=True)
    return [float(verify(kind, known, plain(completion))) for completion, known in pairs]


REWARDS: dict[str, Reward] = {
    "intent_slots": intent_slots,
    "extraction": extraction,
    "classification": classification,
    "text": text,
    "verifiable": verifiable,
}
"""The reward of each task kind."""
