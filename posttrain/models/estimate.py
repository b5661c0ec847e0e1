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
- *memory* = weights + gradients + Adam's two moments (4 bytes each, for what is trained) + activations, of which the
  logits are the larger part for a small model with a large vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from posttrain.errors import ModelError
from posttrain.models.recipe import Method, Recipe
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

PROCESS_BYTES = 500 * 10**6
"""A process that has imported torch, transformers and trl, before any weight (492 MB measured)."""

SECONDS_A_ROW_VALIDATED, SECONDS_TO_VALIDATE = 4e-5, 4.0
BYTES_A_ROW_VALIDATED = 1800
"""Great Expectations: 7.9 s for 200,000 rows and 1.8 GB for a million, after 3.0 s of import and the Data Docs."""

SECONDS_A_ROW_CURATED = 4e-4
"""MinHash signatures and word n-grams in Python."""

USABLE = 0.8
"""Share of the memory that a training may plan with; the rest is the allocator's and the system's."""


@dataclass(frozen=True)
class Shape:
    """What a `config.json` says about size. `parameters` counts every weight, `active` those that one token uses."""

    parameters: int
    active: int
    layers: int
    hidden: int
    intermediate: int
    vocabulary: int
    attention_width: int
    key_value_width: int


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

    @classmethod
    def of(cls, spec: PipelineSpec, sft: Recipe, dpo: Recipe, rows: int, test_rows: int, bytes_a_row: float) -> Load:
        """What a spec asks for, with the values that its recipes settled; DPO counts unless it is switched off."""
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
        )


@dataclass(frozen=True)
class StageEstimate:
    """Seconds and peak memory of one stage, with the arithmetic in words."""

    stage: str
    seconds: float
    memory_bytes: int
    why: str


# --- from config.json to size ------------------------------------------------------------------------------


def shape_of(config: Mapping[str, Any]) -> Shape:
    """Size of a decoder from its `config.json`: Llama-like (gated, grouped queries, experts) or GPT-2-like.

    Raises `ModelError` when the configuration does not say how large the model is.
    """
    text = config.get("text_config") or config
    hidden = _number(text, "hidden_size", "n_embd", "d_model")
    layers = _number(text, "num_hidden_layers", "n_layer", "num_layers")
    heads = _number(text, "num_attention_heads", "n_head", "num_heads")
    vocabulary = _number(text, "vocab_size")
    plain = "n_embd" in text
    width = int(text.get("head_dim") or hidden // heads) * heads
    pairs = width * int(text.get("num_key_value_heads") or heads) // heads
    attention = hidden * (2 * width + 2 * pairs)
    dense = int(text.get("intermediate_size") or text.get("n_inner") or 4 * hidden)
    experts, used = _experts(text)
    inner = int(text.get("moe_intermediate_size") or dense) if experts else dense
    one = (2 if plain else 3) * hidden * inner
    shared = 0 if text.get("tie_word_embeddings", plain) else vocabulary * hidden
    positions = _number(text, "n_positions", "n_ctx") * hidden if plain else 0
    rest = vocabulary * hidden + shared + positions + hidden * (2 * layers + 1)
    every = layers * (attention + max(1, experts) * one) + rest
    active = layers * (attention + max(1, used) * one) + rest
    return Shape(every, active, layers, hidden, max(1, used) * inner, vocabulary, width, pairs)


def _experts(text: Mapping[str, Any]) -> tuple[int, int]:
    """Experts of a layer, and how many a token uses; (0, 0) for a dense model."""
    count = text.get("num_experts") or text.get("num_local_experts") or text.get("n_routed_experts") or 0
    return int(count), int(text.get("num_experts_per_tok") or 0) if count else 0


def _number(text: Mapping[str, Any], *names: str) -> int:
    for name in names:
        if isinstance(text.get(name), int):
            return int(text[name])
    raise ModelError(f"config.json: found no {names[0]}, expected a decoder's configuration; name another base.model")


def trained_parameters(shape: Shape, method: Method, rank: int = 64, targets: str = "attention") -> int:
    """Weights that get a gradient: all of them, or rank × (in + out) for every adapted matrix."""
    if method == "full":
        return shape.parameters
    matrices = [(shape.hidden, shape.attention_width)] * 2 + [(shape.hidden, shape.key_value_width)] * 2
    if targets == "all-linear":
        matrices += [(shape.hidden, shape.intermediate)] * 3
    return shape.layers * sum(rank * (inputs + outputs) for inputs, outputs in matrices)


# --- memory ------------------------------------------------------------------------------------------------


def training_memory(
    shape: Shape, method: Method, micro_batch_size: int, tokens_a_row: float, rank: int = 64, targets: str = "attention"
) -> int:
    """Peak bytes of a training step: weights, gradients, Adam's moments and the activations of a micro-batch."""
    trained = trained_parameters(shape, method, rank, targets)
    weights = 4 * shape.parameters + (4 * trained if method == "lora" else 0)
    return int(weights + 12 * trained + micro_batch_size * activation_bytes(shape, tokens_a_row))


def activation_bytes(shape: Shape, tokens_a_row: float) -> float:
    """Bytes kept for the backward pass of one row, 16-bit inside layers, logits and their gradient in 32.

    Per token and layer 34 × width in a plain block (arXiv 2205.05198, without the attention matrix, which fused
    attention does not keep); a gated, wider block keeps in proportion. Per token 12 × vocabulary for the logits.
    """
    layer = 22 * shape.hidden + 6 * shape.intermediate
    return tokens_a_row * (shape.layers * layer + 12 * shape.vocabulary)


def largest_micro_batch(
    shape: Shape, method: Method, tokens_a_row: float, memory_bytes: int, rank: int = 64, targets: str = "attention"
) -> int:
    """Rows that fit at once; 0 when not even one does."""
    fixed = training_memory(shape, method, 0, tokens_a_row, rank, targets)
    return max(0, int((USABLE * memory_bytes - fixed) // activation_bytes(shape, tokens_a_row)))


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
        PROCESS_BYTES
        + training_memory(shape, load.method, load.micro_batch_size, row, load.lora_rank, load.lora_targets),
        f"{load.epochs:g} × {load.rows:,} rows of about {row:.0f} tokens, {load.method}",
    )
    checked = _evaluation(shape, machine, load, row, "evaluate", load.validation_rows)
    test = _evaluation(shape, machine, load, row, "test", load.test_rows)
    if not load.align_prompts:
        return (sft, checked, test)
    return (sft, checked, *_align_stages(shape, machine, load, row), test)


def _align_stages(shape: Shape, machine: Machine, load: Load, row: float) -> tuple[StageEstimate, ...]:
    samples = load.align_prompts * load.align_samples
    sampling = generation_seconds(shape, samples, load.evaluation_batch, row / 2, row / 2, machine)
    # Both answers of a pair, and a forward pass of the reference model, a third of a step.
    step = training_seconds(shape, load.method, 2 * load.align_prompts * row, machine) * 4 / 3
    memory = (
        PROCESS_BYTES
        + training_memory(shape, load.method, 2 * load.align_micro_batch_size, row, load.lora_rank, load.lora_targets)
        + (4 * shape.parameters if load.method == "full" else 0)
    )
    if load.online:
        return (
            _online(shape, machine, load, row, memory),
            _evaluation(shape, machine, load, row, "evaluate aligned", load.validation_rows),
        )
    pairs = f"{load.align_samples} answers to {load.align_prompts:,} prompts"
    return (
        StageEstimate("pairs", SECONDS_TO_START + sampling, _generation_memory(shape, load, row), pairs),
        StageEstimate("dpo", SECONDS_TO_START + step, memory, f"at most {load.align_prompts:,} pairs, once"),
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


def _generation_memory(shape: Shape, load: Load, row: float) -> int:
    """Weights, and keys and values of a batch, 4 bytes each."""
    length = row + load.max_new_tokens
    return int(
        PROCESS_BYTES + 4 * shape.parameters + 8 * shape.layers * shape.key_value_width * load.evaluation_batch * length
    )
