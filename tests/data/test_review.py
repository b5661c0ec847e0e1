"""The review queue goes out to a file and comes back as verdicts."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from stage_folders import DOUBT, FACT, JAZZ, LIKE_JAZZ, TIDY, build

from posttrain.artifacts import Workspace
from posttrain.data.account import review, row_verdict
from posttrain.data.account.outputs import DataStages
from posttrain.data.account.row_verdict import RowVerdict, content
from posttrain.data.account.verdicts import Verdicts
from posttrain.errors import DataError

Row = dict[str, str]


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> DataStages:
    return build(Workspace(tmp_path_factory.mktemp("w")))


@pytest.fixture
def exported(stages: DataStages, tmp_path: Path) -> Path:
    path = tmp_path / "to" / "review.csv"
    review.write(review.queue(stages, Verdicts()), path)
    return path


def table(path: Path) -> list[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def filled(path: Path, change: Callable[[Row], Row], delimiter: str = ",") -> Path:
    """The file as a spreadsheet saves it, after a person has filled it in."""
    rows = [change(row) for row in table(path)]
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def judged(path: Path, stages: DataStages, known: tuple[RowVerdict, ...] = ()) -> review.Reviewed:
    return review.judged(review.read(path), stages, known, "ann", "2026-01-01T00:00:00Z")


def test_the_queue_is_what_waits_for_a_person_with_its_reasons(exported: Path) -> None:
    rows = table(exported)
    assert [row["id"] for row in rows] == [FACT["id"], DOUBT["id"]]
    first = rows[0]
    assert (first["rule"], first["value"], first["threshold"]) == ("fact", "1999: blue", "1999: red")
    assert first["content"] == f"sha256:{content(FACT)}"
    assert (first["verdict"], first["note"], first["edited"]) == ("", "", "")
    assert rows[1]["completion"] == DOUBT["completion"]


def test_a_cell_that_a_spreadsheet_would_run_is_disarmed(exported: Path) -> None:
    assert FACT["completion"].startswith("=")
    assert table(exported)[0]["completion"] == "'" + FACT["completion"]
    assert exported.read_bytes().startswith(b"\xef\xbb\xbf")  # else spreadsheets do not see UTF-8


def test_what_was_judged_is_not_asked_again(stages: DataStages) -> None:
    word = RowVerdict(id=FACT["id"], content=content(FACT), rule="fact", verdict="keep")
    assert review.queue(stages, Verdicts.of([word]))["id"].to_list() == [DOUBT["id"]]
    other = word.model_copy(update={"rule": "harm"})
    assert review.queue(stages, Verdicts.of([other])).height == 2
    assert review.queue(DataStages(stages.validate), Verdicts()).height == 0


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_verdicts_come_back_once(exported: Path, stages: DataStages, tmp_path: Path, delimiter: str) -> None:
    said = {FACT["id"]: ("Keep ", "red, or blue; both"), DOUBT["id"]: ("drop", "")}
    filled(exported, lambda row: row | dict(zip(("verdict", "note"), said[row["id"]], strict=True)), delimiter)
    found = judged(exported, stages)
    assert [(word.id, word.rule, word.verdict, word.note) for word in found.words] == [
        (FACT["id"], "fact", "keep", "red, or blue; both"),
        (DOUBT["id"], "harm", "drop", ""),
    ]
    assert (found.open, found.stale) == (0, ())
    file = tmp_path / "x.verdicts.jsonl"
    assert len(row_verdict.add(file, found.words)) == 2
    again = judged(exported, stages, tuple(row_verdict.read(file)))
    assert row_verdict.add(file, again.words) == []
    assert review.queue(stages, Verdicts.read(file)).height == 0


def test_an_edit_carries_the_new_answer_and_may_be_imported_twice(exported: Path, stages: DataStages) -> None:
    filled(
        exported, lambda row: row | ({"verdict": "edit", "edited": "the\nred team"} if row["rule"] == "fact" else {})
    )
    found = judged(exported, stages)
    (word,) = found.words
    assert (word.texts, word.content) == ({"completion": "the\nred team"}, content(FACT))
    assert word.becomes == content({**FACT, "completion": "the\nred team"})
    assert found.open == 1


def test_jsonl_goes_the_same_way(stages: DataStages, tmp_path: Path) -> None:
    path = tmp_path / "review.jsonl"
    review.write(review.queue(stages, Verdicts()), path)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert rows[0]["completion"] == FACT["completion"]  # nothing to disarm here
    path.write_text("\n".join(json.dumps(row | {"verdict": "drop"}) for row in rows))
    assert [word.verdict for word in judged(path, stages).words] == ["drop", "drop"]


def test_a_row_that_has_changed_since_is_left_out_and_named(exported: Path, stages: DataStages) -> None:
    filled(exported, lambda row: row | {"verdict": "keep", "content": f"sha256:{content(JAZZ)}"})
    found = judged(exported, stages)
    assert (found.words, len(found.stale)) == ((), 2)
    assert found.stale[0] == f"{exported}: row 2"
    # But not when this very word has changed it: then it is known.
    known = RowVerdict(id=FACT["id"], content=content(JAZZ), rule="fact", verdict="keep")
    assert len(judged(exported, stages, (known,)).words) == 1


def test_a_row_whose_id_a_spreadsheet_took_for_a_number_is_found_by_its_place(
    exported: Path, stages: DataStages
) -> None:
    filled(exported, lambda row: row | {"id": "1.23E+15", "verdict": "keep"})
    assert [word.id for word in judged(exported, stages).words] == [FACT["id"], DOUBT["id"]]


def test_a_list_of_ones_own_needs_only_id_and_verdict(stages: DataStages, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(f"id,verdict\n{JAZZ['id']},drop\n{TIDY['id']},drop\n0000000000000000,drop\n")
    found = judged(path, stages)
    assert [(word.rule, word.content) for word in found.words] == [("*", content(JAZZ)), ("*", content(TIDY))]
    assert found.stale == (f"{path}: row 4",)
    assert LIKE_JAZZ["id"] not in {word.id for word in found.words}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"verdict": "yes"}, "row 2: verdict is 'yes', expected keep, drop or edit, or nothing; mend the cell"),
        ({"verdict": "edit"}, "row 2: verdict is edit, but edited is empty; write the new answer there"),
        ({"edited": "red"}, "row 2: edited is filled in, but verdict is empty; set verdict to edit"),
        ({"id": "", "verdict": "keep"}, "row 2: no id; leave the column id as it was exported"),
    ],
)
def test_a_mistake_is_named_by_its_row(exported: Path, change: Row, told: str) -> None:
    filled(exported, lambda row: row | change)
    with pytest.raises(DataError) as caught:
        review.read(exported)
    assert str(caught.value).startswith(f"{exported}: {told}")


@pytest.mark.parametrize(
    ("name", "held", "told"),
    [
        ("review.xlsx", b"PK", "found .xlsx, expected .csv or .jsonl; name the file so"),
        ("review.csv", "id,verdict\na,é\n".encode("cp1252"), 'not UTF-8; save it from the spreadsheet as "CSV UTF-8"'),
        ("review.csv", b"name,verdict\na,keep\n", "no column id, expected those of the export"),
        ("review.csv", b'id,verdict\n"a,keep\n', "not a table ("),
        ("review.csv", b"", "not a table ("),
        ("review.jsonl", b'{"id": "a"}\nkeep\n', "row 2 is no JSON object; mend or remove the line"),
        ("gone.csv", None, "no such file; `posttrain rows review SPEC --export gone.csv` writes it"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, name: str, held: bytes | None, told: str) -> None:
    path = tmp_path / name
    if held is not None:
        path.write_bytes(held)
    with pytest.raises(DataError) as caught:
        review.read(path)
    assert told in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
