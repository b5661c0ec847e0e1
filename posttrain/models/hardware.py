"""Which way of training some devices can carry, and how they share the work: S3's three hardware plans, by rule.

S3 gives plans for a 7B model on 4 × 80, 2 × 80 and 1 × 24 GB, and no arithmetic. This reads them as one rule.

*What alignment can be carried*, planned as S3 does: every weight trained, no model shared, all spread over the devices.

- A trained model takes 16 bytes a parameter (weights and gradients in 16 bits, master weights and Adam's moments in 32;
  arXiv 1910.02054), a frozen one 2.
- PPO has a policy and a value model to train, a reference and a reward model of the same size frozen: 36 bytes a
  parameter, and each device needs a whole policy (2 bytes) to generate with.
- DPO has a policy and a reference: 18.

*How far the base is quantised for SFT* follows from that, since one base serves the whole chain: where PPO fits, 16
bits; where DPO fits in three quarters of the memory, 8; where DPO is tight or nothing fits, 4. Where nothing fits the
micro-batch is one row and better SFT data takes the place of alignment.

This is careful: adapters that share one base need far less. What they need by `posttrain.models.memory` is said beside
each rule. Knows neither spec nor trainer, and reads no device.
"""

from __future__ import annotations

import re
from typing import Literal

from posttrain.artifacts import Frozen
from posttrain.errors import SpecError
from posttrain.models import memory
from posttrain.models.memory import Numbers, Way
from posttrain.models.recipe import Setting, Value
from posttrain.models.shape import Shape

Distribution = Literal["none", "ddp", "fsdp2", "deepspeed"]
Alignment = Literal["ppo", "dpo", "none"]

TRAINED_BYTES = 16.0
FROZEN_BYTES = 2.0
COMFORTABLE = 0.75
"""Share of the usable memory in which DPO must fit for 8 bits rather than 4, so that SFT may be repeated beside it."""

DEVICES = re.compile(r"(?P<count>[1-9]\d*) *[x×] *(?P<memory>\d+(\.\d+)?) *(GB)?( +(?P<name>\S.*))?", re.IGNORECASE)
KINDS = ((24, "L4"), (48, "L40"), (80, "A100"), (141, "H200"), (180, "B200"))
"""GB of memory → the kind that a device without a name is taken for: the slowest of those that have as much."""


class Devices(Frozen):
    """Devices of one kind; `memory_bytes` is what each has for a training."""

    kind: Literal["gpu", "cpu"]
    count: int
    memory_bytes: int
    name: str
    threads: int = 0

    @classmethod
    def parse(cls, text: str) -> Devices:
        """GPUs as people write them: "4x80", "1x24 NVIDIA L4". Raises: SpecError."""
        found = DEVICES.fullmatch(text.strip())
        if found is None:
            raise SpecError(f"devices: found {text!r}, expected COUNTxGB such as 4x80 or '1x24 L4', or cpu")
        gigabytes = float(found["memory"])
        name = found["name"] or next((kind for least, kind in reversed(KINDS) if gigabytes >= least), KINDS[0][1])
        return cls(kind="gpu", count=int(found["count"]), memory_bytes=int(gigabytes * 2**30), name=name)

    def shared_by(self, processes: int) -> Devices:
        """The same, with the memory that each process has: those on a CPU have one memory between them."""
        if self.kind == "gpu":
            return self
        return self.model_copy(update={"memory_bytes": self.memory_bytes // processes})

    @property
    def usable(self) -> float:
        """Bytes of one device that a plan may fill."""
        return memory.USABLE * self.memory_bytes

    def __str__(self) -> str:
        size = f"{self.memory_bytes / 2**30:.0f} GB"
        return f"{self.name}, {size}" if self.kind == "cpu" else f"{self.count} × {size} ({self.name})"


class Work(Frozen):
    """The SFT that is to be carried: what the spec and its recipe settled."""

    way: Way
    batch_size: int
    max_length: int
    bf16: bool
    micro_batch_size: int | None = None
    processes: int | None = None


class HardwarePlan(Frozen):
    """What the devices can carry, with reasons. `settings` tells it all; the other fields are what a run acts on."""

    devices: Devices
    distribution: Distribution
    processes: int
    largest_micro_batch: int
    """Rows a device holds at once; 0 when not even one fits."""
    memory_bytes: int
    """Estimated peak of one device in SFT, at the planned micro-batch."""
    alignment: Alignment
    quantisation: memory.Quantisation
    settings: tuple[Setting, ...]
    warning: str = ""

    def __getitem__(self, name: str) -> Value:
        """The value of a setting; `KeyError` when there is none of that name."""
        return {setting.name: setting.value for setting in self.settings}[name]


def plan(shape: Shape, devices: Devices, work: Work) -> HardwarePlan:
    """What `devices` can carry of a model of this shape. Raises: SpecError when a batch cannot be shared out evenly."""
    processes = work.processes or (devices.count if devices.kind == "gpu" else 1)
    devices = devices.shared_by(processes)
    numbers = Numbers.of(devices.kind, work.way.method, work.bf16, work.max_length, shape.parameters)
    alignment, tight, why_alignment = alignment_of(shape, devices, work)
    quantisation = _quantisation(devices, alignment, tight)
    distribution, largest = distribution_of(shape, devices, work, numbers, processes)
    if quantisation == "int4" and alignment == "none":
        largest = min(largest, 1)
    micro = work.micro_batch_size or share(work.batch_size, processes, max(1, largest))
    taken = _taken(shape, work, numbers, micro, distribution, processes)
    settings = (
        _devices_setting(devices),
        _setting("precision", "bfloat16" if work.bf16 else "float32", "what the devices compute fast", "transformers"),
        *_method_settings(shape, devices, work, quantisation),
        _setting("alignment", _alignment_words(alignment, tight), why_alignment, "S3"),
        _length_setting(shape, devices, work, numbers, distribution, processes),
        _micro_setting(work, micro, largest, quantisation, alignment),
        _setting("accumulation", work.batch_size // (micro * processes), _shared(work.batch_size, micro, processes)),
        _setting("distribution", distribution, _distribution_words(distribution, processes, devices)),
        _setting(
            "memory", f"{gigabytes(taken)} a device", f"of {gigabytes(devices.usable)} usable in SFT as the spec has it"
        ),
    )
    return HardwarePlan(
        devices=devices,
        distribution=distribution,
        processes=processes,
        largest_micro_batch=largest,
        memory_bytes=int(taken),
        alignment=alignment,
        quantisation=quantisation,
        settings=settings,
        warning="" if largest else _too_large(work, devices, taken),
    )


# --- what alignment can be carried -------------------------------------------------------------------------


def alignment_of(shape: Shape, devices: Devices, work: Work) -> tuple[Alignment, bool, str]:
    """The dearest alignment that fits by S3's account, whether it is tight, and why."""
    ppo, dpo = ppo_bytes(shape, devices, work), dpo_bytes(shape, devices, work)
    usable = devices.usable
    spread = "all weights trained and spread"
    account = f"of {gigabytes(usable)} usable a device, {spread}: PPO {gigabytes(ppo)}, DPO {gigabytes(dpo)}"
    if ppo <= usable:
        return "ppo", False, account
    adapters = _adapters_words(shape, devices, work)
    if dpo <= usable:
        return "dpo", dpo > COMFORTABLE * usable, f"{account}; {adapters}"
    return "none", True, f"{account}; {adapters}"


def ppo_bytes(shape: Shape, devices: Devices, work: Work) -> float:
    """Bytes a device for PPO: two trained, two frozen, a whole policy to generate with, 16 rows, caches (S3)."""
    frozen = FROZEN_BYTES if devices.kind == "gpu" else 4.0
    states = (2 * TRAINED_BYTES + 2 * frozen) * shape.parameters / devices.count
    whole = frozen * shape.parameters if devices.count > 1 else 0.0
    rows = max(1.0, 16 / devices.count)
    cache = 2 * frozen * shape.layers * shape.key_value_width * work.max_length
    return states + whole + rows * (cache + _row_bytes(shape, devices, work))


def dpo_bytes(shape: Shape, devices: Devices, work: Work) -> float:
    """Bytes a device for DPO: one model trained, one frozen, a pair at a time."""
    frozen = FROZEN_BYTES if devices.kind == "gpu" else 4.0
    return (TRAINED_BYTES + frozen) * shape.parameters / devices.count + 2 * _row_bytes(shape, devices, work)


def _row_bytes(shape: Shape, devices: Devices, work: Work) -> float:
    numbers = Numbers.of(devices.kind, "full", work.bf16, work.max_length, shape.parameters)
    return memory.kept_bytes(shape, Way("full"), work.max_length, numbers) + memory.head_bytes(
        shape, work.max_length, numbers
    )


def _adapters_words(shape: Shape, devices: Devices, work: Work) -> str:
    """What DPO with adapters takes, which share the base with their reference."""
    way = Way("qlora", work.way.rank, work.way.targets) if devices.kind == "gpu" else Way("lora", work.way.rank)
    numbers = Numbers.of(devices.kind, way.method, work.bf16, work.max_length, shape.parameters)
    need = memory.training_memory(shape, way, 2, work.max_length, numbers)
    verdict = "would fit all the same" if need <= devices.usable else "does not fit either"
    adapter = f"DPO of a {way.method} adapter, whose base is its reference"
    return f"S3 plans with care: {adapter}, takes {gigabytes(need)} and {verdict}"


def _alignment_words(alignment: Alignment, tight: bool) -> str:
    if alignment == "ppo":
        return "PPO or DPO"
    if alignment == "none":
        return "none: better SFT data instead"
    return "DPO, or SFT repeated" if tight else "DPO in place of PPO"


# --- method and quantisation -------------------------------------------------------------------------------


def _quantisation(devices: Devices, alignment: Alignment, tight: bool) -> memory.Quantisation:
    if devices.kind == "cpu" or alignment == "ppo":
        return "none"
    return "int4" if tight else "int8"


def _method_settings(
    shape: Shape, devices: Devices, work: Work, quantisation: memory.Quantisation
) -> tuple[Setting, Setting]:
    own = work.way.method
    method = {"int4": "qlora", "int8": "lora"}.get(quantisation, own)
    need = gigabytes(_whole(shape, devices, work, Way("lora", work.way.rank, work.way.targets)))
    full = _whole(shape, devices, work, Way("full"))
    if devices.kind == "cpu":
        why, also = "a CPU has no kernels for fewer bits", f"full training takes {gigabytes(full)}"
    elif quantisation == "none":
        why, also = "the machine carries the whole chain in 16 bits", f"full training takes {gigabytes(full)} unsharded"
    else:
        bits = {
            "int8": "DPO fits with room to spare (a run knows 16 and 4 bits only)",
            "int4": "the machine is tight for what follows SFT",
        }
        why = bits[quantisation]
        also = f"by the estimate LoRA over 16 bits takes {need} of {gigabytes(devices.usable)}: S3 plans with care"
    settled = "" if method == own else f"; the spec says {own}, which is what runs"
    return (
        _setting("method", method, f"{also}{settled}", "S3"),
        _setting("quantisation", quantisation, f"one base serves SFT and alignment: {why}", "S3"),
    )


def _whole(shape: Shape, devices: Devices, work: Work, way: Way) -> int:
    numbers = Numbers.of(devices.kind, way.method, work.bf16, work.max_length, shape.parameters)
    return memory.training_memory(shape, way, 1, work.max_length, numbers)


# --- how devices share the work ----------------------------------------------------------------------------


def distribution_of(
    shape: Shape, devices: Devices, work: Work, numbers: Numbers, processes: int
) -> tuple[Distribution, int]:
    """How the devices share one training, and the rows that one of them holds at once; 0 when nothing fits.

    One device needs no sharing. A whole copy on each is fastest (DDP); else everything is spread (FSDP2); else the
    fixed part lies in the machine's own memory (DeepSpeed ZeRO-3 with offload), a GPU's only.
    """

    def rows(shards: int, extra: float = 0.0) -> int:
        return memory.largest_micro_batch(
            shape, work.way, work.max_length, devices.memory_bytes - extra, numbers, shards=shards
        )

    copies = memory.bucket_bytes(shape, work.way) / memory.USABLE if processes > 1 else 0.0
    if whole := rows(1, copies):
        return "ddp" if processes > 1 else "none", whole
    spread_by = work.way.method != "qlora" and devices.kind == "gpu"
    if processes > 1 and spread_by and (spread := rows(processes)):
        return "fsdp2", spread
    if spread_by and (offloaded := rows(memory.OFFLOADED)):
        return "deepspeed", offloaded
    return "ddp" if processes > 1 else "none", 0


def share(batch_size: int, processes: int, largest: int) -> int:
    """The micro-batch: the largest divisor of a process's part of the batch that is at most `largest`.

    Raises: SpecError when the batch has no equal parts.
    """
    if batch_size % processes:
        fitting = max(count for count in range(1, processes + 1) if batch_size % count == 0)
        raise SpecError(
            f"batch_size: found {batch_size}, which {processes} processes cannot share evenly; expected a multiple of "
            f"{processes}; use {-(-batch_size // processes) * processes}, or resources.processes: {fitting}"
        )
    part = batch_size // processes
    return max(size for size in range(1, part + 1) if part % size == 0 and size <= max(1, largest))


def _taken(shape: Shape, work: Work, numbers: Numbers, micro: int, distribution: Distribution, processes: int) -> float:
    shards = {"fsdp2": processes, "deepspeed": memory.OFFLOADED}.get(distribution, 1)
    buckets = memory.bucket_bytes(shape, work.way) if distribution == "ddp" else 0.0
    return buckets + memory.training_memory(
        shape,
        work.way,
        micro,
        work.max_length,
        numbers,
        accumulates=work.batch_size > micro * processes,
        shards=shards,
    )


# --- in words ----------------------------------------------------------------------------------------------


def _setting(name: str, value: str | int, reason: str, source: str = "this project") -> Setting:
    return Setting(name=name, value=value, source=source, reason=reason)


def _devices_setting(devices: Devices) -> Setting:
    return _setting(
        "devices", str(devices), f"{gigabytes(devices.usable)} of each may be planned with", "given or found"
    )


def _length_setting(
    shape: Shape, devices: Devices, work: Work, numbers: Numbers, distribution: Distribution, processes: int
) -> Setting:
    """The spec's length, and the longest row (a power of two, within the model's positions) that fits alone."""
    shards = {"fsdp2": processes, "deepspeed": memory.OFFLOADED}.get(distribution, 1)
    longest = 0
    length = 8
    while length <= shape.positions:
        need = memory.training_memory(shape, work.way, 1, length, numbers, shards=shards)
        longest = length if need <= devices.usable else longest
        length *= 2
    reason = f"the spec's; a row of up to {longest:,} tokens fits alone" if longest else "the spec's"
    return _setting("max_length", work.max_length, reason)


def _micro_setting(
    work: Work, micro: int, largest: int, quantisation: memory.Quantisation, alignment: Alignment
) -> Setting:
    if work.micro_batch_size:
        return _setting("micro_batch_size", micro, "the spec says so")
    if quantisation == "int4" and alignment == "none":
        return _setting("micro_batch_size", micro, "one row where nothing but 4 bits is planned", "S3")
    return _setting("micro_batch_size", micro, f"{largest:,} rows of {work.max_length} tokens fit a device")


def _shared(batch_size: int, micro: int, processes: int) -> str:
    parts = f" / {processes} processes" if processes > 1 else ""
    return f"{batch_size} rows an update{parts} / {micro} at once"


def _distribution_words(distribution: Distribution, processes: int, devices: Devices) -> str:
    return {
        "none": "one device, one process",
        "ddp": f"each of {processes} processes holds a whole copy",
        "fsdp2": f"a whole copy does not fit; weights, gradients and moments are spread over {processes} devices",
        "deepspeed": "not even spread does it fit; weights and moments lie in the machine's own memory (ZeRO-3)",
    }[distribution]


def _too_large(work: Work, devices: Devices, taken: float) -> str:
    cure = "use method: qlora" if devices.kind == "gpu" and work.way.method != "qlora" else "lower sft.max_length"
    return (
        f"sft: one row of {work.max_length} tokens takes an estimated {gigabytes(taken)} of "
        f"{gigabytes(devices.usable)} usable on {devices}; {cure}, or take a smaller base"
    )


def gigabytes(count: float) -> str:
    """Bytes as people write them, in units of 2^30."""
    return f"{count / 2**30:.3g} GB"
