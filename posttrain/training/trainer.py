"""What SFT and DPO share: loading, TRL's arguments, resuming, watching for divergence, saving the product.

Resumption is exact on a CPU: order of rows, optimizer, schedule and random state are all restored, and nothing
that depends on time touches them. Runs inside the training process only. Knows neither spec nor workspace.
"""

from __future__ import annotations

import math
import random
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from posttrain.artifacts import ModelRef, digest
from posttrain.errors import DataError, TrainingDiverged
from posttrain.models.load import content_digest, load_model, load_tokenizer
from posttrain.models.template import agree, ending_of
from posttrain.progress import Progress
from posttrain.spec.methods import is_adapter
from posttrain.training import adapters, checkpoint, ranks
from posttrain.training.best import KeepBest
from posttrain.training.callbacks import AskForCheckpoints, TellGuards, TellProgress
from posttrain.training.expected import expected_memory
from posttrain.training.guards.easing import Ease, rate_at
from posttrain.training.guards.rollouts import WatchRollouts
from posttrain.training.guards.watch import Guards
from posttrain.training.head import score_completions_only
from posttrain.training.job import TrainingJob
from posttrain.training.order import LengthGroupedSampler
from posttrain.training.result import CurvePoint, TrainResult

Save = Callable[[Any, Any, TrainingJob, str], ModelRef]
SPREAD = ("fsdp2", "deepspeed")
"""Ways to share a training in which no device holds the whole model."""
POINTS_IN_A_CURVE = 150
ENCODER = "virtual_tokens.safetensors"
# Up to this row length plain matrix products beat the CPU's fused attention, whose backward pass is slow: measured
# 3.4 against 2.7 steps a second on the embedded model and rows of 80 tokens.
SHORT = 1024
NOT_MEASURED = {
    "entropy",
    "eval_entropy",
    "logits/chosen",
    "logits/rejected",
    "num_tokens",
    "eval_num_tokens",
}
BOOKKEEPING = {
    "step",
    "epoch",
    "eval_runtime",
    "eval_samples_per_second",
    "eval_steps_per_second",
    "total_flos",
}


class Resumable:
    """Mixed into a TRL trainer: our order of rows, sealed checkpoints, and a stop at the first non-finite number."""

    row_lengths: Sequence[int]
    row_order_batch: int
    guards: Guards | None = None
    eased: Sequence[Ease] = ()
    row_multiple: int = 1

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedSampler:
        args: Any = self.args  # type: ignore[attr-defined]
        return LengthGroupedSampler(self.row_lengths, self.row_order_batch, args.seed, self.row_multiple)

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss: torch.Tensor = super().training_step(*args, **kwargs)  # type: ignore[misc]
        self._must_be_finite("loss", loss)
        return loss

    def _get_grad_norm(self, *args: Any, **kwargs: Any) -> Any:
        norm = super()._get_grad_norm(*args, **kwargs)  # type: ignore[misc]
        self._must_be_finite("gradient norm", norm)
        return norm

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Evaluate without a trace in the random state, so that training does not depend on when it happens."""
        kept = random.getstate(), np.random.get_state(), torch.random.get_rng_state()
        try:
            metrics: dict[str, float] = super().evaluate(*args, **kwargs)  # type: ignore[misc]
        finally:
            random.setstate(kept[0])
            np.random.set_state(kept[1])
            torch.random.set_rng_state(kept[2])
        if "eval_loss" in metrics:
            self._must_be_finite("eval_loss", metrics["eval_loss"])
        return metrics

    def create_scheduler(self, *args: Any, **kwargs: Any) -> Any:
        schedule = super().create_scheduler(*args, **kwargs)  # type: ignore[misc]
        if self.eased:
            schedule.lr_lambdas = [_gentler(each, self.eased) for each in schedule.lr_lambdas]
        return schedule

    def _load_optimizer_and_scheduler(self, *args: Any, **kwargs: Any) -> None:
        """A checkpoint from before a roll-back holds the rate that was to come next then; set the one that is now."""
        super()._load_optimizer_and_scheduler(*args, **kwargs)  # type: ignore[misc]
        me: Any = self
        if self.eased:
            schedule = me.lr_scheduler
            rates = zip(me.optimizer.param_groups, schedule.base_lrs, schedule.lr_lambdas, strict=True)
            for group, base, share in rates:
                group["lr"] = base * share(schedule.last_epoch)
            schedule._last_lr = [group["lr"] for group in me.optimizer.param_groups]

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None: a checkpoint is not a product."""

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        me: Any = self
        began = time.monotonic()
        super()._save_checkpoint(*args, **kwargs)  # type: ignore[misc]
        folder = Path(me.args.output_dir) / f"checkpoint-{me.state.global_step}"
        if ranks.is_first() and adapters.is_virtual(me.model):
            adapters.save_trained(me.model, folder / ENCODER)
        sound = self.guards.before_checkpoint() if self.guards else None
        ranks.wait_for_all()  # each process leaves its own random state in the folder
        if ranks.is_first():
            checkpoint.seal(folder, sound)
        for callback in me.callback_handler.callbacks:
            if isinstance(callback, AskForCheckpoints):
                callback.cost = time.monotonic() - began

    def _load_from_checkpoint(self, resume_from_checkpoint: str, *args: Any, **kwargs: Any) -> None:
        """PEFT writes the virtual tokens as they come out of their network, from which it cannot be trained on."""
        me: Any = self
        if adapters.is_virtual(me.model):
            adapters.load_trained(me.model, Path(resume_from_checkpoint) / ENCODER)
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, *args, **kwargs)  # type: ignore[misc]

    def _must_be_finite(self, what: str, value: Any) -> None:
        if math.isfinite(float(value)):
            return
        me: Any = self
        step = me.state.global_step + 1
        diagnosis = (
            f"{what} is {float(value)} at step {step} of {me.state.max_steps} with learning rate "
            f"{me._get_learning_rate():.3g} (learning_rate: {me.args.learning_rate:.3g}); lower learning_rate"
        )
        if self.guards:
            self.guards.not_finite(step, diagnosis)
        raise TrainingDiverged(diagnosis)


def _gentler(share: Callable[[int], float], eased: Sequence[Ease]) -> Callable[[int], float]:
    return lambda step: share(step) * rate_at(eased, step)


def prepare_process(job: TrainingJob) -> None:
    """Threads and determinism of this process, before anything is computed."""
    torch.set_num_threads(job.threads)
    if torch.cuda.is_available():
        torch.cuda.set_device(ranks.device_of_rank())
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Filling fresh memory with NaN is a debugging aid that costs a tenth of the time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def load_policy(job: TrainingJob) -> tuple[Any, Any, str]:
    """The model to train, its tokenizer, and the base that a new adapter will stand on.

    An adapter of an earlier stage is merged first: the reference of DPO is then simply the new adapter switched off.
    The merged base is part of the stage's output when a new adapter needs it.
    """
    half = torch.bfloat16 if is_adapter(job.method) and job.bf16 and torch.cuda.is_available() else None
    tokenizer = load_tokenizer(job.model)
    base, ref = job.model.base, job.model
    if job.method == "qlora" and job.model.adapter is None:
        model = load_model(ref, dtype=torch.bfloat16, four_bit=True)
        agree(model, tokenizer)
        return model, tokenizer, base
    spread = job.distribution in SPREAD  # no device is to hold it whole
    model = load_model(ref, dtype=half, device="cpu" if spread else None, merge=True)
    agree(model, tokenizer)
    if is_adapter(job.method) and job.model.adapter is not None:
        merged = Path(job.partial) / "base"
        if ranks.is_first():
            model.save_pretrained(merged, safe_serialization=True)
            tokenizer.save_pretrained(merged)
        base = str(Path(job.final) / "base")
        if job.method == "qlora":
            ranks.wait_for_all()
            del model
            plain = ref.model_copy(update={"base": str(merged), "adapter": None})
            model = load_model(plain, dtype=torch.bfloat16, four_bit=True)
            agree(model, tokenizer)
    if job.max_length <= SHORT and not torch.cuda.is_available():
        model.set_attn_implementation("eager")
    return model, tokenizer, base


def adapter_config(job: TrainingJob, model: Any) -> Any:
    """The adapter that the job asks for, or None for full fine-tuning. Raises: `ModelError`."""
    return adapters.config(job, model)


def arguments(job: TrainingJob, rows: int, evaluate: bool) -> dict[str, Any]:
    """What SFTConfig and DPOConfig have in common, in TRL's and transformers' names."""
    steps = math.ceil(math.ceil(rows / job.batch_size) * job.num_train_epochs)
    on_gpu = torch.cuda.is_available()
    return {
        "output_dir": str(Path(job.partial) / "checkpoints"),
        "learning_rate": job.learning_rate,
        "num_train_epochs": job.num_train_epochs,
        "per_device_train_batch_size": job.micro_batch_size,
        "per_device_eval_batch_size": max(job.micro_batch_size, 8),
        "gradient_accumulation_steps": job.accumulation,
        "warmup_steps": round(steps * job.warmup_ratio),
        "lr_scheduler_type": job.lr_scheduler_type,
        "weight_decay": job.weight_decay,
        "max_grad_norm": job.max_grad_norm,
        "optim": "adamw_torch_fused",
        "bf16": job.bf16,
        "activation_checkpointing": job.gradient_checkpointing,
        "seed": job.seed,
        "use_cpu": not on_gpu,
        "dataloader_pin_memory": on_gpu,
        "eval_strategy": "epoch" if evaluate else "no",
        "prediction_loss_only": True,
        "save_strategy": "no",
        "logging_steps": max(1, steps // POINTS_IN_A_CURVE),
        "logging_first_step": True,
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
        "report_to": "none",
    }


def resumable(trainer_type: type, *more: type) -> Any:
    """The TRL trainer with `Resumable` (and what else is given) mixed in."""
    return type(f"Resumable{trainer_type.__name__}", (*more, Resumable, trainer_type), {})


def fit(
    job: TrainingJob,
    make: Callable[[], Any],
    lengths: Sequence[int],
    tokenizer: Any,
    base: str,
    progress: Progress,
    counted: Mapping[str, float],
    save: Save | None = None,
    watch: WatchRollouts | None = None,
) -> TrainResult:
    """Train from the newest complete checkpoint (or from the start) to the end and save the product.

    `make` builds the trainer, `lengths` are tokens a row, `counted` joins the metrics, `save` stands in for
    `save_product`, `watch` tells the guards of what is sampled. Raises: `TrainingDiverged`, also when a guard acts;
    `DataError` when TRL left rows out behind our back.
    """
    began = time.monotonic()
    restarts = count_try(Path(job.partial)) if ranks.is_first() else 0
    trainer = make()
    if len(trainer.train_dataset) != len(lengths):
        raise DataError(f"{job.train.uri}: TRL kept {len(trainer.train_dataset)} of {len(lengths)} rows; please report")
    trainer.row_lengths = lengths
    trainer.row_order_batch = job.batch_size
    kind = "gpu" if torch.cuda.is_available() else "cpu"
    expected = expected_memory(job, trainer.model.config.to_dict(), trainer.train_dataset, lengths, kind)
    if job.processes > 1:
        trainer.row_multiple = job.micro_batch_size * job.processes
        trainer.train_dataset = ranks.with_blank_row(trainer.train_dataset, lengths)
    score_completions_only(trainer.model)
    trainer.guards = guards = watch.guards if watch else Guards(job.guards, Path(job.partial))
    trainer.eased = job.eased
    trainer.add_callback(TellProgress(progress, guards))
    trainer.add_callback(TellGuards(guards, trainer, job.save_steps, job.eased, watch))
    trainer.add_callback(AskForCheckpoints(job.save_steps))
    best = KeepBest(Path(job.partial) / "best", job.early_stopping_patience) if job.early_stopping_patience else None
    if best:
        trainer.add_callback(best)
    progress(0, 1, "first step")
    newest = checkpoint.newest(Path(job.partial) / "checkpoints", tidy=ranks.is_first())
    trainer.train(resume_from_checkpoint=str(newest) if newest else None)
    curve, ending = curve_of(trainer.state.log_history), ending_of(tokenizer)
    of_best = best.restore(trainer.model, trainer.state.log_history) if best else {}
    return TrainResult(
        model=_saved(trainer, tokenizer, job, base, save),
        metrics={**latest(curve), **of_best, **counted},
        curve=curve,
        rows=len(lengths),
        steps=trainer.state.global_step,
        seconds=round(time.monotonic() - began, 3),
        peak_memory_bytes=peak_memory(),
        expected_memory_bytes=expected,
        restarts=restarts,
        micro_batch_size=job.micro_batch_size,
        accumulation=job.accumulation,
        recipe=job.recipe,
        notes=ending.notes if ending else (),
        guards=tuple(guards.ladder.said),
    )


def peak_memory() -> int:
    """Bytes that this process took at its peak: on a GPU what torch allocated there, else resident memory."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    status = Path("/proc/self/status")
    if status.exists():  # rusage also counts what the parent held when it forked
        lines = status.read_text(encoding="utf-8").splitlines()
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def count_try(partial: Path) -> int:
    """Note that this process starts, and say how many did before; the note survives a kill."""
    notes = partial / "tries.txt"
    before = len(notes.read_text().splitlines()) if notes.exists() else 0
    with notes.open("a") as file:
        file.write(time.strftime("%Y-%m-%dT%H:%M:%SZ\n", time.gmtime()))
    return before


def curve_of(history: Sequence[Mapping[str, float]]) -> tuple[CurvePoint, ...]:
    """The trainer's log as points; the summary of the run and what we do not measure are left out."""
    points = []
    for entry in history:
        if "train_runtime" in entry:
            continue
        kept = {k: float(v) for k, v in entry.items() if k not in NOT_MEASURED | BOOKKEEPING}
        points.append(CurvePoint(step=int(entry["step"]), metrics=kept))
    return tuple(points)


def latest(curve: Sequence[CurvePoint]) -> dict[str, float]:
    """The last value of each metric."""
    return {name: value for point in curve for name, value in point.metrics.items()}


def _saved(trainer: Any, tokenizer: Any, job: TrainingJob, base: str, save: Save | None) -> ModelRef:
    """What `save` (else `save_product`) writes; of several processes the first one does, and for the others the
    reference is what they began with."""
    spread = job.distribution in SPREAD
    whole = trainer.accelerator.get_state_dict(trainer.model_wrapped) if spread else None
    if not ranks.is_first():
        return job.model
    model = trainer.accelerator.unwrap_model(trainer.model)
    return save(model, tokenizer, job, base) if save else save_product(model, tokenizer, job, base, whole)


def save_product(
    model: Any, tokenizer: Any, job: TrainingJob, base: str, weights: Mapping[str, torch.Tensor] | None = None
) -> ModelRef:
    """Write the trained model (or adapter) as safetensors with its tokenizer; the reference points to `final`.

    `weights` are the model's where its own are spread over devices.
    """
    folder = Path(job.partial) / "model"
    if is_adapter(job.method):
        model.peft_config["default"].base_model_name_or_path = base
        model.generation_config.save_pretrained(folder)  # an adapter's own folder tells where its texts end, too
    model.save_pretrained(folder, safe_serialization=True, **({"state_dict": weights} if weights else {}))
    tokenizer.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    files = content_digest(folder)
    final, trusted = str(Path(job.final) / "model"), job.model.trust_remote_code
    if job.method == "full":
        return ModelRef(base=final, fingerprint=digest(files), trust_remote_code=trusted)
    identity = [files, job.model.fingerprint, job.shape]
    return ModelRef(base=base, adapter=final, fingerprint=digest(identity), trust_remote_code=trusted)
