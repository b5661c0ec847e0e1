"""A workspace as the data stages leave it, built from a dozen rows: nothing has to run before a test can ask."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import polars as pl

from posttrain.artifacts import DatasetRef, Frozen, Stage, Workspace, run_stage
from posttrain.data.account.outputs import DataStages
from posttrain.data.table import TableWriter
from posttrain.spec import CurateSpec, ValidateSpec

FILE = "data/train.jsonl"
ROW = ("id", "source", "system", "prompt", "completion", "origin")
REASON = ("rule", "value", "threshold", "split", "twin")


class Result(Frozen):
    """What the manifest of either stage tells of its train table."""

    train: DatasetRef


def name_of(source: str) -> str:
    """The id of the row at "file:line"."""
    return hashlib.sha256(source.encode()).hexdigest()[:16]


def row(line: int, prompt: str, completion: str = "fine, thank you", file: str = FILE) -> dict[str, str]:
    """A row of the training file."""
    source = f"{file}:{line}"
    return {"id": name_of(source), "source": source, "system": "", "prompt": prompt, "completion": completion}


def aside(found: dict[str, str], rule: str, value: str, threshold: str, twin: str = "") -> dict[str, str]:
    """The row with the reason why it was set aside."""
    return {**found, "rule": rule, "value": value, "threshold": threshold, "split": "train", "twin": twin}


JAZZ = row(1, "play some jazz")
LIKE_JAZZ = row(2, "play some jazz now")
EMPTY = row(3, "", "")
FACT = row(4, "who won in 1999?", "=the blue team")
SPACED = row(5, "stop  the  music")
LEAKED = row(6, "call a taxi")
UNLUCKY = row(7, "never drawn")
AGAIN = row(8, "play some jazz")
DOUBT = row(9, "is this harmful?", "perhaps\x1b[31m, 可能")
MEASURED = row(1, "call a taxi", file="data/test.jsonl")
TIDY = {**SPACED, "prompt": "stop the music", "system": "Answer."}

VALIDATED = {
    "train": [JAZZ, LIKE_JAZZ, FACT, SPACED, LEAKED, UNLUCKY, DOUBT],
    "test": [MEASURED],
    "quarantine": [
        aside(EMPTY, "schema", "prompt and completion empty", "texts that are not blank"),
        aside(AGAIN, "duplicate", f"same as row {JAZZ['id']}", "once", JAZZ["id"]),
    ],
    "warned": [aside(SPACED, "trimmed", "two blanks", "one")],
}
CURATED = {
    "train": [{**JAZZ, "system": "Answer."}],
    "validation": [TIDY],
    "test": [{**MEASURED, "system": "Answer."}],
    "dropped": [
        {**aside(LIKE_JAZZ, "near_duplicate", "0.93", "below 0.85", JAZZ["id"]), "verdict": "drop"},
        {**aside(LEAKED, "contaminated", "same prompt", "none", MEASURED["id"]), "verdict": "drop"},
        {**aside(FACT, "fact", "1999: blue", "1999: red"), "verdict": "review"},
        {**aside(DOUBT, "harm", "harmful", "no word of the list"), "verdict": "review"},
    ],
}


def build(
    workspace: Workspace,
    curated: bool = True,
    file: str = FILE,
    validate: ValidateSpec | None = None,
    curate: CurateSpec | None = None,
    at: float | None = None,
) -> DataStages:
    """Publish both stages as a run would; `at` is when (seconds since 1970) they were finished."""
    inputs = {"sources": {"train": [{"path": file}]}, "spec": validate or ValidateSpec()}
    stage = Stage("validate", inputs, Result, ())
    first = run_stage(workspace, stage, lambda partial, final: _written(partial, final, VALIDATED, file))
    folders = [first.folder]
    if curated:
        inputs = {"rows": {"train": first.result.train.fingerprint}, "spec": curate or CurateSpec()}
        stage = Stage("curate", inputs, Result, ())
        second = run_stage(workspace, stage, lambda partial, final: _written(partial, final, CURATED, file))
        folders.append(second.folder)
    for folder in folders if at is not None else ():
        os.utime(folder / "manifest.json", (at, at))
    return DataStages(*folders)


def _written(partial: Path, final: Path, tables: dict[str, list[dict[str, str]]], file: str) -> Result:
    refs = {}
    for name, rows in tables.items():
        reason = [column for column in (*REASON, "verdict") if column in rows[0]]
        with TableWriter(partial / f"{name}.parquet", [*ROW, *reason]) as writer:
            writer.write(pl.DataFrame([{**each, "source": each["source"].replace(FILE, file)} for each in rows]))
        refs[name] = writer.ref(final)
    return Result(train=refs["train"])
