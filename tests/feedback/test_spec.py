"""What a spec may say of bad cases."""

from __future__ import annotations

from pathlib import Path

import pytest

from posttrain.errors import SpecError
from posttrain.spec import load

SPEC = """\
name: tickets
task: {kind: text}
data: {train: train.jsonl, test: test.jsonl}
"""


def loaded(folder: Path, more: str) -> None:
    path = folder / "spec.yaml"
    path.write_text(SPEC + more, encoding="utf-8")
    load(path, folder)


def test_a_release_may_demand_that_bad_cases_are_fixed(tmp_path: Path) -> None:
    loaded(tmp_path, "gates: {release: [{metric: exact_match, slice: bad_cases, above: champion}]}\n")


def test_gates_along_the_way_may_not_for_the_suite_is_opened_at_the_release(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"after_sft\.0\.slice|after_sft\[0\]\.slice"):
        loaded(tmp_path, "gates: {after_sft: [{metric: exact_match, slice: bad_cases, at_least: 0.5}]}\n")


def test_no_slice_of_ones_own_may_have_the_name(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="bad_cases is the slice of corrected bad cases; rename it"):
        loaded(tmp_path, "evaluate: {slices: [{name: bad_cases, noise: typos}]}\n")


@pytest.mark.parametrize("wrong", ["{held_back: 1.5}", "{per_run: 0}", "{likeness: 0}", "{heldback: 0.3}"])
def test_wrong_values_are_refused(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(SpecError, match=r"bad_cases"):
        loaded(tmp_path, f"bad_cases: {wrong}\n")
