"""What a run would do, found without running it: each stage's state, and the time and memory of those to come.

Writes nothing, starts no process, imports neither Prefect nor torch. Knows no terminal.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from flows.cli.plan_walk import ALIGNMENT, CURVE, TRAINS_ALIGNED, LookOnly, NotDone, Walk, walk_through
from posttrain import strategy
from posttrain.errors import ModelError
from posttrain.evaluation.scores import Prompting
from posttrain.models import estimate
from posttrain.models.hardware import Devices, HardwarePlan
from posttrain.models.machine import machine_of
from posttrain.models.recipe import Recipe
from posttrain.preflight import Checked
from posttrain.spec import PipelineSpec, Source
from posttrain.strategy.costs import of_reward_model, pair_bytes, text_bytes
from posttrain.training import recipes

__all__ = ["CURVE", "STAGES", "LookOnly", "NotDone", "Plan", "PlannedStage", "make_plan"]

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
    "merge",
    "test",
)
ESTIMATE_OF = {f"baseline-{way}": "baseline" for way in get_args(Prompting)} | {
    "search": "sft",
    "after-sft": "evaluate",
    **{f"after-{stage}": "evaluate aligned" for stage in TRAINS_ALIGNED},
    **{name: "evaluate" if name.startswith("after") else "sft" for name in CURVE},
}


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
    hardware: HardwarePlan
    machine: str
    rows: int
    decision: strategy.Decision | None = None
    """The last that can be made from what was measured; the flow would make the same."""

    reward_model: Recipe | None = None
    """The values of the training of a reward model, where the spec asks for one."""

    dangers: tuple[str, ...] = ()
    """What the sources call dangerous among the spec's own values, and what does not fit; each once."""

    @property
    def seconds_left(self) -> float:
        """Of the stages that would or may run."""
        return sum(stage.seconds for stage in self.stages if stage.state in ("would run", "may run"))


def make_plan(checked: Checked, devices: Devices | None = None) -> Plan:
    """Ask every stage whether it is done, and estimate the rest; `devices` in place of the spec's or the machine's.

    Raises: UserError for settings that cannot be met.
    """
    spec = checked.loaded.spec
    walk = walk_through(checked)
    rows, bytes_a_row, test_rows = _size(checked, walk)
    found = devices or recipes.devices_of(spec.resources)
    shape = recipes.shape_of(checked.base)
    row = min(estimate.tokens(bytes_a_row, shape.vocabulary), spec.sft.max_length)
    sft_recipe = recipes.recommend_sft(spec.sft, checked.base, rows, spec.resources, found, row)
    align_recipe = recipes.recommend_dpo(spec.align, spec.sft, checked.base, spec.align.prompts, found)
    hardware = recipes.plan_sft(spec.sft, checked.base, rows, spec.resources, found)
    machine = machine_of(found)
    numbers = recipes.numbers_of(spec.sft, shape, found)
    load = estimate.Load.of(spec, sft_recipe, align_recipe, rows, test_rows, bytes_a_row, numbers)
    expected = {each.stage: each for each in estimate.estimate(shape, machine, load)}
    reward_recipe = None
    if spec.learns_reward_model:
        reward_recipe, expected["reward-model"] = of_reward_model(spec, checked.base, *_pairs(checked, walk), found)
    stages = tuple(_planned(name, walk, expected, spec) for name in _names(spec))
    found_wrong = _dangers(spec, sft_recipe, align_recipe, reward_recipe, hardware.warning)
    return Plan(
        stages, sft_recipe, align_recipe, hardware, machine.name, rows, walk.decision, reward_recipe, found_wrong
    )


def dangers(checked: Checked) -> tuple[str, ...]:
    """What a run is to be warned of, once: as the plan has it, from the number of rows in the files.

    Nothing of a base whose size is not known: whoever trains it will be refused, and the data come first.
    """
    spec = checked.loaded.spec
    rows, _ = _counted_all(checked, spec.data.train)
    try:
        sft = recipes.recommend_sft(spec.sft, checked.base, rows, spec.resources)
    except ModelError:
        return ()
    hardware = recipes.plan_sft(spec.sft, checked.base, rows, spec.resources)
    align = recipes.recommend_dpo(spec.align, spec.sft, checked.base, spec.align.prompts)
    learnt = None
    if spec.learns_reward_model:
        pairs, size = _counted_all(checked, spec.data.preference)
        learnt, _ = of_reward_model(spec, checked.base, pairs, size / max(pairs, 1), recipes.devices_of(spec.resources))
    return _dangers(spec, sft, align, learnt, hardware.warning)


def _dangers(
    spec: PipelineSpec, sft: Recipe, align: Recipe, reward_model: Recipe | None, hardware: str
) -> tuple[str, ...]:
    told = [f"sft: {text}" for text in sft.warnings]
    if spec.strategy.align != "never":
        told += [f"align: {text}" for text in align.warnings]
    if reward_model:
        told += [f"reward_model: {text}" for text in reward_model.warnings]
    told += [hardware] * bool(hardware)
    return tuple(dict.fromkeys(text.replace("align: align.", "align: ") for text in told))


def _names(spec: PipelineSpec) -> tuple[str, ...]:
    baselines = tuple(f"baseline-{way}" for way in spec.evaluate.ways_of_prompting)
    first, last = STAGES.index("baseline-zero-shot"), STAGES.index("baseline-few-shot")
    names = STAGES[0 if spec.synthetic.distill else 1 : first] + baselines + STAGES[last + 1 :]
    if spec.align.is_online:
        first, method = names.index("pairs"), spec.align.stage
        asked = ("pairs", "reward-model") if spec.learns_reward_model else ()
        names = (*names[:first], *asked, method, f"after-{method}", "merge", "test")
    if spec.sft.method == "full":
        names = tuple(name for name in names if name != "merge")
    if spec.search.trials:
        names = (*names[: names.index("sft")], "search", *names[names.index("sft") :])
    after = names.index("after-sft") + 1
    return names[:after] + CURVE + names[after:] if spec.strategy.learning_curve else names


def _planned(name: str, walk: Walk, expected: dict[str, estimate.StageEstimate], spec: PipelineSpec) -> PlannedStage:
    if name in walk.done:
        return PlannedStage(name, "unchanged", walk.done[name].seconds, 0, f"in {walk.done[name].folder.name}")
    if name == "distill" and spec.synthetic.distill:
        most = f"asks {spec.synthetic.distill.teacher.model}; at most {spec.synthetic.distill.teacher.max_cost:g}"
        return PlannedStage(name, "would run", 0.0, 0, f"{most} in the unit of its prices; time is the teacher's")
    if name == "pairs" and spec.align.is_online and name not in walk.needless and not walk.complete:
        return PlannedStage(name, "may run", 0.0, 0, "people's pairs are read and sifted: no model, little time")
    guess = expected.get(ESTIMATE_OF.get(name, name))
    if name in walk.needless or walk.complete or guess is None:
        return PlannedStage(name, "not needed", 0.0, 0, "the decisions so far lead past it")
    if guess.stage == "baseline":  # estimated for zero-shot and few-shot together
        seconds = guess.seconds / 2 * _answers(name, spec)
        return PlannedStage(name, "would run", seconds, guess.memory_bytes, guess.why.removeprefix("2 × "))
    if name in CURVE and guess.stage == "sft":
        part = int(name.rpartition("-")[2]) / 100
        guess = replace(guess, seconds=guess.seconds * part, why=f"{part:.0%} of {guess.why}")
    if name == "search":
        guess = replace(guess, seconds=guess.seconds * spec.search.trials, why=_trials(spec, guess.why))
    condition = _condition(name, walk, spec)
    why = f"{condition}: {guess.why}" if condition else guess.why
    return PlannedStage(name, "may run" if condition else "would run", guess.seconds, guess.memory_bytes, why)


def _answers(name: str, spec: PipelineSpec) -> float:
    """How much is generated for a row, in plain answers."""
    asked = spec.evaluate
    votes = asked.self_consistency if name == "baseline-self-consistency" else None
    reasons = name == "baseline-step-by-step" or (votes is not None and votes.step_by_step)
    longer = 1 + asked.reasoning_tokens / asked.max_new_tokens if reasons else 1.0
    return longer * (votes.answers if votes else 1)


def _condition(name: str, walk: Walk, spec: PipelineSpec) -> str:
    """What a decision that is still to be made must say for the stage to run; empty when it surely runs."""
    if name in ALIGNMENT:
        decided = "after-sft" in walk.done or "sft" in walk.needless
        return "" if decided else "if targets are missed after SFT"
    if name in CURVE:
        return "" if walk.last in CURVE else "if a target is missed after SFT, or rows are too few"
    if name in ("merge", "test"):
        return (
            ""
            if walk.last in ("after-sft", "merge", *(f"after-{stage}" for stage in TRAINS_ALIGNED))
            else "if the gates pass"
        )
    asked = all(f"baseline-{way}" in walk.done for way in spec.evaluate.ways_of_prompting)
    return "if the prompt is not enough" if name in ("search", "sft", "after-sft") and not asked else ""


def _trials(spec: PipelineSpec, training: str) -> str:
    """What a search takes at most, in words: a pruned trial trains on a part of the rows."""
    return f"{spec.search.trials} trials, each at most about once {training}, and measured"


# --- sizes ---------------------------------------------------------------------------------------------------


def _size(checked: Checked, walk: Walk) -> tuple[int, float, int]:
    """Rows to train on, bytes of text a row, rows to test on: as curated, as validated, or as the files look."""
    for name in ("curate", "validate"):
        if name in walk.done:
            result = walk.done[name].result
            return result.train.rows, text_bytes(result.train), result.test.rows
    data = checked.loaded.spec.data
    rows, size = _counted_all(checked, data.train)
    return rows, size / max(rows, 1), _counted_all(checked, data.test)[0]


def _pairs(checked: Checked, walk: Walk) -> tuple[int, float]:
    """Pairs that a reward model learns from, and bytes of text a pair: as paired, as curated, or as the files look."""
    if "pairs" in walk.done:
        pairs = walk.done["pairs"].result.pairs
        return pairs.rows, pair_bytes(pairs)
    preference = walk.done["curate"].result.preference if "curate" in walk.done else None
    if preference:
        return preference.rows, pair_bytes(preference)
    rows, size = _counted_all(checked, checked.loaded.spec.data.preference)
    return rows, size / max(rows, 1)


def _counted_all(checked: Checked, sources: Sequence[Source]) -> tuple[int, int]:
    """Lines and bytes of all files of a split."""
    counted = [_counted(checked.loaded.root / source.path) for source in sources]
    return sum(lines for lines, _ in counted), sum(size for _, size in counted)


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
