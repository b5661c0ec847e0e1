"""The account of every row, read back from what the data stages leave behind."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from stage_folders import (
    AGAIN,
    DOUBT,
    EMPTY,
    FACT,
    JAZZ,
    LEAKED,
    LIKE_JAZZ,
    MEASURED,
    SPACED,
    UNLUCKY,
    build,
)

from posttrain.artifacts import Workspace
from posttrain.data.account.outputs import DataStages, counts, find_stages, set_aside
from posttrain.data.account.row_verdict import RowVerdict, content
from posttrain.data.account.story import Story, why
from posttrain.errors import DataError
from posttrain.spec import CurateSpec, DataSpec, ValidateSpec


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> DataStages:
    return build(Workspace(tmp_path_factory.mktemp("w")))


def restore(row: dict[str, str], rule: str) -> RowVerdict:
    return RowVerdict(id=row["id"], content=content(row), rule=rule, verdict="restore")


def rules(story: Story) -> list[tuple[str, str, str]]:
    return [(reason.stage, reason.verdict, reason.rule) for reason in story.reasons]


def test_a_row_that_is_trained_on(stages: DataStages) -> None:
    story = why(JAZZ["id"], stages)
    assert (story.source, story.places) == ("data/train.jsonl:1", ("train",))
    assert story.texts == {"prompt": "play some jazz", "completion": "fine, thank you"}
    assert story.passed == (("validate", "train"), ("curate", "train"))
    assert (story.reasons, story.tidied, story.made, story.restored) == ((), {}, {}, False)


def test_a_row_that_was_tidied_and_warned_of(stages: DataStages) -> None:
    story = why(SPACED["id"], stages)
    assert story.places == ("validation",)
    assert (story.texts["prompt"], story.tidied) == ("stop  the  music", {"prompt": "stop the music"})
    assert rules(story) == [("validate", "warn", "trimmed")]


@pytest.mark.parametrize(
    ("row", "reason", "place"),
    [
        (EMPTY, ("validate", "drop", "schema"), "quarantine"),
        (AGAIN, ("validate", "drop", "duplicate"), "quarantine"),
        (LIKE_JAZZ, ("curate", "drop", "near_duplicate"), "dropped"),
        (FACT, ("curate", "review", "fact"), "review"),
    ],
)
def test_a_row_that_was_set_aside(
    stages: DataStages, row: dict[str, str], reason: tuple[str, str, str], place: str
) -> None:
    story = why(row["id"], stages)
    assert (rules(story), story.places) == ([reason], (place,))


def test_what_was_found_and_the_twin_with_its_text_and_whereabouts(stages: DataStages) -> None:
    (reason,) = why(LIKE_JAZZ["id"], stages).reasons
    assert (reason.value, reason.threshold) == ("0.93", "below 0.85")
    assert reason.twin is not None
    assert (reason.twin.id, reason.twin.source, reason.twin.places) == (JAZZ["id"], "data/train.jsonl:1", ("train",))
    assert reason.twin.texts["prompt"] == "play some jazz"
    (leak,) = why(LEAKED["id"], stages).reasons
    assert leak.twin is not None
    assert (leak.twin.source, leak.twin.places) == ("data/test.jsonl:1", ("test",))


def test_a_row_that_no_rule_set_aside_and_nobody_trains_on(stages: DataStages) -> None:
    story = why(UNLUCKY["id"], stages)
    assert (story.places, story.passed) == (("left out",), (("validate", "train"),))


def test_before_curation_rows_are_where_validation_left_them(tmp_path: Path) -> None:
    stages = build(Workspace(tmp_path), curated=False)
    assert why(UNLUCKY["id"], stages).places == ("valid",)
    assert why(EMPTY["id"], stages).places == ("quarantine",)
    assert why(MEASURED["id"], stages).places == ("test",)


def test_what_people_said_and_whether_it_still_holds(stages: DataStages) -> None:
    old = restore({**LIKE_JAZZ, "prompt": "another text"}, "near_duplicate")
    story = why(LIKE_JAZZ["id"], stages, [old, restore(FACT, "fact")])
    assert (story.words, story.restored) == (((old, False),), False)
    new = restore(LIKE_JAZZ, "near_duplicate")
    story = why(LIKE_JAZZ["id"], stages, [old, new])
    assert (story.words, story.restored) == (((old, False), (new, True)), True)
    rule = RowVerdict(id="*", rule="near_duplicate", verdict="restore")
    assert why(LIKE_JAZZ["id"], stages, [rule]).restored
    assert why(FACT["id"], stages, [rule]).words == ()


def test_a_row_is_found_by_the_beginning_of_its_id_and_by_its_place(stages: DataStages) -> None:
    for key in (FACT["id"][:8], FACT["id"].upper(), "data/train.jsonl:4", "train.jsonl:4", f" {FACT['id']} "):
        assert why(key, stages).id == FACT["id"]


def test_a_key_that_fits_several_rows_or_none_is_refused(stages: DataStages) -> None:
    twice = sorted(
        row["id"][0] for row in (JAZZ, LIKE_JAZZ, EMPTY, FACT, SPACED, LEAKED, UNLUCKY, AGAIN, DOUBT, MEASURED)
    )
    digit = next(first for first, second in pairwise(twice) if first == second)
    with pytest.raises(DataError, match=rf"{digit}: fits \d+ rows, expected one; give more of the id or path: {digit}"):
        why(digit, stages)
    for key in ("ffff0000", "train.jsonl:99", "rain.jsonl:4"):
        with pytest.raises(DataError, match=f"{key}: no such row in the last run"):
            why(key, stages)
    with pytest.raises(DataError, match="id is empty"):
        why(" ", stages)


def test_rows_are_counted_by_rule(stages: DataStages) -> None:
    assert counts(stages).rows() == [
        ("validate", "duplicate", "drop", "train", 1),
        ("validate", "schema", "drop", "train", 1),
        ("validate", "trimmed", "warn", "train", 1),
        ("curate", "contaminated", "drop", "train", 1),
        ("curate", "fact", "review", "train", 1),
        ("curate", "harm", "review", "train", 1),
        ("curate", "near_duplicate", "drop", "train", 1),
    ]


def test_rows_set_aside_are_picked_by_what_is_asked(stages: DataStages) -> None:
    assert set_aside(stages).height == 6
    assert set_aside(stages, limit=3).height == 3
    assert set_aside(stages, verdict="review")["id"].to_list() == [FACT["id"], DOUBT["id"]]
    assert set_aside(stages, rule="fact", row_id=JAZZ["id"]).height == 0
    assert set_aside(stages, rule="trimmed", verdict="warn")["stage"].to_list() == ["validate"]
    # Validation's rows have no verdict of their own, and yet one shape with curation's.
    assert set_aside(stages, rule="schema").select("stage", "verdict").row(0) == ("validate", "drop")


# --- which folders -------------------------------------------------------------------------------------------


def look(root: Path, file: str = "data/train.jsonl", **curate: float) -> DataStages | None:
    data = DataSpec.model_validate({"train": file, "test": "data/test.jsonl"})
    return find_stages(Workspace(root), data, ValidateSpec(), CurateSpec.model_validate(curate))


def test_the_stages_are_those_of_the_specs_own_files(tmp_path: Path) -> None:
    assert look(tmp_path) is None
    mine = build(Workspace(tmp_path))
    build(Workspace(tmp_path), file="data/other.jsonl", at=4e9)  # newer, and somebody else's
    assert look(tmp_path) == mine


def test_the_newest_stages_are_taken_unless_older_ones_have_the_specs_settings(tmp_path: Path) -> None:
    strict = CurateSpec.model_validate({"seed": 7})
    old = build(Workspace(tmp_path), curate=strict, at=1e9)
    new = build(Workspace(tmp_path), at=2e9)
    assert old.validate == new.validate
    assert look(tmp_path) == new
    assert look(tmp_path, seed=7) == old
    assert look(tmp_path, seed=8) == new


def test_validation_that_nothing_followed_is_enough(tmp_path: Path) -> None:
    assert look(tmp_path) is None
    mine = build(Workspace(tmp_path), curated=False)
    assert look(tmp_path) == DataStages(mine.validate, None)


def test_a_manifest_that_is_being_replaced_is_passed_over(tmp_path: Path) -> None:
    mine = build(Workspace(tmp_path))
    (tmp_path / "stages" / "validate-broken").mkdir()
    (tmp_path / "stages" / "validate-broken" / "manifest.json").write_text("{")
    assert look(tmp_path) == mine
