"""Several processes that share one training: which of them this is, and what they must agree on.

With one process all of it is trivial. Knows no model and no loss.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import distributed


def is_first() -> bool:
    """True in the one process that writes checkpoints, notes and the product."""
    return os.environ.get("RANK", "0") == "0"


def device_of_rank() -> int:
    """The number of this process's own device on this machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def together() -> bool:
    """True once several processes are connected."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def wait_for_all() -> None:
    """Go on when every process has come as far as this."""
    if together():
        distributed.barrier()


def as_the_first_says(answer: bool) -> bool:
    """The first process's answer, where clocks or disks may make the others think otherwise."""
    if not together():
        return answer
    place = torch.device("cuda", device_of_rank()) if torch.cuda.is_available() else torch.device("cpu")
    told = torch.tensor([int(answer)], device=place)
    distributed.broadcast(told, src=0)
    return bool(told.item())


def with_blank_row(dataset: Any, lengths: Sequence[int]) -> Any:
    """The rows and one more that the loss does not read: the shortest, with every label masked.

    Fills up the last batch where the processes would have unequal parts of it. It adds nothing to a loss that is the
    mean over the tokens read.
    """
    from datasets import concatenate_datasets

    shortest = min(range(len(lengths)), key=lambda row: lengths[row])
    blank = dataset.select([shortest]).map(
        lambda row: {"labels": [-100] * len(row["labels"])}, features=dataset.features
    )
    return concatenate_datasets([dataset, blank])
