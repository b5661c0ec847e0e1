"""What a run would do, found without running it: the library's own stages, asked in a workspace that only looks.

The walk calls the same functions as the flow, so a stage counts as unchanged exactly when the flow would find it.
Writes nothing, starts no process, imports neither Prefect nor torch. Knows no terminal.
"""

from __future__ import annotations

import gzip
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from posttrain import gates, strategy
from posttrain.artifacts import DatasetRef, Done, ModelRef, Stage, Workspace
from posttrain.data.curate import CurateResult
from posttrain.evaluation.learning_curve import RowsNeeded
from posttrain.evaluation.measure import measure
from posttrain.evaluation.metrics import MAIN
from posttrain.evaluation.scores import Scores
from posttrain.evaluation.scoring import Scoring, scoring_of
from posttrain.models import estimate
from posttrain.models.machine import this_machine
from posttrain.models.recipe import Recipe
from posttrain.preflight import Checked
from posttrain.preparation import Preparation
from posttrain.spec import PipelineSpec
from posttrain.strategy import curve
from posttrain.strategy.costs import text_bytes
from posttrain.strategy.known import known_before
from posttrain.training import dpo, pairs, recipes, sft
from posttrain.training.given import given_pairs
from posttrain.training.result import PairsResult, TrainResult
from posttrain.training.subset import subset

State = Literal["unchanged", "would run", "may run", "not needed"]
STAGES = (
    "distill",
    "validate",
    "curate",
    "baseline-zero-shot",
    "baseline-few-shot",
    "sft",
    "after-sft",
    "pairs",
    "dpo",
    "after-dpo",
    "test",
)
ALIGNMENT = ("pairs", "dpo", "after-dpo")
CURVE = tuple(f"{stage}-{share}" for share in curve.SHARES for stage in ("sft", "after-sft"))
"""Stages of a learning curve, which stand after after-sft where the spec asks for one."""
ESTIMATE_OF = {"baseline-zero-shot": "baseline", "baseline-few-shot": "baseline"} | {
    "after-sft": "evaluate",
    "after-dpo": "evaluate aligned",
    **{name: "evaluate" if name.startswith("after") else "sft" for name in CURVE},
}


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


@dataclass(frozen=True)
class PlannedStage:
    """A stage, whether it would run, and what it takes; `seconds` is measured when unchanged, else estimated."""

    name: str
    state: State
    seconds: float
    memory_bytes: int
    why: str


@dataclass(frozen=True)
class Plan:
    """The stages in their order, and the values that training would use, with their reasons."""

    stages: tuple[PlannedStage, ...]
    sft: Recipe
    align: Recipe
    machine: str
    rows: int
    decision: strategy.Decision | None = None
    """The last that can be made from what was measured; the flow would make the same."""

    @property
    def seconds_left(self) -> float:
        """Of the stages that would or may run."""
        return sum(stage.seconds for stage in self.stages if stage.state in ("would run", "may run"))


@dataclass
class _Walk:
    """The stages found so far, and those that the decisions on the way make needless."""

    done: dict[str, Done[Any]] = field(default_factory=dict)
    needless: tuple[str, ...] = ()
    complete: bool = False
    decision: strategy.Decision | None = None

    @property
    def last(self) -> str:
        """The last stage that was found."""
        return next(reversed(self.done), "")


def make_plan(checked: Checked) -> Plan:
    """Ask every stage whether it is done, and estimate the rest. Raises: UserError for settings that cannot be met."""
    spec = checked.loaded.spec
    walk = _walk(checked)
    rows, bytes_a_row, test_rows = _size(checked, walk)
    sft_recipe = recipes.recommend_sft(spec.sft, checked.base, rows)
    align_recipe = recipes.recommend_dpo(spec.align, spec.sft, checked.base, spec.align.prompts)
    machine = this_machine(recipes.thread_count(spec.resources.threads), recipes.memory())
    load = estimate.Load.of(spec, sft_recipe, align_recipe, rows, test_rows, bytes_a_row)
    shape = recipes.shape_of(checked.base)
    expected = {each.stage: each for each in estimate.estimate(shape, machine, load)}
    stages = tuple(_planned(name, walk, expected, spec) for name in _names(spec))
    return Plan(stages, sft_recipe, align_recipe, machine.name, rows, walk.decision)


def _names(spec: PipelineSpec) -> tuple[str, ...]:
    names = STAGES if spec.synthetic.distill else STAGES[1:]
    after = names.index("after-sft") + 1
    return names[:after] + CURVE + names[after:] if spec.strategy.learning_curve else names


def _planned(name: str, walk: _Walk, expected: dict[str, estimate.StageEstimate], spec: PipelineSpec) -> PlannedStage:
    if name in walk.done:
        return PlannedStage(name, "unchanged", walk.done[name].seconds, 0, f"in {walk.done[name].folder.name}")
    if name == "distill" and spec.synthetic.distill:
        most = f"asks {spec.synthetic.distill.teacher.model}; at most {spec.synthetic.distill.teacher.max_cost:g}"
        return PlannedStage(name, "would run", 0.0, 0, f"{most} in the unit of its prices; time is the teacher's")
    guess = expected.get(ESTIMATE_OF.get(name, name))
    if name in walk.needless or walk.complete or guess is None:
        return PlannedStage(name, "not needed", 0.0, 0, "the decisions so far lead past it")
    if guess.stage == "baseline":  # estimated for both ways of prompting together
        return PlannedStage(name, "would run", guess.seconds / 2, guess.memory_bytes, guess.why.removeprefix("2 × "))
    if name in CURVE and guess.stage == "sft":
        part = int(name.rpartition("-")[2]) / 100
        guess = replace(guess, seconds=guess.seconds * part, why=f"{part:.0%} of {guess.why}")
    condition = _condition(name, walk)
    why = f"{condition}: {guess.why}" if condition else guess.why
    return PlannedStage(name, "may run" if condition else "would run", guess.seconds, guess.memory_bytes, why)


def _condition(name: str, walk: _Walk) -> str:
    """What a decision that is still to be made must say for the stage to run; empty when it surely runs."""
    if name in ALIGNMENT:
        decided = "after-sft" in walk.done or "sft" in walk.needless
        return "" if decided else "if targets are missed after SFT"
    if name in CURVE:
        return "" if walk.last in CURVE else "if a target is missed after SFT, or rows are too few"
    if name == "test":
        return "" if walk.last in ("after-sft", "after-dpo") else "if the gates pass"
    return (
        "if the prompt is not enough" if name in ("sft", "after-sft") and "baseline-few-shot" not in walk.done else ""
    )


# --- the walk ------------------------------------------------------------------------------------------------


def _walk(checked: Checked) -> _Walk:
    walk = _Walk()
    try:
        for name, done in _stages(checked, walk):
            walk.done[name] = done
        walk.complete = True
    except NotDone:
        pass
    return walk


def _stages(checked: Checked, walk: _Walk) -> Iterator[tuple[str, Done[Any]]]:
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
    ask = _Measuring(spec, base, rows, workspace, scoring)
    zero_shot = ask.scores(base, "validation", "zero-shot", spec.evaluate.baseline_rows)
    yield "baseline-zero-shot", zero_shot
    few_shot = ask.scores(base, "validation", "few-shot", spec.evaluate.baseline_rows)
    yield "baseline-few-shot", few_shot
    examples = few_shot.result.with_general_of(zero_shot.result)
    evidence = known_before(spec, base, validated.result, rows, zero_shot.result, examples)
    walk.decision = strategy.decide(evidence)
    prompting = strategy.best_baseline(zero_shot.result, examples, spec.task.kind)
    if walk.decision.action == "align_base":
        walk.needless = ("sft", "after-sft", *CURVE)
        aligned = yield from _align(ask, walk.decision, base, prompting, prompting)
        if aligned:
            yield "test", ask.scores(aligned, "test")
        elif "dpo" not in walk.done:  # there was no pair to learn from
            walk.decision = strategy.decide(evidence.without_preferences())
        return
    collect = curve.wanted_before_collecting(spec, walk.decision, rows.train.rows)
    if walk.decision.action != "sft" and not collect:
        return
    walk.needless = (*ALIGNMENT, "test") if collect else ()

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
        yield "test", ask.scores(model, "test")


def _align(
    ask: _Measuring, decision: strategy.Decision, model: Any, prompting: Scores, before: Scores
) -> Generator[tuple[str, Done[Any]], None, Any]:
    """DPO as `flows/train.py` does it; returns the model that passed its gate, if one did."""
    spec, rows = ask.spec, ask.rows
    if decision.by_people and rows.preference:
        made = given_pairs(rows.preference)
    else:
        sampled: Done[PairsResult] = pairs.make_pairs(
            model,
            rows.train,
            spec.task,
            spec.align,
            ask.workspace,
            max_new_tokens=spec.evaluate.max_new_tokens,
            threads=recipes.thread_count(spec.resources.threads),
        )
        yield "pairs", sampled
        made = sampled.result
    if not made.kept:
        return None
    tuning = recipes.for_dpo(spec.align, spec.sft, model, made.pairs.rows, spec.resources.threads)
    aligned = dpo.train(model, made.pairs, spec.align, spec.sft, tuning, ask.workspace)
    yield "dpo", aligned
    after = ask.scores(aligned.result.model, "validation")
    yield "after-dpo", after
    passed = _judge(spec, "after_align", after.result, {"baseline": prompting, "previous": before}).passed
    return aligned.result.model if passed else None


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

    def trained(self, train: DatasetRef) -> Done[TrainResult]:
        """SFT of the base on these rows."""
        spec = self.spec
        recipe = recipes.for_sft(spec.sft, self.base, train.rows, spec.resources.threads)
        return sft.train(self.base, train, self.rows.validation, spec.sft, recipe, self.workspace)

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
    baseline = strategy.best_baseline(evidence.zero_shot, evidence.few_shot, spec.task.kind)
    verdict = _judge(spec, "after_sft", scores, {"baseline": baseline})
    gain = gates.compare(scores, baseline, MAIN[spec.task.kind], spec.evaluate.resamples, spec.evaluate.seed)
    return verdict.passed, strategy.decide(evidence.with_sft(scores, gain, verdict))


def _judge(spec: PipelineSpec, name: str, scores: Scores, known: Mapping[str, Scores | None]) -> gates.Verdict:
    demands = getattr(spec.gates, name)
    measured = spec.evaluate
    return gates.judge(name, demands, scores, known, measured.resamples, measured.seed, spec.gates.correction)


# --- sizes ---------------------------------------------------------------------------------------------------


def _size(checked: Checked, walk: _Walk) -> tuple[int, float, int]:
    """Rows to train on, bytes of text a row, rows to test on: as curated, as validated, or as the files look."""
    for name in ("curate", "validate"):
        if name in walk.done:
            result = walk.done[name].result
            return result.train.rows, text_bytes(result.train), result.test.rows
    data, root = checked.loaded.spec.data, checked.loaded.root
    train = [_counted(root / source.path) for source in data.train]
    test = [_counted(root / source.path) for source in data.test]
    rows = sum(count for count, _ in train)
    return rows, sum(size for _, size in train) / max(rows, 1), sum(count for count, _ in test)


def _counted(path: Path) -> tuple[int, int]:
    """Lines and bytes of a file or of a folder's files; Parquet rows as its footer says; 0 for what lies elsewhere."""
    if not path.exists():
        return 0, 0
    if path.is_dir():
        both = [_counted(file) for file in sorted(path.iterdir()) if file.is_file()]
        return sum(lines for lines, _ in both), sum(size for _, size in both)
    if path.suffix == ".parquet":
        from pyarrow import parquet

        footer = parquet.read_metadata(path)
        return footer.num_rows, sum(footer.row_group(i).total_byte_size for i in range(footer.num_row_groups))
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    lines = size = 0
    with gzip.open(path) if packed else path.open("rb") as stream:
        while block := stream.read(1 << 20):
            lines, size = lines + block.count(b"\n"), size + len(block)
    return max(lines, 1), size
