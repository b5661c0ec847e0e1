"""`posttrain rows` as people see it: on folders built for the test, and on what a real run left behind."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from conftest import Pipeline
from stage_folders import AGAIN, DOUBT, FACT, JAZZ, LEAKED, LIKE_JAZZ, UNLUCKY, build
from typer.testing import CliRunner, Result

from flows.cli import app
from posttrain.artifacts import Workspace
from posttrain.data.account.row_verdict import read

SPEC = """\
name: rows
task: {kind: text}
data: {train: data/train.jsonl, test: data/test.jsonl}
"""


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A spec whose data stages have run, in the present folder, on a terminal of 80 columns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    Path("x.yaml").write_text(SPEC, encoding="utf-8")
    build(Workspace(tmp_path / ".posttrain"))
    return "x.yaml"


def rows(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["rows", *arguments])


def said(*arguments: str) -> str:
    """The output of a command that goes well, white space folded; only what is to be copied is wider than 80."""
    done = rows(*arguments)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert all(len(line) <= 80 or line.startswith(("posttrain ", "noted in ")) for line in lines)
    return " ".join(done.stdout.split())


def refused(*arguments: str) -> str:
    done = rows(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_why_tells_reason_twin_and_place(spec: str) -> None:
    text = said("why", spec, "train.jsonl:2")
    for part in (
        f"row {LIKE_JAZZ['id']} from data/train.jsonl:2",
        "prompt play some jazz now",
        "validate ✓ passed, into train",
        "curate ✗ set aside by near_duplicate: 0.93 (allowed: below 0.85)",
        f"the twin: {JAZZ['id']} from data/train.jsonl:1, now in train prompt play some jazz completion",
        "now dropped: curation set it aside",
        f"posttrain rows restore x.yaml {LIKE_JAZZ['id']}",
    ):
        assert part in text
    assert "left out: nothing is wrong with it" in said("why", spec, UNLUCKY["id"][:9])
    text = said("why", spec, "train.jsonl:5")
    assert "as curation tidied it prompt the same but for white space what happened" in text
    assert "validate ! warned of by trimmed: two blanks (allowed: one)" in text


def test_what_a_row_says_cannot_steer_the_terminal(spec: str) -> None:
    assert "perhaps␛[31m, 可能" in said("why", spec, DOUBT["id"])


def test_list_counts_by_rule_and_shows_the_rows_of_one(spec: str) -> None:
    text = said("list", spec)
    assert "duplicate train 1 set aside train.jsonl:8: same as row" in text
    assert "trimmed train 1 warned" in text
    assert "fact train 1 review train.jsonl:4: 1999: blue" in text
    text = said("list", spec, "--rule", "near_duplicate")
    assert f"{LIKE_JAZZ['id']} train.jsonl:2 0.93 (below" in text
    assert "near_duplicate: 1 row, the first 1" in text
    assert "did you mean near_duplicate?" in refused("list", spec, "--rule", "near_dupicate")


def test_list_says_when_curation_has_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    Path("x.yaml").write_text(SPEC, encoding="utf-8")
    build(Workspace(tmp_path / ".posttrain"), curated=False)
    assert "curation has not run on these rows yet posttrain run x.yaml" in said("list", "x.yaml")


def test_a_row_is_restored(spec: str) -> None:
    text = said("restore", spec, "train.jsonl:8", "--by", "ann", "--note", "[b]once more[/b]")
    assert f"row {AGAIN['id']}, set aside by duplicate, comes back" in text
    assert "The next run trains on it, unless another rule objects." in text
    words = read(Path("x.verdicts.jsonl"))
    assert {(word.id, word.verdict, word.by) for word in words} == {(AGAIN["id"], "restore", "ann")}
    # What is the same word for word would be found by the looser rules as well.
    rules = ["duplicate", "exact_duplicate", "near_duplicate", "semantic_duplicate"]
    assert [word.rule for word in words] == rules
    assert "was restored before" in said("restore", spec, AGAIN["id"], "--note", "[b]once more[/b]")
    assert len(read(Path("x.verdicts.jsonl"))) == 4
    text = said("why", spec, AGAIN["id"])
    assert "restore this row (duplicate), said ann: [b]once more[/b]" in text
    assert text.endswith("restored: the next run brings it back")


def test_a_rule_is_restored(spec: str) -> None:
    text = said("restore", spec, "contaminated", "--by", "ann")
    assert "1 row set aside by contaminated comes back The next run trains on it," in text
    assert "Beware" in text
    (word,) = read(Path("x.verdicts.jsonl"))
    assert (word.id, word.rule, word.verdict) == ("*", "contaminated", "restore")
    assert "restore every row of contaminated, said ann" in said("why", spec, LEAKED["id"])
    assert "found by semantic_duplicate, too" in said("restore", spec, "near_duplicate")


def test_what_cannot_be_restored_is_refused(spec: str) -> None:
    assert "nothing to restore; it is in train" in refused("restore", spec, JAZZ["id"])
    assert "did you mean duplicate?" in refused("restore", spec, "duplicates")
    assert "no such row" in refused("restore", spec, "0000000000000000")
    assert "no rule that found rows" in refused("restore", spec, "trimmed")  # it only warns
    assert not Path("x.verdicts.jsonl").exists()


def test_a_row_that_a_person_dropped_comes_back_past_the_rule_they_were_asked_about(spec: str) -> None:
    words = {"content": "0" * 16, "by": "bob", "at": "", "note": ""}
    dropped = {"id": FACT["id"], "rule": "fact", "verdict": "drop", **words}
    Path("x.verdicts.jsonl").write_text(json.dumps(dropped) + "\n")
    said("restore", spec, FACT["id"])
    assert read(Path("x.verdicts.jsonl"))[-1].rule == "fact"


def test_the_queue_goes_out_and_verdicts_come_in(spec: str) -> None:
    text = said("review", spec, "--export", "out/review.csv")
    assert "2 rows in review without a verdict (1 fact, 1 harm), written to out/review.csv" in text
    with open("out/review.csv", encoding="utf-8-sig", newline="") as file:
        found = list(csv.DictReader(file))
    found[0] |= {"verdict": "edit", "edited": "the red team", "note": "1999 was red"}
    with open("out/review.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(found[0]))
        writer.writeheader()
        writer.writerows(found)
    text = said("review", spec, "--import", "out/review.csv", "--by", "ann")
    assert "1 new verdict (1 edit) 1 row without a verdict, still in review" in text
    assert "0 new verdicts 1 were there already" in said("review", spec, "--import", "out/review.csv")
    assert "edit this row (fact), said ann: 1999 was red" in said("why", spec, FACT["id"])
    assert "1 row in review without a verdict (1 harm)" in said("review", spec, "--export", "out/review.jsonl")


def test_a_verdict_that_is_none_is_refused_with_its_row_and_nothing_is_noted(spec: str) -> None:
    Path("mine.csv").write_text(f"id,verdict\n{FACT['id']},keep\n{DOUBT['id']},delete\n")
    assert "mine.csv: row 3: verdict is 'delete', expected keep, drop or edit" in refused(
        "review", spec, "--import", "mine.csv"
    )
    assert not Path("x.verdicts.jsonl").exists()
    assert "give either --export FILE or --import FILE" in refused("review", spec)


def test_before_any_run_there_is_nothing_to_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text(SPEC, encoding="utf-8")
    assert "no finished validation of the rows of x.yaml" in refused("list", "x.yaml")


@pytest.mark.parametrize("command", ["why", "list", "restore", "review"])
def test_help_has_an_example(command: str) -> None:
    done = rows(command, "--help")
    assert done.exit_code == 0
    assert f"Example: posttrain rows {command}" in " ".join(done.output.split())


# --- a real run ----------------------------------------------------------------------------------------------


def test_every_row_of_a_real_run_has_an_account(pipeline: Pipeline) -> None:
    """Of each row that the files hold, `why` says where it is; the first and the last stand for all."""
    counted = pipeline.project.posttrain("rows", "list", "small.yaml", COLUMNS="80")
    assert counted.returncode == 0, counted.stderr
    assert "Validation" in counted.stdout or "no rule set a row aside" in counted.stdout
    for line in (1, 280):
        told = pipeline.project.posttrain("rows", "why", "small.yaml", f"data/train.jsonl.gz:{line}")
        assert told.returncode == 0, told.stderr
        assert f"from data/train.jsonl.gz:{line}\n" in told.stdout
        assert told.stdout.split("\nnow\n")[1].split(":")[0].strip() in (
            "train", "validation", "quarantine", "dropped", "review", "left out",
        )  # fmt: skip
