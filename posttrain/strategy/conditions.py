"""The flowchart's questions, each answered from evidence: (the answer, why). Knows not what follows from an answer."""

from __future__ import annotations

from posttrain.evaluation.metrics import main_metric
from posttrain.evaluation.scores import Scores
from posttrain.spec.measuring import UNRANKED
from posttrain.strategy.evidence import Evidence
from posttrain.strategy.words import higher_is_better, shortfalls, surely_misses

# Ours, not S0's: an output format counts as known from here, a target as within reach of SFT's model from half of it,
# and as nearly met by a prompt, so that there is nothing new to learn, from nine tenths of it.
FORMAT_KNOWN = 0.90
WITHIN_REACH = 0.5
NEARLY_MET = 0.9

FORMAT = ("valid_json", "schema_valid", "wrapper_consistency", "style_consistency")

RANKERS = {"verifier": "the task's verifier", "reward-model": "a reward model"}

Answer = tuple[bool, str]


# --- before training ---------------------------------------------------------------------------------------


def must_learn(evidence: Evidence) -> Answer:
    """Whether a new pattern or new knowledge must be learned; no when some prompting nearly meets every target."""
    if evidence.new_pattern != "auto":
        words = "must" if evidence.new_pattern == "yes" else "need not"
        return (
            evidence.new_pattern == "yes",
            f"strategy.new_pattern says that a new pattern {words} be learned",
        )
    if not evidence.targets:
        return True, "the spec sets no targets, so no prompt counts as good enough"
    if evidence.preferences is None:
        return True, "a new pattern must be learned"
    zero_shot, *others = evidence.prompts
    for scores in filter(None, (zero_shot, evidence.few_shot, *others)):
        if _nearly_meets(scores, evidence.targets):
            share = f"{NEARLY_MET:.0%} of every target"
            return False, f"the ability is there: the {scores.prompting} prompt knows the format and reaches {share}"
    return True, f"a new pattern must be learned: {_farthest(evidence.best, evidence.targets)}"


def _nearly_meets(scores: Scores, targets: dict[str, float]) -> bool:
    known = all(scores.metrics[name].value >= FORMAT_KNOWN for name in FORMAT if name in scores.metrics)
    return known and all(_share(scores, name, target) >= NEARLY_MET for name, target in targets.items())


def _share(scores: Scores, metric: str, target: float) -> float:
    """How much of a target is reached; 1 when it is met, 0 when it was not measured."""
    score = scores.metrics.get(metric)
    if score is None:
        return 0.0
    if higher_is_better(metric):
        return 1.0 if score.value >= target else score.value / target if target > 0 else 0.0
    return 1.0 if score.value <= target else target / score.value if score.value > 0 else 0.0


def _farthest(scores: Scores, targets: dict[str, float]) -> str:
    for name in FORMAT:
        if name in scores.metrics and scores.metrics[name].value < FORMAT_KNOWN:
            return f"the output format is not fixed ({name} {scores.metrics[name]})"
    name = min(targets, key=lambda metric: _share(scores, metric, targets[metric]))
    return f"{name} {scores.metrics.get(name, 'was not measured')} is far from its target {targets[name]:g}"


def can_prefer(evidence: Evidence) -> Answer:
    """Whether there is anything to align the base model to: people's preferences, or a ranker and prompts for it."""
    if evidence.align == "never":
        return False, "strategy.align is never"
    if evidence.preferences == "people":
        return True, "people's preferences are given (data.preference)"
    if evidence.preferences not in RANKERS:
        return False, "there is no preference to align to: no data.preference, and answers cannot be verified"
    if evidence.usable_rows < evidence.min_rows:
        few = f"{evidence.usable_rows} usable rows, strategy.min_rows asks for {evidence.min_rows}"
        return False, f"{RANKERS[evidence.preferences]} could rank answers, but there are too few prompts to ask: {few}"
    return True, f"{RANKERS[evidence.preferences]} can rank the model's own answers"


NOBODY_PREFERS = (
    "nobody can say which of its answers are better: no data.preference, no reward model (align.ranker), no verifier"
)


def cannot_be_ranked(evidence: Evidence) -> bool:
    """Whether the trained model's answers are of a kind that no rule ranks, and nobody else was named to do it."""
    return evidence.preferences == "none" and evidence.kind in UNRANKED


def is_fit(evidence: Evidence) -> Answer:
    """Whether the rows are good enough that the rest of them can be trusted."""
    quality, most = evidence.quality, evidence.limits.max_bad_share
    if quality is None:
        return True, "the data's quality was not measured"
    worst = ", ".join(
        f"{rule} {rows:,}" for rule, rows in sorted(quality.bad.items(), key=lambda item: -item[1]) if rows
    )
    share = f"{quality.bad_share:.1%} of {quality.rows:,} rows were set aside as wrong or harmful"
    of_which = f" ({worst})" if worst else ""
    if quality.bad_share > most:
        return False, f"{share}{of_which}, strategy.max_bad_share allows {most:.0%}: what is left is not to be trusted"
    return True, f"{share}{of_which}"


def is_enough(evidence: Evidence) -> Answer:
    """Whether there are rows enough to train on."""
    if evidence.usable_rows < evidence.min_rows:
        return False, f"only {evidence.usable_rows} usable rows, strategy.min_rows asks for {evidence.min_rows}"
    return True, f"{evidence.usable_rows} usable rows are enough to train on"


# --- after SFT ---------------------------------------------------------------------------------------------


def lagging(evidence: Evidence) -> list[tuple[str, str]]:
    """(slice, how it lags) for each target that a slice surely misses: clean rows are fine, these are not."""
    if evidence.after_sft is None:
        return []
    return [
        (part, f"on {part} the target is missed all the same: {name} {scores.metrics[name]}, target {target:g}")
        for part, scores in evidence.after_sft.slices.items()
        for name, target in evidence.targets.items()
        if name in scores.metrics and surely_misses(name, scores.metrics[name], target)
    ]


def knows_the_task(evidence: Evidence, scores: Scores) -> list[Answer]:
    """Whether the model knows the task and could be optimised further: every condition, the gain over the baseline
    first; all must hold."""
    metric = main_metric(evidence.kind, scores.metrics)
    conditions = [beats_baseline(evidence, scores, metric)]
    if (valid := scores.metrics.get("valid_json")) is not None:
        known = valid.value >= FORMAT_KNOWN
        conditions.append((known, f"the output format is {'' if known else 'not '}known (valid_json {valid})"))
    target, score = evidence.targets.get(metric), scores.metrics.get(metric)
    if target is not None and score is not None:
        near = score.value >= WITHIN_REACH * target
        words = "within reach of" if near else "too far below"
        conditions.append((near, f"{metric} {score} is {words} its target {target:g}"))
    if forgot(evidence, scores):
        conditions.append((False, "general ability was lost, which preferences do not bring back"))
    if cannot_be_ranked(evidence):
        conditions.append((False, NOBODY_PREFERS))
    return conditions


def beats_baseline(evidence: Evidence, scores: Scores, metric: str) -> Answer:
    """Whether SFT surely made the model better on this metric."""
    gain = evidence.gain
    if gain is not None:
        beats = gain.low > 0
        size = f"{metric} gain {gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}], p = {gain.p_value:.3g}"
    else:
        before, after = (
            evidence.best.metrics.get(metric),
            scores.metrics.get(metric),
        )
        if before is None or after is None:
            return False, f"{metric} was not measured before and after SFT"
        beats, size = (after.low > before.high, f"{metric} {before} before, {after} after")
    words = "significantly better than the baseline" if beats else "not surely better than the baseline"
    return beats, f"SFT made the model {words} ({size})"


def forgot(evidence: Evidence, scores: Scores) -> bool:
    """Whether general ability was lost: the perplexity misses its target, or the gate refused it."""
    lost = any(name == "perplexity" for name, _, _ in shortfalls(scores, evidence.targets))
    checks = evidence.verdict.checks if evidence.verdict else ()
    return lost or any(check.metric == "perplexity" and check.outcome == "refused" for check in checks)
