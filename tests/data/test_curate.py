"""Curation as a stage, on the shipped SNIPS rows: rows go on or are set aside with a reason, and none is lost."""

from __future__ import annotations

import gzip
import json
from itertools import pairwise
from pathlib import Path

import pytest

from posttrain.artifacts import Done, Workspace
from posttrain.data.curate import CurateResult, curate
from posttrain.data.engine import Local
from posttrain.data.parquet import read_rows
from posttrain.data.validate import ValidateResult, validate
from posttrain.errors import DataError
from posttrain.progress import silent
from posttrain.spec import CurateSpec, DataSpec, TaskSpec, ValidateSpec

SHIPPED = Path(__file__).resolve().parents[2] / "data"
TASK = TaskSpec(kind="intent_slots", instruction="Answer with intent and slots as JSON.")
DATA = DataSpec(train="train.jsonl", test="test.jsonl", general="general.jsonl", general_held_out="held_out.jsonl")


def lines(name: str, every: int) -> list[bytes]:
    return gzip.decompress((SHIPPED / name).read_bytes()).splitlines()[::every]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every tenth shipped row, and a test row among those to train on."""
    root = tmp_path_factory.mktemp("project")
    train = lines("voice_assistant/train.jsonl.gz", 10)
    test = lines("voice_assistant/test.jsonl.gz", 10)
    (root / "train.jsonl").write_bytes(b"\n".join([*train, test[5]]))
    (root / "test.jsonl").write_bytes(b"\n".join(test))
    (root / "general.jsonl").write_bytes(b"\n".join(lines("general/train.jsonl.gz", 10)))
    (root / "held_out.jsonl").write_bytes(b"\n".join(lines("general/held_out.jsonl.gz", 10)))
    return root


@pytest.fixture(scope="module")
def validated(project: Path) -> ValidateResult:
    return validate(DATA, TASK, ValidateSpec(), Workspace(project / "w"), silent, project).result


@pytest.fixture(scope="module")
def curated(project: Path, validated: ValidateResult) -> Done[CurateResult]:
    spec = CurateSpec(validation_rows=70, general_share=0.05)
    return curate(validated, TASK, spec, Workspace(project / "w"), silent, project)


def test_curation_drops_with_reasons_and_loses_no_row(
    curated: Done[CurateResult], validated: ValidateResult, project: Path
) -> None:
    result = curated.result
    train, validation = read_rows(result.train), read_rows(result.validation)
    dropped = read_rows(result.dropped)
    domain = [row for row in train if row["group"] != "general"]
    gone = [row for row in dropped if row["split"] == "train"]
    assert len(domain) + len(validation) + len(gone) == validated.train.rows
    steps = [step.step for step in result.funnel]
    assert steps[0] == "clean"
    assert steps[-2:] == ["split", "mix"]
    assert steps.index("contaminated") < steps.index("exact_duplicate") < steps.index("near_duplicate")
    assert all(before.rows_out == after.rows_in for before, after in pairwise(result.funnel))
    assert result.funnel[-1].rows_out == len(train)
    leaked = len((project / "train.jsonl").read_bytes().splitlines())  # its last line is a test row
    assert ("contaminated", f"train.jsonl:{leaked}") in {(row["rule"], row["source"]) for row in gone}
    assert all(row["value"] and row["threshold"] and row["verdict"] in ("drop", "review") for row in dropped)
    assert len(validation) == 70


def test_rows_carry_their_system_message_and_group(curated: Done[CurateResult]) -> None:
    train = read_rows(curated.result.train)
    general = [row for row in train if row["group"] == "general"]
    assert 0.04 < len(general) / len(train) < 0.06
    assert {row["system"] for row in general} == {""}
    assert {row["system"] for row in train if row["group"] != "general"} == {TASK.instruction}
    for ref in (curated.result.validation, curated.result.test):
        assert all(row["system"] == TASK.instruction and row["group"] for row in read_rows(ref))
    assert curated.result.general_held_out is not None
    assert {row["system"] for row in read_rows(curated.result.general_held_out)} == {""}


def test_no_test_prompt_is_left_in_training(curated: Done[CurateResult]) -> None:
    test = {row["prompt"].casefold() for row in read_rows(curated.result.test)}
    seen = read_rows(curated.result.train) + read_rows(curated.result.validation)
    assert test.isdisjoint(row["prompt"].casefold() for row in seen)


def test_the_same_inputs_give_the_same_bytes_whatever_batches_and_workers(
    curated: Done[CurateResult],
    validated: ValidateResult,
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("posttrain.data.table.BATCH", 97)
    spec = CurateSpec(validation_rows=70, general_share=0.05)
    again = curate(validated, TASK, spec, Workspace(tmp_path), silent, project, engine=Local(2))
    assert not again.reused
    for name in ("train", "validation", "test", "general_held_out", "dropped"):
        assert getattr(again.result, name).fingerprint == getattr(curated.result, name).fingerprint, name
    assert again.result.funnel == curated.result.funnel
    assert sorted(path.name for path in again.folder.glob(".*")) == []


def test_a_step_of_the_users_own_sets_rows_aside(validated: ValidateResult, project: Path, tmp_path: Path) -> None:
    (project / "steps.py").write_text(
        "from posttrain.data.custom import curation_step\n\n"
        "@curation_step(reason='asks for jazz', verdict='review')\n"
        "def jazz(row):\n"
        "    return 'jazz' if 'jazz' in row['prompt'].lower() else None\n",
        encoding="utf-8",
    )
    spec = CurateSpec(validation_rows=70, steps=["steps.py"])
    done = curate(validated, TASK, spec, Workspace(tmp_path), silent, project)
    aside = [row for row in read_rows(done.result.dropped) if row["rule"] == "jazz"]
    assert aside
    assert {row["verdict"] for row in aside} == {"review"}
    assert all("jazz" in row["prompt"].lower() for row in aside)
    assert not any("jazz" in row["prompt"].lower() for row in read_rows(done.result.train) if row["group"] != "general")
    (step,) = [step for step in done.result.funnel if step.step == "jazz"]
    assert (step.rows_in - step.rows_out, step.review) == (len(aside), len(aside))
    (project / "steps.py").write_text((project / "steps.py").read_text().replace("'jazz' in", "'rock' in"))
    changed = curate(validated, TASK, spec, Workspace(tmp_path), silent, project)
    assert not changed.reused  # the file's text is part of what decides the result


def test_nothing_left_to_train_on_stops_the_run(tmp_path: Path) -> None:
    row = {"prompt": "play some jazz", "completion": '{"intent": "Play", "slots": {}}'}
    for name in ("rows.jsonl", "test.jsonl"):
        (tmp_path / name).write_text(json.dumps(row), encoding="utf-8")
    data = DataSpec(train="rows.jsonl", test="test.jsonl")
    valid = validate(data, TASK, ValidateSpec(), Workspace(tmp_path / "w"), silent, tmp_path).result
    with pytest.raises(DataError, match=r"data\.train: 0 rows are left to train on after curation \(clean 1 to 1, .*"):
        curate(valid, TASK, CurateSpec(), Workspace(tmp_path / "w"), silent, tmp_path)


def test_the_best_completion_of_a_prompt_stays_and_pairs_are_counted(tmp_path: Path) -> None:
    """By a reward of the user's: the shortest. Of the pairs, both have a longer chosen side; one repeats the other."""
    words = ["gather", "nectar", "from", "flowers", "and", "let", "it", "thicken", "in", "combs"]
    prompts = ["How do bees make honey?", "Why is the sky blue at noon?"]
    rows = [{"prompt": prompt, "completion": " ".join(words[:count])} for prompt in prompts for count in (9, 3, 6)]
    pair = {"prompt": "Name a large river.", "chosen": "The Nile, in Africa.", "rejected": "I cannot say."}
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, [pair, {**pair, "prompt": "Name a large river!"}])))
    (tmp_path / "test.jsonl").write_text(
        json.dumps({"prompt": "What is a lynx?", "completion": "A wild cat of woods."})
    )
    (tmp_path / "rewards.py").write_text(
        "def short(prompts, completions, **columns):\n    return [-len(text) for text in completions]\n"
    )
    data = DataSpec(train="rows.jsonl", test="test.jsonl", preference="pairs.jsonl")
    task = TaskSpec(kind="text")
    valid = validate(data, task, ValidateSpec(), Workspace(tmp_path / "w"), silent, tmp_path).result
    spec = CurateSpec.model_validate({"validation_rows": 1, "best_of": {"reward": "rewards.py:short"}})
    result = curate(valid, task, spec, Workspace(tmp_path / "w"), silent, tmp_path).result
    left = read_rows(result.train) + read_rows(result.validation)
    assert {row["source"] for row in left} == {"rows.jsonl:2", "rows.jsonl:5"}
    gone = {row["source"]: row for row in read_rows(result.dropped)}
    assert gone["rows.jsonl:1"]["rule"] == "best_of"
    assert gone["rows.jsonl:1"]["value"] == "reward -48, the best -18"
    assert gone["pairs.jsonl:2"]["rule"] == "exact_duplicate"
    steps = {step.step: step for step in result.other_funnels["preference"]}
    assert steps["exact_duplicate"].rows_out == 1
    assert steps["length_bias"].reason == "chosen is longer in 100% of 1 pairs (20 to 13 characters)"


def test_ratings_decide_and_the_annotators_agreement_is_told(tmp_path: Path) -> None:
    """Three people rate ten rows; they agree on all but one, whose mean of 3.7 is below S3's 4.0."""
    given = [
        [5, 5, 5],
        [4, 4, 4],
        [5, 5, 5],
        [4, 4, 4],
        [5, 5, 5],
        [4, 4, 4],
        [5, 5, 5],
        [4, 4, 4],
        [5, 5, 5],
        [5, 3, 3],
    ]
    rows = [
        {
            "prompt": f"How does one fold a paper {thing}?",
            "completion": f"Begin with a square sheet; the rest of a {thing} follows from the two diagonals.",
            "ratings": [{"annotator": who, "rating": rating} for who, rating in zip("abc", ratings, strict=True)],
        }
        for thing, ratings in zip(
            ["crane", "boat", "hat", "frog", "plane", "box", "star", "fish", "lily", "swan"], given, strict=True
        )
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (tmp_path / "test.jsonl").write_text(json.dumps({"prompt": "Why?", "completion": "Because it is so."}))
    data, task = DataSpec(train="rows.jsonl", test="test.jsonl"), TaskSpec(kind="text")
    valid = validate(data, task, ValidateSpec(), Workspace(tmp_path / "w"), silent, tmp_path).result
    spec = CurateSpec(validation_rows=1, near_duplicates=1)
    result = curate(valid, task, spec, Workspace(tmp_path / "w"), silent, tmp_path).result
    (low,) = read_rows(result.dropped)
    assert (low["rule"], low["source"], low["value"]) == ("annotators", "rows.jsonl:10", "mean 3.67 (5, 3, 3)")
    assert result.agreement is not None
    assert result.agreement.rows == 10
    assert {person.annotator for person in result.agreement.annotators} == {"a", "b", "c"}
    assert next(step for step in result.funnel if step.step == "agreement").reason.startswith("Krippendorff's alpha 0.")
