"""A starter spec loads as it stands, whatever the data file looked like."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from posttrain.errors import SpecError
from posttrain.spec import load
from posttrain.starter import guess_kind, starter_spec


@dataclass(frozen=True)
class Seen:
    format: str = "prompt_completion"
    rows: int | None = 1200
    kind: str = "prompt_completion"
    files: int = 1
    columns: tuple[str, ...] = ("prompt", "completion")
    settings: dict[str, str | list[str]] = field(default_factory=lambda: {"format": "prompt_completion"})
    example: dict[str, str] = field(default_factory=lambda: {"prompt": "hello", "completion": "good day to you"})
    completions: tuple[str, ...] = ()


def kinds_and_metrics(folder: Path, name: str, seen: Seen) -> tuple[str, set[str]]:
    path = folder / "starter.yaml"
    path.write_text(starter_spec(folder / name, seen, folder), encoding="utf-8")
    spec = load(path, folder).spec
    assert spec.data.train[0].path == name
    assert spec.data.train[0].format == seen.format
    gates = (*spec.gates.after_sft, *spec.gates.after_align, *spec.gates.release)
    return spec.task.kind, {gate.metric for gate in gates} | set(spec.strategy.targets)


@pytest.mark.parametrize(
    ("completion", "kind", "metric"),
    [
        ('{"intent": "Play", "slots": {"artist": "Björk"}}', "intent_slots", "slot_f1"),
        ('{"name": "Ann", "skills": ["SQL"]}', "extraction", "field_f1"),
        ("A sentence.", "text", "token_f1"),
        ('{"label": "spam"}', "classification", "macro_f1"),
        ("42", "verifiable", "final_answer"),
        ("3 + 4 = 7\n#### 7", "verifiable", "final_answer"),
        ("", "text", "token_f1"),
    ],
)
def test_the_kind_follows_the_completion(tmp_path: Path, completion: str, kind: str, metric: str) -> None:
    assert guess_kind(completion) == kind
    seen = Seen(example={"prompt": "p", "completion": completion})
    assert kinds_and_metrics(tmp_path, "data/rows.jsonl", seen) == (kind, {metric})


@pytest.mark.parametrize(
    ("completions", "kind"),
    [
        (("spam", "ham") * 4, "classification"),
        (("0", "1") * 4, "classification"),
        (("体育", "财经") * 4, "classification"),
        (("spam", "ham") * 3, "text"),  # six rows are too few to tell
        (("Paris", "Rome", "Oslo", "Bonn", "Bern", "Kyiv", "Lima", "Doha"), "text"),  # none comes twice
        (("yes",) * 8, "text"),  # one label is no choice
        (("A sentence that is rather too long to be a label.", "no") * 4, "text"),
        (("spam\nham", "ham") * 4, "text"),
        (("4", "17", "$1,200", "-3.5", "80%", "6", "7", "9"), "verifiable"),
        (("so\n#### 4", "so\n#### 1,200"), "verifiable"),
        (("so\n#### 4", "I do not know"), "text"),
    ],
)
def test_labels_and_numbers_are_told_by_all_rows(tmp_path: Path, completions: tuple[str, ...], kind: str) -> None:
    assert guess_kind(*completions) == kind
    assert kinds_and_metrics(tmp_path, "rows.jsonl", Seen(completions=completions))[0] == kind


@pytest.mark.parametrize(
    "name", ["a: b #c.jsonl", "{x}.csv", '"quoted".jsonl', "日本.jsonl.gz", "%.parquet", "x\ny.jsonl"]
)
def test_odd_file_names_and_odd_rows_do_not_break_the_yaml(tmp_path: Path, name: str) -> None:
    odd = "line\nbreak: # {not} \x85 \u2028 \x00 'quotes' \ud800 \t"
    seen = Seen(rows=None, columns=(odd, "completion"), example={"prompt": odd, "completion": odd})
    if "\n" in name:
        with pytest.raises(SpecError, match="control character"):
            kinds_and_metrics(tmp_path, name, seen)
    else:
        kinds_and_metrics(tmp_path, name, seen)


def test_the_test_file_is_never_the_training_file(tmp_path: Path) -> None:
    assert '"data/test.jsonl.gz"' in starter_spec(tmp_path / "data" / "train.jsonl.gz", Seen(), tmp_path)
    assert '"rows_test.csv"' in starter_spec("rows.csv", Seen(), tmp_path)


def test_a_plain_file_name_takes_its_folders_name(tmp_path: Path) -> None:
    assert 'name: "tickets"' in starter_spec("data/tickets/train.jsonl", Seen(), tmp_path)
    assert 'name: "tickets-2026"' in starter_spec("data/tickets 2026.jsonl", Seen(), tmp_path)


@pytest.mark.parametrize(
    "name", ["yes", "null", "1", "a: b", "日本", "😀", "x\x85y", "[a]", "it's", 'say "x"', "-", ""]
)
def test_odd_column_names_do_not_break_the_yaml(tmp_path: Path, name: str) -> None:
    seen = Seen(settings={"format": "rating", "prompt": name or "x", "ratings": [name, "other"]}, kind="rating")
    path = tmp_path / "starter.yaml"
    path.write_text(starter_spec("rows.jsonl", seen, tmp_path), encoding="utf-8")
    source = load(path, tmp_path).spec.data.train[0]
    assert (source.prompt, source.ratings) == (name or "x", [name, "other"])


def test_the_texts_of_the_first_row_are_shown_whatever_its_kind(tmp_path: Path) -> None:
    row = {"id": "1", "source": "a:1", "system": "", "prompt": "who?", "chosen": '{"a": 1}', "rejected": "me"}
    text = starter_spec("rows.jsonl", Seen(kind="preference", example=row), tmp_path)
    assert "#   prompt:     who?\n#   chosen:     {" in text
    assert "#   rejected:   me\n" in text
    assert "kind: extraction" in text
    assert "a better and a worse answer" in text


def test_data_of_the_hub_needs_no_place_in_the_project(tmp_path: Path) -> None:
    seen = Seen(example={"source": "hf://owner/name/train:1", "prompt": "a", "completion": "b"},
                settings={"split": "train", "format": "prompt_completion"})  # fmt: skip
    text = starter_spec("owner/name", seen, tmp_path, ["train", "validation"])
    assert '{path: "owner/name", split: train, format: prompt_completion}' in text
    assert '{path: "owner/name", split: validation, format: prompt_completion}' in text


def test_data_outside_the_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="lies outside the project"):
        starter_spec("/etc/passwd", Seen(), tmp_path)
