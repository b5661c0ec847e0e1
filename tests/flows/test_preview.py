"""The preview shows what training is taught, to the token, trains nothing and leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.cli import app
from posttrain.artifacts import DatasetRef, ModelRef, file_digest
from posttrain.models.end_row import note_on_end
from posttrain.models.load import TINY, load_tokenizer
from posttrain.preview import chosen_row, preview
from posttrain.spec import load
from posttrain.training import sft

SPEC = """\
name: small
task: {kind: classification, instruction: "Name the kind of weather."}
data:
  train: [train.jsonl]
  test: [test.jsonl]
  preference: [pairs.jsonl]
"""


def lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rows = [{"prompt": f"it pours\non day {number}", "completion": "rain"} for number in range(4)]
    lines(tmp_path / "train.jsonl", rows)
    lines(tmp_path / "test.jsonl", rows[:1])
    lines(tmp_path / "pairs.jsonl", [{"prompt": "it pours", "chosen": "rain", "rejected": "sun and rain"}])
    (tmp_path / "small.yaml").write_text(SPEC, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "small.yaml"


def shown(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["preview", "small.yaml", *arguments], env={"COLUMNS": "160"})
    assert done.exit_code == 0, done.output
    return done.output


def test_a_row_of_the_file_is_shown_with_what_is_taught_in_brackets(spec: Path) -> None:
    before = sorted(spec.parent.rglob("*"))
    text = shown("--row", "2")
    assert "train.jsonl:2, as it stands in the file; curation has not run yet" in text
    assert "answers are taught to end with  <|end|> (1)" in text
    assert "<|system|>|N|ame| |the" in text, "the task's instruction, as curation will set it"
    assert "⏎\n" in text
    (taught,) = [part.split("⟧")[0] for part in text.split("⟦")[2:]]  # the first is the legend's
    assert taught.replace("|", "") == "rain<end>"
    assert "warning" not in text
    assert sorted(spec.parent.rglob("*")) == before


def test_both_answers_of_a_given_pair_are_shown(spec: Path) -> None:
    text = shown("--stage", "dpo")
    assert text.index("chosen: ") < text.index("rejected: ")
    answers = [part.split("⟧")[0].replace("|", "") for part in text.split("⟦")[2:]]
    assert answers == ["rain<end>", "sun and rain<end>"]


def test_rows_are_found_by_place_and_by_id(spec: Path) -> None:
    by_place = shown("--id", "train.jsonl:3")
    name = by_place.split()[1]
    assert shown("--id", name[:12]) == by_place


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--row", "5"), "row 5: not among the data files of sft, which are 4"),
        (("--id", "train.jsonl:9"), "row train.jsonl:9: not among"),
        (("--stage", "rm"), "found --stage rm, expected one of sft, dpo"),
    ],
)
def test_what_is_not_there_is_one_line(spec: Path, arguments: tuple[str, ...], said: str) -> None:
    done = CliRunner().invoke(app, ["preview", "small.yaml", *arguments], env={"COLUMNS": "160"})
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_pairs_there_is_nothing_to_show_of_dpo(spec: Path) -> None:
    spec.write_text(SPEC.replace("  preference: [pairs.jsonl]\n", ""), encoding="utf-8")
    done = CliRunner().invoke(app, ["preview", "small.yaml", "--stage", "dpo"])
    assert "data.preference holds no pairs" in done.stderr


def test_the_tokens_are_those_of_training(spec: Path) -> None:
    import pyarrow as arrow
    from pyarrow import parquet

    tokenizer = load_tokenizer(ModelRef(base=str(TINY), fingerprint="tiny"))
    row = chosen_row(load(spec).spec, spec.parent, None, "sft")
    path = spec.parent / "rows.parquet"
    parquet.write_table(arrow.Table.from_pylist([row]), path)
    ref = DatasetRef(uri=str(path), fingerprint=file_digest(path), rows=1)
    rows, _, _ = sft.dataset(ref, tokenizer, 512, None)

    (taught,) = preview(row, "sft", tokenizer, 512, curated=False).taught
    assert [token.id for token in taught.tokens] == rows[0]["input_ids"]
    assert [int(token.trained) for token in taught.tokens] == rows[0]["completion_mask"]


def test_an_end_that_nobody_trained_is_spoken_of_where_an_adapter_is_trained(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    assert note_on_end(TINY, "<|end|>", 1) == ""
    weights = load_file(TINY / "model.safetensors")
    (name,) = [each for each in weights if each.endswith("embed_tokens.weight")]
    weights[name][1] *= 0.01
    save_file(weights, tmp_path / "model.safetensors")
    tokenizer = load_tokenizer(ModelRef(base=str(TINY), fingerprint="tiny"))
    row = {"id": "1", "source": "x:1", "system": "", "prompt": "it pours", "completion": "rain"}
    (note,) = preview(row, "sft", tokenizer, 99, curated=True, adapted=tmp_path).notes
    assert "<|end|> has hardly been trained: its output weights are 1% of the usual size" in note
    assert preview(row, "sft", tokenizer, 99, curated=True).notes == ()
    assert note_on_end(tmp_path / "nowhere", "<|end|>", 1) == ""


def test_what_is_amiss_with_a_row_is_said() -> None:
    tokenizer = load_tokenizer(ModelRef(base=str(TINY), fingerprint="tiny"))
    row = {"id": "1", "source": "x:1", "system": "", "prompt": "it pours", "completion": "rain<|end|>ing"}
    notes = preview(row, "sft", tokenizer, 4, curated=True).notes
    assert "more than sft.max_length 4: training leaves the row out" in notes[0]
    assert "<|end|> stands inside an answer" in notes[1]
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "{% if add_generation_prompt %}", "{% if add_generation_prompt %} Now: "
    )
    (note,) = preview({**row, "completion": "rain"}, "sft", tokenizer, 99, curated=True).notes
    assert "earlier turns look other than asked" in note
