"""Which models the report compares with each other, for runs that ended in different places."""

from __future__ import annotations

from pathlib import Path

from report_runs import measured

from posttrain import report
from posttrain.evaluation.scores import Scores
from posttrain.gates import Verdict
from posttrain.registry import Incumbent
from posttrain.strategy import Decision
from tasks.baseline import Baseline
from tasks.candidate import Candidate
from tasks.page import changes


def names(found: tuple[report.Changes, ...]) -> list[tuple[str, str]]:
    return [(each.before, each.after) for each in found]


def candidate(scores: Scores) -> Candidate:
    decision = Decision(step="after_sft", action="align", reasons=(), evidence={})
    return Candidate(
        model=scores.model, scores=scores, verdict=Verdict(name="x", checks=(), summary=""), decision=decision
    )


def test_the_models_that_matter_are_compared(tmp_path: Path) -> None:
    """The few-shot prompt is the better one; DPO was refused once and passed once; a champion was tested against."""
    shares = {"Base, zero-shot": 0.0, "Base, few-shot": 0.2, "SFT": 0.8, "DPO": 0.9}
    found = {label: measured(tmp_path, label.replace(" ", "-"), share) for label, share in shares.items()}
    baseline = Baseline(kind="intent_slots", zero_shot=found["Base, zero-shot"], few_shot=found["Base, few-shot"])
    prompts = {label: found[label] for label in ("Base, zero-shot", "Base, few-shot")}
    assert names(changes(prompts, baseline, None, None)) == [("Base, zero-shot", "Base, few-shot")]

    both = [("Base, few-shot", "DPO"), ("SFT", "DPO")]
    assert names(changes(found, baseline, candidate(found["DPO"]), None)) == both
    fallen_back = changes(found, baseline, candidate(found["SFT"]), None)
    assert names(fallen_back) == [("Base, few-shot", "SFT"), ("SFT", "DPO")]
    assert (fallen_back[0].wins, fallen_back[0].losses) == (36, 0)  # 0.8 of 60 rows against 0.2

    test = measured(tmp_path, "test", 0.9).model_copy(update={"split": "test"})
    champion = Incumbent(version="3", scores=measured(tmp_path, "champion", 0.7))
    released = changes({**found, "Test": test}, baseline, candidate(found["DPO"]), champion)
    assert names(released) == [*both, ("Champion, version 3", "This run")]
    assert (released[-1].wins, released[-1].losses, released[-1].split) == (12, 0, "test")
    same = Incumbent(version="3", scores=None, is_candidate=True)
    assert names(changes({**found, "Test": test}, baseline, candidate(found["DPO"]), same)) == both
