"""Answers reach the next run by themselves, through the real data stages, and cost nothing where nobody answered."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from posttrain.artifacts import Done
from posttrain.data.account import outputs
from posttrain.data.account.row_verdict import read
from posttrain.data.curate import CurateResult
from posttrain.errors import SpecError
from posttrain.feedback import Answer, Item, Output
from posttrain.feedback.place import open_store
from posttrain.feedback.queue import waiting
from posttrain.feedback.samples import sampled
from posttrain.preflight import Checked, check
from posttrain.preparation import Preparation
from posttrain.spec import load

SPEC = """\
name: small
task: {kind: text}
data: {train: train.jsonl, test: test.jsonl}
curate: {validation_rows: 2}
"""
HARMFUL = {"prompt": "What does the shop sell?", "completion": "Porn and a dildo, said the shopkeeper to him."}


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POSTTRAIN_FEEDBACK_URL", raising=False)
    words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu"]
    rows = [{"prompt": f"What is {word}?", "completion": f"It is the letter {word} of Greek."} for word in words]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows[2:], HARMFUL]))
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:2]))
    (tmp_path / "small.yaml").write_text(SPEC)
    return Path("small.yaml")


def prepared(spec: Path) -> tuple[Checked, Done[CurateResult]]:
    checked = check(spec)
    data = Preparation.of(checked)
    return checked, data.curate(data.validate().result)


def rows_in(done: Done[CurateResult], *tables: str) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(done.folder / f"{name}.parquet") for name in tables], how="diagonal")


def test_nothing_changes_until_somebody_answers(spec: Path) -> None:
    before = check(spec)
    assert not Path(".posttrain").exists()
    open_store(before.loaded.spec, before.workspace).add([Item.new("correction", "p", outputs=[Output("a", "v")])])
    after = check(spec)
    assert after.loaded == before.loaded
    assert after.notes == before.notes
    assert sorted(path.name for path in Path(".posttrain").iterdir() if "feedback.db" not in path.name) == []


def test_corrections_and_ratings_join_the_next_run_and_an_unchanged_store_runs_nothing_again(spec: Path) -> None:
    checked, _ = prepared(spec)
    store = open_store(checked.loaded.spec, checked.workspace)
    bad = Item.new("correction", "What is chi?", outputs=[Output("A watch brand.", "v1")], tag="bad_case")
    good = Item.new("rating", "What is sigma?", outputs=[Output("It is the letter sigma of Greek.", "v1")])
    poor = Item.new("rating", "What is rho?", outputs=[Output("It is a kind of boat, I think so.", "v1")])
    store.add([bad, good, poor])
    store.answer(Answer(bad.id, "ann", "correction", text="It is the last letter of Greek."))
    for annotator in ("ann", "bo", "cy"):
        store.answer(Answer(good.id, annotator, "rating", rating=5))
        store.answer(Answer(poor.id, annotator, "rating", rating=2))
    checked, done = prepared(spec)
    assert "feedback: 3 rows of people's corrected or rated completions join data.train" in checked.notes
    kept = rows_in(done, "train", "validation").filter(pl.col("item") != "").sort("prompt")
    assert kept.select("prompt", "completion", "annotator", "tag").rows() == [
        ("What is chi?", "It is the last letter of Greek.", "ann", "bad_case"),
        ("What is sigma?", "It is the letter sigma of Greek.", "ann, bo, cy", ""),
    ]
    dropped = rows_in(done, "dropped").filter(pl.col("prompt") == "What is rho?")
    assert dropped.select("rule", "verdict").rows() == [("annotators", "drop")]
    assert any("1 pair of people, feedback.min_pairs asks for 100" in note for note in checked.notes)
    assert prepared(spec)[1].reused
    given = load(spec).spec
    found = outputs.find_stages(checked.workspace, given.data, given.validate_, given.curate)
    assert found is not None
    assert found.curate == done.folder, "not the older one, whose sources are those of the spec alone"
    store.close()


def test_a_verdict_reaches_the_file_beside_the_spec_once(spec: Path) -> None:
    checked, done = prepared(spec)
    (item,) = waiting(checked.loaded)
    assert (item.kind, item.tag, item.outputs[0].text) == ("harm", "harm", HARMFUL["completion"])
    store = open_store(checked.loaded.spec, checked.workspace)
    store.add([item])
    store.answer(Answer(item.id, "ann", "harm", verdict="keep"))
    checked, done = prepared(spec)
    assert HARMFUL["prompt"] in rows_in(done, "train", "validation")["prompt"].to_list()
    (word,) = read(Path("small.verdicts.jsonl"))
    assert (word.verdict, word.by, word.rule) == ("keep", "ann", "harm")
    assert waiting(checked.loaded) == []
    # Whoever takes the word back by deleting its line, or overrules it, is not overruled by the next run for ever.
    assert check(spec).notes == tuple(note for note in checked.notes if "verdict" not in note)
    store.close()


def test_pairs_join_preferences_that_are_there_or_once_they_are_enough(spec: Path) -> None:
    checked = check(spec)
    store = open_store(checked.loaded.spec, checked.workspace)
    item = Item.new("ranking", "What is pi?", outputs=[Output("A letter.", "v1"), Output("A pie.", "v2")])
    store.add([item])
    store.answer(Answer(item.id, "ann", "ranking", ranking=(1, 2)))
    assert check(spec).loaded.spec.data.preference == []
    spec.write_text(SPEC + "feedback: {min_pairs: 1}\n")
    (source,) = check(spec).loaded.spec.data.preference
    assert source.format == "preference"
    (pair,) = rows_in(prepared(spec)[1], "preference").to_dicts()
    assert (pair["chosen"], pair["rejected"], pair["annotator"]) == ("A letter.", "A pie.", "ann")
    spec.write_text(SPEC + "feedback: {min_pairs: 1, use: false}\n")
    assert check(spec).loaded.spec.data.preference == []
    store.close()


def test_a_password_in_the_spec_is_refused_and_not_repeated(spec: Path) -> None:
    spec.write_text(SPEC + "feedback: {store: 'postgresql://ann:hunter2@db/feedback'}\n")
    with pytest.raises(SpecError, match="found a password in the address of postgresql://db/feedback") as error:
        load(spec)
    assert "hunter2" not in str(error.value)


def test_the_closest_pairs_of_the_last_run_are_asked_about(spec: Path) -> None:
    checked, done = prepared(spec)
    assert sampled(checked.loaded, 5) == []
    made = [("p", "a", "b", 0.9), ("q", "c", "d", 0.1), ("r", "e", "e", 0.0), ("s", "f", "g", 0.5)]
    names = ("prompt", "chosen", "rejected", "margin")
    frame = pl.DataFrame([{"id": row[0], "system": "", **dict(zip(names, row, strict=True))} for row in made])
    for name, train in (("pairs-1", done.result.train.fingerprint), ("pairs-2", "of another spec")):
        folder = checked.workspace.root / "stages" / name
        folder.mkdir()
        frame.write_parquet(folder / "pairs.parquet")
        result = {"pairs": {"uri": str(folder / "pairs.parquet")}, "ranked_by": "verifier"}
        manifest = {"inputs": {"rows": {"fingerprint": train}}, "result": result}
        (folder / "manifest.json").write_text(json.dumps(manifest))
    first, second = sampled(checked.loaded, 2)
    assert [(item.prompt, [each.text for each in item.outputs]) for item in (first, second)] == [
        ("q", ["c", "d"]),
        ("s", ["f", "g"]),
    ]
    assert first.outputs[0].source == "pairs-1, chosen by verifier"
