"""Pairs: made of scored answers and of what people said, sifted, told. Small texts, figures worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posttrain.artifacts import DatasetRef, Workspace, file_digest
from posttrain.errors import DataError
from posttrain.spec import AlignSpec
from posttrain.spec.sections.length_bias import LengthBiasSpec
from posttrain.training.given import given_pairs
from posttrain.training.pairing import best_against_worst, likeness, sift, told
from posttrain.training.rows import read

ASKED = {"id": "1", "system": "", "prompt": "p"}


def pair(chosen: str, rejected: str) -> dict[str, Any]:
    return {**ASKED, "chosen": chosen, "rejected": rejected, "margin": 1.0}


def written(rows: list[dict[str, str]], path: Path) -> DatasetRef:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), path)
    return DatasetRef(uri=str(path), fingerprint=file_digest(path), rows=len(rows))


def test_the_largest_margins_come_first() -> None:
    """Of 3, 1 and 2 with a margin of 1 at least: 3-1 (2), then 3-2 and 2-1 (1 each), the earlier answer first."""
    found, near = best_against_worst(ASKED, ["a", "b", "c"], [3, 1, 2], 1, 9)
    assert [(one["chosen"], one["rejected"], one["margin"]) for one in found] == [
        ("a", "b", 2),
        ("a", "c", 1),
        ("c", "b", 1),
    ]
    assert not near
    assert len(best_against_worst(ASKED, ["a", "b", "c"], [3, 1, 2], 1, 1)[0]) == 1


def test_a_prompt_without_a_pair_is_kept_to_be_seen() -> None:
    assert best_against_worst(ASKED, ["a", "b"], [0.5, 0.45], 0.1, 1)[1] == [
        {**pair("a", "b"), "margin": pytest.approx(0.05), "rule": "min_margin", "value": "margin 0.05"}
    ]
    assert best_against_worst(ASKED, ["a", "b"], [1, 1], 0, 1)[1][0]["value"] == "margin 0"
    assert best_against_worst(ASKED, ["a"], [1], 0, 1)[1][0]["rule"] == "alone"


def test_each_rule_sets_aside_its_pair() -> None:
    long, same = pair("x" * 31, "y" * 10), pair(" Yes ", "yes")
    stay, aside = sift([pair("ab", "cd"), long, same], LengthBiasSpec(max_ratio=3), "chat")
    assert [one["chosen"] for one in stay] == ["ab"]
    assert [(one["rule"], one["value"]) for one in aside] == [
        ("length_ratio", "chosen is 3.1 times as long"),
        ("same_sides", "chosen and rejected are the same"),
    ]


def test_the_longer_answer_is_chosen_in_no_more_pairs_than_the_share() -> None:
    """Two pairs with a shorter chosen answer leave room for 2 · 0.6 / 0.4 = 3 with a longer one; the longest go."""
    longer = [pair("x" * length, "y" * 10) for length in (11, 50, 12, 13, 40)]
    others = [pair("x" * 9, "y" * 10)] * 2 + [pair("x" * 10, "y" * 10)]
    stay, aside = sift(longer + others, LengthBiasSpec(), "chat")
    assert [len(one["chosen"]) for one in stay] == [11, 12, 13, 9, 9, 10]
    assert [(len(one["chosen"]), one["rule"]) for one in aside] == [(50, "length_bias"), (40, "length_bias")]
    assert len(sift(longer, LengthBiasSpec(), "chat")[0]) == 3, "half of them stay, with nothing to weigh them against"
    assert not sift(longer + others, LengthBiasSpec(), "extraction")[1], "the complete JSON is rightly longer"
    assert not sift(longer + others, LengthBiasSpec(max_longer_share=1), "chat")[1]


@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), max_size=40),
    st.sampled_from([0.3, 0.5, 0.6, 0.9]),
)
@settings(max_examples=60, deadline=None)
def test_whatever_the_lengths_no_pair_is_lost_and_the_share_holds(lengths: list[tuple[int, int]], share: float) -> None:
    pairs = [pair("x" * better, "y" * worse) for better, worse in lengths]
    stay, aside = sift(pairs, LengthBiasSpec(max_longer_share=share), "chat")
    assert len(stay) + len(aside) == len(pairs)
    longer = sum(len(one["chosen"]) > len(one["rejected"]) for one in stay)
    shorter = sum(len(one["chosen"]) < len(one["rejected"]) for one in stay)
    assert longer <= max((longer + len(aside) + 1) // 2, share * (longer + shorter) + 1e-6)
    assert all(len(one["chosen"]) > len(one["rejected"]) for one in aside), "only those that are biased"


def test_figures_by_hand() -> None:
    """Overlap: "a b c" and "a c d" share "a c": 2 · 2 / (3 + 3); "x" and "y z w" nothing: mean 1/3."""
    found = told([pair("a b c", "a c d"), pair("x", "y z w")], [{**pair("", ""), "rule": "length_bias"}])
    assert likeness("a b c", "a c d") == pytest.approx(2 / 3)
    assert found["overlap"] == pytest.approx(1 / 3)
    assert (found["chosen_characters"], found["rejected_characters"]) == (3, 5)
    assert (found["kept"], found["chosen_longer"], found["dropped"]) == (2, 0, {"length_bias": 1})
    assert told([], [])["chosen_longer"] == 0.5


# --- what people said ----------------------------------------------------------------------------------------


def rated(prompt: str, completion: str, *ratings: float) -> dict[str, str]:
    said = [{"annotator": str(number), "rating": value} for number, value in enumerate(ratings)]
    row = {"id": completion, "system": "", "prompt": prompt, "completion": completion}
    return {**row, "ratings": json.dumps(said)}


RATED = [rated("p", "fine", 5, 4), rated("p", "poor", 2, 3), rated("p", "fair", 4, 4), rated("q", "lonely", 5),
         rated("r", "one", 4), rated("r", "two", 4.2)]  # fmt: skip


def test_ratings_make_pairs_of_one_prompts_answers(tmp_path: Path) -> None:
    """Means 4.5, 2.5 and 4: the best against the worst; 4 and 4.2 are nearer than half a point; one stands alone."""
    ref, workspace = written(RATED, tmp_path / "rated.parquet"), Workspace(tmp_path / "work")
    done = given_pairs(ref, AlignSpec(), "chat", workspace)
    result = done.result
    (made,) = read(result.pairs)
    assert (made["id"], made["chosen"], made["rejected"], made["margin"]) == ("fine", "fine", "poor", 2)
    assert (result.ranked_by, result.prompts, result.kept, result.no_margin) == ("ratings", 3, 1, 1)
    assert result.dropped == {"alone": 1, "min_margin": 1}
    assert [(row["chosen"], row["rule"]) for row in read(result.set_aside)] == [
        ("lonely", "alone"),
        ("two", "min_margin"),
    ]
    assert "overlap (ROUGE-L) 0.00. Set aside: 1 alone, 1 min margin." in result.words
    assert given_pairs(ref, AlignSpec(), "chat", workspace).reused
    assert given_pairs(ref, AlignSpec(pairs_per_prompt=2), "chat", workspace).result.kept == 2


def test_for_kto_ratings_and_labels_stay_single_answers(tmp_path: Path) -> None:
    """Good from S3's 4.0 on: the lonely answer, of no use in pairs, is learned from."""
    ref, workspace = written(RATED, tmp_path / "rated.parquet"), Workspace(tmp_path / "work")
    result = given_pairs(ref, AlignSpec(method="kto"), "chat", workspace).result
    labels = {row["completion"]: row["label"] for row in read(result.pairs)}
    assert labels == {"fine": "true", "poor": "false", "fair": "true", "lonely": "true", "one": "true", "two": "true"}
    assert result.words == "6 single answers, good or bad by ratings: 4 characters the good ones, 4 the bad."
    assert (result.kept, result.chosen_characters) == (6, pytest.approx(4))


def test_labels_make_pairs_of_a_good_and_a_bad_answer(tmp_path: Path) -> None:
    rows = [{"id": answer, "system": "", "prompt": prompt, "completion": answer, "label": label}
            for prompt, answer, label in [("p", "good", "true"), ("p", "bad", "false"), ("q", "well", "true"),
                                          ("q", "good too", "true")]]  # fmt: skip
    ref = written(rows, tmp_path / "labels.parquet")
    result = given_pairs(ref, AlignSpec(), "chat", Workspace(tmp_path / "work")).result
    assert [(row["chosen"], row["rejected"]) for row in read(result.pairs)] == [("good", "bad")]
    assert (result.ranked_by, result.dropped) == ("labels", {"min_margin": 1})


def test_given_pairs_go_through_the_same_filters(tmp_path: Path) -> None:
    rows = [{"id": str(number), "system": "", "prompt": "p", "chosen": "x" * length, "rejected": "y" * 5}
            for number, length in enumerate([20, 30, 4, 4])]  # fmt: skip
    ref, workspace = written(rows, tmp_path / "pairs.parquet"), Workspace(tmp_path / "work")
    strict = AlignSpec(length_bias=LengthBiasSpec(max_longer_share=0.34))
    result = given_pairs(ref, strict, "chat", workspace).result
    assert (result.ranked_by, result.kept, result.dropped) == ("people", 3, {"length_bias": 1})
    assert read(result.set_aside)[0]["id"] == "1"
    with pytest.raises(DataError, match="found columns id, expected chosen and rejected, ratings, or label"):
        given_pairs(written([{"id": "1"}], tmp_path / "x.parquet"), strict, "chat", workspace)
