"""What a reward model's stage shows: every figure by which a person would trust it or not."""

from __future__ import annotations

from posttrain.artifacts import DatasetRef, ModelRef
from posttrain.evaluation.calibration import Calibration
from posttrain.evaluation.pairwise import BiasReport, SliceAccuracy
from posttrain.evaluation.scores import Score
from posttrain.training.held_out import judge
from posttrain.training.reward_model import RewardModelResult
from tasks import show_reward_model

ACCURACY = Score(value=0.66, low=0.48, high=0.8)
RESULT = RewardModelResult(
    model=ModelRef(base="/w/model", fingerprint="f"),
    metrics={"loss": 0.6},
    curve=(),
    rows=100,
    steps=7,
    seconds=1.0,
    restarts=0,
    micro_batch_size=8,
    accumulation=2,
    recipe={"max_length": 64},
    pairs_held_out=50,
    prompts_held_out=20,
    accuracy=ACCURACY,
    calibration=Calibration(ece=0.1, temperature=1.5, ece_scaled=0.05),
    bias=BiasReport(
        slices=(
            SliceAccuracy(name="length matched", pairs=9, accuracy=ACCURACY),
            SliceAccuracy(name="zh", pairs=0, accuracy=None),
        ),
        length_correlation=0.4,
        prefers_longer=0.9,
        people_prefer_longer=0.7,
        position_flips=0,
    ),
    mean=0.0,
    std=1.0,
    scores=DatasetRef(uri="/w/held_out.parquet", fingerprint="f", rows=50),
    verdict=judge(ACCURACY, 0.5, 50, 20),
    warning="/m: found 13B parameters",
)


def test_the_line_says_how_good_it_is_and_what_is_dangerous() -> None:
    said = show_reward_model.in_words(RESULT)
    assert said == "held-out accuracy 0.660 [0.480, 0.800], too few rows; /m: found 13B parameters"


def test_the_account_has_accuracy_calibration_and_biases() -> None:
    text = show_reward_model.markdown(RESULT)
    for figure in ("0.660 [0.480, 0.800]", "50, 20", "| 0.1 |", "over 1.50 | 0.05", "90% of pairs; people do in 70%"):
        assert figure in text
    assert "| zh | 0 | no pairs |" in text
    assert text.startswith("**Mind:** /m: found 13B parameters")


def test_mlflow_gets_the_figures_and_the_slices() -> None:
    logged = show_reward_model.metrics(RESULT)
    assert logged["held_out_accuracy_low"] == 0.48
    assert logged["slice/length matched/accuracy"] == 0.66
    assert "slice/zh/accuracy" not in logged
    (matched, chinese) = show_reward_model.bias_table(RESULT)["slices"]
    assert (matched["pairs"], matched["accuracy"], chinese["accuracy"]) == (9, 0.66, None)
