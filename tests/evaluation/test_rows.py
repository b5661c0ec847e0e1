"""Measured rows as files."""

from __future__ import annotations

from pathlib import Path

from pyarrow import parquet

from posttrain.evaluation.rows import write
from posttrain.evaluation.scoring import Scoring


def test_half_a_character_in_an_answer_stops_nothing(tmp_path: Path) -> None:
    """A model's JSON may escape half of an emoji, in a value or in a key; UTF-8 has no bytes for it."""
    row = {"id": "1", "system": "", "prompt": "p", "completion": '{"a": 1}'}
    output = '{"\\ud83d": "\\ud83d", "a": 1}'
    table = Scoring(kind="extraction").scored([row], [output])
    ref = write(table, tmp_path / "rows.parquet", tmp_path / "rows.parquet")
    (found,) = parquet.read_table(ref.uri).to_pylist()
    assert found["output"] == output
    assert found["parsed"] == '{"a": 1, "?": "?"}'
    assert found["structure"] == "{a: number, ?: text}"
