"""People's words on rows: which of them hold, what they do, and the file that keeps them."""

from __future__ import annotations

import json
import pickle
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest

from posttrain.data.account import row_verdict
from posttrain.data.account.row_verdict import RowVerdict, add, beside, content, edit
from posttrain.data.account.verdicts import Person, Verdicts
from posttrain.data.steps import RowStep
from posttrain.errors import DataError

A = {"id": "aaaa", "prompt": "play jazz", "completion": "now"}
B = {"id": "bbbb", "prompt": "play blues", "completion": "now"}
C = {"id": "cccc", "prompt": "stop", "completion": "at once"}
ROWS = pl.DataFrame([A, B, C])


def say(verdict: str, row: dict[str, str], rule: str = "near", **more: object) -> RowVerdict:
    return RowVerdict.model_validate(
        {"id": row["id"], "content": content(row), "rule": rule, "verdict": verdict, "by": "ann", **more}
    )


def every(verdict: str, rule: str) -> RowVerdict:
    return RowVerdict.model_validate({"id": "*", "rule": rule, "verdict": verdict})


def reworded(row: dict[str, str], completion: str, **more: str) -> RowVerdict:
    texts = {"completion": completion}
    return say("edit", row, texts=texts, becomes=content(edit(row, texts)), **more)


def back(*words: RowVerdict, rule: str = "near", rows: pl.DataFrame = ROWS) -> list[bool]:
    return Verdicts.of(words).restores(rows, rule).to_list()


def test_content_is_of_the_texts_alone() -> None:
    assert content(A) == content({**A, "id": "other", "system": "Answer.", "chosen": ""})
    assert content(A) == content({**A, "prompt": " play \n jazz "})
    assert content({"prompt": "é"}) == content({"prompt": unicodedata.normalize("NFD", "é")})
    assert content(A) != content({"prompt": "play jazz now"})
    assert content({"prompt": "x", "completion": ""}) != content({"prompt": "", "completion": "x"})


def test_a_row_is_restored_from_the_rule_that_was_named() -> None:
    assert back(say("restore", B)) == [False, True, False]
    assert back(say("restore", B), rule="harm") == [False, False, False]
    assert back(say("keep", B, rule="*"), rule="harm") == [False, True, False]


def test_a_word_holds_while_the_text_does() -> None:
    changed = pl.DataFrame([{**B, "completion": "later"}, {**B, "prompt": "play  blues"}])
    assert back(say("restore", B), rows=changed) == [False, True]


def test_the_last_word_wins() -> None:
    assert back(say("restore", A), say("drop", A)) == [False, False, False]
    assert back(say("drop", A), say("restore", A)) == [True, False, False]


def test_a_whole_rule_is_restored_and_taken_back() -> None:
    assert back(every("restore", "near")) == [True, True, True]
    assert back(every("restore", "near"), rule="harm") == [False, False, False]
    assert back(every("restore", "near"), every("drop", "near")) == [False, False, False]


def test_a_word_on_one_row_outweighs_a_word_on_all() -> None:
    assert back(say("drop", A), every("restore", "near")) == [False, True, True]
    assert back(say("restore", A), every("restore", "near"), every("drop", "near")) == [True, False, False]


def test_a_persons_drop_is_a_finding_that_says_who_and_why() -> None:
    step = Person(Verdicts.of([say("drop", C, note="insulting"), say("drop", A, by="")]))
    assert isinstance(step, RowStep)
    found = step.find(ROWS)
    assert found.select("row", "verdict", "value").rows() == [
        (0, "drop", "dropped by somebody"),
        (2, "drop", "dropped by ann: insulting"),
    ]
    assert step.find(pl.DataFrame([{**C, "completion": "later"}])).height == 0


def test_a_drop_is_undone_by_a_later_word_on_the_row_or_on_all_that_people_dropped() -> None:
    drop = say("drop", A, rule="fact")
    assert Verdicts.of([drop, say("restore", A, rule="fact")]).drops(ROWS).height == 0
    assert Verdicts.of([drop, every("restore", "person")]).drops(ROWS).height == 0
    assert Verdicts.of([every("restore", "person"), drop]).drops(ROWS).height == 1
    assert Verdicts.of([drop, every("restore", "near")]).drops(ROWS).height == 1
    # What a person dropped does not come back by an earlier word that let it pass any rule.
    assert back(say("restore", A, rule="*"), drop, rule="person") == [False, False, False]


def test_a_word_on_any_grouping_of_rows_is_the_same() -> None:
    said = Verdicts.of([say("restore", B), say("drop", C), reworded(A, "soon")])
    one_by_one = [ROWS[place] for place in range(3)]
    assert pl.concat([said.restores(row, "near") for row in one_by_one]).equals(said.restores(ROWS, "near"))
    assert pl.concat([said.edited(row) for row in one_by_one]).equals(said.edited(ROWS))
    assert said.edited(ROWS.head(0)).equals(ROWS.head(0))
    assert said.restores(ROWS.head(0), "near").to_list() == []


def test_an_edit_changes_the_row_and_lets_it_pass_its_rule_before_and_after() -> None:
    said = Verdicts.of([reworded(A, "in a moment")])
    edited = said.edited(ROWS)
    assert edited["completion"].to_list() == ["in a moment", "now", "at once"]
    assert edited.columns == ROWS.columns
    assert said.restores(ROWS, "near").to_list() == [True, False, False]
    assert said.restores(edited, "near").to_list() == [True, False, False]
    assert said.edited(edited).equals(edited)


def test_an_edit_of_an_edited_row_builds_on_the_first() -> None:
    first = reworded(A, "in a moment")
    second = reworded({**A, "completion": "in a moment"}, "in two moments")
    assert Verdicts.of([first, second]).edited(ROWS)["completion"][0] == "in two moments"


def test_an_edited_conversation_changes_in_its_last_turn() -> None:
    turns = [{"role": "user", "content": "play jazz"}, {"role": "assistant", "content": "now"}]
    talk = pl.DataFrame([{**A, "messages": json.dumps(turns)}])
    changed = json.loads(Verdicts.of([reworded(A, "soon")]).edited(talk)["messages"][0])
    assert changed == [turns[0], {"role": "assistant", "content": "soon"}]


def test_who_accepts_what() -> None:
    said = Verdicts.of([say("keep", A, rule="spot_check"), say("drop", B, rule="spot_check"), say("drop", C)])
    assert said.accepted(ROWS, "spot_check") == {"aaaa": True, "bbbb": False}
    assert said.settled(ROWS, "spot_check").to_list() == [True, True, False]


def test_the_digest_is_of_what_was_said_not_when() -> None:
    first, later = say("drop", A, at="2026-01-01T00:00:00Z"), say("drop", A, at="2027-01-01T00:00:00Z")
    assert Verdicts.of([first]).digest == Verdicts.of([later]).digest
    assert Verdicts.of([first]).digest != Verdicts.of([say("drop", B)]).digest
    assert Verdicts().digest == Verdicts.of([]).digest
    both = Verdicts.of([say("drop", A, rule="harm"), say("drop", A, rule="near"), say("keep", B, rule="*")])
    assert both.about(["near"]).words["rule"].to_list() == ["near", "*"]


def test_verdicts_travel_to_workers() -> None:
    said = Verdicts.of([say("restore", B)])
    assert pickle.loads(pickle.dumps(said)).restores(ROWS, "near").to_list() == [False, True, False]


# --- the file ------------------------------------------------------------------------------------------------


def test_what_is_added_is_read_back(tmp_path: Path) -> None:
    path = beside(tmp_path / "tickets.yaml")
    assert path.name == "tickets.verdicts.jsonl"
    assert Verdicts.read(path).words.height == 0
    words = [say("restore", A, note="both are wanted, 都要", at=row_verdict.now()), reworded(B, "soon")]
    assert add(path, words) == words
    assert row_verdict.read(path) == words
    assert "都要" in path.read_text(encoding="utf-8")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_saying_it_again_adds_nothing_but_a_change_of_mind_does(tmp_path: Path) -> None:
    path = tmp_path / "x.verdicts.jsonl"
    assert len(add(path, [say("drop", A), say("drop", A, by="bob")])) == 1
    assert add(path, [say("drop", A)]) == []
    assert len(add(path, [say("restore", A)])) == 1
    assert len(add(path, [say("drop", A)])) == 1
    assert len(add(path, [every("restore", "near")])) == 1
    assert add(path, [every("restore", "near")]) == []
    assert len(add(path, [every("drop", "near"), every("restore", "near")])) == 2
    assert len(path.read_text().splitlines()) == 6


def test_a_line_that_was_written_by_hand_may_lack_its_end(tmp_path: Path) -> None:
    path = tmp_path / "x.verdicts.jsonl"
    path.write_text('\ufeff{"id": "*", "rule": "near", "verdict": "restore"}\r\n\n' + say("drop", A).model_dump_json())
    add(path, [say("drop", B)])
    assert [word.id for word in row_verdict.read(path)] == ["*", "aaaa", "bbbb"]


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.verdicts.jsonl"
    words = [say("drop", {"id": f"{number:04x}", "prompt": "x"}) for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda word: add(path, [word]), words))
    assert sorted(word.id for word in row_verdict.read(path)) == [word.id for word in words]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("<<<<<<< HEAD", "not JSON, expected one verdict a line; mend or remove the line"),
        ("[1]", "found list, expected a JSON object; mend or remove the line"),
        ('{"id": "a", "content": "c", "rule": "r", "verdict": "resotre"}',
         '"verdict" is "resotre", expected restore, drop, keep or edit; mend or remove the line'),
        ('{"id": "a", "content": "c", "verdict": "drop"}', '"rule" is missing; mend or remove the line'),
        ('{"id": "a", "content": "c", "rule": 3, "verdict": "drop"}',
         '"rule" is 3, expected a text that is not empty; mend or remove the line'),
        ('{"id": "a", "content": "c", "rule": "r", "verdict": "drop", "why": ""}', '"why" is no key of a verdict, '),
        ('{"id": "a", "rule": "r", "verdict": "drop"}', '"content" is empty; let `posttrain rows restore`'),
        ('{"id": "*", "rule": "r", "verdict": "keep"}', "a word on every row needs one rule, and restore or drop; "),
        ('{"id": "a", "content": "c", "rule": "r", "verdict": "edit"}', '"texts" and "becomes" belong to an edit'),
        ('{"id": "a", "content": "c", "rule": "r", "verdict": "edit", "texts": {"id": "b"}, "becomes": "d"}',
         '"texts" has id, expected prompt, completion, chosen, rejected; mend or remove the line'),
    ],
)  # fmt: skip
def test_a_bad_line_is_named_and_its_cure(tmp_path: Path, line: str, told: str) -> None:
    path = tmp_path / "x.verdicts.jsonl"
    path.write_text(say("drop", A).model_dump_json() + "\n" + line + "\n")
    with pytest.raises(DataError) as caught:
        Verdicts.read(path)
    assert str(caught.value).startswith(f"{path}:2: {told}")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.verdicts.jsonl"
    path.write_bytes(b"{}\n\xff")
    with pytest.raises(DataError, match=r":2: found byte 0xff, expected UTF-8 text"):
        Verdicts.read(path)
