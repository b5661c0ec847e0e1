"""Which rows are shown, and what is marked in them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
from reports import Page, outputs, scores

from posttrain import report
from posttrain.artifacts import DatasetRef
from posttrain.evaluation.scores import Scores
from posttrain.report.differences import marked


def test_side_by_side_shows_mistakes_then_differences_then_agreement(tmp_path: Path) -> None:
    """20 rows: the last model is wrong in r0-r9, right alone in r10-r14, right with the first in r15-r19."""
    first = outputs(tmp_path, "base", [False] * 15 + [True] * 5)
    last = outputs(tmp_path, "sft", [False] * 10 + [True] * 10)
    rows = report.side_by_side({"Base": first, "SFT": last}, rows=12)
    verdicts = [(row.right["Base"], row.right["SFT"]) for row in rows]
    assert verdicts == [(False, False)] * 6 + [(False, True)] * 4 + [(True, True)] * 2
    assert rows[0].outputs == {"Base": "base 0", "SFT": "sft 0"}
    assert rows == report.side_by_side({"Base": first, "SFT": last}, rows=12)


def test_side_by_side_keeps_to_rows_that_all_answered(tmp_path: Path) -> None:
    first = outputs(tmp_path, "base", [True, True, True], skip=1)
    last = outputs(tmp_path, "sft", [True, True, True])
    assert [row.prompt for row in report.side_by_side({"Base": first, "SFT": last})] == ["prompt 0", "prompt 2"]
    assert report.side_by_side({}) == ()


def answers(folder: Path, name: str, rows: list[dict[str, object]]) -> Scores:
    """Scores over outputs as measuring leaves them, here with the columns given."""
    path = folder / f"{name}.parquet"
    parquet.write_table(arrow.Table.from_pylist(rows), path)
    return scores(0.5, DatasetRef(uri=str(path), fingerprint=name, rows=len(rows)))


def test_wins_losses_and_ties_are_counted_and_losses_come_first(tmp_path: Path) -> None:
    """Rows 0-11: base wrong, SFT right in 0-9; 12-19: base right, SFT wrong in 12, 13. So 10 won, 2 lost, 2 wrong and
    6 right in both. McNemar's exact p of 10 against 2: 2 × (1 + 12 + 66) / 4096 = 0.0386."""
    base = outputs(tmp_path, "base", [False] * 12 + [True] * 8)
    sft = outputs(tmp_path, "sft", [True] * 10 + [False] * 4 + [True] * 6)
    found = report.compare_outputs("Base", base, "SFT", sft)
    assert found is not None
    assert (found.wins, found.losses, found.both_right, found.both_wrong, found.compared) == (10, 2, 6, 2, 20)
    assert found.p_value == pytest.approx(0.0386, abs=1e-4)
    assert [row.change for row in found.rows] == ["loss"] * 2 + ["win"] * 10
    assert found.rows[0].outputs == {"Base": "base 12", "SFT": "sft 12"}
    assert found.metric == "exact_match"
    assert found == report.compare_outputs("Base", base, "SFT", sft)


def test_at_most_twenty_changed_rows_half_of_them_losses(tmp_path: Path) -> None:
    base = outputs(tmp_path, "base", [True] * 30 + [False] * 30)
    sft = outputs(tmp_path, "sft", [False] * 30 + [True] * 30)
    found = report.compare_outputs("Base", base, "SFT", sft)
    assert found is not None
    assert [row.change for row in found.rows] == ["loss"] * 10 + ["win"] * 10
    only_losses = report.compare_outputs("A", sft, "B", outputs(tmp_path, "worse", [False] * 60))
    assert only_losses is not None
    assert [row.change for row in only_losses.rows] == ["loss"] * 20


def test_only_rows_asked_alike_are_compared(tmp_path: Path) -> None:
    """Row r1 is missing in the first; r2 has another prompt in the second, though its id is the same."""
    first = outputs(tmp_path, "first", [True, True, True], skip=1)
    rows = parquet.read_table(outputs(tmp_path, "second", [True, False, False]).outputs.uri).to_pylist()
    rows[2]["prompt"] = "another"
    found = report.compare_outputs("A", first, "B", answers(tmp_path, "second", rows))
    assert found is not None
    assert (found.compared, found.only_before, found.only_after) == (1, 1, 2)
    gone = first.model_copy(update={"outputs": DatasetRef(uri="/nowhere.parquet", fingerprint="x", rows=1)})
    assert report.compare_outputs("A", gone, "B", first) is None
    half = tmp_path / "half.parquet"
    half.write_bytes(Path(first.outputs.uri).read_bytes()[:-9])
    cut = first.model_copy(update={"outputs": DatasetRef(uri=str(half), fingerprint="x", rows=1)})
    assert report.compare_outputs("A", cut, "B", first) is None


def test_where_no_answer_is_right_in_full_a_graded_metric_counts(tmp_path: Path) -> None:
    rows = [{"id": str(i), "prompt": "p", "expected": "e", "output": "o", "exact_match": 0.0} for i in range(3)]
    first = answers(tmp_path, "a", [{**row, "token_f1": 0.4} for row in rows])
    second = answers(
        tmp_path, "b", [{**row, "token_f1": value} for row, value in zip(rows, (0.5, 0.4, 0.1), strict=True)]
    )
    found = report.compare_outputs("A", first, "B", second)
    assert found is not None
    assert (found.metric, found.wins, found.losses, found.ties, found.p_value) == ("token_f1", 1, 1, 1, None)
    assert found.rows[0].values == {"A": 0.4, "B": 0.1}


@pytest.mark.parametrize(
    ("first", "second", "left", "right"),
    [
        ("play some jazz", "play some rock", ["jazz"], ["rock"]),
        ("same", "same", [], []),
        ("", "new", [], []),
        ("nothing alike here", '{"intent": "PlayMusic"}', [], []),
        ('{"a": 1}', '{"a": 2, "b": 3}', ["1"], ['2, "b": 3']),
    ],
)
def test_differing_words_are_marked(first: str, second: str, left: list[str], right: list[str]) -> None:
    ours, theirs = marked(first, second)
    assert "".join(text for text, _ in ours) == first
    assert "".join(text for text, _ in theirs) == second
    assert [text for text, differs in ours if differs] == left
    assert [text for text, differs in theirs if differs] == right


def test_changes_are_on_the_page_with_their_marks(full: report.ReportInput, tmp_path: Path) -> None:
    found = report.compare_outputs(
        "Base", outputs(tmp_path, "base", [True, False]), "SFT", outputs(tmp_path, "sft", [False, True])
    )
    assert found is not None
    page = Page(report.render(full.model_copy(update={"changes": (found,)})))
    assert "1 won 1 lost 0 alike of 2 test rows that both answered, counted by exact match; 2 outputs" in page.text
    assert page.text.index("lost prompt 0") < page.text.index("won prompt 1")
    assert "SFT ✗ wrong sft 0" in page.text
    assert sum(tag == "mark" for tag, _ in page.tags) == 4
