"""Best of K: of several completions of one prompt, the best by a reward function stay (rejection sampling, S1).

For a teacher's samples, and for a file that holds several completions a prompt. All others are set aside with their
rewards. Knows nothing of where completions come from.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial

import polars as pl

from posttrain.data import findings
from posttrain.data.engine import Engine
from posttrain.data.synthetic.reward_file import Reward, rewards
from posttrain.data.table import Table

_SEEN = {"row": pl.Int64, "id": pl.String, "prompt": pl.UInt64, "reward": pl.Float64}


@dataclass(frozen=True)
class BestOf:
    """A `TableStep`. Of the rows with one system message, prompt and earlier turns, the `keep` best stay.

    Of equal rewards, the earlier row is the better. A prompt whose best completion is rewarded less than `at_least`
    loses all; so does a row to which the function gives no reward. `reward` must pickle for several workers:
    `RewardFile`, or a function of an importable module.
    """

    reward: Reward
    at_least: float | None = None
    keep: int = 1

    @property
    def name(self) -> str:
        """The rule's name."""
        return "best_of"

    @property
    def reason(self) -> str:
        """What it sets aside, in words."""
        kept = "the best completion" if self.keep == 1 else f"the {self.keep} best completions"
        least = "" if self.at_least is None else f", rewarded {self.at_least:g} or more"
        return f"another completion of the prompt is rewarded more; {kept} of each stay{least}"

    def search(self, table: Table, engine: Engine) -> pl.DataFrame:
        """See `TableStep.search`: one pass; some 50 bytes a row stay in memory. Raises `DataError` (see `rewards`)."""
        seen = list(engine.map(partial(_judge, self.reward), table.batches()))
        return self._chosen(pl.concat(seen) if seen else pl.DataFrame(schema=_SEEN))

    def among(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The same for rows that are all in memory; `row` counts within them. All rows of a prompt must be there."""
        numbered = rows.with_columns(pl.int_range(rows.height, dtype=pl.Int64).alias(Table.INDEX))
        return self._chosen(_judge(self.reward, numbered))

    def _chosen(self, seen: pl.DataFrame) -> pl.DataFrame:
        """Findings about all rows but the chosen, from (row, id, prompt's digest, reward)."""
        order = seen.sort(["prompt", "reward", "row"], descending=[False, True, False], nulls_last=True)
        ranked = order.with_columns(
            rank=pl.int_range(pl.len()).over("prompt"),
            best=pl.col("reward").first().over("prompt"),
            twin=pl.col("id").first().over("prompt"),
        )
        enough = pl.col("reward") >= self.at_least if self.at_least is not None else pl.col("reward").is_not_null()
        lost = ranked.filter(~((pl.col("rank") < self.keep) & enough).fill_null(False)).sort("row")
        return findings.findings(
            lost["row"],
            [_found(reward, best) for reward, best in lost.select("reward", "best").iter_rows()],
            self._wanted(),
            [twin if rank else "" for twin, rank in lost.select("twin", "rank").iter_rows()],
        )

    def _wanted(self) -> str:
        best = "the best of its prompt" if self.keep == 1 else f"among the {self.keep} best of its prompt"
        return best if self.at_least is None else f"{best}, at least {self.at_least:g}"


def _found(reward: float | None, best: float | None) -> str:
    if reward is None:
        return "no reward"
    return f"reward {reward:.6g}, the best {best:.6g}"


def _judge(reward: Reward, rows: pl.DataFrame) -> pl.DataFrame:
    """Of each row: its position, its id, a digest of what it answers, its reward."""
    return pl.DataFrame(
        {
            "row": rows[Table.INDEX],
            "id": rows["id"],
            "prompt": [_digest(*texts) for texts in rows.select(_asked(rows)).iter_rows()],
            "reward": rewards(reward, rows),
        },
        schema=_SEEN,
    )


def _asked(rows: pl.DataFrame) -> list[str]:
    return [name for name in ("system", "prompt") if name in rows.columns]


def _digest(*texts: str) -> int:
    """Sixty-four bits: two of five million prompts collide once in a million runs."""
    return int.from_bytes(hashlib.blake2b("\x1f".join(texts).encode(), digest_size=8).digest(), "little")
