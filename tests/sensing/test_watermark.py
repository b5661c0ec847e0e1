"""How far things had come: what counts as a change, what does not, and what a look costs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import fsspec
import pytest

from posttrain import sensing
from posttrain import spec as specs
from posttrain.artifacts import Workspace
from posttrain.data import load
from posttrain.errors import DataError
from posttrain.sensing import Drift, News, Watermark
from posttrain.sensing.watermark import file_of
from posttrain.spec import LoadedSpec
from posttrain.spec.sections.triggers import DriftSpec, TriggersSpec


def rows(path: Path, count: int, first: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [{"prompt": f"question {number}", "completion": f"answer {number}"} for number in range(first, count)]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")


def spec_of(root: Path, train: str = "data/train.jsonl") -> LoadedSpec:
    (root / "spec.yaml").write_text(
        f"name: tickets\ntask: {{kind: text}}\ndata: {{train: {train}, test: data/test.jsonl}}\n", encoding="utf-8"
    )
    return specs.load(root / "spec.yaml", root)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    rows(tmp_path / "data/train.jsonl", 30)
    rows(tmp_path / "data/test.jsonl", 10)
    return tmp_path


def test_a_look_counts_rows_and_answers(project: Path) -> None:
    mark = sensing.look(spec_of(project), answers=lambda loaded: 3)
    assert (mark.rows, mark.answers, mark.starts) == (40, 3, 0)


def test_files_are_read_again_only_when_the_listing_changed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = spec_of(project)
    first = sensing.look(loaded)
    read = []
    real = load.digests
    monkeypatch.setattr(load, "digests", lambda *given: read.append(given[2]) or real(*given))
    assert sensing.look(loaded, first) == first
    assert read == []
    os.utime(project / "data/train.jsonl", (1, 1))  # as a fresh copy of the same file has another time
    touched = sensing.look(loaded, first)
    assert "train" in read
    assert touched.listing != first.listing
    assert (touched.content, touched.key) == (first.content, first.key)
    assert sensing.without_news(first, touched) == first.model_copy(update={"listing": touched.listing})


def test_new_content_is_another_mark(project: Path) -> None:
    loaded = spec_of(project)
    first = sensing.look(loaded)
    rows(project / "data/train.jsonl", 37)
    second = sensing.look(loaded, first)
    assert second.rows == 47
    assert second.key != first.key


def test_a_file_that_joins_a_folder_is_seen(project: Path) -> None:
    rows(project / "data/parts/a.jsonl", 5)
    loaded = spec_of(project, "data/parts")
    first = sensing.look(loaded)
    rows(project / "data/parts/b.jsonl", 9, first=5)
    assert (first.rows, sensing.look(loaded, first).rows) == (15, 19)


def test_an_address_is_told_by_what_its_store_says(project: Path) -> None:
    files = fsspec.filesystem("memory")
    files.pipe("/watch/train.jsonl", (project / "data/train.jsonl").read_bytes())
    loaded = spec_of(project, "memory://watch/train.jsonl")
    first = sensing.look(loaded)
    assert first.rows is None  # not counted where it would have to be fetched
    assert sensing.look(loaded, first) == first
    files.pipe("/watch/train.jsonl", b'{"prompt": "new", "completion": "rows"}\n')
    changed = sensing.look(loaded, first)
    assert changed.content != first.content
    assert "rows are not counted" in str(sensing.whats_new(first, changed, TriggersSpec(new_rows=500)))


def test_people_s_words_beside_the_spec_are_answers(project: Path) -> None:
    loaded = spec_of(project)
    word = {"id": "*", "rule": "near_duplicate", "verdict": "restore", "by": "ann"}
    from posttrain.data.account.row_verdict import beside

    beside(loaded.path).write_text(json.dumps(word) + "\n", encoding="utf-8")
    assert sensing.look(loaded).answers == 1


def test_a_missing_file_is_the_user_s_error(project: Path) -> None:
    loaded = spec_of(project)
    (project / "data/train.jsonl").unlink()
    with pytest.raises(DataError, match="no such file"):
        sensing.look(loaded)


def test_a_mark_is_kept_whole_and_a_broken_one_counts_as_none(project: Path) -> None:
    workspace = Workspace(project / ".posttrain")
    assert sensing.last(workspace, "tickets") is None
    mark = sensing.look(spec_of(project)).moved_on()
    sensing.keep(workspace, "tickets", mark)
    assert sensing.last(workspace, "tickets") == mark
    assert [path.name for path in file_of(workspace, "tickets").parent.iterdir()] == ["tickets.json"]
    file_of(workspace, "tickets").write_text('{"listing": "a"', encoding="utf-8")
    assert sensing.last(workspace, "tickets") is None


def mark(content: str = "a", rows: int | None = 100, answers: int = 0) -> Watermark:
    return Watermark(listing="x", content=content, rows=rows, answers=answers)


def news(before: Watermark | None, now: Watermark, tested: Drift | str | None = None, **triggers: object) -> News:
    return sensing.whats_new(before, now, TriggersSpec.model_validate(triggers), tested)


def test_what_is_new_in_words() -> None:
    assert str(news(None, mark())) == "the data was never trained on by a watch (100 rows)"
    assert str(news(mark(), mark())) == "nothing new: the data is as it was (100 rows)"
    assert str(news(mark(), mark("b", 100))) == "the data changed: +0 rows, now 100"
    quiet = "nothing new: the data changed: +20 rows, now 120, of 50 that start a run"
    assert str(news(mark(), mark("b", 120), new_rows=50)) == quiet
    assert news(mark(), mark("b", 150), new_rows=50)
    assert not news(mark(), mark("b", 90), new_rows=50)
    assert not news(mark(), mark("b"), new_rows=None)


def test_answers_count_since_the_last_start() -> None:
    assert str(news(mark(answers=40), mark(answers=65), new_rows=None, new_feedback=25)) == "people gave 25 answers"
    quiet = "nothing new: people gave 24 answers, of 25 that start a run"
    assert str(news(mark(answers=40), mark(answers=64), new_rows=None, new_feedback=25)) == quiet


@pytest.mark.parametrize(
    ("p_value", "unlike", "said"),
    [
        (0.002, 0.4, "requests drifted from the training prompts: 40% are unlike every prompt"),
        (0.2, 0.4, "nothing new: requests are like the training prompts"),
        (0.002, 0.06, "nothing new: requests differ from the training prompts too little to matter"),
    ],
)
def test_drift_needs_both_certainty_and_size(p_value: float, unlike: float, said: str) -> None:
    found = Drift(distance=0.01, p_value=p_value, unlike=unlike, prompts=300, requests=300)
    wanted = DriftSpec.model_validate({"requests": "data/requests.jsonl"})
    assert str(news(mark(), mark(), found, new_rows=None, drift=wanted)).startswith(said)
    assert "no requests yet" in str(news(mark(), mark(), "no requests yet at x", new_rows=None, drift=wanted))


def test_answers_in_the_feedback_store_are_counted(project: Path) -> None:
    from posttrain.feedback import Answer, Item, Output
    from posttrain.feedback.place import open_store
    from posttrain.preflight import workspace_of

    loaded = spec_of(project)
    assert sensing.look(loaded).answers == 0
    store = open_store(loaded.spec, workspace_of(loaded))
    item = Item.new("rating", "say hello", outputs=[Output("hello", "model 1")])
    store.add([item])
    store.answer(Answer(item.id, "ann", "rating", rating=5))
    store.close()
    assert sensing.look(loaded).answers == 1
