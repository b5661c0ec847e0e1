"""How good the rows came: those that rules found wrong or harmful, and who could prefer one answer to another.

Reads counts that validation and curation left; knows no limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from posttrain.strategy.evidence import Preferences, Quality
from posttrain.training.given import readable
from posttrain.training.rewards import REWARDS

if TYPE_CHECKING:
    from posttrain.data.curate import CurateResult
    from posttrain.data.validate import ValidateResult
    from posttrain.spec import AlignSpec

FINDS_BAD_ROWS = ("annotators", "harm", "facts", "quality", "person", "spot_check")
"""Steps of curation that set aside what is wrong; the others choose among sound rows."""

UNVERIFIED = ("text",)
"""Kinds whose reward, likeness to one reference, is no verifier."""


def quality_of(validated: ValidateResult, rows: CurateResult) -> Quality:
    """Rows to train on as they came, and those that validation quarantined or curation found bad."""
    bad: dict[str, int] = {}
    for rule in validated.rules:
        if rule.split == "train" and rule.severity == "quarantine":
            bad[rule.rule] = bad.get(rule.rule, 0) + rule.rows
    quarantined = sum(bad.values())
    for step in rows.funnel:
        if step.step in FINDS_BAD_ROWS and step.rows_in > step.rows_out:
            bad[step.step] = bad.get(step.step, 0) + step.rows_in - step.rows_out
    return Quality(rows=validated.train.rows + quarantined, bad=bad)


def preferences_of(kind: str, rows: CurateResult, align: AlignSpec) -> Preferences:
    """People's preferences if the spec gave any that its method can learn from; else a ranker of sampled answers: the
    reward model that the spec names, or the task's verifier, if it has one."""
    if rows.preference is not None and rows.preference.rows and _can_be_learned(rows.preference.uri):
        return "people"
    if align.ranker == "reward-model":
        return "reward-model"
    return "verifier" if kind in REWARDS and kind not in UNVERIFIED else "none"


def _can_be_learned(uri: str) -> bool:
    from pyarrow import parquet

    return readable(parquet.read_schema(uri).names)
