"""Time and memory of each stage before anything runs, from a model's `config.json` and the size of the data.

Pure arithmetic, without weights, torch or a benchmark: orders of magnitude for a plan, usually within a factor of
two on a machine like those below. Knows no scheduler and looks at no device; the caller says what the machine is.

- *tokens* = bytes ÷ (log2(vocabulary) ÷ 5, at most 4): 2.4 bytes at 4,096 pieces (2.3 measured on this project's
  voice commands with JSON answers), 3.0 at 32k, 3.4 at 150k.
- *training time* = 6 × parameters × tokens ÷ operations a second; LoRA needs no gradient of frozen weights, so 4.
- *a CPU* gives 65 billion operations a second and thread: measured with two threads, a 2.5-million-parameter Llama
  trained at 8,700 tokens/s (65 billion) and the embedded 4.3-million one at 6,000 (77 billion). *A GPU* gives 40 %
  of its bfloat16 peak.
- *generation* reads every weight and calls every layer for each token: 0.4 ms a layer and step, plus 2 × parameters
  operations a token.
- *memory* = weights + gradients + Adam's two moments + activations; the arithmetic is in `posttrain.models.memory`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from posttrain.models import memory
from posttrain.models.memory import Numbers
from posttrain.models.recipe import Recipe
from posttrain.models.shape import Shape
from posttrain.spec.methods import Method
from posttrain.spec.sections.pipeline import PipelineSpec

CPU_OPERATIONS = 65e9
GPU_SHARE = 0.4
GPU_PEAKS = {
    "B200": 2250e12,
    "H200": 989e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40": 181e12,
    "4090": 165e12,
    "L4": 121e12,
}
"""bfloat16 peak of dense matrix products, operations a second, from the vendor's data sheets."""

SECONDS_A_LAYER = 4e-4
SECONDS_TO_START = 8.0
"""A training process on two cores: importing torch, transformers and trl (5.9 s) and loading a small model."""

PROCESS_BYTES = 550 * 10**6
"""A process that trains next to nothing: torch, transformers, trl and the kernels they load (556 MB measured)."""

LONGEST_ROW = 2.0
"""The longest row over the mean one, where only the mean is known; the first batch has it, and decides the memory."""

SCORED = 0.5
"""Share of a row's tokens that the loss reads, where nothing is known of the rows."""

SECONDS_A_ROW_VALIDATED, SECONDS_TO_VALIDATE = 4e-5, 4.0
BYTES_A_ROW_VALIDATED = 1800
"""Great Expectations: 7.9 s for 200,000 rows and 1.8 GB for a million, after 3.0 s of import and the Data Docs."""

DISK_BYTES_A_SECOND = 5e8
"""What a disk that is not the newest reads and writes."""

SECONDS_A_ROW_CURATED = 4e-4
"""MinHash signatures and word n-grams in Python."""


@dataclass(frozen=True)
class Machine:
    """Operations a second that training gets, and the bytes of memory it has. `name` is for people."""

    name: str
    operations: float
    memory_bytes: int

    @classmethod
    def cpu(cls, threads: int, memory_bytes: int) -> Machine:
        """A CPU of which `threads` are used."""
        return cls(f"{threads} CPU threads", threads * CPU_OPERATIONS, memory_bytes)

    @classmethod
    def gpu(cls, name: str, memory_bytes: int, count: int = 1) -> Machine:
        """`count` GPUs of one kind; an unknown kind counts as the slowest known."""
        peak = next((peak for key, peak in GPU_PEAKS.items() if key in name), min(GPU_PEAKS.values()))
        return cls(f"{count} × {name}", count * peak * GPU_SHARE, count * memory_bytes)


@dataclass(frozen=True)
class Load:
    """What a pipeline asks for: rows and bytes of data, and the values that decide the work."""

    rows: int
    bytes_a_row: float
    test_rows: int
    method: Method
    epochs: float
    micro_batch_size: int
    max_length: int
    baseline_rows: int
    validation_rows: int
    few_shot_examples: int
    evaluation_batch: int
    max_new_tokens: int
    align_prompts: int = 0
    align_samples: int = 0
    align_micro_batch_size: int = 1
    lora_rank: int = 64
    lora_targets: str = "attention"
    online: str = ""
    """ppo, grpo or rloo, where rewards are learnt from and no pairs."""
    episodes: int = 0
    passes: int = 1
    accumulates: bool = True
    numbers: Numbers = memory.PLAIN

    @classmethod
    def of(
        cls,
        spec: PipelineSpec,
        sft: Recipe,
        dpo: Recipe,
        rows: int,
        test_rows: int,
        bytes_a_row: float,
        numbers: Numbers = memory.PLAIN,
    ) -> Load:
        """What a spec asks for, with the values that its recipes settled; DPO counts unless it is switched off.

        `numbers`: how the machine holds a training's values.
        """
        return cls(
            rows=rows,
            bytes_a_row=bytes_a_row,
            test_rows=test_rows,
            method=spec.sft.method,
            epochs=float(sft["num_train_epochs"]),
            micro_batch_size=int(sft["micro_batch_size"]),
            max_length=spec.sft.max_length,
            baseline_rows=spec.evaluate.baseline_rows,
            validation_rows=spec.curate.validation_rows,
            few_shot_examples=spec.evaluate.few_shot_examples,
            evaluation_batch=spec.evaluate.batch_size,
            max_new_tokens=spec.evaluate.max_new_tokens,
            align_prompts=0 if spec.strategy.align == "never" else spec.align.prompts,
            align_samples=spec.align.samples,
            align_micro_batch_size=int(dpo["micro_batch_size"]),
            lora_rank=spec.sft.lora_rank,
            lora_targets=spec.sft.lora_targets,
            online=spec.align.method if spec.align.is_online else "",
            episodes=spec.align.online.total_episodes,
            passes=spec.align.online.ppo_epochs if spec.align.method == "ppo" else 1,
            accumulates=int(sft["accumulation"]) > 1,
            numbers=numbers,
        )


@dataclass(frozen=True)
class PairsLoad:
    """What a reward model learns from, and the values that decide the work; a pair is two rows to the memory."""

    pairs: int
    bytes_a_pair: float
    method: Method
    epochs: float
    micro_batch_size: int
    max_length: int
    lora_rank: int = 64
    accumulates: bool = False
    numbers: Numbers = memory.PLAIN


@dataclass(frozen=True)
class StageEstimate:
    """Seconds and peak memory of one stage, with the arithmetic in words."""

    stage: str
    seconds: float
    memory_bytes: int
    why: str


# --- time --------------------------------------------------------------------------------------------------


def tokens(size_bytes: float, vocabulary: int) -> float:
    """Tokens in so many bytes of text."""
    return size_bytes / min(4.0, math.log2(max(vocabulary, 4)) / 5)


def training_seconds(shape: Shape, method: Method, tokens_seen: float, machine: Machine) -> float:
    """Forward and backward over so many tokens."""
    return (6 if method == "full" else 4) * shape.active * tokens_seen / machine.operations


def generation_seconds(shape: Shape, rows: int, batch: int, prompt: float, new: float, machine: Machine) -> float:
    """Reading `prompt` tokens and writing `new` ones for each of `rows`, `batch` at a time."""
    steps = math.ceil(rows / batch) * new * shape.layers * SECONDS_A_LAYER
    return steps + 2 * shape.active * rows * (prompt + new) / machine.operations


def estimate(shape: Shape, machine: Machine, load: Load) -> tuple[StageEstimate, ...]:
    """Every stage in its order; alignment and its evaluation are left out when no prompt is sampled."""
    row = min(tokens(load.bytes_a_row, shape.vocabulary), load.max_length)
    return (*_data_stages(load), _baseline(shape, machine, load, row), *_training_stages(shape, machine, load, row))


def reward_model(shape: Shape, machine: Machine, load: PairsLoad) -> StageEstimate:
    """Training `shape` to tell the two answers of a pair apart, each read with its prompt."""
    # Of prompt and two answers each row holds two; of unknown length, each counts as a third of the pair.
    row = min(tokens(load.bytes_a_pair * 2 / 3, shape.vocabulary), load.max_length)
    # Pairs that are held out are scored and not trained on, which is less.
    seen = 2 * load.pairs * load.epochs * row
    held = memory.training_memory(
        shape,
        memory.Way(load.method, load.lora_rank),
        2 * load.micro_batch_size,
        min(LONGEST_ROW * row, load.max_length),
        load.numbers,
        scored=0.0,  # one score a row, in place of logits over the vocabulary
        accumulates=load.accumulates,
    )
    why = f"{load.epochs:g} × {load.pairs:,} pairs, two rows of about {row:.0f} tokens each, {load.method}"
    seconds = SECONDS_TO_START + training_seconds(shape, load.method, seen, machine)
    return StageEstimate("reward-model", seconds, PROCESS_BYTES + held, why)


def _data_stages(load: Load) -> tuple[StageEstimate, StageEstimate]:
    rows = load.rows + load.test_rows
    held = int(PROCESS_BYTES + rows * (BYTES_A_ROW_VALIDATED + 3 * load.bytes_a_row))
    checking = SECONDS_TO_VALIDATE + rows * SECONDS_A_ROW_VALIDATED
    return (
        StageEstimate("validate", checking, held, f"{rows:,} rows through the suite, and the Data Docs"),
        StageEstimate("curate", 1 + rows * SECONDS_A_ROW_CURATED, held, f"MinHash of {rows:,} rows"),
    )


def _baseline(shape: Shape, machine: Machine, load: Load, row: float) -> StageEstimate:
    # An untrained base does not know where to stop, so it writes all the tokens it may.
    prompts = row * (2 + load.few_shot_examples if load.few_shot_examples else 1)
    runs = 2 if load.few_shot_examples else 1
    seconds = generation_seconds(
        shape, runs * load.baseline_rows, load.evaluation_batch, prompts / runs, load.max_new_tokens, machine
    )
    why = f"{runs} × {load.baseline_rows:,} rows, up to {load.max_new_tokens} tokens each"
    return StageEstimate("baseline", seconds + SECONDS_TO_START, _generation_memory(shape, load, row), why)


def _training_stages(shape: Shape, machine: Machine, load: Load, row: float) -> tuple[StageEstimate, ...]:
    seen = load.rows * load.epochs * row
    sft = StageEstimate(
        "sft",
        SECONDS_TO_START + training_seconds(shape, load.method, seen, machine),
        _training_memory(shape, load, load.micro_batch_size, row),
        f"{load.epochs:g} × {load.rows:,} rows of about {row:.0f} tokens, {load.method}",
    )
    checked = _evaluation(shape, machine, load, row, "evaluate", load.validation_rows)
    released = (*_merging(shape, load), _evaluation(shape, machine, load, row, "test", load.test_rows))
    if not load.align_prompts:
        return (sft, checked, *released)
    return (sft, checked, *_align_stages(shape, machine, load, row), *released)


def _merging(shape: Shape, load: Load) -> tuple[StageEstimate, ...]:
    """An adapter is merged in 32 bits, written, and read again to be compared."""
    if load.method == "full":
        return ()
    size = 4 * shape.parameters
    seconds = SECONDS_TO_START + 3 * size / DISK_BYTES_A_SECOND
    return (StageEstimate("merge", seconds, PROCESS_BYTES + 2 * size, f"{size / 1e9:.2g} GB written and compared"),)


def _align_stages(shape: Shape, machine: Machine, load: Load, row: float) -> tuple[StageEstimate, ...]:
    samples = load.align_prompts * load.align_samples
    sampling = generation_seconds(shape, samples, load.evaluation_batch, row / 2, row / 2, machine)
    # Both answers of a pair, and a forward pass of the reference model, a third of a step.
    step = training_seconds(shape, load.method, 2 * load.align_prompts * row, machine) * 4 / 3
    # The policy's log-probabilities before training are computed once, so no second model is held.
    taken = _training_memory(shape, load, 2 * load.align_micro_batch_size, row)
    if load.online:
        # Reinforcement by full fine-tuning holds the model it started from as well.
        held = taken + (4 * shape.parameters if load.method == "full" else 0)
        return (
            _online(shape, machine, load, row, held),
            _evaluation(shape, machine, load, row, "evaluate aligned", load.validation_rows),
        )
    pairs = f"{load.align_samples} answers to {load.align_prompts:,} prompts"
    return (
        StageEstimate("pairs", SECONDS_TO_START + sampling, _generation_memory(shape, load, row), pairs),
        StageEstimate("dpo", SECONDS_TO_START + step, taken, f"at most {load.align_prompts:,} pairs, once"),
        _evaluation(shape, machine, load, row, "evaluate aligned", load.validation_rows),
    )


def _online(shape: Shape, machine: Machine, load: Load, row: float, memory: int) -> StageEstimate:
    """Sampling, a forward pass of policy and reference each (a third of a step), and the passes of training."""
    sampling = generation_seconds(shape, load.episodes, load.evaluation_batch, row / 2, row / 2, machine)
    step = training_seconds(shape, load.method, load.episodes * row, machine)
    why = f"{load.episodes:,} answers, sampled, rewarded and trained on {load.passes} times"
    return StageEstimate(load.online, SECONDS_TO_START + sampling + step * (load.passes + 2 / 3), memory, why)


def _evaluation(shape: Shape, machine: Machine, load: Load, row: float, name: str, rows: int) -> StageEstimate:
    seconds = generation_seconds(shape, rows, load.evaluation_batch, row / 2, row / 2, machine)
    return StageEstimate(name, 1 + seconds, _generation_memory(shape, load, row), f"{rows:,} rows, one answer each")


def _training_memory(shape: Shape, load: Load, rows: int, row: float) -> int:
    """Of a device, with the process on a CPU; rows are as long as the longest, which the first batch holds."""
    way = memory.Way(load.method, load.lora_rank, load.lora_targets)
    longest = min(LONGEST_ROW * row, load.max_length)
    return PROCESS_BYTES + memory.training_memory(
        shape, way, rows, longest, load.numbers, scored=SCORED, accumulates=load.accumulates
    )


def _generation_memory(shape: Shape, load: Load, row: float) -> int:
    """Weights, and keys and values of a batch, 4 bytes each."""
    length = row + load.max_new_tokens
    return int(
        PROCESS_BYTES + 4 * shape.parameters + 8 * shape.layers * shape.key_value_width * load.evaluation_batch * length
    )
