"""The flow of `flows/retrain.py` walked again, as far as its results exist, in a workspace that only looks.

It calls the same functions as the flow, so a stage counts as done exactly when the flow would find it, and decides what
the flow would decide. Writes nothing, starts no process. Knows no costs and no terminal.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from posttrain import gates, strategy
from posttrain.artifacts import DatasetRef, Done, ModelRef, Stage, Workspace
from posttrain.data.curate import CurateResult
from posttrain.evaluation.learning_curve import RowsNeeded
from posttrain.evaluation.measure import measure
from posttrain.evaluation.metrics import main_metric
from posttrain.evaluation.scores import Scores
from posttrain.evaluation.scoring import Scoring, scoring_of
from posttrain.evaluation.slices import slices_of
from posttrain.models.merging import merge
from posttrain.preflight import Checked
from posttrain.preparation import Preparation
from posttrain.progress import Progress
from posttrain.spec import PipelineSpec
from posttrain.spec.sections.align import ONLINE
from posttrain.strategy import curve
from posttrain.strategy.known import known_before
from posttrain.training import by_spec, online, pairs, recipes
from posttrain.training.given import given_pairs
from posttrain.training.result import PairsResult, TrainResult
from posttrain.training.search_sft import search_sft, with_values
from posttrain.training.subset import subset

TRAINS_ALIGNED = ("dpo", *ONLINE)
ALIGNMENT = ("pairs", "reward-model", *(name for stage in TRAINS_ALIGNED for name in (stage, f"after-{stage}")))
CURVE = tuple(f"{stage}-{share}" for share in curve.SHARES for stage in ("sft", "after-sft"))
"""Stages of a learning curve, which stand after after-sft where the spec asks for one."""


class NotDone(Exception):
    """The walk came to a stage that has no finished output."""


@dataclass(frozen=True)
class LookOnly(Workspace):
    """A workspace in which finished stages are found and nothing can be begun."""

    def partial(self, stage: Stage[Any]) -> Path:
        """Where a stage would begin to work, so this is where the walk ends."""
        raise NotDone(stage.name)

    def note_use(self, folder: Path) -> None:
        """Looking is no use."""


@dataclass
class Walk:
    """The stages found so far, and those that the decisions on the way make needless."""

    done: dict[str, Done[Any]] = field(default_factory=dict)
    needless: tuple[str, ...] = ()
    complete: bool = False
    decision: strategy.Decision | None = None

    @property
    def last(self) -> str:
        """The last stage that was found."""
        return next(reversed(self.done), "")


def walk_through(checked: Checked) -> Walk:
    """As far as finished stages lead."""
    walk = Walk()
    try:
        for name, done in _stages(checked, walk):
            walk.done[name] = done
        walk.complete = True
    except NotDone:
        pass
    return walk


def curated(checked: Checked) -> CurateResult | None:
    """What curation chose, if it has run on the data as they are."""
    data = Preparation.of(checked, LookOnly(checked.workspace.root))
    try:
        if distilled := data.distill():
            data = data.with_rows(distilled.result.rows)
        return data.curate(data.validate().result).result
    except NotDone:
        return None


def _stages(checked: Checked, walk: Walk) -> Iterator[tuple[str, Done[Any]]]:
    """The flow of `flows/retrain.py`, stage by stage, as far as its results exist."""
    spec, base = checked.loaded.spec, checked.base
    workspace = LookOnly(checked.workspace.root)
    data = Preparation.of(checked, workspace)
    if distilled := data.distill():
        yield "distill", distilled
        data = data.with_rows(distilled.result.rows)
    validated = data.validate()
    yield "validate", validated
    curated = data.curate(validated.result)
    yield "curate", curated
    rows = curated.result

    scoring = scoring_of(spec, checked.loaded.root)
    ask = _Measuring(spec, base, rows, workspace, scoring, checked.loaded.root)
    zero_shot = ask.scores(base, "validation", "zero-shot", spec.evaluate.baseline_rows)
    yield "baseline-zero-shot", zero_shot
    others = {}
    for way in spec.evaluate.ways_of_prompting[1:]:
        asked = ask.scores(base, "validation", way, spec.evaluate.baseline_rows)
        yield f"baseline-{way}", asked
        others[way] = asked.result.with_general_of(zero_shot.result)
    measured_ways = [others.get(way) for way in ("few-shot", "step-by-step", "self-consistency")]
    evidence = known_before(spec, base, validated.result, rows, zero_shot.result, *measured_ways)
    walk.decision = strategy.decide(evidence)
    prompting = evidence.best
    if walk.decision.action == "align_base":
        walk.needless = ("sft", "after-sft", *CURVE)
        aligned = yield from _align(ask, walk.decision, base, prompting, prompting)
        if aligned:
            yield from _tested(ask, aligned)
        elif spec.align.stage not in walk.done:  # there was nothing to learn from
            walk.decision = strategy.decide(evidence.without_preferences())
        return
    collect = curve.wanted_before_collecting(spec, walk.decision, rows.train.rows)
    if walk.decision.action != "sft" and not collect:
        return
    walk.needless = (*ALIGNMENT, "test") if collect else ()

    if spec.search.trials and not collect:
        found = search_sft(spec, base, rows.train, rows.validation, ask.never, workspace)
        yield "search", found
        spec = with_values(spec, found.result.values)
        ask = replace(ask, spec=spec)
    tuned = ask.trained(rows.train)
    yield "sft", tuned
    measured = ask.scores(tuned.result.model, "validation")
    yield "after-sft", measured
    if collect or curve.wanted_after_sft(spec, measured.result, rows.train.rows):
        needed = yield from _curve(ask, measured.result)
        evidence = evidence.with_curve(needed)
    else:
        walk.needless += CURVE
    if collect:
        walk.decision = strategy.decide(evidence)
        return
    passed, walk.decision = _after_sft(spec, evidence, measured.result)
    model = tuned.result.model
    if walk.decision.action == "align":
        aligned = yield from _align(ask, walk.decision, model, prompting, measured.result)
        passed, model = passed or bool(aligned), aligned or model
    else:
        walk.needless += ALIGNMENT
    if passed and walk.decision.action != "rethink":
        yield from _tested(ask, model)


def _tested(ask: _Measuring, model: ModelRef) -> Iterator[tuple[str, Done[Any]]]:
    """The test split as `flows/release.py` opens it: an adapter is merged first."""
    if model.adapter:
        merged = merge(model, ask.workspace)
        yield "merge", merged
        model = merged.result.model
    yield "test", ask.scores(model, "test")


def _align(
    ask: _Measuring, decision: strategy.Decision, model: Any, prompting: Scores, before: Scores
) -> Generator[tuple[str, Done[Any]], None, Any]:
    """Alignment as `flows/train.py` does it; returns the model that passed its gate, if one did."""
    spec = ask.spec
    learn = _from_rewards if spec.align.is_online else _from_pairs
    aligned = yield from learn(ask, decision, model)
    if aligned is None:
        return None
    after = ask.scores(aligned, "validation")
    yield f"after-{spec.align.stage}", after
    passed = _judge(spec, "after_align", after.result, {"baseline": prompting, "previous": before}).passed
    return aligned if passed else None


def _from_rewards(
    ask: _Measuring, decision: strategy.Decision, model: Any
) -> Generator[tuple[str, Done[Any]], None, Any]:
    """PPO, GRPO or RLOO; returns the model, None when nothing can reward."""
    spec, rows, judge = ask.spec, ask.rows, None
    if rows.preference and online.wants_reward_model(spec.rewards, rows.preference):
        given = given_pairs(rows.preference, spec.align, spec.task.kind, ask.workspace)
        yield "pairs", given
        compared = given.result.pairs
        judged = by_spec.train_reward_model(spec, model, compared, ask.workspace)
        yield "reward-model", judged
        judge = judged.result.reward_model
    if online.cannot_reward(spec.rewards, spec.task.kind, judge):
        return None
    job = online.job_for(spec, model, rows.train, rows.validation, judge, decision.slices, ask.root)
    aligned = online.train(job, ask.workspace)
    yield spec.align.stage, aligned
    return aligned.result.model


def _from_pairs(
    ask: _Measuring, decision: strategy.Decision, model: Any
) -> Generator[tuple[str, Done[Any]], None, Any]:
    """DPO, IPO, KTO or ORPO; returns the model, None when there is no pair."""
    spec, rows = ask.spec, ask.rows
    if decision.by_people and rows.preference:
        given = given_pairs(rows.preference, spec.align, spec.task.kind, ask.workspace)
        yield "pairs", given
        made = given.result
    else:
        sampled: Done[PairsResult] = pairs.make_pairs(
            model,
            rows.train,
            spec.task,
            spec.align,
            ask.workspace,
            max_new_tokens=spec.evaluate.max_new_tokens,
            threads=recipes.thread_count(spec.resources.threads),
            slices=[part for part in slices_of(spec.evaluate) if part.name in decision.slices],
            ranker=pairs.ranker_of(spec.align, ask.root),
        )
        yield "pairs", sampled
        made = sampled.result
    if not made.kept:
        return None
    aligned = by_spec.train_preference(spec, model, made.pairs, ask.workspace)
    yield "dpo", aligned
    return aligned.result.model


def _curve(ask: _Measuring, measured: Scores) -> Generator[tuple[str, Done[Any]], None, RowsNeeded | None]:
    """The learning curve as `tasks/learning_curve.py` draws it."""
    rows = ask.rows.train
    found = {rows.rows: measured}
    for share, count in curve.sizes(rows.rows).items():
        tuned = ask.trained(subset(rows, count, ask.workspace).result.train)
        yield f"sft-{share}", tuned
        scores = ask.scores(tuned.result.model, "validation")
        yield f"after-sft-{share}", scores
        found[count] = scores.result
    return curve.rows_needed(ask.spec, found)


@dataclass(frozen=True)
class _Measuring:
    """Measuring as `tasks/evaluate.py` does it."""

    spec: PipelineSpec
    base: ModelRef
    rows: CurateResult
    workspace: Workspace
    scoring: Scoring
    root: Path

    def trained(self, train: DatasetRef) -> Done[TrainResult]:
        """SFT of the base on these rows."""
        return by_spec.train_sft(self.spec, self.base, train, self.rows.validation, self.workspace)

    def never(self, model: ModelRef, progress: Progress) -> Scores:
        """The measuring of a trial, which a walk does not come to: it ends where a search would begin."""
        raise NotDone("search")

    def scores(self, model: Any, split: str, prompting: Any = "zero-shot", limit: int | None = None) -> Done[Scores]:
        return measure(
            model,
            getattr(self.rows, split),
            split=split,
            prompting=prompting,
            task=self.spec.task,
            spec=self.spec.evaluate,
            workspace=self.workspace,
            scoring=self.scoring,
            limit=limit,
            examples=self.rows.train if prompting == "few-shot" else None,
            general_held_out=self.rows.general_held_out if prompting == "zero-shot" else None,
        )


def _after_sft(spec: PipelineSpec, evidence: strategy.Evidence, scores: Scores) -> tuple[bool, strategy.Decision]:
    """Whether the gate passes, and what is decided then."""
    baseline = evidence.best
    verdict = _judge(spec, "after_sft", scores, {"baseline": baseline, "previous": baseline})
    metric = main_metric(spec.task.kind, scores.metrics)
    gain = gates.compare(scores, baseline, metric, spec.evaluate.resamples, spec.evaluate.seed)
    return verdict.passed, strategy.decide(evidence.with_sft(scores, gain, verdict))


def _judge(spec: PipelineSpec, name: str, scores: Scores, known: Mapping[str, Scores | None]) -> gates.Verdict:
    demands = spec.gates.demands(name, main_metric(spec.task.kind, scores.metrics))
    measured = spec.evaluate
    return gates.judge(name, demands, scores, known, measured.resamples, measured.seed, spec.gates.correction)
