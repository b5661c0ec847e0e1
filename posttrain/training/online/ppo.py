"""PPO of a job: the policy with its reference, the settings that the loop reads, and the loop's end as a result.

The loop itself is `posttrain.training.ppo`, which knows no job.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from posttrain.errors import GuardTripped, ModelError, TrainingDiverged
from posttrain.training.online.independent import measure_of, watch_of
from posttrain.training.online.job import OnlineJob
from posttrain.training.online.lesson import Lesson
from posttrain.training.online.questions import sampling_of
from posttrain.training.result import TrainResult


def run_ppo(lesson: Lesson) -> TrainResult:
    """PPO on the device that there is. Raises: `ModelError` in one of several processes."""
    from accelerate import Accelerator

    from posttrain.training import checkpoint, trainer
    from posttrain.training.callbacks import between
    from posttrain.training.ppo.actor import Actor
    from posttrain.training.ppo.trainer import PPOTrainer

    job, tokenizer, questions = lesson.job, lesson.tokenizer, lesson.questions
    began = time.monotonic()
    restarts = trainer.count_try(Path(job.partial))
    accelerator = Accelerator(mixed_precision="bf16" if job.bf16 else "no")
    if accelerator.num_processes > 1:
        raise ModelError(
            f"{job.model.base}: PPO runs on one device, found {accelerator.num_processes} processes; start one, or "
            "set align.method: grpo"
        )
    policy, reference = with_reference(job, lesson.model)
    actor = Actor(policy, reference, job.online.temperature)
    watch = watch_of(lesson)
    watch.measure = measure_of(lesson, actor)

    def tell(done: float, total: float, note: str = "") -> None:
        lesson.progress(done, total, watch.guards.with_note(note))

    ppo = PPOTrainer(
        settings_of(job), actor, tokenizer, questions, lesson.signals, Path(job.partial) / "checkpoints", accelerator,
        (*lesson.observers, watch), tell, watch.guards.before_checkpoint,
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
        model=trainer.save_product(policy, tokenizer, job, lesson.base),
        metrics={**trainer.latest(curve), **lesson.counted},
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
    from posttrain.training.ppo.trainer import Settings

    left_out = {"total_episodes", "temperature", "top_p", "repetition_penalty"}
    return Settings(
        **job.online.model_dump(exclude=left_out),
        updates=job.updates,
        micro_batch_size=job.micro_batch_size,
        learning_rate=job.learning_rate,
        warmup_ratio=job.warmup_ratio,
        lr_scheduler_type=job.lr_scheduler_type,
        weight_decay=job.weight_decay,
        save_steps=job.save_steps,
        seed=job.seed,
        eased=job.eased,
        sampling=sampling_of(job),
    )
