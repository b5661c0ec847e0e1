"""Where a model lags, from its own numbers: targets missed, slices behind the whole, demands not met, prompts cut.

Pure; knows nothing of cards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from posttrain.evaluation.metrics import METRICS
from posttrain.evaluation.scores import Score, Scores
from posttrain.gates import Verdict


def limitations(scores: Scores, targets: Mapping[str, float], verdicts: Sequence[Verdict]) -> list[str]:
    """What to warn a user of, in whole sentences without full stops; empty when nothing measured lags."""
    return [*_missed(scores, targets), *_lagging(scores), *_not_met(verdicts), *_cut(scores)]


def _missed(scores: Scores, targets: Mapping[str, float]) -> Iterator[str]:
    for metric, target in targets.items():
        score = scores.metrics.get(metric)
        if score is not None and _short(metric, target, score.value) > 0:
            yield f"{metric} {score} misses its target of {target:g} on the {scores.split} rows"
        elif score is not None and _short(metric, target, _worse_end(metric, score)) > 0:
            yield f"{metric} {score} reaches its target of {target:g}, but its interval does not"


def _lagging(scores: Scores) -> Iterator[str]:
    """Slices whose whole interval lies on the bad side of the value over all rows."""
    for name, part in scores.slices.items():
        for metric, score in part.metrics.items():
            whole = scores.metrics.get(metric)
            if whole is not None and _short(metric, whole.value, _better_end(metric, score)) > 0:
                yield f"on {name} ({part.rows:,} rows) {metric} is {score}, over all rows {whole.value:.3f}"


def _not_met(verdicts: Sequence[Verdict]) -> Iterator[str]:
    for verdict in verdicts:
        for check in verdict.checks:
            if not check.passed:
                yield f"gate {verdict.name}, {check.outcome.replace('_', ' ')}: {check.reason}"


def _cut(scores: Scores) -> Iterator[str]:
    if scores.cut_prompts:
        yield f"{scores.cut_prompts:,} of {scores.rows:,} prompts lost their beginning to fit the model's context"


def _short(metric: str, wanted: float, value: float) -> float:
    """By how much a value falls short of another, in the metric's own direction."""
    return wanted - value if _higher_is_better(metric) else value - wanted


def _worse_end(metric: str, score: Score) -> float:
    return score.low if _higher_is_better(metric) else score.high


def _better_end(metric: str, score: Score) -> float:
    return score.high if _higher_is_better(metric) else score.low


def _higher_is_better(metric: str) -> bool:
    return METRICS[metric].higher_is_better if metric in METRICS else True
