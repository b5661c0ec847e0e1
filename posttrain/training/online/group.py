"""GRPO and RLOO, by TRL's trainers: several answers to a prompt, each judged against the others; no critic.

GRPO (arXiv 2402.03300) takes an answer's reward less the group's mean over its deviation, RLOO (arXiv 2402.14740) less
the mean of the others. A rollout is one optimizer step, so that training is on-policy, every checkpoint lies between
two rollouts, and a resumed training samples again what it would have sampled: TRL keeps the state of the random
numbers, and the order of prompts is ours.

Off on a CPU: continuous batching, which is slower there (`evaluation.engines`). vLLM samples where it is installed and
there is a GPU; that path has not been run here. Knows neither spec nor workspace.
"""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import Sampler
from transformers import TrainerCallback

from posttrain.errors import DataError
from posttrain.training import head, trainer
from posttrain.training.online.independent import measure_of, watch_of
from posttrain.training.online.job import OnlineJob
from posttrain.training.online.lesson import Lesson
from posttrain.training.result import TrainResult

if TYPE_CHECKING:
    from posttrain.training.ppo.health import Observe
    from posttrain.training.rewards import Reward
    from posttrain.training.signals import Signals

NOT_KNOWN_BY_TRL = "kl"
"""A signal that reads how far an answer is from the reference: TRL subtracts beta × KL itself."""

OUR_NAMES = {
    "kl": "objective/kl_token",
    "entropy": "objective/entropy",
    "loss": "loss/policy",
    "clip_ratio/region_mean": "policy/clipfrac",
}
"""TRL's names for what PPO logs too; `kl` is nats a token there."""

WALL_TIME = {"step_time"}
"""Differs from run to run, and what is logged should not."""


class InGroups(Sampler[int]):
    """Every prompt `samples` times in a row, in an order that is a function of seed and epoch.

    TRL draws a rollout of `prompts` prompts anew for each of its `micro_batches`, and looks at the first only.
    """

    def __init__(self, count: int, prompts: int, samples: int, micro_batches: int, seed: int) -> None:
        self.count, self.prompts, self.samples, self.micro_batches = count, prompts, samples, micro_batches
        self.seed, self.epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each pass."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count // self.prompts * self.prompts * self.samples * self.micro_batches

    def __iter__(self) -> Iterator[int]:
        order = random.Random(f"{self.seed}:{self.epoch}").sample(range(self.count), self.count)
        for start in range(0, self.count - self.prompts + 1, self.prompts):
            rollout = [row for row in order[start : start + self.prompts] for _ in range(self.samples)]
            for _ in range(self.micro_batches):
                yield from rollout


class InOurOrder:
    """Mixed into TRL's trainers."""

    def _get_train_sampler(self, dataset: Any = None) -> InGroups:
        me: Any = self
        prompts, micro_batches = me.args.generation_batch_size // me.num_generations, me.args.steps_per_generation
        return InGroups(len(me.train_dataset), prompts, me.num_generations, micro_batches, me.args.seed)


class Watching(TrainerCallback):
    """Tells observers of every update, and sets the signals' weights of the next."""

    def __init__(self, signals: Signals, observers: Sequence[Observe]) -> None:
        self.signals, self.observers = signals, observers
        self.trainer: Any = None
        self.seen: tuple[list[str], list[str]] = ([], [])

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        weights = self.signals.weights(state.global_step)
        kept = [w for w, name in zip(weights, self.signals.names, strict=True) if name != NOT_KNOWN_BY_TRL]
        spare = len(self.trainer.reward_funcs) - len(kept)
        self.trainer.reward_weights = torch.tensor([*kept, *[1.0] * spare])

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if logs and "reward" in logs:
            for observe in self.observers:
                observe(state.global_step, in_our_names(logs), *self.seen)


def run_group(lesson: Lesson) -> TrainResult:
    """GRPO or RLOO in this process. Raises: `DataError`; `TrainingDiverged`."""
    from datasets import Dataset
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer
    from trl.trainer.rloo_config import RLOOConfig
    from trl.trainer.rloo_trainer import RLOOTrainer

    from posttrain.training.ppo.actor import Actor

    job, questions, signals = lesson.job, lesson.questions, lesson.signals
    prompts = job.online.rollout_batch_size // job.samples
    if len(questions) < prompts:
        raise DataError(
            f"{job.train.uri}: found {len(questions)} prompts, a rollout of {job.algorithm} asks {prompts}; give more "
            "rows, raise align.samples or lower align.online.rollout_batch_size"
        )
    configure, build = {"grpo": (GRPOConfig, GRPOTrainer), "rloo": (RLOOConfig, RLOOTrainer)}[job.algorithm]
    columns: dict[str, list[Any]] = {name: [one.columns[name] for one in questions] for name in questions[0].columns}
    rows = Dataset.from_dict({"prompt": [one.turns for one in questions], **columns})
    watch = watch_of(lesson)
    watching = Watching(signals, (*lesson.observers, watch))

    def make() -> Any:
        reference = None if job.method == "lora" else _frozen(lesson.model)
        made = trainer.resumable(build, InOurOrder)(
            model=lesson.model,
            reward_funcs=functions(job, signals, watching),
            args=configure(**arguments(job, len(rows))),
            train_dataset=rows,
            processing_class=lesson.tokenizer,
            peft_config=trainer.adapter_config(job, lesson.model),
        )
        if reference is not None:
            # TRL loads its reference from where the model says that it came from, which is not where SFT's merged is.
            made.ref_model.load_state_dict(reference)
        # Our scoring of completions knows nothing of a temperature, by which TRL divides.
        setattr(made.model.get_base_model() if hasattr(made.model, "peft_config") else made.model, head.PATCHED, True)
        watching.trainer = made
        watch.measure = measure_of(lesson, Actor(made.model, None, job.online.temperature))
        made.add_callback(watching)
        return made

    lengths = [len(one.ids) for one in questions]
    result = trainer.fit(
        job, make, lengths, lesson.tokenizer, lesson.base, lesson.progress, lesson.counted, watch=watch
    )
    curve = tuple(point.model_copy(update={"metrics": in_our_names(point.metrics)}) for point in result.curve)
    return result.model_copy(update={"curve": curve, "metrics": {**trainer.latest(curve), **lesson.counted}})


def _frozen(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in model.state_dict().items()}


def arguments(job: OnlineJob, rows: int) -> dict[str, Any]:
    """GRPOConfig's and RLOOConfig's values, in TRL's names; what they have no name for is TRL's default."""
    online, on_gpu = job.online, torch.cuda.is_available()
    with_vllm = on_gpu and importlib.util.find_spec("vllm") is not None
    # A micro-batch is of answers, and TRL wants whole groups in a rollout only.
    return {
        **trainer.arguments(job, rows, evaluate=False),
        "max_steps": job.updates,
        "warmup_steps": round(job.updates * job.warmup_ratio),
        "num_generations": job.samples,
        "generation_batch_size": online.rollout_batch_size,
        "max_completion_length": job.max_new_tokens,
        "temperature": online.temperature,
        "top_p": online.top_p,
        "repetition_penalty": online.repetition_penalty,
        "beta": online.kl_coef,
        "epsilon": online.clip_range,
        "logging_steps": 1,
        "use_vllm": with_vllm,
        **({"vllm_mode": "colocate"} if with_vllm else {}),
        "use_transformers_continuous_batching": on_gpu and not with_vllm,
    }


def functions(job: OnlineJob, signals: Signals, watching: Watching) -> list[Reward]:
    """The signals as TRL calls them: on turns rather than texts, and without the one that TRL sees to itself.

    The length penalty is one more, of weight 1.
    """
    found = [_on_turns(function, watching) for function in signals.functions if function.__name__ != NOT_KNOWN_BY_TRL]
    return [*found, _length_penalty(job)] if job.online.length_penalty else found


def _on_turns(function: Reward, watching: Watching) -> Reward:
    def signal(prompts: Any, completions: Any, *, question: Sequence[str], **columns: Any) -> list[float]:
        texts = [turns[0]["content"] for turns in completions]
        watching.seen = (list(question), texts)
        return function(list(question), texts, question=question, **columns)

    signal.__name__ = signal.__qualname__ = function.__name__
    return signal


def _length_penalty(job: OnlineJob) -> Reward:
    def length_penalty(prompts: Any, completions: Any, *, completion_ids: Any, **columns: Any) -> list[float]:
        return [-job.online.length_penalty * len(ids) / job.max_new_tokens for ids in completion_ids]

    return length_penalty


def in_our_names(logged: Mapping[str, float]) -> dict[str, float]:
    """A line of TRL's log under the names that PPO's has."""
    kept = {
        OUR_NAMES.get(name, name): float(value)
        for name, value in logged.items()
        if value is not None and name not in WALL_TIME
    }
    if "completions/clipped_ratio" in kept:
        kept["completions/stop_rate"] = 1 - kept["completions/clipped_ratio"]
    if "objective/kl_token" in kept and "completions/mean_length" in kept:
        kept["objective/kl"] = kept["objective/kl_token"] * kept["completions/mean_length"]
    return kept
