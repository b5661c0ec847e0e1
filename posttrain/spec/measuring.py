"""What a spec says of judges, harness and code that cannot all be meant. Knows the spec only."""

from __future__ import annotations

from collections.abc import Iterator

from posttrain.spec.document import Place
from posttrain.spec.metrics import GENERAL, GENERAL_SLICE, JUDGED, METRICS
from posttrain.spec.sections.gates import Gate
from posttrain.spec.sections.pipeline import PipelineSpec

UNRANKED = ("chat", "code")
"""Kinds whose answers no rule of ours ranks, so that preferences or a reward model have to be given."""


def gates_of(spec: PipelineSpec) -> Iterator[tuple[Place, Gate]]:
    """Every gate, with its place."""
    gates: dict[str, list[Gate]] = {
        "after_sft": spec.gates.after_sft,
        "after_align": spec.gates.after_align,
        "release": spec.gates.release,
    }
    for stage, demands in gates.items():
        yield from ((("gates", stage, index), gate) for index, gate in enumerate(demands))


def mistaken_measuring(spec: PipelineSpec) -> Iterator[tuple[Place, str]]:
    """A judge for answers that need none, metrics whose judge or harness is missing, code that cannot be tested."""
    if spec.evaluate.judge and spec.task.kind != "chat":
        yield (
            ("evaluate", "judge"),
            f"is for task.kind chat, found {spec.task.kind}; remove it, or set task.kind: chat",
        )
    yield from _unjudged(spec)
    yield from _without_harness(spec)
    yield from _code(spec)
    ranked = spec.data.preference or spec.align.ranker == "reward-model"
    if spec.task.kind in UNRANKED and spec.strategy.align == "always" and not ranked:
        yield (
            ("strategy", "align"),
            f"found always, but the model's own answers cannot be ranked for task.kind {spec.task.kind}; give "
            "data.preference or align.ranker_model, or set strategy.align: auto",
        )
    if spec.align.ranker == "reward-model" and spec.align.ranker_model is None:
        yield ("align", "ranker"), "found reward-model without one; name it in align.ranker_model"


def is_general(gate: Gate) -> bool:
    """Whether a gate is about general ability, so that no slice of the task's rows has to be there for it."""
    return GENERAL in METRICS.get(gate.metric, ())


def general_slices(spec: PipelineSpec) -> list[str]:
    """The slices of general ability that are measured."""
    return [f"{GENERAL_SLICE}{task}" for task in spec.evaluate.harness.tasks] if spec.evaluate.harness else []


def _unjudged(spec: PipelineSpec) -> Iterator[tuple[Place, str]]:
    named: list[tuple[Place, str]] = [(("strategy", "targets", name), name) for name in spec.strategy.targets]
    named += [((*place, "metric"), gate.metric) for place, gate in gates_of(spec)]
    judge = spec.evaluate.judge
    for place, metric in named:
        if spec.task.kind != "chat" or metric not in JUDGED:
            continue
        if judge is None:
            yield place, f"{metric} needs a judge; add evaluate.judge or use semantic_similarity"
        elif metric == JUDGED[-1] and judge.endpoint is None:
            yield place, f"{metric} is of a judge at an endpoint; a reward model has no positions, so remove this"


def _without_harness(spec: PipelineSpec) -> Iterator[tuple[Place, str]]:
    known = general_slices(spec)
    for index, part in enumerate(spec.evaluate.slices):
        if part.name in known:
            yield ("evaluate", "slices", index, "name"), f"{part.name} is a slice of evaluate.harness; rename it"
    yield from (
        (("strategy", "targets", name), f"{name} is of tasks of evaluate.harness; use gates, with a slice")
        for name in spec.strategy.targets
        if GENERAL in METRICS.get(name, ())
    )
    for place, gate in gates_of(spec):
        if is_general(gate) and not known:
            yield (*place, "metric"), f"{gate.metric} needs tasks; add evaluate.harness or remove this"
        elif is_general(gate) and gate.slice not in known:
            yield (*place, "slice"), f"found {gate.slice or 'none'} with {gate.metric}; use one of {', '.join(known)}"
        elif gate.slice in known and not is_general(gate):
            yield (*place, "metric"), f"{gate.metric} is not measured on {gate.slice}; use general_ability"


def _code(spec: PipelineSpec) -> Iterator[tuple[Place, str]]:
    if spec.task.kind != "code":
        return
    column = spec.task.tests
    for name in ("train", "test"):
        for index, source in enumerate(getattr(spec.data, name)):
            if column not in source.keep:
                yield (
                    ("data", name, index),
                    f"{source.path} does not keep the column {column}, by which answers are tested; write "
                    f"{{path: {source.path}, keep: [{column}]}}, or name another column in task.tests",
                )
