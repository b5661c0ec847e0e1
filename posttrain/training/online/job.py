"""What an online training is told: every value that the spec leaves open, resolved; and what there is to reward by.

Knows no trainer and no model in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from posttrain.artifacts import DatasetRef, ModelRef
from posttrain.errors import SpecError
from posttrain.evaluation.slices import Slice
from posttrain.spec.sections.harm import HarmSpec
from posttrain.spec.sections.online import OnlineSpec
from posttrain.training.job import Recipe, TrainingJob, guarded, micro_batch, shared
from posttrain.training.rewards import REWARDS, RewardModel, RewardTerm, terms_of

if TYPE_CHECKING:
    from posttrain.spec import AlignSpec, GuardsSpec, PipelineSpec, RewardsSpec, SFTSpec, TaskSpec

Algorithm = Literal["ppo", "grpo", "rloo"]


class OnlineJob(TrainingJob):
    """`train` has the columns id, system, prompt, completion; the completion is what a verifier compares with.

    `batch_size` is completions to an optimizer step: a mini-batch of PPO, a whole rollout of GRPO and RLOO.
    """

    algorithm: Algorithm
    kind: str = Field(description="The task's, which names its verifier.")
    prompts: int = Field(description="Training prompts that are asked, at most.")
    samples: int = Field(description="Answers to a prompt in a rollout of GRPO and RLOO.")
    max_new_tokens: int
    online: OnlineSpec
    slices: tuple[Slice, ...] = Field((), description="Slices that lag: half of the prompts are theirs.")
    rewards: tuple[RewardTerm, ...] = Field((), description="The mixture; empty: the task's verifier alone.")
    judge: RewardModel | None = None
    second: ModelRef | None = Field(None, description="A reward model that guards ask and nothing is rewarded by.")
    harm: HarmSpec | None = Field(None, description="Word lists of the signal safety.")
    root: str = Field("", description="The project's folder, below which files of words lie.")

    @property
    def updates(self) -> int:
        """Rollouts, each with its update."""
        return max(1, self.online.total_episodes // self.online.rollout_batch_size)

    @property
    def deciding(self) -> dict[str, Any]:
        """As of any training; where the project lies decides nothing."""
        return {name: value for name, value in super().deciding.items() if name != "root"}

    @property
    def recipe(self) -> dict[str, str | float | int | bool | None]:
        """Every plain value, those of `online` among them."""
        nested = self.online.model_dump(exclude={"kl_schedule"})
        schedule = ", ".join(f"{share:g}: {value:g}" for share, value in self.online.kl_schedule)
        own = {name: value for name, value in super().recipe.items() if not isinstance(value, dict | list)}
        weights = {f"weight of {term.name}": term.weight for term in self.rewards}
        return {**own, **nested, "kl_schedule": schedule, "updates": self.updates, **weights}


def resolve(
    policy: ModelRef,
    train: DatasetRef,
    task: TaskSpec,
    spec: AlignSpec,
    sft: SFTSpec,
    recipe: Recipe,
    *,
    max_new_tokens: int = 160,
    slices: Sequence[Slice] = (),
    validation: DatasetRef | None = None,
    rewards: RewardsSpec | None = None,
    judge: RewardModel | None = None,
    harm: HarmSpec | None = None,
    root: Path = Path(),
) -> OnlineJob:
    """The job that the spec asks for; method and adapter as in SFT; folders still empty.

    `rewards` is the spec's mixture (None: the task's verifier alone), `judge` the reward model of its `preference`.
    Raises: `SpecError` when a rollout of GRPO or RLOO does not divide into groups, when nothing can reward, and for
    adapters other than LoRA.
    """
    online = spec.online
    if sft.method not in ("full", "lora"):
        raise SpecError(f"align.method {spec.method}: found sft.method {sft.method}, expected full or lora; set either")
    if spec.method != "ppo" and online.rollout_batch_size % spec.samples:
        raise SpecError(
            f"align.online.rollout_batch_size: found {online.rollout_batch_size}, which align.samples {spec.samples} "
            "does not divide; make it a multiple"
        )
    batch = online.mini_batch_size if spec.method == "ppo" else online.rollout_batch_size
    settings = {**shared(spec, sft, recipe), "max_grad_norm": online.max_grad_norm}
    return OnlineJob(
        algorithm=spec.method,
        model=policy,
        train=train,
        kind=task.kind,
        prompts=spec.prompts,
        samples=spec.samples,
        num_train_epochs=online.total_episodes / min(spec.prompts, max(1, train.rows)),
        batch_size=batch,
        micro_batch_size=micro_batch(batch, recipe.micro_batch_size),
        max_new_tokens=max_new_tokens,
        warmup_ratio=recipe.warmup_ratio,
        lr_scheduler_type="linear",
        online=online,
        slices=tuple(slices),
        validation=validation,
        rewards=terms_of(rewards, task.kind, judge is not None) if rewards else (),
        judge=judge,
        harm=harm,
        root=str(root),
        **settings,
    )


def job_for(
    spec: PipelineSpec,
    policy: ModelRef,
    train: DatasetRef,
    validation: DatasetRef | None,
    judge: RewardModel | None,
    lagging: Sequence[str],
    root: Path,
) -> OnlineJob:
    """The job of a whole spec. A reward model that its gate refused is left out; `lagging` names slices.

    Raises: as `resolve`.
    """
    from posttrain.evaluation.slices import slices_of
    from posttrain.training import recipes

    prompts = min(spec.align.prompts, max(1, train.rows))
    job = resolve(
        policy,
        train,
        spec.task,
        spec.align,
        spec.sft,
        recipes.for_dpo(spec.align, spec.sft, policy, prompts, spec.resources.threads),
        max_new_tokens=spec.evaluate.max_new_tokens,
        slices=[part for part in slices_of(spec.evaluate) if part.name in lagging],
        validation=validation,
        rewards=spec.rewards,
        judge=judge if judge and judge.passed else None,
        harm=spec.curate.harm,
        root=root,
    )
    return guarded(job, spec.guards).model_copy(update={"second": second_of(spec.guards)})


def second_of(guards: GuardsSpec) -> ModelRef | None:
    """The second reward model that the guards are to ask, if the spec names one. Raises: `ModelError`."""
    from posttrain.data.embedding.pretrained import folder_of, model_digest

    if guards.hacking.reward_model is None:
        return None
    folder = folder_of(guards.hacking.reward_model, "guards.hacking.reward_model")
    return ModelRef(base=str(folder), fingerprint=model_digest(folder))


def wants_reward_model(rewards: RewardsSpec, pairs: DatasetRef | None) -> bool:
    """Whether the mixture is to reward what people prefer, and there are pairs of theirs to learn that from."""
    return rewards.asks_preference and pairs is not None and pairs.rows > 0


def cannot_reward(rewards: RewardsSpec, kind: str, judge: RewardModel | None) -> str:
    """Why nothing can reward: the reward model was refused, and nothing may stand in for it. Empty when all is well.

    A task's verifier stands in where the spec leaves the mixture open.
    """
    if judge is None or judge.passed or (not rewards.signals and kind in REWARDS):
        return ""
    return "the reward model was refused by its gate, and no verifier may stand in for it"
