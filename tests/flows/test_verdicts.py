"""Verdicts on the terminal and in the Prefect UI: which slice, what so few rows can show, and whether they can tell."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from flows.cli.display import verdict_table
from posttrain.gates import Check, Verdict
from tasks import show

CHECK = {
    "metric": "slot_f1", "slice": "colloquial", "value": 0.71, "low": 0.66, "high": 0.76, "reference": "previous",
    "reference_value": 0.69, "gain": 0.02, "gain_low": -0.01, "gain_high": 0.05, "p_value": 0.21, "detectable": 0.043,
    "test": "permutation", "rows_needed": 900, "requirement": "significantly above previous",
}  # fmt: skip
WORDS = {"passed": "passed", "refused": "refused", "too_few_rows": "too few rows"}


def verdict(outcome: str) -> Verdict:
    check = Check.model_validate({**CHECK, "outcome": outcome, "reason": "so it is"})
    return Verdict(name="after_align", checks=(check,), summary="so it is")


@pytest.mark.parametrize("outcome", WORDS)
def test_a_check_names_its_slice_what_its_rows_can_show_and_its_outcome(outcome: str) -> None:
    out = StringIO()
    Console(file=out, width=200).print(verdict_table((verdict(outcome),)))
    (line,) = [line for line in out.getvalue().splitlines() if "colloquial" in line]
    assert "colloquial: slot_f1" in line
    assert "0.043" in line
    assert line.rstrip().endswith(WORDS[outcome])
    assert "+0.020 [-0.010, 0.050]" in line


def test_the_prefect_ui_says_the_same_the_outcome_before_what_may_be_cut_off() -> None:
    said = show.verdict(verdict("too_few_rows").model_copy(update={"summary": "too few rows to tell: so it is"}))
    assert said.startswith("**too few rows to tell**: so it is")
    assert said.splitlines()[-1] == (
        "| colloquial: slot_f1 | too few rows | 0.710 | +0.020 [-0.010, +0.050] | 0.21 | 0.043 "
        "| significantly above previous |"
    )
