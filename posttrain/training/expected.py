"""The memory that this very training should take, to stand beside what it took: from its rows and its model's size.

Knows the job and the rows' lengths; nothing of the trainer's inside.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from typing import Any

from posttrain.errors import ModelError
from posttrain.models.estimate import PROCESS_BYTES
from posttrain.models.memory import Numbers, Way, bucket_bytes, kernel_bytes, training_memory
from posttrain.models.shape import shape_of
from posttrain.training.job import TrainingJob


def expected_memory(job: TrainingJob, config: Mapping[str, Any], rows: Any, lengths: Sequence[int], kind: str) -> int:
    """Peak bytes of one process on a "cpu" or a "gpu"; 0 where the model does not say its size, or rows have no labels.

    The first batch holds the longest rows, so they decide.
    """
    if "labels" not in rows.column_names:
        return 0
    try:
        shape = shape_of(config)
    except ModelError:
        return 0
    longest = heapq.nlargest(job.micro_batch_size, range(len(lengths)), key=lambda row: lengths[row])
    read = sum(label != -100 for row in rows.select(longest)["labels"] for label in row)
    width = lengths[longest[0]]
    way = Way(job.method, job.lora_rank, job.lora_targets)
    numbers = Numbers.of(kind, job.method, job.bf16, job.max_length, shape.parameters)
    batches = math.ceil(len(lengths) * job.num_train_epochs / (job.micro_batch_size * job.processes))
    not_met = kernel_bytes(numbers) - kernel_bytes(numbers, min(batches, len(set(lengths))))
    step = training_memory(
        shape,
        way,
        len(longest),
        width,
        numbers,
        scored=read / (len(longest) * width),
        accumulates=job.accumulation > 1,
        shards=job.processes if job.distribution == "fsdp2" else 1,
    )
    buckets = bucket_bytes(shape, way) if job.distribution == "ddp" else 0.0
    return int(step - not_met + buckets + (PROCESS_BYTES if kind == "cpu" else 0))
