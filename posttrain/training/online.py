"""Online training: the policy answers prompts, its answers are rewarded, it learns from the rewards.

    python -m posttrain.training.online job.json

`ppo` is ours (`posttrain.training.ppo`), `grpo` and `rloo` are TRL's (`posttrain.training.group`); all three read the
same job and the same reward functions. `train` is the stage (parent's side, light); `run` is the work, inside the
training process.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from posttrain.artifacts import DatasetRef, Done, ModelRef, Workspace
from posttrain.errors import DataError, GuardTripped, ModelError, SpecError, TrainingDiverged
from posttrain.evaluation.slices import Slice
from posttrain.process import serve
from posttrain.progress import Progress, silent
from posttrain.spec.sections.harm import HarmSpec
from posttrain.spec.sections.online import OnlineSpec
from posttrain.training.job import Recipe, TrainingJob, guarded, micro_batch, shared
from posttrain.training.result import TrainResult
from posttrain.training.rewards import REWARDS, RewardModel, RewardTerm, terms_of
from posttrain.training.supervise import train_stage

if TYPE_CHECKING:
    from posttrain.spec import AlignSpec, GuardsSpec, PipelineSpec, RewardsSpec, SFTSpec, TaskSpec
    from posttrain.training.guards.rollouts import Measure, WatchRollouts
    from posttrain.training.ppo.actor import Actor
    from posttrain.training.ppo.health import Observe
    from posttrain.training.ppo.trainer import Question
    from posttrain.training.rewards import Reward
    from posttrain.training.signals import Signals

MODULE = "posttrain.training.online"
CODE = (
    "posttrain.training.ppo",
    "posttrain.training.group",
    "posttrain.training.signals",
    "posttrain.training.rewards",
    "posttrain.training.pairs",
    "posttrain.evaluation",
)
"""What else decides the result: how answers are drawn, which rows are asked, what is rewarded."""

PENALTIES = ("kl", "length", "repetition", "safety")
"""Signals that say what an answer must not be, and not whether it is right."""
KNOWN = 200
"""Completions of the data that guards compare the policy's with."""

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
    settings = {**shared(sft, recipe), "max_grad_norm": online.max_grad_norm}
    return OnlineJob(
        algorithm=spec.method,
        model=policy,
        train=train,
        kind=task.kind,
        prompts=spec.prompts,
        samples=spec.samples,
        learning_rate=spec.learning_rate or recipe.learning_rate,
        num_train_epochs=online.total_episodes / min(spec.prompts, max(1, train.rows)),
        batch_size=batch,
        micro_batch_size=micro_batch(batch, recipe.micro_batch_size),
        max_length=spec.max_length,
        max_new_tokens=max_new_tokens,
        warmup_ratio=recipe.warmup_ratio,
        lr_scheduler_type="linear",
        seed=spec.seed,
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


def train(job: OnlineJob, workspace: Workspace, progress: Progress = silent) -> Done[TrainResult]:
    """Train the job's policy, in a process of its own; return at once when that was done before.

    Resumes and retries as SFT does. Raises: `DataError` when no row can be rewarded; `TrainingDiverged`; `ModelError`;
    `StageCrashed` (worth another call).
    """
    return train_stage(job.algorithm, MODULE, job, workspace, progress, CODE)


def run(job: OnlineJob, progress: Progress = silent, observers: Sequence[Observe] = ()) -> TrainResult:
    """Train in this process; see `train` for what may be raised.

    Each of `observers` is called after every update and may end the training by raising.
    """
    from posttrain.training import trainer
    from posttrain.training.signals import Signals

    progress(0, 1, "loading the model")
    trainer.prepare_process(job)
    model, tokenizer, base = trainer.load_policy(job)
    questions, excluded = ask(job, tokenizer)
    signals = Signals.of_kind(job.kind)
    if job.rewards:
        signals = Signals.of_terms(job.rewards, job.kind, job.updates, job.judge, job.harm, Path(job.root))
    counted = {"rows_excluded": float(excluded)}
    if job.algorithm == "ppo":
        return run_ppo(job, model, tokenizer, base, questions, signals, progress, observers, counted)
    from posttrain.training.group import run_group

    result: TrainResult = run_group(job, model, tokenizer, base, questions, signals, progress, observers, counted)
    return result


def ask(job: OnlineJob, tokenizer: Any, excluded_to: str | None = "excluded.jsonl") -> tuple[list[Question], int]:
    """The prompts that are asked, with the columns that rewards read; how many rows were too long.

    Where the task's verifier rewards, rows that it cannot judge are left out, as for pairs: general text in the mixture
    is among them.
    """
    from posttrain.prompts import asked
    from posttrain.training import rows as to_tokens
    from posttrain.training.pairs import choose_rows, verifiable_rows
    from posttrain.training.ppo.trainer import Question

    rows = to_tokens.read(job.train)
    if not job.rewards or "verifier" in {term.name for term in job.rewards}:
        rows = verifiable_rows(rows, REWARDS[job.kind], job.train.uri)
    rows = choose_rows(rows, job.slices, job.prompts, job.seed)
    ids = to_tokens.prompt_ids(rows, tokenizer)
    lengths = [len(one) + job.max_new_tokens for one in ids]
    kept, excluded = to_tokens.fits(rows, lengths, job.max_length, job.train.uri)
    if excluded_to is not None:
        to_tokens.write_excluded(excluded, Path(job.partial) / excluded_to)
    questions = [
        Question(
            ids[place],
            rows[place]["prompt"],
            {
                "expected": rows[place]["completion"],
                "question": rows[place]["prompt"],
                "system": rows[place].get("system") or "",
            },
            asked(rows[place]),
        )
        for place in kept
    ]
    return questions, len(excluded)


def run_ppo(
    job: OnlineJob,
    model: Any,
    tokenizer: Any,
    base: str,
    questions: Sequence[Question],
    signals: Signals,
    progress: Progress,
    observers: Sequence[Observe],
    counted: dict[str, float],
) -> TrainResult:
    """PPO on the device that there is. Raises: `ModelError` in one of several processes."""
    from accelerate import Accelerator

    from posttrain.training import checkpoint, trainer
    from posttrain.training.callbacks import between
    from posttrain.training.ppo.actor import Actor
    from posttrain.training.ppo.trainer import PPOTrainer

    began = time.monotonic()
    restarts = trainer.count_try(Path(job.partial))
    accelerator = Accelerator(mixed_precision="bf16" if job.bf16 else "no")
    if accelerator.num_processes > 1:
        raise ModelError(
            f"{job.model.base}: PPO runs on one device, found {accelerator.num_processes} processes; start one, or "
            "set align.method: grpo"
        )
    policy, reference = with_reference(job, model)
    actor = Actor(policy, reference, job.online.temperature)
    watch = watch_of(job, questions)
    watch.measure = measure_of(job, actor, tokenizer, signals)

    def tell(done: float, total: float, note: str = "") -> None:
        progress(done, total, watch.guards.with_note(note))

    ppo = PPOTrainer(
        settings_of(job), actor, tokenizer, questions, signals, Path(job.partial) / "checkpoints", accelerator,
        (*observers, watch), tell, watch.guards.before_checkpoint,
    )  # fmt: skip
    newest = checkpoint.newest(ppo.folder)
    watch.begin(checkpoint.step_of(newest) if newest else 0, between(job.save_steps, job.updates))
    try:
        curve = tuple(ppo.train())
    except GuardTripped:
        raise
    except TrainingDiverged as error:
        watch.guards.not_finite(ppo.place.step + 1, str(error))
        raise
    return TrainResult(
        model=trainer.save_product(policy, tokenizer, job, base),
        metrics={**trainer.latest(curve), **counted},
        curve=curve,
        rows=len(questions),
        steps=settings_of(job).optimizer_steps,
        seconds=round(time.monotonic() - began, 3),
        restarts=restarts,
        micro_batch_size=job.micro_batch_size,
        accumulation=job.accumulation,
        recipe=job.recipe,
        guards=tuple(watch.guards.ladder.said),
    )


def watch_of(job: OnlineJob, questions: Sequence[Question]) -> WatchRollouts:
    """What tells the guards of every rollout; without an independent measure as yet."""
    from posttrain.training.guards.rollouts import WatchRollouts
    from posttrain.training.guards.watch import Guards

    known = [str(one.columns["expected"]) for one in questions[:KNOWN]]
    return WatchRollouts(Guards(job.guards, Path(job.partial), known))


def measure_of(job: OnlineJob, actor: Actor, tokenizer: Any, signals: Signals) -> Measure | None:
    """Answers to validation prompts, judged by a second reward model or the task's verifier, and by the reward.

    None where that verifier is what rewards (beside penalties), where it judges nothing for sure (text) or no
    validation row, and where nobody asks.
    """
    from posttrain.training.guards.finding import HeldOut
    from posttrain.training.ppo.rollout import draw

    judge = judge_of(job, signals)
    if judge is None or job.guards.hacking.action == "ignore":
        return None
    held_out = held_out_questions(job, tokenizer)
    if not held_out:
        return None
    columns = {name: [one.columns[name] for one in held_out] for name in held_out[0].columns}
    prompts, ids = [one.text for one in held_out], [one.ids for one in held_out]

    def measure() -> HeldOut:
        # Always under the same numbers, so that luck is the same each time.
        found = draw(actor, tokenizer, ids, 0, settings_of(job).sampling, 8 * job.micro_batch_size, silent)
        texts = [one.text for one in found]
        # As the reward is when all its signals have joined, and without what the way from the reference costs.
        proxy, _ = signals.score(prompts, texts, job.updates, **columns, kl=[0.0] * len(texts))
        return HeldOut(proxy=tuple(proxy), independent=tuple(judge(prompts, texts, **columns)))

    return measure


def judge_of(job: OnlineJob, signals: Signals) -> Reward | None:
    """What judges answers independently of what they are rewarded for, if there is such a thing."""
    if job.second is not None:
        return by_second(job.second, job.max_length)
    verifier = REWARDS.get(job.kind)
    if verifier is None or job.kind == "text" or set(signals.names) <= {verifier.__name__, "verifier", *PENALTIES}:
        return None
    return verifier


def by_second(model: ModelRef, max_length: int) -> Reward:
    """The scores of another reward model, as they are."""

    def second(prompts: Sequence[str], completions: Sequence[str], **columns: Any) -> list[float]:
        from posttrain.data.steps.scoring import rewards

        rows = list(zip(columns["system"], prompts, completions, strict=True))
        return [float(score) for score in rewards(Path(model.base), rows, max_length)[:, 0]]

    return second


def held_out_questions(job: OnlineJob, tokenizer: Any) -> list[Question]:
    """Validation prompts that guards measure on: where no second reward model judges, those that the verifier can."""
    if job.validation is None:
        return []
    # Without a mixture, rows must be such as the verifier can judge.
    rewards = (RewardTerm(name="preference", weight=1),) if job.second else ()
    given = {"train": job.validation, "prompts": job.guards.hacking.prompts, "slices": (), "rewards": rewards}
    try:
        return ask(job.model_copy(update=given), tokenizer, None)[0]
    except DataError:
        return []


def with_reference(job: OnlineJob, model: Any) -> tuple[Any, Any]:
    """The policy, and its frozen copy where no adapter can be switched off instead."""
    import copy

    from posttrain.training import trainer

    config = trainer.adapter_config(job, model)
    if config is None:
        reference = copy.deepcopy(model).requires_grad_(False).eval()
        policy = model
    else:
        import torch
        from peft import get_peft_model

        torch.manual_seed(job.seed)
        policy, reference = get_peft_model(model, config), None
    if job.gradient_checkpointing:
        policy.gradient_checkpointing_enable()
        if config is not None:
            policy.enable_input_require_grads()
    without_dropout(policy.train(job.gradient_checkpointing))
    return policy, reference


def without_dropout(model: Any) -> None:
    """A ratio of two log-probabilities of one model must not be one of two draws of its dropout."""
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0


def settings_of(job: OnlineJob) -> Any:
    """The part of the job that PPO's loop reads."""
    from posttrain.training.ppo.rollout import Sampling
    from posttrain.training.ppo.trainer import Settings

    left_out = {"total_episodes", "temperature", "top_p", "repetition_penalty"}
    online = job.online
    return Settings(
        **online.model_dump(exclude=left_out),
        updates=job.updates,
        micro_batch_size=job.micro_batch_size,
        learning_rate=job.learning_rate,
        warmup_ratio=job.warmup_ratio,
        lr_scheduler_type=job.lr_scheduler_type,
        weight_decay=job.weight_decay,
        save_steps=job.save_steps,
        seed=job.seed,
        eased=job.eased,
        sampling=Sampling(job.max_new_tokens, online.temperature, online.top_p, online.repetition_penalty, job.seed),
    )


if __name__ == "__main__":
    serve(OnlineJob, run)
