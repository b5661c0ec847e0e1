"""What answers become: pairs, rows and verdicts, each told from the smallest case that has it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from posttrain.data.account.row_verdict import content
from posttrain.feedback import Answer, Item, Output
from posttrain.feedback.rows import FeedbackRows, rows_of
from posttrain.feedback.words import words_of
from posttrain.spec.sections.annotators import AnnotatorsSpec

EARLY, LATE = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
RANKED = Item.new("ranking", "p", outputs=[Output("a", "v1"), Output("b", "v2"), Output("c", "v3")], tag="t")
BAD = Item.new("correction", "p", outputs=[Output("bad", "v1")], tag="bad_case")
RATED = Item.new("rating", "p", outputs=[Output("fine", "v1")])
ROW = {"prompt": "p", "completion": "old"}
ON_ROW = {"row": "1a", "rule": "harm", "column": "completion"}


def ranked(annotator: str, *ranks: int) -> Answer:
    return Answer(RANKED.id, annotator, "ranking", ranking=ranks)


def test_a_ranking_is_a_pair_of_every_two_that_most_people_order_alike() -> None:
    # ann: a < b < c; bo: a < c < b; cy: a = b < c. So a > b by two (cy: a tie), a > c by three, b > c by two of three.
    found = rows_of([RANKED], [ranked("ann", 1, 2, 3), ranked("bo", 1, 3, 2), ranked("cy", 1, 1, 2)])
    assert [(row["chosen"], row["rejected"], row["annotator"]) for row in found.pairs] == [
        ("a", "b", "ann, bo"),
        ("a", "c", "ann, bo, cy"),
        ("b", "c", "ann, cy"),
    ]
    assert {(row["tag"], row["item"], row["prompt"]) for row in found.pairs} == {("t", RANKED.id, "p")}


def test_two_who_contradict_each_other_give_no_pair() -> None:
    assert rows_of([RANKED], [ranked("ann", 1, 2, 2), ranked("bo", 2, 1, 2)]).pairs == (
        {**pair("a", "c"), "annotator": "ann"},
        {**pair("b", "c"), "annotator": "bo"},
    )


def pair(chosen: str, rejected: str) -> dict[str, str]:
    return {"system": "", "prompt": "p", "chosen": chosen, "rejected": rejected, "tag": "t", "item": RANKED.id}


def test_a_correction_is_a_row_and_better_than_what_it_corrects() -> None:
    found = rows_of([BAD], [Answer(BAD.id, "ann", "correction", text=" good ")])
    (row,), (better,) = found.completions, found.pairs
    assert (row["completion"], row["annotator"], row["tag"], row["ratings"]) == ("good", "ann", "bad_case", "")
    assert (better["chosen"], better["rejected"], better["tag"]) == ("good", "bad", "bad_case")


def test_of_several_corrections_most_people_win_then_the_latest() -> None:
    def said(annotator: str, text: str, at: datetime) -> Answer:
        return Answer(BAD.id, annotator, "correction", at, text=text)

    two = rows_of([BAD], [said("ann", "x", LATE), said("bo", "y", EARLY)])
    assert [row["completion"] for row in two.completions] == ["x"]
    three = rows_of([BAD], [said("ann", "x", LATE), said("bo", "y", EARLY), said("cy", "y", EARLY)])
    assert [(row["completion"], row["annotator"]) for row in three.completions] == [("y", "bo, cy")]


def test_an_output_that_is_right_is_a_row_and_no_pair_and_a_dropped_one_is_nothing() -> None:
    kept = rows_of([BAD], [Answer(BAD.id, "ann", "correction", verdict="keep")])
    assert [row["completion"] for row in kept.completions] == ["bad"]
    assert kept.pairs == ()
    assert rows_of([BAD], [Answer(BAD.id, "ann", "correction", verdict="drop")]) == FeedbackRows((), ())


def test_ratings_stay_with_their_people() -> None:
    answers = [Answer(RATED.id, name, "rating", rating=rating) for name, rating in (("bo", 5), ("ann", 2))]
    (row,) = rows_of([RATED], answers).completions
    assert json.loads(row["ratings"]) == [{"annotator": "ann", "rating": 2}, {"annotator": "bo", "rating": 5}]
    assert row["annotator"] == "ann, bo"


def test_the_order_of_items_and_answers_changes_nothing() -> None:
    items = [RANKED, BAD, RATED]
    answers = [
        ranked("ann", 1, 2, 3),
        Answer(BAD.id, "bo", "correction", text="x"),
        Answer(RATED.id, "cy", "rating", rating=4),
    ]
    assert rows_of(items, answers) == rows_of(items[::-1], answers[::-1])


def on_row(kind: str, **context: str) -> Item:
    return Item.new(kind, "p", outputs=[Output("old", "f:1")], context={**ON_ROW, **context})  # type: ignore[arg-type]


def test_verdicts_are_about_the_row_as_it_was_shown() -> None:
    item = on_row("harm")
    answers = [Answer(item.id, "ann", "harm", EARLY, verdict="drop", note="rude")]
    (word,) = words_of([item], answers, AnnotatorsSpec())
    assert (word.id, word.content, word.rule, word.verdict, word.by, word.note) == (
        "1a",
        content(ROW),
        "harm",
        "drop",
        "ann",
        "rude",
    )
    assert rows_of([item], answers) == FeedbackRows((), ())


def test_the_last_person_counts_and_a_new_text_is_an_edit() -> None:
    item = on_row("fact")
    answers = [
        Answer(item.id, "ann", "fact", LATE, verdict="keep", text="new"),
        Answer(item.id, "bo", "fact", EARLY, verdict="drop"),
    ]
    (word,) = words_of([item], answers, AnnotatorsSpec())
    assert (word.verdict, word.texts, word.becomes) == (
        "edit",
        {"completion": "new"},
        content({**ROW, "completion": "new"}),
    )


def test_a_row_that_enough_people_rate_low_is_dropped() -> None:
    item = on_row("rating")
    answers = [Answer(item.id, name, "rating", EARLY, rating=rating) for name, rating in (("a", 3), ("b", 4), ("c", 4))]
    (word,) = words_of([item], answers, AnnotatorsSpec())
    assert (word.verdict, word.by, word.note) == ("drop", "a, b, c", "mean rating 3.67")
    assert words_of([item], answers[1:], AnnotatorsSpec()) == []
