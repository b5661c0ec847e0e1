"""Curation step: a linear classifier of good and bad rows, trained from examples that the user names.

Its features are words and pairs of words, punctuation and both ends of the answer among them, as in fastText, and three
relations that no word tells: how long the answer is, how much of the question it takes up, how much it repeats itself.
With these, answers to other questions are told from right ones (AUC 0.87 on 855 Alpaca answers; words alone: chance),
and cut ones from whole ones (0.94; words alone: 0.79).

Knows nothing of thresholds of rules; what is good, the examples say.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from posttrain.artifacts import digest, write_atomic
from posttrain.data import findings
from posttrain.data.load import read
from posttrain.data.steps.quality_features import FEATURES, matrix
from posttrain.data.text.prose import exempt
from posttrain.errors import DataError
from posttrain.spec.sections.data import Source
from posttrain.spec.sections.quality import QualitySpec

LEAST = 50
"""Examples on either side: fewer say nothing of the 1 % of good rows that may be lost."""
FOLDS = 5
STRENGTH = 30.0
"""Inverse strength of the L2 penalty (scikit-learn's C)."""
VERSION = 1
"""To be raised when the same examples make another classifier."""


@dataclass(frozen=True)
class Report:
    """What cross-validation says of the classifier; low and high are 95 % intervals.

    `caught` is the share of the bad examples that is dropped, `precision` that of bad ones among the dropped.
    """

    good: int
    bad: int
    auc: float
    auc_low: float
    auc_high: float
    drop_below: float
    review_below: float
    caught: float
    precision: float
    precision_low: float
    precision_high: float


@dataclass(frozen=True)
class Quality:
    """Drops rows that the classifier in `file` finds bad, and sends those to review of which it is unsure.

    JSON and code are not judged. Of preference pairs the chosen answer is.
    """

    file: str
    report: Report
    name: str = "quality"

    @property
    def reason(self) -> str:
        """What it sets aside, in words."""
        found = self.report
        return (
            "more like your bad examples than your good ones (a classifier that in cross-validation had an AUC of "
            f"{found.auc:.2f}, {found.auc_low:.2f} to {found.auc_high:.2f}, and would drop {found.caught:.0%} of "
            f"{found.bad:,} bad examples; {found.precision:.0%} of what it would drop was bad)"
        )

    @classmethod
    def make(cls, spec: QualitySpec, root: Path, store: Path) -> Quality:
        """Train the classifier, unless the folder `store` has it; paths of examples start at `root`.

        Raises: `DataError` for examples that cannot be read or are too few, and when it cannot tell good from bad.
        """
        good, bad = (_examples(paths, root, side) for side, paths in (("good", spec.good), ("bad", spec.bad)))
        both = good.join(bad, on=["prompt", "answer"], how="semi")
        good, bad = (side.join(both, on=["prompt", "answer"], how="anti") for side in (good, bad))
        for side, rows in (("good", good), ("bad", bad)):
            if rows.height < LEAST:
                raise DataError(
                    f"curate.quality.{side}: found {rows.height} distinct examples that are not on the other side too, "
                    f"expected at least {LEAST}; add examples"
                )
        made = digest([VERSION, spec, good.rows(), bad.rows()])
        file = store / f"quality-{made}.npz"
        if not file.exists() or not file.with_suffix(".json").exists():
            _train(good, bad, spec, file)
        return cls(str(file), Report(**json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))))

    def find(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Findings about a batch: the value is the probability of being good."""
        answers = rows["chosen" if "chosen" in rows.columns else "completion"]
        judged = (~exempt(answers)).arg_true()
        if not len(judged):
            return findings.none()
        scores = probabilities(self.file, rows["prompt"].gather(judged), answers.gather(judged))
        low = np.flatnonzero(scores < max(self.report.drop_below, self.report.review_below))
        drop = scores[low] < self.report.drop_below
        limits = np.where(drop, self.report.drop_below, self.report.review_below)
        return findings.findings(
            judged.gather(low).cast(pl.Int64),
            [f"quality {score:.3f}" for score in scores[low]],
            [f"at least {limit:.3f}" for limit in limits],
            verdict=["drop" if dropped else "review" for dropped in drop],
        )


def probabilities(file: str, prompts: pl.Series, answers: pl.Series) -> np.ndarray:
    """How likely each answer is to be good (float64, 0 to 1), by the classifier in a file."""
    weights, intercept = _loaded(file)
    return np.asarray(_sigmoid(matrix(prompts, answers) @ weights + intercept))


@lru_cache(maxsize=4)
def _loaded(file: str) -> tuple[np.ndarray, float]:
    """(a weight for each feature, intercept). Raises: `DataError`."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            weights = np.zeros(FEATURES)
            weights[stored["places"]] = stored["weights"]
            return weights, float(stored["intercept"])
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise DataError(f"{file}: is no classifier of ours ({error}); remove it and run again") from error


def _examples(paths: Sequence[str], root: Path, side: str) -> pl.DataFrame:
    """(prompt, answer) of the distinct examples in files, in their order."""
    found = [pl.DataFrame(schema={"prompt": pl.String, "answer": pl.String})]
    try:
        for frame in read([Source(path=path) for path in paths], root, "general"):
            rows = frame.filter(pl.col("problem_rule") == "")
            answer = "chosen" if "chosen" in rows.columns else "completion"
            found.append(rows.select("prompt", pl.col(answer).alias("answer")))
    except DataError as error:
        raise DataError(str(error).replace("data.general", f"curate.quality.{side}")) from error
    return pl.concat(found).unique(maintain_order=True)


# --- training ----------------------------------------------------------------------------------------------------


def _train(good: pl.DataFrame, bad: pl.DataFrame, spec: QualitySpec, file: Path) -> None:
    """Write the classifier and, beside it, its report as JSON. Raises: `DataError` below `spec.min_auc`."""
    rows = pl.concat([good, bad])
    is_good = np.arange(rows.height) < good.height
    features = matrix(rows["prompt"], rows["answer"])
    report = _report(_out_of_fold(features, is_good, rows["prompt"]), is_good, spec)
    if report.auc < spec.min_auc:
        raise DataError(
            f"curate.quality: found an AUC of {report.auc:.2f} ({report.auc_low:.2f} to {report.auc_high:.2f}) in "
            f"cross-validation, expected at least {spec.min_auc:g}: the classifier cannot tell the good examples from "
            "the bad ones; give more or clearer examples, or leave out curate.quality"
        )
    fitted = _fitted(features, is_good)
    weights = fitted.coef_[0].astype(np.float32)
    places = np.flatnonzero(weights)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as stream:
        np.savez_compressed(stream, places=places, weights=weights[places], intercept=fitted.intercept_[0])
    write_atomic(file.with_suffix(".json"), json.dumps(asdict(report), indent=2) + "\n")


def _fitted(features: Any, is_good: np.ndarray) -> Any:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=1000, solver="liblinear", random_state=0)
    return model.fit(features, is_good)


def _out_of_fold(features: Any, is_good: np.ndarray, prompts: pl.Series) -> np.ndarray:
    """Each example's probability of being good, by a classifier that saw no example of the same prompt."""
    from sklearn.model_selection import StratifiedGroupKFold

    groups = prompts.rank("dense").to_numpy()
    if groups.max() < LEAST:  # texts alone, or one instruction for all
        groups = np.arange(len(groups))
    scores = np.zeros(len(is_good))
    for seen, held in StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0).split(features, is_good, groups):
        fitted = _fitted(features[seen], is_good[seen])
        scores[held] = _sigmoid(fitted.decision_function(features[held]))
    return scores


def _report(scores: np.ndarray, is_good: np.ndarray, spec: QualitySpec) -> Report:
    good, bad = scores[is_good], scores[~is_good]
    auc, low, high = area(good, bad)
    drop = float(np.quantile(good, spec.good_lost)) if spec.drop_below is None else spec.drop_below
    review = float(np.quantile(good, min(1, spec.good_lost + spec.good_reviewed)))
    review = max(drop, review if spec.review_below is None else spec.review_below)
    hits, dropped = int((bad < drop).sum()), int((scores < drop).sum())
    precision = hits / dropped if dropped else 1.0
    return Report(len(good), len(bad), auc, low, high, drop, review, hits / len(bad), precision, *wilson(hits, dropped))


def area(good: np.ndarray, bad: np.ndarray) -> tuple[float, float, float]:
    """The share of pairs (good, bad) in which the good one has the higher score, and its 95 % interval.

    Ties count half. The interval is that of Hanley and McNeil (1982).
    """
    ordered = np.sort(bad)
    below, upto = (np.searchsorted(ordered, good, side=side) for side in ("left", "right"))
    auc = float((below + upto).sum() / 2 / (len(good) * len(bad)))
    one, two = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    spread = auc * (1 - auc) + (len(good) - 1) * (one - auc**2) + (len(bad) - 1) * (two - auc**2)
    margin = 1.96 * np.sqrt(max(0.0, spread) / (len(good) * len(bad)))
    return auc, max(0.0, auc - float(margin)), min(1.0, auc + float(margin))


def wilson(hits: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share of `hits` in `count` (Wilson 1927); (0, 1) when nothing was counted."""
    if not count:
        return 0.0, 1.0
    z = 1.96
    middle = (hits + z**2 / 2) / (count + z**2)
    margin = z / (count + z**2) * np.sqrt(hits * (count - hits) / count + z**2 / 4)
    return float(middle - margin), float(middle + margin)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -500, 500))))
