"""How much memory a training takes: what a step really holds, tensor by tensor, from the model's size alone.

*Fixed* are the weights, and for what is trained a gradient and Adam's two moments. *Kept* is what the forward pass
leaves for the backward one. On top comes the head: logits of the tokens that the loss reads, their softmax and its
gradient. Checked against measured peaks by `benchmarks/memory.py`, on a CPU. Knows no time and no device; `Numbers`
says how values are held.

A layer keeps, for each token (h hidden, q attention width, i inner width, a heads, s the row's length):

- full training: 6 h (the residual twice, each norm's middle and result), 4 q (queries, keys, values, the output's
  input), 4 i (gate, its SiLU, up, their product) and, where attention matrices are kept, a × s;
- adapters: a frozen matrix needs no input for its gradient, so 3 h + 4 q + 3 i + a × s, and the adapters' own ranks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from posttrain.models.shape import Shape, adapted, trained_parameters
from posttrain.spec.methods import Method

Quantisation = Literal["none", "int8", "int4"]

USABLE = 0.85
"""Share of a device's memory that a training may plan with; the estimate is within 15 %."""

RECOMPUTED = 1e9
"""Above so many parameters activations are computed twice rather than kept: a third more time, a fraction of memory."""

SHORT = 1024
"""Up to this row length the CPU's attention keeps its matrices (`posttrain.training.trainer`)."""

OFFLOADED = 1_000_000
"""So many shards stand for offloading: of what is fixed, a device holds only the layers in use."""

HOLES = {"full": 0.6, "adapter": 1.1}
"""What glibc's heap holds on to between them on a CPU, over what the layers keep: freed blocks leave holes. Measured
(`benchmarks/memory.py`): 0.5 to 0.65 in full training, 0.9 to 1.3 with adapters, which make more short-lived values.
With every block mapped apart (MALLOC_MMAP_THRESHOLD_) the holes go, at the price of a page fault for every page."""

KERNELS = 280 * 10**6
WIDTHS = 30
"""Computing in 16 bits a CPU keeps a kernel for each width of batch that it has met, and after so many widths so many
bytes of them: oneDNN's cache is full. Measured over 60 updates of rows of unequal length; in 32 bits nothing grew."""

BYTES = {"none": 2.0, "int8": 1.0, "int4": 0.516}
"""Bytes of a frozen weight: 16 bits; 8; 4 with the doubly quantised scales of QLoRA (4.127 bits, arXiv 2305.14314)."""


@dataclass(frozen=True)
class Numbers:
    """How a training holds its numbers: bytes of a frozen weight and of an activation, and what it keeps."""

    frozen: float = 4.0
    embedded: float = 4.0
    activation: float = 4.0
    matrices: bool = True
    recomputed: bool = False
    cast: bool = False
    """Computes in 16 bits with weights in 32, and keeps the copies that it casts."""
    holes: bool = False
    """Lies in the heap of the process, where freed blocks leave holes."""

    @classmethod
    def of(cls, kind: str, method: Method, bf16: bool, max_length: int, parameters: int) -> Numbers:
        """As `posttrain.training.trainer` trains on a "gpu" or a "cpu"."""
        recomputed = parameters > RECOMPUTED
        if kind == "cpu":
            return cls(
                activation=2.0 if bf16 else 4.0,
                matrices=max_length <= SHORT,
                recomputed=recomputed,
                cast=bf16,
                holes=True,
            )
        half = 2.0 if bf16 and method != "full" else 4.0
        return cls(
            frozen=BYTES["int4"] if method == "qlora" else half,
            embedded=half,
            activation=2.0 if bf16 else 4.0,
            matrices=False,
            recomputed=recomputed,
            cast=bf16 and method == "full",
        )


PLAIN = Numbers()


@dataclass(frozen=True)
class Way:
    """What is trained of a model: the method, and how large its adapters are."""

    method: Method
    rank: int = 64
    targets: str = "attention"


def training_memory(
    shape: Shape,
    way: Way,
    micro_batch_size: int,
    tokens_a_row: float,
    numbers: Numbers = PLAIN,
    *,
    scored: float = 1.0,
    accumulates: bool = True,
    shards: int = 1,
) -> int:
    """Peak bytes of a training step on one device, without the process itself.

    `scored`: share of the tokens that the loss reads. `accumulates`: whether gradients of an earlier micro-batch lie
    beside the activations of a later one. `shards`: devices over which all fixed memory is spread (FSDP, ZeRO-3).
    """
    rows = micro_batch_size * (
        kept_bytes(shape, way, tokens_a_row, numbers) + head_bytes(shape, tokens_a_row * scored, numbers)
    )
    fixed = fixed_bytes(shape, way, numbers, shards)
    if accumulates:
        return int(fixed + rows)
    # Gradients come into being while activations go, the head's first of all.
    gradients = 4 * trained_parameters(shape, way.method, way.rank, way.targets) / shards
    head = 4 * shape.vocabulary * shape.hidden / shards if way.method == "full" else 0
    return int(max(fixed, fixed - gradients + head + rows))


def fixed_bytes(shape: Shape, way: Way, numbers: Numbers, shards: int = 1) -> float:
    """Weights, gradients, Adam's moments and, with shards, the two layers that are whole at a time."""
    trained = trained_parameters(shape, way.method, way.rank, way.targets)
    linear = shape.parameters - shape.embedded
    if way.method == "full":
        held = 16.0 * trained
    else:
        held = numbers.frozen * linear + numbers.embedded * shape.embedded + 16 * trained
    whole = 0.0 if shards == 1 else 2 * numbers.frozen * shape.layer_parameters + numbers.embedded * shape.embedded
    cast = 2.0 * (linear + shape.vocabulary * shape.hidden) if numbers.cast else 0.0
    return held / shards + whole + cast / shards + kernel_bytes(numbers)


def kernel_bytes(numbers: Numbers, widths: int = WIDTHS) -> float:
    """Kernels that a CPU keeps after so many different widths of batch."""
    return KERNELS * min(1.0, widths / WIDTHS) if numbers.holes and numbers.cast else 0.0


def bucket_bytes(shape: Shape, way: Way) -> float:
    """The buckets in which DDP adds up gradients: as large as they are."""
    return 4.0 * trained_parameters(shape, way.method, way.rank, way.targets)


def kept_bytes(shape: Shape, way: Way, tokens_a_row: float, numbers: Numbers) -> float:
    """Bytes of one row that the layers keep for the backward pass, with holes; recomputed layers keep their input."""
    layer = sum(count * size for count, size in _kept_values(shape, way, tokens_a_row, numbers))
    with_holes = 1 + HOLES["full" if way.method == "full" else "adapter"] if numbers.holes else 1.0
    if numbers.recomputed:
        return with_holes * tokens_a_row * (shape.layers * numbers.activation * shape.hidden + layer)
    return with_holes * tokens_a_row * shape.layers * layer


def _kept_values(shape: Shape, way: Way, tokens_a_row: float, numbers: Numbers) -> list[tuple[float, float]]:
    """(how many, bytes a token of each) of the values that one layer keeps."""
    every = way.targets == "all-linear"
    own = 0
    if way.method == "full":
        residual, inner = 6.0, 4
    else:
        residual, inner = (4.0, 4) if every else (3.0, 3)
        own = len(adapted(shape, way.targets)) if way.method in ("lora", "dora", "qlora") else 0
    # Norms and the residual stay in 32 bits where matrices are cast to 16, which are then copies of some of them.
    values = [
        (residual - 1 if numbers.cast else residual, 4.0 * shape.hidden),
        (4, numbers.activation * shape.attention_width),
        (inner, numbers.activation * shape.intermediate),
        (own, numbers.activation * way.rank),
    ]
    matrices = (1.5 if numbers.cast else 1.0, 4.0 * shape.heads * tokens_a_row)
    return [*values, matrices] if numbers.matrices else values


def head_bytes(shape: Shape, scored_tokens: float, numbers: Numbers) -> float:
    """Logits, their softmax and its gradient in 32 bits; computed in 16, the logits once more."""
    return scored_tokens * shape.vocabulary * (16.0 if numbers.cast else 12.0)


def largest_micro_batch(
    shape: Shape,
    way: Way,
    tokens_a_row: float,
    memory_bytes: float,
    numbers: Numbers = PLAIN,
    *,
    scored: float = 1.0,
    shards: int = 1,
) -> int:
    """Rows that fit at once into `USABLE` of so many bytes; 0 when not even one does."""
    fixed = training_memory(shape, way, 0, tokens_a_row, numbers, shards=shards)
    row = training_memory(shape, way, 1, tokens_a_row, numbers, scored=scored, shards=shards) - fixed
    return max(0, int((USABLE * memory_bytes - fixed) // row))
