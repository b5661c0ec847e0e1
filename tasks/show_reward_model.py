"""What a reward model's stage shows: how far it may be trusted, and what else than quality it goes by.

Made from plain results, like everything in `show`; knows nothing of the terminal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.show import table, training

if TYPE_CHECKING:
    from posttrain.training.reward_model import RewardModelResult


def in_words(result: RewardModelResult) -> str:
    """Accuracy and verdict on one line; with the warning, if there is one."""
    said = f"held-out accuracy {result.accuracy}, {result.verdict.outcome.replace('_', ' ')}"
    return f"{said}; {result.warning}" if result.warning else said


def metrics(result: RewardModelResult) -> dict[str, float]:
    """Accuracy, calibration and biases as MLflow metrics; what is measured on a slice as `slice/zh/accuracy`."""
    slices = {f"slice/{part.name}/accuracy": part.accuracy for part in result.bias.slices}
    return {
        "held_out_accuracy": result.accuracy.value,
        "held_out_accuracy_low": result.accuracy.low,
        "held_out_accuracy_high": result.accuracy.high,
        "ece": result.calibration.ece,
        "ece_scaled": result.calibration.ece_scaled,
        "temperature": result.calibration.temperature,
        "length_correlation": result.bias.length_correlation,
        "prefers_longer": result.bias.prefers_longer,
        "people_prefer_longer": result.bias.people_prefer_longer,
        "position_flips": float(result.bias.position_flips),
        **{name: score.value for name, score in slices.items() if score is not None},
    }


def bias_table(result: RewardModelResult) -> dict[str, list[dict[str, object]]]:
    """Accuracy on each slice as a table for MLflow."""
    return {
        "slices": [
            {
                "slice": part.name,
                "pairs": part.pairs,
                "accuracy": part.accuracy and part.accuracy.value,
                "low": part.accuracy and part.accuracy.low,
                "high": part.accuracy and part.accuracy.high,
            }
            for part in result.bias.slices
        ]
    }


def markdown(result: RewardModelResult) -> str:
    """The whole account: accuracy, calibration, slices, biases, and what training took."""
    bias, calibration = result.bias, result.calibration
    figures = [
        ("accuracy on held-out pairs", result.accuracy),
        ("pairs, prompts held out", f"{result.pairs_held_out:,}, {result.prompts_held_out:,}"),
        ("calibration error, as trained", calibration.ece),
        (f"calibration error, margins over {calibration.temperature:.2f}", calibration.ece_scaled),
        (
            "prefers the longer answer",
            f"{bias.prefers_longer:.0%} of pairs; people do in {bias.people_prefer_longer:.0%}",
        ),
        ("rank correlation of score and length", bias.length_correlation),
        ("preferences that change with the order of answers", bias.position_flips),
    ]
    slices = [(part.name, f"{part.pairs:,}", part.accuracy or "no pairs") for part in bias.slices]
    warned = [f"**Mind:** {result.warning}"] if result.warning else []
    return "\n\n".join(
        [
            *warned,
            table(("figure", "value"), figures),
            "### What else it may go by",
            table(("slice", "pairs", "accuracy"), slices),
            "### Training",
            training(result),
        ]
    )
