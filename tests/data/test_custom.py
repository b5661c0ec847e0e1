"""Curation steps of the user's own: what they may return, and what they are told when they fail."""

from __future__ import annotations

import pickle
from pathlib import Path

import polars as pl
import pytest

from posttrain.data.custom import load_steps
from posttrain.errors import DataError

ROWS = pl.DataFrame(
    {
        "id": ["a", "b", "c"],
        "source": ["rows.jsonl:1", "rows.jsonl:2", "rows.jsonl:3"],
        "prompt": ["Who?", "Where?", "When?"],
        "completion": ["ME", "Here.", "NOW"],
    }
)

TWO_STEPS = '''\
from posttrain.data.custom import curation_step

SHOUTS = "all capitals"

@curation_step(reason="answers in capitals")
def no_shouting(row):
    if row["completion"].isupper():
        return SHOUTS

@curation_step(name="place", verdict="review", batch=True)
def asks_where(rows):
    """Questions of place."""
    return [("asks where" if prompt.startswith("Where") else None) for prompt in rows["prompt"]]
'''


def write(root: Path, text: str) -> str:
    (root / "steps.py").write_text(text, encoding="utf-8")
    return "steps.py"


def test_a_function_of_a_row_and_one_of_a_batch_become_steps(tmp_path: Path) -> None:
    shouting, place = load_steps(write(tmp_path, TWO_STEPS), tmp_path)
    assert (shouting.name, shouting.reason) == ("no_shouting", "answers in capitals")
    found = shouting.find(ROWS)
    assert found.select("row", "verdict", "value").rows() == [(0, "drop", "all capitals"), (2, "drop", "all capitals")]
    assert (place.name, place.reason) == ("place", "Questions of place.")
    assert place.find(ROWS).select("row", "verdict", "value").rows() == [(1, "review", "asks where")]


def test_a_step_travels_by_pickling(tmp_path: Path) -> None:
    step = load_steps(write(tmp_path, TWO_STEPS), tmp_path)[0]
    assert pickle.loads(pickle.dumps(step)).find(ROWS).equals(step.find(ROWS))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def plain(row): ...", r"steps\.py: declares no step; put @curation_step"),
        ("def broken(:\n", r"steps\.py:1: invalid syntax; mend the file"),
        ("import nothing_of_this_name", r"steps\.py: does not run \(ModuleNotFoundError: No module"),
    ],
)
def test_a_file_without_a_step_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        load_steps(write(tmp_path, text), tmp_path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"steps\.py: cannot be read \(No such file or directory\); correct curate"):
        load_steps("steps.py", tmp_path)


HEAD = "from posttrain.data.custom import curation_step\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "@curation_step('x')\ndef step(row):\n    return row['answer']",
            r"steps\.py:4: step raised KeyError \('answer'\) at rows\.jsonl:1; mend the step",
        ),
        (
            "@curation_step('x')\ndef step(row):\n    return 0.5",
            r"steps\.py: step returned float for rows\.jsonl:1, expected None to keep the row or words",
        ),
        (
            "@curation_step('x', batch=True)\ndef step(rows):\n    return [None]",
            r"steps\.py: step returned 1 values for 3 rows, expected one a row",
        ),
    ],
)
def test_a_failing_step_names_its_line_and_the_row(tmp_path: Path, text: str, expected: str) -> None:
    (step,) = load_steps(write(tmp_path, HEAD + text), tmp_path)
    with pytest.raises(DataError, match=expected):
        step.find(ROWS)
