"""Held against what is known: two people's labels, and a set that others have de-duplicated."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from posttrain.data.engine import Local
from posttrain.data.steps.agreement import figures, sketch
from posttrain.data.steps.duplicates import Near
from posttrain.data.table import Table, TableWriter

# --- XSTest: how two people labelled the 356 answers of Llama 2 (1 full compliance, 2 full refusal, 3 partial refusal)

CONFUSION = {
    (1, 1): 136, (1, 2): 2, (1, 3): 2,
    (2, 1): 1, (2, 2): 177, (2, 3): 4,
    (3, 1): 4, (3, 2): 3, (3, 3): 27,
}  # fmt: skip


def labelled() -> list[tuple[int, int]]:
    return [pair for pair, count in CONFUSION.items() for _ in range(count)]


def test_xstest_agreement_is_what_the_hand_derives() -> None:
    """136 + 177 + 27 = 340 of 356 answers have one label twice: 0.955056.

    Krippendorff, nominal: of the 712 labels 140 + 141 = 281 are 1, 182 + 182 = 364 are 2, 34 + 33 = 67 are 3. Two
    labels drawn at random differ with 1 - (281 * 280 + 364 * 363 + 67 * 66) / (712 * 711) = 0.574832; observed
    16 / 356 = 0.044944; alpha = 1 - 0.044944 / 0.574832 = 0.921814.
    """
    ratings = [
        json.dumps([{"annotator": "one", "rating": first}, {"annotator": "two", "rating": second}])
        for first, second in labelled()
    ]
    found = figures([sketch(pl.DataFrame({"source": "x", "ratings": ratings}))], "nominal")
    assert found.same == pytest.approx(340 / 356, abs=1e-6)
    assert found.alpha == pytest.approx(0.921814, abs=1e-6)
    assert found.text() == "Krippendorff's alpha 0.92 (nominal): reliable"


def test_alpha_and_cohens_kappa_tell_the_same_story() -> None:
    """Kappa, by hand, from each person's own labels: 140, 182, 34 and 141, 182, 33.

    By chance (140 * 141 + 182 * 182 + 34 * 33) / 356^2 = 0.425972; kappa = (0.955056 - 0.425972) / (1 - 0.425972)
    = 0.921704. Alpha is a little above it: it pools the two people's labels and corrects for 356 being few.
    """
    from sklearn.metrics import cohen_kappa_score

    first, second = zip(*labelled(), strict=True)
    assert cohen_kappa_score(first, second) == pytest.approx(0.921704, abs=1e-6)


# --- GPTeacher's Toolformer set, de-duplicated by its authors

KNOWN = Path(__file__).resolve().parents[1] / "known_answers" / "toolformer.jsonl.gz"


def near(prompts: list[str], answers: list[str], threshold: float, folder: Path) -> np.ndarray:
    """Whether each row is kept."""
    rows = {"id": [str(number) for number in range(len(prompts))], "prompt": prompts, "completion": answers}
    with TableWriter(folder / "rows.parquet", tuple(rows)) as writer:
        writer.write(pl.DataFrame(rows))
    kept = np.ones(len(prompts), bool)
    kept[Near(threshold).search(Table(folder / "rows.parquet"), Local())["row"].to_numpy()] = False
    return kept


def published() -> tuple[list[str], list[str], list[str], np.ndarray]:
    """Instructions without the tool's description, whole instructions, answers; whether the authors kept them."""
    rows = [json.loads(line) for line in gzip.decompress(KNOWN.read_bytes()).splitlines()]
    whole = ["\n".join(filter(None, (row["instruction"], row["input"]))) for row in rows]
    asked = [
        "\n".join(filter(None, (row["instruction"].rsplit("\n", 1)[1], row["input"]))) for row in rows
    ]  # fmt: skip
    return asked, whole, [row["output"] for row in rows], np.array([row["kept_at_0.9"] for row in rows])


def test_what_we_drop_as_near_duplicates_its_authors_dropped_too(tmp_path: Path) -> None:
    """They compared answers only (ROUGE-L of at least 0.9), so they drop paraphrased prompts that we keep."""
    asked, _, answers, theirs = published()
    kept = near(asked, answers, 0.85, tmp_path)
    assert 20 < (~kept).sum() < (~theirs).sum()
    assert (~kept & ~theirs).sum() / (~kept).sum() > 0.9
    assert (kept & theirs).sum() / theirs.sum() > 0.99


def test_a_long_text_that_prompts_share_does_not_make_rows_near_duplicates(tmp_path: Path) -> None:
    _, whole, answers, theirs = published()
    kept = near(whole, answers, 0.85, tmp_path)
    assert (~kept & ~theirs).sum() / (~kept).sum() > 0.8
