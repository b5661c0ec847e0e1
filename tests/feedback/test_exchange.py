"""Out to other tools and back: nothing is lost, nothing told twice, and nobody told which model wrote what."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from posttrain.errors import DataError
from posttrain.feedback import Answer, FeedbackStore, Item, Output
from posttrain.feedback.exchange import Imported, export, import_from

RANKED = [
    Item.new(
        "ranking", f"打开灯 {n}", outputs=[Output(text, f"model {text}") for text in "abc"], tag="t", reasons=["why"]
    )
    for n in range(6)
]
FIXED = Item.new("correction", "p", system="Be brief.", outputs=[Output("bad", "v1")], tag="bad_case")
RATED = Item.new("rating", "p", outputs=[Output("fine", "v1")])
ROW = {"row": "1a", "rule": "harm", "column": "chosen", "rejected": "worse"}
JUDGED = Item.new("harm", "p", outputs=[Output("old", "f:1")], context=ROW)
ITEMS = [*RANKED, FIXED, RATED, JUDGED]
ANSWERS = [
    *(Answer(item.id, "ann", "ranking", ranking=(3, 1, 2)) for item in RANKED),
    *(Answer(item.id, "bo@x.org", "ranking", ranking=(1, 1, 2), note="a tie") for item in RANKED[:3]),
    Answer(FIXED.id, "ann", "correction", text="two\nlines"),
    Answer(FIXED.id, "bo@x.org", "correction", verdict="drop"),
    Answer(RATED.id, "ann", "rating", rating=4, note="好"),
    Answer(JUDGED.id, "ann", "harm", verdict="keep", text="new"),
]


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[FeedbackStore, FeedbackStore]]:
    full, empty = (FeedbackStore.open(f"sqlite:///{tmp_path}/{name}.db") for name in ("full", "empty"))
    full.add(ITEMS)
    full.answer_all(ANSWERS)
    yield full, empty
    full.close()
    empty.close()


def told(store: FeedbackStore) -> list[tuple[object, ...]]:
    said = store.answers()
    return sorted((a.item, a.annotator, a.kind, a.ranking, a.rating, a.text, a.verdict, a.note) for a in said)


@pytest.mark.parametrize("tool", ["argilla", "label-studio"])
def test_there_and_back(stores: tuple[FeedbackStore, FeedbackStore], tmp_path: Path, tool: str) -> None:
    full, empty = stores
    file = tmp_path / "out.json"
    assert export(full, file, tool) == len(ITEMS)
    text = file.read_text()
    assert "model a" not in text
    assert "v1" not in text
    assert import_from(empty, file, tool) == Imported(len(ITEMS), len(ANSWERS), 0)
    assert told(empty) == told(full)
    assert {(i.id, i.kind, i.system, i.tag, i.reasons) for i in empty.items()} == {
        (i.id, i.kind, i.system, i.tag, i.reasons) for i in ITEMS
    }
    assert dict(empty.item(JUDGED.id).context) == ROW  # type: ignore[union-attr]
    assert import_from(empty, file, tool) == Imported(0, 0, len(ANSWERS))
    assert import_from(full, file, tool) == Imported(0, 0, len(ANSWERS))
    with pytest.raises(DataError, match="is there already"):
        export(full, file, tool)


def test_the_order_in_a_file_tells_nothing(stores: tuple[FeedbackStore, FeedbackStore], tmp_path: Path) -> None:
    export(stores[0], tmp_path / "out.json", "argilla")
    records = json.loads((tmp_path / "out.json").read_text())
    firsts = {record["fields"]["output_1"] for record in records if "output_2" in record["fields"]}
    assert len(firsts) > 1


def test_what_people_answered_in_the_tool_is_read_as_the_tool_writes_it(
    stores: tuple[FeedbackStore, FeedbackStore], tmp_path: Path
) -> None:
    _, empty = stores
    argilla = {
        "id": "77",
        "fields": {"prompt": "p", "response_1": "a", "response_2": "b"},
        "metadata": {},
        "suggestions": {},
        "responses": {"ranking": [{"value": ["response_2", "response_1"], "user_id": "0c1f"}]},
        "vectors": {},
        "status": "completed",
        "_server_id": "9f",
    }
    studio = {
        "id": 12,
        "data": {"prompt": "q", "output_1": "x", "output_2": "y"},
        "annotations": [
            {
                "id": 3,
                "completed_by": 7,
                "created_at": "2026-03-09T22:16:08.728353Z",
                "was_cancelled": False,
                "result": [
                    {
                        "from_name": "pw",
                        "to_name": "output_1,output_2",
                        "type": "pairwise",
                        "value": {"selected": "right"},
                    }
                ],
            },
            {"id": 4, "completed_by": {"id": 8, "email": "ann@x.org"}, "was_cancelled": True, "result": []},
        ],
        "predictions": [],
    }
    for tool, entry in (("argilla", argilla), ("label-studio", studio)):
        (tmp_path / f"{tool}.json").write_text(json.dumps([entry]))
        assert import_from(empty, tmp_path / f"{tool}.json", tool) == Imported(1, 1, 0)
    first, second = empty.answers()
    assert (first.annotator, first.ranking) == ("0c1f", (2, 1))
    assert (second.annotator, second.ranking, second.at.isoformat()) == (
        "7",
        (2, 1),
        "2026-03-09T22:16:08.728353+00:00",
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", ":1: cannot be read as JSON"),
        ("", ":1: cannot be read as JSON"),
        ("{}", "found dict, expected a list"),
        ('[{"x": 1}]', "entry 1: not as argilla exports it"),
        ('[{"fields": {"frage": "p"}}]', "entry 1: found fields frage, expected prompt and output_1"),
        (
            '[{"fields": {"prompt": "p", "output_1": "a"}, "responses": {"rating": [{"value": 9, "user_id": "u"}]}}]',
            "entry 1: answer of u to .*: found rating 9, expected 1 to 5",
        ),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_refused_whole(
    stores: tuple[FeedbackStore, FeedbackStore], tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "in.json").write_text(text)
    with pytest.raises(DataError, match=words):
        import_from(stores[1], tmp_path / "in.json", "argilla")
    assert stores[1].items() == []
    with pytest.raises(DataError, match="found tool 'excel', expected argilla or label-studio"):
        import_from(stores[1], tmp_path / "in.json", "excel")


def test_a_file_in_another_encoding_is_named_as_such(
    stores: tuple[FeedbackStore, FeedbackStore], tmp_path: Path
) -> None:
    (tmp_path / "in.json").write_bytes("[]".encode("utf-16"))
    with pytest.raises(DataError, match=r"in\.json: found byte 0xff at 0, expected UTF-8; save the export as UTF-8"):
        import_from(stores[1], tmp_path / "in.json", "argilla")
