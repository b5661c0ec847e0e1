"""Trainings as a spec asks for them: its settings, its recipe's values, its guards.

The one place where these come together, so that the flow, its plan, the learning curve and the search cannot disagree.
Knows no Prefect; `posttrain.training.online.job_for` does the same for reinforcement.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from posttrain.artifacts import DatasetRef, Done, ModelRef, Workspace
from posttrain.progress import Progress, silent
from posttrain.training import preference, recipes, reward_model, sft
from posttrain.training.result import TrainResult

if TYPE_CHECKING:
    from posttrain.spec import PipelineSpec
    from posttrain.training.reward_model import RewardModelResult


def train_sft(
    spec: PipelineSpec,
    base: ModelRef,
    train: DatasetRef,
    validation: DatasetRef | None,
    workspace: Workspace,
    progress: Progress = silent,
    device: int = 0,
) -> Done[TrainResult]:
    """SFT of `base`, on the GPU of this number if there are any; see `sft.train` for what may be raised."""
    recipe = recipes.for_sft(spec.sft, base, train.rows, spec.resources.threads, spec.resources)
    return sft.train(base, train, validation, spec.sft, recipe, workspace, progress, spec.guards, device)


def train_preference(
    spec: PipelineSpec, policy: ModelRef, pairs: DatasetRef, workspace: Workspace, progress: Progress = silent
) -> Done[TrainResult]:
    """DPO, IPO, KTO or ORPO of `policy` on `pairs`; see `preference.train` for what may be raised."""
    recipe = recipes.for_dpo(spec.align, spec.sft, policy, pairs.rows, spec.resources.threads)
    return preference.train(policy, pairs, spec.align, spec.sft, recipe, workspace, progress, spec.guards)


def train_reward_model(
    spec: PipelineSpec, policy: ModelRef, pairs: DatasetRef, workspace: Workspace, progress: Progress = silent
) -> Done[RewardModelResult]:
    """A reward model for `policy` from `pairs`; see `reward_model.train` for what may be raised."""
    start = reward_model.start_from(policy, spec.reward_model)
    recipe = recipes.for_reward_model(spec.reward_model, spec.sft, start, pairs.rows, spec.resources.threads)
    return reward_model.train(policy, pairs, spec.reward_model, spec.sft, recipe, workspace, progress, spec.guards)
