"""The loop of PPO: sample, reward, estimate advantages, take some clipped steps; again.

A training is a function of its job: what is drawn depends on the number of the draw, the order of rows on seed and
epoch. So a checkpoint is what the steps have changed (policy, critic, optimizer, schedule, KL coefficient) and how many
updates there were, and on a CPU a resumed training ends bit for bit where an undisturbed one ends.

It differs from the textbook in this:
1. The critic is a linear head on the policy's hidden states (`actor`).
2. Answers are drawn from a truncated distribution, the ratio is of the whole one (`rollout`).
3. A completion that was cut off counts as ended (`loss.advantages`).
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from posttrain.progress import Progress
from posttrain.prompts import Message
from posttrain.training import checkpoint
from posttrain.training.callbacks import CHECKPOINTS_IN_A_RUN, LARGEST_SHARE, SECONDS_BETWEEN_CHECKPOINTS
from posttrain.training.guards.easing import Ease, pull_at, rate_at
from posttrain.training.ppo import health, loss
from posttrain.training.ppo.actor import Actor
from posttrain.training.ppo.kl import AdaptiveKL, Phase, scheduled
from posttrain.training.ppo.rollout import Completion, Rollout, Sampling, draw, read
from posttrain.training.result import CurvePoint
from posttrain.training.signals import Signals


@dataclass(frozen=True)
class Settings:
    """What a training by PPO is told; the names are the spec's (`align.online`)."""

    updates: int
    rollout_batch_size: int
    mini_batch_size: int
    micro_batch_size: int
    ppo_epochs: int
    learning_rate: float
    critic_learning_rate: float
    clip_range: float
    value_clip_range: float
    gamma: float
    lam: float
    whiten_rewards: bool
    max_grad_norm: float
    kl_controller: str
    kl_coef: float
    kl_schedule: Sequence[Phase]
    kl_target: float
    kl_horizon: int
    length_penalty: float
    sampling: Sampling
    warmup_ratio: float = 0.0
    lr_scheduler_type: str = "linear"
    weight_decay: float = 0.0
    save_steps: int | None = None
    seed: int = 0
    eased: Sequence[Ease] = ()
    """What guards asked for, in updates."""

    @property
    def steps_an_update(self) -> int:
        """Optimizer steps from one rollout to the next."""
        return self.ppo_epochs * (self.rollout_batch_size // self.mini_batch_size)

    @property
    def optimizer_steps(self) -> int:
        """Of the whole training."""
        return self.updates * self.steps_an_update


@dataclass(frozen=True)
class Question:
    """A prompt as tokens, as people wrote it, the columns that rewards read, and the turns that were rendered."""

    ids: list[int]
    text: str
    columns: dict[str, Any]
    turns: Sequence[Message] = ()


@dataclass
class Place:
    """How far a training is."""

    step: int = 0
    """Updates that are done."""
    curve: list[CurvePoint] = field(default_factory=list)


class PPOTrainer:
    """Trains `actor` in place. `accelerator` places it on the device; `folder` receives checkpoints."""

    def __init__(
        self,
        settings: Settings,
        actor: Actor,
        tokenizer: Any,
        questions: Sequence[Question],
        signals: Signals,
        folder: Path,
        accelerator: Any,
        observers: Sequence[health.Observe] = (),
        progress: Progress = lambda done, total, note="": None,
        before_checkpoint: Callable[[], int | None] = lambda: None,
    ) -> None:
        from transformers import get_scheduler

        self.settings, self.tokenizer, self.questions = settings, tokenizer, questions
        self.signals, self.folder, self.accelerator = signals, folder, accelerator
        self.observers, self.progress, self.before_checkpoint = observers, progress, before_checkpoint
        groups = [
            {"params": actor.trained, "lr": settings.learning_rate, "weight_decay": settings.weight_decay},
            {"params": list(actor.head.parameters()), "lr": settings.critic_learning_rate, "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, fused=True)
        self.actor: Actor = accelerator.prepare_model(actor)
        self.optimizer = accelerator.prepare_optimizer(optimizer)
        steps = settings.optimizer_steps
        warmup = round(steps * settings.warmup_ratio)
        self.scheduler: Any = get_scheduler(settings.lr_scheduler_type, optimizer, warmup, steps)
        if settings.eased:
            self.scheduler.lr_lambdas = [self._gentler(each) for each in self.scheduler.lr_lambdas]
        self.kl = AdaptiveKL(settings.kl_coef, settings.kl_target, settings.kl_horizon)
        self.place = Place()
        self._saved, self._cost = time.monotonic(), 0.0

    def train(self) -> list[CurvePoint]:
        """From the newest checkpoint (or the start) to the end; the log of every update.

        Raises: `TrainingDiverged`; whatever an observer raises.
        """
        if newest := checkpoint.newest(self.folder):
            self._restore(newest)
        while self.place.step < self.settings.updates:
            step = self.place.step
            self.progress(step, self.settings.updates, self._note())
            questions = self._questions(step)
            metrics, completions = self._update(step, questions)
            self.place.curve.append(CurvePoint(step=step + 1, metrics=metrics))
            self.place.step += 1
            for observe in self.observers:
                observe(step + 1, metrics, [one.text for one in questions], [one.text for one in completions])
            if self._due():
                self._save()
        self.progress(self.settings.updates, self.settings.updates, self._note())
        return self.place.curve

    def _questions(self, step: int) -> list[Question]:
        """The prompts of an update: passes over all of them, each in an order of its own."""
        size, count = self.settings.rollout_batch_size, len(self.questions)
        return [self.questions[_order(count, self.settings.seed, n // count)[n % count]]
                for n in range(step * size, (step + 1) * size)]  # fmt: skip

    # --- one update ----------------------------------------------------------------------------------------

    def _update(self, step: int, questions: Sequence[Question]) -> tuple[dict[str, float], list[Completion]]:
        given, prompts = self.settings, [one.ids for one in questions]
        first = step * given.rollout_batch_size
        pad = self.tokenizer.pad_token_id or 0
        # Sampling keeps no activations, so a device that trains one micro-batch samples some of them at once.
        at_once = min(len(prompts), 8 * given.micro_batch_size)
        completions = draw(self._plain, self.tokenizer, prompts, first, given.sampling, at_once, self._silently(step))
        with self.accelerator.autocast():
            rollout = read(self._plain, prompts, completions, pad, given.micro_batch_size)
        scores, signals = self._scores(step, questions, completions, rollout)
        coefficient = self._coefficient(step)
        metrics = health.of_rollout(rollout, completions, signals, scores)
        metrics |= {"objective/kl_coef": coefficient}
        advantages, returns = self._advantages(rollout, scores, coefficient)
        metrics |= health.of_critic(rollout.values, returns, rollout.batch.written)
        metrics |= self._steps(step, rollout, advantages, returns)
        self.kl.update(metrics["objective/kl"], len(completions))
        return metrics, completions

    def _scores(
        self, step: int, questions: Sequence[Question], completions: Sequence[Completion], rollout: Rollout
    ) -> tuple[list[float], dict[str, list[float]]]:
        """A completion's score: the signals' weighted sum, less the length penalty; and every signal alone."""
        written = rollout.batch.written
        nats = torch.where(written, rollout.log_probs - rollout.reference, 0).sum(dim=1).tolist()
        columns: dict[str, list[Any]] = {
            name: [one.columns[name] for one in questions] for name in questions[0].columns
        }
        mixed, signals = self.signals.score(
            [one.text for one in questions], [one.text for one in completions], step, **columns, kl=nats
        )
        most, penalty = self.settings.sampling.max_new_tokens, self.settings.length_penalty
        scores = [score - penalty * len(one.ids) / most for score, one in zip(mixed, completions, strict=True)]
        return scores, signals

    def _advantages(
        self, rollout: Rollout, scores: Sequence[float], coefficient: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Whitened advantages, and returns, both (b, t). k1 is in the reward: its gradient there is that of the KL."""
        given, written = self.settings, rollout.batch.written
        kl = loss.k1(rollout.log_probs, rollout.reference)
        rewards = loss.token_rewards(torch.tensor(scores, dtype=torch.float32), kl, written, coefficient)
        if given.whiten_rewards:
            rewards = loss.whiten(rewards, written, shift_mean=False)
        advantages, returns = loss.advantages(rewards, rollout.values, written, given.gamma, given.lam)
        return loss.whiten(advantages, written), returns

    def _steps(self, step: int, rollout: Rollout, advantages: torch.Tensor, returns: torch.Tensor) -> dict[str, float]:
        """Every optimizer step of an update; the mean of what is logged over them."""
        given, logged = self.settings, []
        for epoch in range(given.ppo_epochs):
            order = _order(given.rollout_batch_size, given.seed, step, epoch)
            for start in range(0, len(order), given.mini_batch_size):
                rows = order[start : start + given.mini_batch_size]
                logged.append(self._step(step, rows, rollout, advantages, returns))
        # How far the whole update went is what the last pass sees, not the mean over all.
        last = logged[-(len(logged) // given.ppo_epochs) :]
        means = {name: sum(one[name] for one in logged) / len(logged) for name in logged[0]}
        return {**means, "policy/approxkl": sum(one["policy/approxkl"] for one in last) / len(last)}

    def _step(
        self, step: int, rows: Sequence[int], rollout: Rollout, advantages: torch.Tensor, returns: torch.Tensor
    ) -> dict[str, float]:
        given, device = self.settings, self.accelerator.device
        tokens = int(rollout.batch.written[list(rows)].sum())
        logged = {
            "loss/policy": 0.0,
            "loss/value": 0.0,
            "policy/clipfrac": 0.0,
            "policy/approxkl": 0.0,
            "val/clipfrac": 0.0,
        }
        for start in range(0, len(rows), given.micro_batch_size):
            some = list(rows[start : start + given.micro_batch_size])
            batch = rollout.batch.rows(some).to(device)
            width = batch.written.shape[1]
            old, values, advantage, wanted = (
                part[some, :width].to(device) for part in (rollout.log_probs, rollout.values, advantages, returns)
            )
            with self.accelerator.autocast():
                reading = self.actor(batch)
            policy = loss.policy_loss(reading.log_probs, old, advantage, batch.written, given.clip_range, tokens)
            value = loss.value_loss(reading.values, values, wanted, batch.written, given.value_clip_range, tokens)
            # They share no weight: the critic's head sends no gradient back, and Adam makes nothing of a loss's scale.
            self.accelerator.backward(policy.loss + value.loss)
            found = (policy.loss, value.loss, policy.clipped, policy.approx_kl, value.clipped)
            for name, part in zip(logged, found, strict=True):
                logged[name] += part.item()
        rate = float(self.scheduler.get_last_lr()[0])
        for name in ("loss/policy", "loss/value"):
            health.must_be_finite(name, logged[name], step, given.updates, rate)
        norm = float(self.accelerator.clip_grad_norm_(self._plain.trained, given.max_grad_norm))
        self.accelerator.clip_grad_norm_(self._plain.head.parameters(), given.max_grad_norm)
        health.must_be_finite("gradient norm", norm, step, given.updates, rate)
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad()
        return {**logged, "grad_norm": norm, "learning_rate": rate}

    def _gentler(self, share: Callable[[int], float]) -> Callable[[int], float]:
        """The schedule, in optimizer steps, as guards asked for."""
        given = self.settings
        return lambda done: share(done) * rate_at(given.eased, done // given.steps_an_update)

    def _coefficient(self, step: int) -> float:
        """The KL coefficient of update `step` (from 0)."""
        return self._planned(step) * pull_at(self.settings.eased, step)

    def _planned(self, step: int) -> float:
        match self.settings.kl_controller:
            case "schedule":
                return scheduled(self.settings.kl_schedule, step, self.settings.updates)
            case "adaptive":
                return self.kl.coefficient
            case _:
                return self.settings.kl_coef

    @property
    def _plain(self) -> Actor:
        """The actor without what accelerate may have put around it."""
        actor: Actor = self.accelerator.unwrap_model(self.actor)
        return actor

    def _note(self) -> str:
        return f"reward {self.place.curve[-1].metrics['reward']:.3f}" if self.place.curve else "first update"

    def _silently(self, step: int) -> Progress:
        def tell(done: float, total: float, note: str = "") -> None:
            self.progress(step + 0.5 * done / max(total, 1), self.settings.updates, note)

        return tell

    # --- checkpoints ---------------------------------------------------------------------------------------

    def _due(self) -> bool:
        """Every `save_steps` updates, or every 60 s or sixth of the training; never after the last update."""
        step, steps = self.place.step, self.settings.updates
        if step >= steps:
            return False
        if self.settings.save_steps:
            return step % self.settings.save_steps == 0
        passed = time.monotonic() - self._saved
        if passed * LARGEST_SHARE < self._cost:
            return False
        return step % max(1, -(-steps // CHECKPOINTS_IN_A_RUN)) == 0 or passed > SECONDS_BETWEEN_CHECKPOINTS

    def _save(self) -> None:
        began = time.monotonic()
        folder = self.folder / f"checkpoint-{self.place.step}"
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self._weights(), folder / "actor.safetensors")
        torch.save(self.optimizer.state_dict(), folder / "optimizer.pt")
        state = {
            "step": self.place.step,
            "kl_coefficient": self.kl.coefficient,
            "scheduler": self.scheduler.state_dict(),
            "curve": [point.model_dump() for point in self.place.curve],
        }
        (folder / "state.json").write_text(json.dumps(state, default=lambda value: None), encoding="utf-8")
        torch.save(torch.random.get_rng_state(), folder / "random.pt")
        checkpoint.seal(folder, self.before_checkpoint())
        self._saved = time.monotonic()
        self._cost = self._saved - began

    def _restore(self, folder: Path) -> None:
        saved = load_file(folder / "actor.safetensors", device=str(self.accelerator.device))
        with torch.no_grad():
            for name, weight in self._named():
                weight.copy_(saved[name])
        device = self.accelerator.device
        self.optimizer.load_state_dict(torch.load(folder / "optimizer.pt", map_location=device, weights_only=True))
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        self.scheduler.load_state_dict({k: v for k, v in state["scheduler"].items() if k != "lr_lambdas"} | {
            "lr_lambdas": [None] * len(self.scheduler.lr_lambdas)
        })  # fmt: skip
        if self.settings.eased:
            # A checkpoint from before a roll-back holds the rate that was to come next then.
            rates = zip(self.optimizer.param_groups, self.scheduler.base_lrs, self.scheduler.lr_lambdas, strict=True)
            for group, base, share in rates:
                group["lr"] = base * share(self.scheduler.last_epoch)
            self.scheduler._last_lr = [group["lr"] for group in self.optimizer.param_groups]
        self.kl.coefficient = state["kl_coefficient"]
        self.place = Place(state["step"], [CurvePoint.model_validate(point) for point in state["curve"]])
        torch.random.set_rng_state(torch.load(folder / "random.pt", weights_only=True))

    def _named(self) -> list[tuple[str, torch.nn.Parameter]]:
        """What training changes, once each: tied weights come under one name."""
        return [(name, weight) for name, weight in self._plain.named_parameters() if weight.requires_grad]

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: weight.detach().contiguous() for name, weight in self._named()}


@lru_cache(maxsize=8)
def _order(count: int, *seeds: int) -> tuple[int, ...]:
    """0 … count - 1, shuffled by the seeds and by nothing else."""
    return tuple(random.Random(":".join(map(str, seeds))).sample(range(count), count))
