"""The order of rows: a pure function of (seed, epoch), so that a resumed training sees what it would have seen.

Rows of like length share a batch, for less padding. Knows lengths only, never the rows.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence

from torch.utils.data import Sampler

MEGABATCH = 50


def order(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[int]:
    """Every row index once; consecutive runs of `batch_size` rows are the batches of the epoch.

    Shuffled, then sorted by length within megabatches of 50 batches, then the batches are shuffled. The incomplete
    batch stays last, and the batch with the longest row comes first in the first epoch, so that memory runs out at
    once or not at all.
    """
    rng = random.Random(f"{seed}:{epoch}")
    indices = rng.sample(range(len(lengths)), len(lengths))
    spare = len(indices) % batch_size
    whole, rest = indices[: len(indices) - spare], indices[len(indices) - spare :]
    batches: list[list[int]] = []
    for start in range(0, len(whole), MEGABATCH * batch_size):
        block = sorted(whole[start : start + MEGABATCH * batch_size], key=lambda row: lengths[row])
        batches += [block[first : first + batch_size] for first in range(0, len(block), batch_size)]
    rng.shuffle(batches)
    if epoch == 0 and batches:
        longest = max(
            range(len(batches)),
            key=lambda which: max(lengths[row] for row in batches[which]),
        )
        batches[0], batches[longest] = batches[longest], batches[0]
    return [row for batch in batches for row in batch] + rest


def padding_waste(lengths: Sequence[int], batch_size: int, micro_batch_size: int, seed: int, epochs: float) -> float:
    """Share of the tokens that training computes and that are padding; a micro-batch is as long as its longest row."""
    computed = useful = 0
    for epoch in range(math.ceil(epochs)):
        ordered = [lengths[row] for row in order(lengths, batch_size, seed, epoch)]
        for start in range(0, len(ordered), micro_batch_size):
            together = ordered[start : start + micro_batch_size]
            computed += max(together) * len(together)
            useful += sum(together)
    return 1 - useful / computed


class LengthGroupedSampler(Sampler[int]):
    """`order` as a sampler; `set_epoch` is called by the trainer before each pass.

    Filled up to a `multiple` with the index after the last row's, so that several processes have equal parts of the
    last batch. What is before the filling is the same for any multiple.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int, multiple: int = 1) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.filling = -len(lengths) % multiple
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths) + self.filling

    def __iter__(self) -> Iterator[int]:
        rows = order(self.lengths, self.batch_size, self.seed, self.epoch)
        return iter(rows + [len(self.lengths)] * self.filling)
