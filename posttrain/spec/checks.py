"""What no single field can see: sections that contradict each other. Knows the spec only."""

from __future__ import annotations

import os
from collections.abc import Iterator

from posttrain.spec.document import Place
from posttrain.spec.measuring import UNRANKED, gates_of, general_slices, is_general, mistaken_measuring
from posttrain.spec.metrics import BAD_CASES, GENERAL, METRICS, OWN_SLICES, SAFETY
from posttrain.spec.sections.data import Source
from posttrain.spec.sections.pipeline import PipelineSpec
from posttrain.spec.training import mistaken_training


def contradictions(spec: PipelineSpec) -> Iterator[tuple[Place, str]]:
    """Sections that cannot both be meant."""
    yield from _leaks(spec)
    yield from mistaken_training(spec)
    if spec.strategy.max_cost is not None and spec.resources.price_per_hour is None:
        yield ("strategy", "max_cost"), "money needs resources.price_per_hour; add it or use strategy.max_minutes"
    yield from _cannot_reward(spec)
    yield from mistaken_measuring(spec)
    yield from _wrong_slices(spec)
    yield from _absent_references(spec)
    for place, metric in _named_metrics(spec):
        kinds = METRICS.get(metric, ())
        if kinds and spec.task.kind not in kinds:
            measured = ", ".join(name for name, its in METRICS.items() if spec.task.kind in its)
            yield place, f"{metric} is not measured for task.kind {spec.task.kind}; use one of {measured}"
        if metric == "schema_valid" and spec.task.json_schema is None:
            yield place, "schema_valid needs a JSON Schema; add task.json_schema or use valid_json"
        if metric == "perplexity" and not spec.data.general_held_out:
            yield place, "perplexity needs general text; add data.general_held_out or remove this"


def _cannot_reward(spec: PipelineSpec) -> Iterator[tuple[Place, str]]:
    """Online methods that could not begin."""
    align = spec.align
    if not align.is_online or spec.strategy.align == "never":
        return
    if spec.sft.method not in ("full", "lora"):
        yield ("align", "method"), f"{align.method} is for sft.method full or lora, found {spec.sft.method}; set either"
    if align.method != "ppo" and align.online.rollout_batch_size % align.samples:
        size = f"found {align.online.rollout_batch_size}, which align.samples {align.samples} does not divide"
        yield ("align", "online", "rollout_batch_size"), f"{size}; make it a multiple"
    rewarded = {term.name for term in spec.rewards.signals} or {"preference"}
    if "preference" in rewarded and not spec.data.preference and (spec.rewards.signals or spec.task.kind in UNRANKED):
        yield (
            ("align", "method"),
            f"{align.method} needs a reward, and there is no data.preference to learn one from; give pairs, or reward "
            "by other signals (rewards.signals)",
        )


def _wrong_slices(spec: PipelineSpec) -> Iterator[tuple[Place, str]]:
    """Gates whose slice is not measured, or does not have their metric."""
    names = [part.name for part in spec.evaluate.slices]
    for own, section in OWN_SLICES.items():
        if own in names:
            yield ("evaluate", "slices", names.index(own), "name"), f"{own} is the name of {section}; rename it"
    if BAD_CASES in names:
        taken = f"{BAD_CASES} is the slice of corrected bad cases; rename it"
        yield ("evaluate", "slices", names.index(BAD_CASES), "name"), taken
    for index, part in enumerate(spec.evaluate.slices):
        unkept = _unkept(spec, part.column) if part.column else ""
        if unkept:
            cure = f"write {{path: {unkept}, keep: [{part.column}]}}, or correct the column"
            yield ("evaluate", "slices", index, "column"), f"{unkept} does not keep the column {part.column}; {cure}"
    for place, gate in gates_of(spec):
        if is_general(gate) or gate.slice in general_slices(spec):
            continue
        own = _own_slice(gate.metric)
        if own != (gate.slice if gate.slice in OWN_SLICES else ""):
            others = ", ".join(name for name, kinds in METRICS.items() if gate.slice in kinds)
            cure = f"add slice: {own}" if own else f"there, {others} are measured"
            yield (*place, "slice"), f"found {gate.slice or 'none'} with {gate.metric}; {cure}"
        elif own and getattr(spec.evaluate, own) is None:
            needs = "probes of safety" if own == SAFETY else "rows that are asked again"
            yield (*place, "metric"), f"{gate.metric} needs {needs}; add {OWN_SLICES[own]} or remove this"
        elif gate.metric in _OF_JSON and spec.task.kind not in METRICS["wrapper_consistency"]:
            yield (
                (*place, "metric"),
                f"{gate.metric} is of answers in JSON, found task.kind {spec.task.kind}; remove it",
            )
        elif gate.slice == BAD_CASES and place[1] != "release":
            yield (
                (*place, "slice"),
                f"found {BAD_CASES}, which is measured for the release only; move it to gates.release",
            )
        elif gate.slice not in (None, *OWN_SLICES, *names, BAD_CASES):
            known = f"expected one of {', '.join(names)}" if names else "and evaluate.slices has none"
            yield (*place, "slice"), f"found {gate.slice!r}, {known}; correct the name or add the slice"
        elif gate.slice is not None and gate.metric == "perplexity":
            yield (*place, "slice"), "perplexity is of general text, not of a slice of the task's rows; leave slice out"


REFERENCES = {
    "after_sft": ("baseline", "previous"),
    "after_align": ("baseline", "previous"),
    "release": ("champion", "baseline"),
}
"""Gate → the models that were measured on the rows that it reads; the champion's are test rows."""


def _absent_references(spec: PipelineSpec) -> Iterator[tuple[Place, str]]:
    """Comparisons with a model that the gate can never have: they would always pass, or never."""
    of_any_split = (SAFETY, *general_slices(spec))
    for place, gate in gates_of(spec):
        stage = str(place[1])
        for key in ("above", "not_worse_than"):
            named = getattr(gate, key)
            known = REFERENCES[stage]
            if named is not None and named not in known:
                yield (*place, key), f"found {named}, which {stage} has no scores of; use {' or '.join(known)}"
            elif (
                (stage, named) == ("release", "baseline")
                and gate.metric != "perplexity"
                and gate.slice not in of_any_split
            ):
                yield (
                    (*place, key),
                    f"found baseline with {gate.metric}, but release reads the test rows and the baseline answered "
                    "validation rows only; move it to after_sft, or use champion",
                )


def _unkept(spec: PipelineSpec, column: str) -> str:
    """A source of measured rows that does not keep the column; empty when all do."""
    if column in ALWAYS_KEPT:
        return ""
    return next((each.path for each in (*spec.data.train, *spec.data.test) if column not in each.keep), "")


ALWAYS_KEPT = ("id", "source", "system", "prompt", "completion", "messages")

_OF_JSON = ("wrapper_agreement", "style_agreement")


def _own_slice(metric: str) -> str:
    """The slice whose rows alone have a metric; empty for one of the task's rows."""
    return next((name for name in OWN_SLICES if name in METRICS.get(metric, ())), "")


def _leaks(spec: PipelineSpec) -> Iterator[tuple[Place, str]]:
    for learnt, kept in (
        ("train", "test"),
        ("general", "test"),
        ("general", "general_held_out"),
        ("preference", "test"),
    ):
        found = {_content(source) for source in getattr(spec.data, learnt)}
        for index, source in enumerate(getattr(spec.data, kept)):
            if _content(source) in found:
                yield (
                    ("data", kept, index),
                    f"{source.path} is in data.{learnt} too, so its scores would mean nothing; use separate files",
                )


def _content(source: Source) -> tuple[str, str | None, str | None]:
    """What a source reads: two of one path read the same, unless they name different splits or configurations."""
    path = source.path.removeprefix("hf://").removeprefix("datasets/")
    return path if "://" in path else os.path.normpath(path), source.name, source.split


def _named_metrics(spec: PipelineSpec) -> Iterator[tuple[Place, str]]:
    """Those that the task's kind must have: not those of gates on rows of their own."""
    yield from (
        (("strategy", "targets", name), name) for name in spec.strategy.targets if GENERAL not in METRICS.get(name, ())
    )
    yield from (
        (place, gate.metric) for place, gate in gates_of(spec) if not _own_slice(gate.metric) and not is_general(gate)
    )
