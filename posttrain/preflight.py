"""What can be checked before anything is written or anything slow is imported: the spec, its files, the model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from posttrain import spec as specs
from posttrain.artifacts import ModelRef, Workspace
from posttrain.data.look import SourceSummary
from posttrain.spec import LoadedSpec


@dataclass(frozen=True)
class Checked:
    """A spec that passed, with what was found on the way."""

    loaded: LoadedSpec
    workspace: Workspace
    base: ModelRef
    sources: tuple[SourceSummary, ...]
    notes: tuple[str, ...] = ()
    """What the user should know before it runs, one line each."""


def check(path: Path) -> Checked:
    """Load the spec, look into every data file, find the model's weights, try the workspace.

    What people answered on the review page joins the spec's sources (`feedback`).

    Raises: UserError naming the first thing that must be put right. Leaves nothing behind but people's answers.
    """
    from posttrain.data import look
    from posttrain.feedback.joining import with_feedback
    from posttrain.models import load, machine

    loaded = specs.load(path)
    workspace = workspace_of(loaded)
    workspace.check_writable()
    loaded, heard = with_feedback(loaded, workspace)
    sources = look.preflight(loaded.spec.data, loaded.spec.task, loaded.root)
    _check_measuring(loaded)
    if loaded.spec.sft.method == "qlora":
        machine.check_four_bit()
    if loaded.spec.sft.padding_free:
        machine.check_padding_free()
    base = load.resolve(loaded.spec.base, loaded.root)
    _check_second_judge(loaded)
    notes = (*heard, *_notes(loaded), *_check_reward_model(loaded, base))
    return Checked(loaded, workspace, base, tuple(sources), notes)


def _notes(loaded: LoadedSpec) -> Iterator[str]:
    spec = loaded.spec
    if spec.task.kind == "chat" and spec.evaluate.judge is None:
        yield (
            "task.kind chat without evaluate.judge: answers are measured by their likeness to the known one "
            "(semantic_similarity, rouge_l), which says little of how good they are"
        )
    if spec.task.kind == "code":
        yield "task.kind code: what the model writes is run on this machine, within limits that are no sandbox"


def _check_measuring(loaded: LoadedSpec) -> None:
    """What measuring and ranking need, files and packages: a fault is not to be found after an hour of training."""
    measured = loaded.spec.evaluate
    held = measured.constrained != "never"
    if measured.metrics or measured.safety or measured.judge or measured.harness or held:
        from posttrain.evaluation.constrained import settled
        from posttrain.evaluation.scoring import scoring_of

        scoring = scoring_of(loaded.spec, loaded.root)
        settled(measured.constrained, scoring.kind, scoring.json_schema)
    if loaded.spec.align.ranker_model:
        from posttrain.training.pairs import ranker_of

        ranker_of(loaded.spec.align, loaded.root)


def _check_second_judge(loaded: LoadedSpec) -> None:
    """That the reward model which the guards are to ask is there, and gives scores: they ask it in mid-training."""
    named = loaded.spec.guards.hacking.reward_model
    if named is None:
        return
    from posttrain.data.embedding.pretrained import folder_of
    from posttrain.data.steps.scoring import check_scores

    key = "guards.hacking.reward_model"
    check_scores(folder_of(named, key), key)


def _check_reward_model(loaded: LoadedSpec, base: ModelRef) -> tuple[str, ...]:
    """That the model which the reward model starts from is there, and no larger than the policy, if one is learnt.

    Returns a note where the spec lets it be larger.
    """
    spec = loaded.spec
    if spec.reward_model.model is None:
        return ()
    from posttrain.training.reward_model import check_size, located

    start = located(base, spec.reward_model)
    if not spec.learns_reward_model:
        return ()
    warning = check_size(start, base, spec.reward_model.allow_larger)
    return (f"reward_model.model: {warning}",) if warning else ()


def workspace_of(loaded: LoadedSpec) -> Workspace:
    """The spec's workspace."""
    return Workspace((loaded.root / loaded.spec.resources.workspace).resolve())
