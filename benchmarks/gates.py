"""How often the release gate is wrong: synthetic champions and challengers of which the truth is known.

    python benchmarks/gates.py [--quick] [--pairs 2000] [--rows 700]

Each pair answers the same rows, of which some are hard for both. Some are right for one of them only (10 %), and how
these are shared out is the truth: a challenger is *better*, *no better*, *worse*, or *forgetful*: better at the task,
while general text surprises it a fifth more. Every pair goes through `posttrain.gates.judge`, as at a release: the task
must be significantly better than the champion's, general ability no worse by over a tenth. Beside it stands the rule
that many use: the higher mean wins. The last line printed is one JSON object:

- `false_promotion_rate`: share of challengers promoted that are no better, worse or forgetful; at most 0.05 by design
- `false_promotion_of_equals`: the same among those that are no better, the hardest to tell
- `power`: share of better challengers promoted; their gain is the one that so many rows show four times in five
- `naive_false_promotion_rate`, `naive_power`: the same of the rule that the higher mean wins
- `said_too_few_rows`: share of better challengers not promoted of whom the gate said that the rows were too few to tell
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as arrow
from numpy.typing import NDArray
from pyarrow import parquet

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from posttrain.artifacts import DatasetRef, ModelRef  # noqa: E402
from posttrain.evaluation.metrics import METRICS  # noqa: E402
from posttrain.evaluation.scores import Score, Scores  # noqa: E402
from posttrain.gates import judge  # noqa: E402
from posttrain.spec.sections.gates import Gate  # noqa: E402

RIGHT_FOR_ONE = 0.10
HARD_FOR_BOTH = 0.25
GENERAL_ROWS = 200
TOKENS = 50.0
GATES = [
    Gate(metric="exact_match", above="champion", significant=True),
    Gate(metric="perplexity", not_worse_than="champion", margin=0.1, relative=True),
]
TRUTHS = ("better", "no better", "worse", "forgetful")


@dataclass(frozen=True)
class Pair:
    """What champion and challenger did: right or wrong a row, and how much general text surprised them (nats)."""

    champion: NDArray[np.float64]
    challenger: NDArray[np.float64]
    champion_nats: NDArray[np.float64]
    challenger_nats: NDArray[np.float64]


def designed_gain(rows: int) -> float:
    """The gain that so many rows show four times in five: 2.8 standard errors of the paired difference."""
    return float(2.8 * np.sqrt(RIGHT_FOR_ONE / rows))


def drawn(truth: str, rows: int, rng: np.random.Generator) -> Pair:
    """One pair of which `truth` holds."""
    gain = {"better": designed_gain(rows), "no better": 0.0, "worse": -0.02, "forgetful": designed_gain(rows)}[truth]
    ours, theirs = (RIGHT_FOR_ONE + gain) / 2, (RIGHT_FOR_ONE - gain) / 2
    kind = rng.choice(4, size=rows, p=[ours, theirs, HARD_FOR_BOTH, 1 - RIGHT_FOR_ONE - HARD_FOR_BOTH])
    difficulty = rng.normal(2.0, 0.5, GENERAL_ROWS)
    forgotten = np.log(1.2) if truth == "forgetful" else 0.0
    nats = [TOKENS * (difficulty + rng.normal(0, 0.1, GENERAL_ROWS) + more) for more in (0.0, forgotten)]
    return Pair(
        champion=np.isin(kind, (1, 3)).astype(float), challenger=np.isin(kind, (0, 3)).astype(float),
        champion_nats=nats[0], challenger_nats=nats[1],
    )  # fmt: skip


def scores(name: str, right: NDArray[np.float64], nats: NDArray[np.float64], folder: Path) -> Scores:
    """A model's outputs as measuring would leave them."""
    outputs = {"id": list(map(str, range(len(right)))), "exact_match": right}
    general = {
        "id": list(map(str, range(len(nats)))),
        "negative_log_likelihood": nats,
        "tokens": np.full(len(nats), TOKENS),
    }
    refs = []
    for kind, columns in (("outputs", outputs), ("general", general)):
        path = folder / f"{name}-{kind}.parquet"
        parquet.write_table(arrow.table(columns), path)
        refs.append(DatasetRef(uri=str(path), fingerprint=name, rows=len(columns["id"])))
    values = {
        "exact_match": float(right.mean()),
        "perplexity": float(METRICS["perplexity"].total(np.array([nats.sum(), TOKENS * len(nats)]), len(nats))),
    }
    return Scores(
        model=ModelRef(base=name, fingerprint=name),
        split="test",
        prompting="zero-shot",
        rows=len(right),
        metrics={metric: Score(value=value, low=value, high=value) for metric, value in values.items()},
        outputs=refs[0],
        general=refs[1],
        seconds=0,
    )


def outcomes(truths: Sequence[str], rows: int, seed: int) -> tuple[Counter[tuple[str, str]], Counter[tuple[str, bool]]]:
    """How often each truth met each outcome of the gate, and how often the higher mean won."""
    rng = np.random.default_rng(seed)
    gated: Counter[tuple[str, str]] = Counter()
    naive: Counter[tuple[str, bool]] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for number, truth in enumerate(truths):
            pair = drawn(truth, rows, rng)
            champion = scores("champion", pair.champion, pair.champion_nats, Path(folder))
            challenger = scores("challenger", pair.challenger, pair.challenger_nats, Path(folder))
            verdict = judge("release", GATES, challenger, {"champion": champion}, 2000, seed=number)
            gated[truth, verdict.outcome] += 1
            naive[truth, bool(pair.challenger.mean() > pair.champion.mean())] += 1
    return gated, naive


def figures(truths: Sequence[str], rows: int, seed: int) -> dict[str, float]:
    """The keys of the last line."""
    gated, naive = outcomes(truths, rows, seed)
    count = Counter(truths)
    wrong = [truth for truth in TRUTHS if truth != "better"]
    undeserving = sum(count[truth] for truth in wrong)
    kept = gated["better", "refused"] + gated["better", "too_few_rows"]
    for truth in TRUTHS:
        promoted = gated[truth, "passed"] / count[truth]
        print(f"  {truth}: {count[truth]} pairs, promoted {promoted:.1%}, by the higher mean "
              f"{naive[truth, True] / count[truth]:.1%}")  # fmt: skip
    return {
        "false_promotion_rate": sum(gated[truth, "passed"] for truth in wrong) / undeserving,
        "false_promotion_of_equals": gated["no better", "passed"] / count["no better"],
        "power": gated["better", "passed"] / count["better"],
        "naive_false_promotion_rate": sum(naive[truth, True] for truth in wrong) / undeserving,
        "naive_power": naive["better", True] / count["better"],
        "said_too_few_rows": gated["better", "too_few_rows"] / max(1, kept),
    }


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="80 pairs; figures are rough")
    options.add_argument("--pairs", type=int, default=2000)
    options.add_argument("--rows", type=int, default=700, help="test rows, as the default pipeline has")
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    pairs = 80 if chosen.quick else chosen.pairs
    print(f"{pairs:,} pairs of {chosen.rows:,} rows; a better one gains {designed_gain(chosen.rows):.3f}", flush=True)
    found = figures([TRUTHS[number % len(TRUTHS)] for number in range(pairs)], chosen.rows, chosen.seed)
    print(json.dumps({key: round(value, 4) for key, value in found.items()}))


if __name__ == "__main__":
    main()
