"""The flowchart of S0, box by box."""

from __future__ import annotations

from typing import Any

import pytest

from posttrain.artifacts import DatasetRef, ModelRef
from posttrain.evaluation.scores import Gain, Score, Scores
from posttrain.gates import Check, Verdict
from posttrain.strategy import Evidence, best_baseline, decide

TARGETS = {"slot_f1": 0.80, "valid_json": 0.99}


def scores(prompting: str = "zero-shot", **metrics: float) -> Scores:
    return Scores.model_validate(
        {
            "model": ModelRef(base="x", fingerprint="x"),
            "split": "validation",
            "prompting": prompting,
            "rows": 200,
            "metrics": {name: Score(value=v, low=v - 0.02, high=v + 0.02) for name, v in metrics.items()},
            "outputs": DatasetRef(uri="x", fingerprint="x", rows=200),
            "seconds": 1.0,
        }
    )


GOOD = scores(slot_f1=0.85, valid_json=1.0, intent_accuracy=0.98)
POOR = scores(slot_f1=0.05, valid_json=0.20, intent_accuracy=0.1)
HALFWAY = scores(slot_f1=0.60, valid_json=0.97, intent_accuracy=0.95)
GAIN = Gain(value=0.5, low=0.4, high=0.6, p_value=0.001, detectable=0.05, rows=200)


def baseline(**more: Any) -> Any:
    return decide(
        Evidence(
            step="baseline", kind="intent_slots", **{"targets": TARGETS, "usable_rows": 5000, "zero_shot": POOR, **more}
        )
    )


def after(**more: Any) -> Any:
    given = {"targets": TARGETS, "usable_rows": 5000, "zero_shot": POOR, "gain": GAIN, **more}
    return decide(Evidence(step="after_sft", kind="intent_slots", **given))


def refused(metric: str) -> Verdict:
    check = Check(metric=metric, value=9, low=9, high=9, requirement="x", outcome="refused", reason=f"{metric} is off")
    return Verdict(name="after_sft", checks=(check,), summary="refused")


def test_worked_examples_share_the_models_perplexity() -> None:
    asked, shown = scores(slot_f1=0.2, perplexity=4.4), scores("few-shot", slot_f1=0.9)

    both = shown.with_general_of(asked)

    assert (both.metrics["perplexity"].value, both.metrics["slot_f1"].value) == (4.4, 0.9)
    assert baseline(zero_shot=asked, few_shot=both, targets={"slot_f1": 0.8, "perplexity": 5}).action == "use_few_shot"


def test_a_prompt_that_meets_every_target_is_used() -> None:
    decision = baseline(zero_shot=GOOD)
    assert decision.action == "use_prompt"
    assert "slot_f1 0.850 [0.830, 0.870] ≥ 0.8" in decision.reasons[0]


def test_worked_examples_come_next() -> None:
    decision = baseline(few_shot=GOOD.model_copy(update={"prompting": "few-shot"}))
    assert decision.action == "use_few_shot"
    assert any("the output format is not fixed" in reason for reason in decision.reasons)


def test_one_missed_target_is_enough_to_train() -> None:
    almost = scores(slot_f1=0.85, valid_json=0.98)
    decision = baseline(zero_shot=almost, few_shot=POOR)
    assert decision.action == "sft"
    assert "the prompt alone: valid_json 0.980 [0.960, 1.000] misses the target 0.99" in decision.reasons[0]
    assert "5000 usable rows are enough" in decision.reasons[-1]


def test_too_few_rows_call_for_data_and_name_the_stopgap() -> None:
    decision = baseline(usable_rows=199, few_shot=scores("few-shot", slot_f1=0.3, valid_json=0.6))
    assert decision.action == "collect_data"
    assert "only 199 usable rows" in decision.reasons[-1]
    assert "use the few-shot prompt" in decision.reasons[-1]
    assert baseline(usable_rows=200).action == "sft"


def test_without_targets_the_spec_wants_training() -> None:
    decision = baseline(targets={}, zero_shot=GOOD)
    assert decision.action == "sft"
    assert any("sets no targets" in reason for reason in decision.reasons)
    assert after(targets={}, after_sft=POOR).action == "release"
    assert after(targets={}, after_sft=GOOD, align="always").action == "align"


def test_after_sft_met_targets_are_released() -> None:
    assert after(after_sft=GOOD).action == "release"
    assert after(after_sft=GOOD, align="never").action == "release"
    assert after(after_sft=GOOD, align="always").action == "align"


def test_after_sft_a_model_that_knows_the_task_is_aligned() -> None:
    decision = after(after_sft=HALFWAY)
    assert decision.action == "align"
    assert any("significantly better than the baseline" in reason for reason in decision.reasons)
    assert any("within reach of its target 0.8" in reason for reason in decision.reasons)
    assert decision.evidence["after_sft/slot_f1"] == 0.6
    assert decision.evidence["target/slot_f1"] == 0.8


@pytest.mark.parametrize(
    ("more", "advice"),
    [
        ({"after_sft": HALFWAY, "align": "never"}, "strategy.align is never"),
        ({"after_sft": HALFWAY, "gain": GAIN.model_copy(update={"low": 0.0})}, "not surely better"),
        ({"after_sft": scores(slot_f1=0.39, valid_json=0.97, intent_accuracy=0.95)}, "too far below"),
        ({"after_sft": scores(slot_f1=0.60, valid_json=0.70, intent_accuracy=0.95)}, "simplify the output format"),
        ({"after_sft": scores(slot_f1=0.39, valid_json=0.97, intent_accuracy=0.60)}, "labels that overlap"),
        ({"after_sft": GOOD, "verdict": refused("perplexity")}, "curate.general_share"),
    ],
    ids=["never", "no gain", "out of reach", "no format", "labels", "forgetting"],
)
def test_otherwise_the_task_is_rethought_with_advice(more: dict[str, Any], advice: str) -> None:
    decision = after(**more)
    assert decision.action == "rethink"
    assert any(advice in reason for reason in decision.reasons)


def test_a_refused_gate_keeps_a_model_from_release_though_its_targets_are_met() -> None:
    decision = after(after_sft=GOOD, verdict=refused("exact_match"))
    assert decision.action == "align"
    assert "the gate refused: exact_match is off" in decision.reasons


def test_without_a_paired_gain_the_intervals_must_stand_apart() -> None:
    assert after(after_sft=HALFWAY, gain=None).action == "align"
    close = scores(slot_f1=0.57, valid_json=0.97)
    assert after(after_sft=HALFWAY, gain=None, zero_shot=close).action == "rethink"


def test_a_perplexity_target_is_a_ceiling() -> None:
    prompt = scores(slot_f1=0.9, valid_json=1.0, perplexity=12.0)
    assert baseline(zero_shot=prompt, targets={"perplexity": 12.5}).action == "use_prompt"
    assert baseline(zero_shot=prompt, targets={"perplexity": 11.5}).action == "sft"


def test_an_unmeasured_target_counts_as_missed() -> None:
    assert baseline(zero_shot=GOOD, targets={"exact_match": 0.1}).action == "sft"


def test_the_baseline_to_beat_is_the_better_prompting() -> None:
    few = scores("few-shot", slot_f1=0.3)
    assert best_baseline(POOR, few, "intent_slots") is few
    assert best_baseline(POOR, None, "intent_slots") is POOR


def test_after_sft_needs_scores() -> None:
    with pytest.raises(ValueError, match="lacks the trained model's scores"):
        after()
