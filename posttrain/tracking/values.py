"""Our values as MLflow takes them: its names, its lengths, nested settings made flat, and no password in a URI.

Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posttrain.evaluation.scores import Scores

LONGEST_PARAM = 6000
"""Characters."""


def masked(text: str) -> str:
    """`text` with the user name and password of any URI in it masked."""
    return re.sub(r"(?<=://)[^/@\s]+@", "***@", text)


def score_metrics(scores: Scores) -> dict[str, float]:
    """Scores as MLflow metrics: `slot_f1`, and its 95 % interval as `slot_f1_low` and `slot_f1_high`; those of a slice
    as `slice/typos/slot_f1`."""
    values: dict[str, float] = {}
    for name, score in scores.metrics.items():
        values |= {name: score.value, f"{name}_low": score.low, f"{name}_high": score.high}
    for part, its in scores.slices.items():
        values |= {f"slice/{part}/{name}": value for name, value in score_metrics(its).items()}
    return values


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings with dots in their names."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def param(value: Any) -> str:
    """The text of a setting's value."""
    text = json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, (list, tuple, dict)) else str(value)
    return masked(text)[:LONGEST_PARAM]


def plain_name(key: str) -> str:
    """MLflow's alphabet for names of params and metrics."""
    return re.sub(r"[^\w./ :-]", "_", key)


def tag_values(tags: Mapping[str, str]) -> dict[str, str]:
    """The same tags, masked and no longer than MLflow takes them."""
    return {key: masked(value)[:LONGEST_PARAM] for key, value in tags.items()}
