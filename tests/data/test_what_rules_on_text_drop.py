"""What the rules on text find in the real rows that ship with the project, each finding judged by eye.

These are the counts that the documentation states for these sets; a change of a rule that loses good rows shows here.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from posttrain.data.steps.clean import Clean
from posttrain.data.steps.harm import Harm
from posttrain.data.text import prose
from posttrain.data.text.language import language_problems
from posttrain.data.text.privacy import personal_data_problems, secret_problems
from posttrain.data.text.words import encoding_problems
from posttrain.spec.sections.harm import HarmSpec

DATA = Path(__file__).parents[2] / "data"


def records(path: str) -> Iterator[dict[str, Any]]:
    with gzip.open(DATA / path) as file:
        yield from (json.loads(line.decode(errors="replace")) for line in file)


def alpaca() -> pl.DataFrame:
    rows = [
        ("\n".join(filter(None, (row["instruction"], row["input"]))), row["output"])
        for row in records("general/train.jsonl.gz")
    ]
    return pl.DataFrame(rows, schema=["prompt", "completion"], orient="row")


def snips() -> pl.DataFrame:
    rows = []
    for row in records("voice_assistant/train.jsonl.gz"):
        slots = {part["entity"]: part["text"] for part in row["data"] if part.get("entity")}
        label = json.dumps({"intent": row["intent"], "slots": slots}, ensure_ascii=False)
        rows.append(("".join(part["text"] for part in row["data"]), label))
    return pl.DataFrame(rows, schema=["prompt", "completion"], orient="row")


def replay() -> pl.DataFrame:
    return pl.DataFrame(
        [{name: row[name] for name in ("prompt", "completion")} for row in records("general/replay.jsonl.gz")]
    )


def found(rows: pl.DataFrame) -> dict[str, int]:
    """Rule -> rows that it finds."""
    problems = {
        "encoding": encoding_problems(rows["prompt"]) + encoding_problems(rows["completion"]),
        "short": prose.length_problems(rows["completion"], 10, 10**9),
        "long": prose.length_problems(rows["completion"], 0, 2000),
        "repetition": prose.repetition_problems(rows["completion"], 0.7),
        "language": language_problems(rows["completion"], ["en", "zh"]),
        "secrets": secret_problems(rows["prompt"]) + secret_problems(rows["completion"]),
        "personal data": personal_data_problems(rows["prompt"]) + personal_data_problems(rows["completion"]),
    }
    counts = {rule: int((said != "").sum()) for rule, said in problems.items()}
    counts["harm"] = Harm.make(HarmSpec(), Path("/")).find(rows).height
    counts["cleaned"] = Clean().apply(rows)[1].height
    return {rule: count for rule, count in counts.items() if count}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # short: "Fact.", "bird", "3", … all right; language: a Spanish sentence that its prompt asks for; repetition: a
        # list of operators. So none of these is dropped by default but the last.
        (alpaca, {"short": 8, "long": 29, "repetition": 1, "language": 1}),
        # encoding: lines of the original that are Latin-1; cleaned: blanks at the ends and doubled.
        (snips, {"encoding": 15, "cleaned": 699}),
        # encoding: dashes of cp1252 read as Latin-1; cleaned: line ends, byte-order marks and escaped tags.
        (replay, {"encoding": 2, "cleaned": 21}),
    ],
)
def test_counts_on_shipped_rows(rows: Any, expected: dict[str, int]) -> None:
    assert found(rows()) == expected
