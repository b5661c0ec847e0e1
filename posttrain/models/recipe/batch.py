"""How many rows an update reads, and how many of them are on a device at once."""

from __future__ import annotations

from posttrain.models.recipe.setting import Setting, choose

FEW_PAIRS = 1_000
"""Below so many pairs a batch is half as large."""


def batch_of_pairs(given: int | None, pairs: int) -> Setting:
    """Pairs an update, of DPO and of a reward model alike."""
    size = 16 if pairs < FEW_PAIRS else 32
    return choose("batch_size", given, size, "this project", f"{pairs:,} pairs leave enough updates")


def micro_batch(given: int | None, batch: int, largest: int | None, processes: int = 1) -> tuple[Setting, Setting]:
    """Rows of a `batch` on each of the processes at once: the largest divisor within `largest`; and how often."""
    part = max(1, batch // processes)
    limit = given or largest or part
    size = max(divisor for divisor in range(1, part + 1) if part % divisor == 0 and divisor <= limit)
    reason = "what the memory holds, as a divisor of the batch" if largest else "the whole batch at once"
    shared = f" / {processes} processes" if processes > 1 else ""
    if given:
        reason = (
            "the spec says so"
            if size == given
            else f"the largest divisor of batch_size {batch} up to the spec's {given}"
        )
    return (
        Setting(
            name="micro_batch_size", value=size, source="this project", reason=reason, overridden=given is not None
        ),
        Setting(
            name="accumulation",
            value=max(1, batch // (size * processes)),
            source="arithmetic",
            reason=f"{batch} rows an update{shared} / {size} at once",
        ),
    )
