"""Pairs kept from a reward model's training: which they are, how it scores them, and whether that will do.

The same questions are asked when it was trained and when people have reviewed more pairs since. Knows no trainer.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posttrain.artifacts import DatasetRef, file_digest
from posttrain.errors import DataError
from posttrain.evaluation.scores import Score
from posttrain.gates import Check, Outcome, Verdict

if TYPE_CHECKING:
    from posttrain.evaluation.pairwise import Pairs

GATE = "reward_model"

Row = dict[str, Any]
"""A pair: system, prompt, chosen, rejected."""


def split(rows: Sequence[Row], share: float, seed: int, where: str) -> tuple[list[Row], list[Row]]:
    """(pairs to train on, pairs held out): all pairs of a prompt go to one side, whatever the order of the rows.

    Prompts that differ in case, spacing and punctuation only are one. Raises: `DataError` with fewer than two prompts.
    """
    keys = [prompt_key(row) for row in rows]
    known = sorted(set(keys), key=lambda key: hashlib.sha256(f"{seed}:{key}".encode()).digest())
    if len(known) < 2:
        raise DataError(
            f"{where}: found pairs of {len(known)} prompts, expected at least 2, one to train on and one to hold out; "
            "give more pairs in data.preference"
        )
    kept = set(known[: min(len(known) - 1, max(1, math.ceil(share * len(known))))])
    sides: tuple[list[Row], list[Row]] = [], []
    for row, key in zip(rows, keys, strict=True):
        sides[key in kept].append(row)
    return sides


def prompt_key(row: Row) -> str:
    """What tells prompts apart: the words of instruction and prompt."""
    from posttrain.data.text.words import key

    return f"{key(row.get('system') or '')}\n{key(row['prompt'])}"


def asked(row: Row, side: str) -> tuple[str, str, str]:
    """System message, prompt and the answer of a side, `chosen` or `rejected`."""
    return str(row.get("system") or ""), str(row["prompt"]), str(row[side])


def scored(folder: Path, rows: Sequence[Row], max_length: int, swap: bool = False) -> Pairs:
    """The pairs with the model's scores; `swap`: the rejected answers are asked about first."""
    import numpy as np

    from posttrain.data.steps.scoring import rewards
    from posttrain.evaluation.pairwise import Pairs

    sides = ("rejected", "chosen") if swap else ("chosen", "rejected")
    given = [asked(row, side) for row in rows for side in sides]
    found = rewards(folder, given, max_length)[:, 0].astype(np.float64).reshape(-1, 2)
    scores = dict(zip(sides, found.T, strict=True))
    return Pairs(
        prompts=[prompt_key(row) for row in rows],
        chosen=[row["chosen"] for row in rows],
        rejected=[row["rejected"] for row in rows],
        chosen_scores=scores["chosen"],
        rejected_scores=scores["rejected"],
    )


def write_scores(rows: Sequence[Row], pairs: Pairs, partial: Path, final: Path) -> DatasetRef:
    """`held_out.parquet`: the pairs with chosen_score and rejected_score; the reference points to `final`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = {
        name: [str(row.get(name) or "") for row in rows] for name in ("id", "system", "prompt", "chosen", "rejected")
    }
    table = pa.table({**text, "chosen_score": pairs.chosen_scores, "rejected_score": pairs.rejected_scores})
    path = partial / "held_out.parquet"
    pq.write_table(table, path)
    return DatasetRef(uri=str(final / path.name), fingerprint=file_digest(path), rows=len(rows))


def judge(accuracy: Score, least: float, pairs: int, prompts: int) -> Verdict:
    """May the reward model be asked? Only when the whole interval of its accuracy lies above `least`."""
    outcome: Outcome = "passed" if accuracy.low > least else "too_few_rows" if accuracy.value > least else "refused"
    words = {
        "passed": f"is surely above {least:g}",
        "too_few_rows": f"is not surely above {least:g}: too few pairs to tell, or too little learned",
        "refused": f"is not above {least:g}",
    }
    reason = f"accuracy {accuracy} on {pairs:,} held-out pairs of {prompts:,} prompts {words[outcome]}"
    check = Check(
        metric="pairwise_accuracy",
        value=accuracy.value,
        low=accuracy.low,
        high=accuracy.high,
        requirement=f"lower end > {least:g}",
        outcome=outcome,
        reason=reason,
    )
    verb = {"passed": "passed", "too_few_rows": "too few rows to tell", "refused": "refused"}[outcome]
    return Verdict(name=GATE, checks=(check,), summary=f"{verb}: {reason}")
