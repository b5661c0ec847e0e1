"""Each kind of mistake in a spec, as the smallest file that has it, and the line that the user reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from posttrain.errors import SpecError
from posttrain.spec import Gate, LoadedSpec, load

SMALLEST = """\
name: small
task: {kind: intent_slots}
data:
  train: data/train.jsonl
  test: [data/test.jsonl]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "spec.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def loaded(folder: Path, more: str = "") -> LoadedSpec:
    return load(write(folder, SMALLEST + more), folder)


def refused(folder: Path, text: str) -> list[str]:
    """The lines of the error, without the path in front."""
    path = write(folder, text)
    with pytest.raises(SpecError) as error:
        load(path, folder)
    lines = str(error.value).splitlines()
    assert all(line.startswith(str(path)) for line in lines)
    return [line.removeprefix(str(path)) for line in lines]


def test_name_kind_and_data_are_enough(tmp_path: Path) -> None:
    spec = loaded(tmp_path).spec
    assert [source.path for source in spec.data.train] == ["data/train.jsonl"]
    assert spec.sft.lora_rank == 64
    assert spec.validate_.max_quarantined == 0.05
    assert spec.base.model == "tiny"


def test_validate_and_register_are_plain_keys_in_yaml(tmp_path: Path) -> None:
    spec = loaded(tmp_path, "validate: {max_quarantined: 0.5}\nregister: {promote: false}\n").spec
    assert spec.validate_.max_quarantined == 0.5
    assert spec.register_.promote is False


@pytest.mark.parametrize("number", ["1e-5", "1.0e-5", "0.00001", "1E-5", "+1e-5"])
def test_numbers_as_people_write_them(tmp_path: Path, number: str) -> None:
    assert loaded(tmp_path, f"sft: {{learning_rate: {number}}}\n").spec.sft.learning_rate == 1e-5


def test_the_digest_follows_decisions_and_ignores_comments(tmp_path: Path) -> None:
    plain = loaded(tmp_path)
    assert loaded(tmp_path, "# a comment\nsft: {seed: 0}\n").digest == plain.digest
    assert loaded(tmp_path, "sft: {seed: 1}\n").digest != plain.digest
    assert plain.text == SMALLEST
    assert plain.root == tmp_path


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("sft:\n  learning_rte: 1e-5\n", ":7: sft.learning_rte: unknown key; did you mean sft.learning_rate?"),
        ("sft: {Learning-Rate: 1e-5}\n", ":6: sft.Learning-Rate: unknown key; did you mean sft.learning_rate?"),
        ("stf: {seed: 1}\n", ":6: stf: unknown key; did you mean sft?"),
        ("lora_rank: 8\n", ":6: lora_rank: unknown key; did you mean sft.lora_rank?"),
        ("zzz: 8\n", ":6: zzz: unknown key; remove it, or use one of name, task, base,"),
        (
            "sft: {method: loraa}\n",
            ":6: sft.method: found 'loraa' (text), expected one of full, lora, dora, qlora, prefix, prompt, p-tun",
        ),
        ("sft: {learning_rate: fast}\n", ":6: sft.learning_rate: found 'fast' (text), expected a number above 0"),
        ("sft: {learning_rate: -1}\n", ":6: sft.learning_rate: found -1, expected a number above 0 and at most 1;"),
        ("sft: {learning_rate: .nan}\n", ":6: sft.learning_rate: found nan, expected a number above 0"),
        ("sft: {batch_size: true}\n", ":6: sft.batch_size: found true, expected a whole number at least 1;"),
        ("sft: {batch_size: 1.5}\n", ":6: sft.batch_size: found 1.5, expected a whole number at least 1;"),
        (
            'sft: {lora_rank: "8"}\n',
            ":6: sft.lora_rank: found '8' (text), expected a whole number at least 1; change it,",
        ),
        ("sft: [1, 2]\n", ":6: sft: found a list of 2, expected keys below it (method,"),
        ("sft:\n", ":6: sft: found nothing, expected keys below it"),
        ("base: {model: 3}\n", ':6: base.model: found 3, expected text that is not empty; put it in quotes: "3"'),
        (
            "base: {trust_remote_code: maybe}\n",
            "found 'maybe' (text), expected true or false; change it, or remove the ",
        ),
        (
            "validate: {severity: {x: stopp}}\n",
            ":6: validate.severity.x: found 'stopp' (text), expected one of quarantine",
        ),
        ("validate: {min_length: 9, max_length: 8}\n", ":6: validate: found min_length 9 above max_length 8; lower"),
        ("strategy: {targets: {slot_ff1: 1}}\n", "'slot_ff1', which is not measured; did you mean slot_f1?"),
        ("sft: {optimizer: muon}\n", ":6: sft.optimizer: muon is for method: full, found method: lora"),
        ("strategy: {targets: {slot_f1: .inf}}\n", ":6: strategy.targets.slot_f1: found inf, expected a number"),
        (
            "strategy: {targets: {token_f1: 1}}\n",
            "token_f1 is not measured for task.kind intent_slots; use one of intent",
        ),
        ("strategy: {targets: {perplexity: 9}}\n", "perplexity needs general text; add data.general_held_out"),
        ("gates: {release: [{metric: slot_f1}]}\n", ":6: gates.release[0]: the gate on slot_f1 demands nothing; add"),
        (
            "gates: {release: [{metric: slot_f1, at_least: 1, significant: true}]}\n",
            "beats nothing; add above: baseline",
        ),
        ("gates: {release: [{metric: slot_f1, at_least: 1, margin: 0.1}]}\n", "has a margin but no reference; add"),
        ("gates: {release: [{metric: slot_f1, at_least: 1, at_most: 0}]}\n", "can never pass: at_least 1 is above"),
        (
            "gates:\n  release:\n    - metric: slot_f1\n      above: champ\n",
            ":9: gates.release[0].above: found 'champ'",
        ),
        (
            'schedule: {cron: "0 3 * *"}\n',
            ":6: schedule.cron: found '0 3 * *' with 4 fields, expected five: minute hour",
        ),
        ('schedule: {cron: "0 25 * * *"}\n', "found '25' as hour, expected 0 to 23"),
        ("schedule: {timezone: Mars/North}\n", "found 'Mars/North', expected an IANA time zone; write one such as UTC"),
        ("register: {model_name: a/b}\n", ":6: register.model_name: found 'a/b' (text), expected text matching"),
        ("name: twice\n", ":6: name: given twice, first on line 1; keep one of them"),
        ("sft:\n  seed: 1\n  seed: 1\n", ":8: sft.seed: given twice, first on line 7; keep one of them"),
    ],
)
def test_a_mistake_names_line_key_and_cure(tmp_path: Path, more: str, expected: str) -> None:
    (line,) = refused(tmp_path, SMALLEST + more)
    assert expected in line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: a\ntask: {kind: text}\n", ": data: missing; add it: Where rows come from."),
        ("name: a\ntask:\n  kind: text\ndata:\n  train: [a]\n", ":4: data.test: missing; add it: Rows that decide"),
        (
            "name: a b\n" + SMALLEST.split("\n", 1)[1],
            ":1: name: found 'a b' (text), expected text such as voice-assistant",
        ),
        (SMALLEST.replace("[data/test.jsonl]", "[]"), ":5: data.test: found a list of 0, expected"),
        (SMALLEST.replace("[data/test.jsonl]", "[{path: b, fromat: x}]"), "did you mean data.test[0].format?"),
        (SMALLEST.replace("test.jsonl", "train.jsonl"), ":5: data.test[0]: data/train.jsonl is in data.train too"),
    ],
)
def test_what_must_be_there(tmp_path: Path, text: str, expected: str) -> None:
    (line,) = refused(tmp_path, text)
    assert expected in line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ": empty file, expected name, task and data; `posttrain init DATA_FILE`"),
        ("# only a comment\n", ": empty file"),
        ("- a\n", ":1: found a list, expected keys such as name:"),
        ("just words\n", ":1: found a single value, expected keys"),
        ("name: a\ntask: {kind: text\n", ":3: not valid YAML: "),
        ("name: a: b\n", ":1: not valid YAML: mapping values are not allowed here; check the indentation, and quote"),
        ("name: a\n\ttask: b\n", ":2: not valid YAML: found character '\\t'"),
        ("name: !!python/object/apply:os.system [ls]\n", ":1: not valid YAML: could not determine a constructor"),
        ("a: &a [*a]\n", ": nested too deeply, or an alias that contains itself"),
        ("name: a\n---\nname: b\n", ":2: not valid YAML: "),
        ("name: a\nb: \x07\n", ":2: not valid YAML: "),
    ],
)
def test_a_file_that_is_no_spec(tmp_path: Path, text: str, expected: str) -> None:
    (line,) = refused(tmp_path, text)
    assert line.startswith(expected)


def test_aliases_cannot_exhaust_memory(tmp_path: Path) -> None:
    levels = [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 12)]
    (line,) = refused(tmp_path, "\n".join(["l0: &l0 [x, x]", *levels]))
    assert "too large" in line


def test_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("name: a\n# café\n".encode("latin-1"))
    with pytest.raises(SpecError, match=r"latin\.yaml:2: found byte 0xe9, expected UTF-8 text; save the file as UTF-8"):
        load(path, tmp_path)


def test_a_file_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    write(tmp_path, SMALLEST)
    with pytest.raises(SpecError, match=r"absent\.yaml: no such file, .* \(there is .*spec\.yaml\)"):
        load(tmp_path / "absent.yaml", tmp_path)
    with pytest.raises(SpecError, match="is a folder, expected a YAML spec; name the file in it"):
        load(tmp_path, tmp_path)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"spec\.yaml/x: cannot be read \(Not a directory\)"):
        load(write(tmp_path, SMALLEST) / "x", tmp_path)


@pytest.mark.parametrize("bad", ["../x.jsonl", "/etc/passwd", "~/x.jsonl", "data/../../x", "file:///etc/passwd"])
@pytest.mark.parametrize(
    ("place", "more"),
    [
        ("data.general[0]", "  general: [{}]\n"),
        ("data.general_held_out[1].path", "  general_held_out: [ok.jsonl, {{path: {}}}]\n"),
        ("data.published", "  published: {}\n"),
        ("validate.suite", "validate: {{suite: {}}}\n"),
        ("resources.workspace", "resources: {{workspace: {}}}\n"),
    ],
)
def test_no_path_leaves_the_project(tmp_path: Path, bad: str, place: str, more: str) -> None:
    (line,) = refused(tmp_path, SMALLEST + more.format(bad))
    assert line.startswith(f":6: {place}: found '{bad}', which ")
    assert "; copy or link the file into the project" in line or "; name a folder inside the project" in line


def test_absolute_paths_inside_the_project_and_models_anywhere_are_fine(tmp_path: Path) -> None:
    spec = loaded(tmp_path, f"resources: {{workspace: {tmp_path}/out}}\nbase: {{model: /models/llama}}\n").spec
    assert spec.resources.workspace == f"{tmp_path}/out"


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    lines = refused(tmp_path, SMALLEST + "sft:\n  learning_rte: 1\n  method: x\n  seed: 1\n  seed: 2\nfoo: 1\n")
    assert [line.split(": ")[:2] for line in lines] == [
        [":7", "sft.learning_rte"],
        [":8", "sft.method"],
        [":10", "sft.seed"],
        [":11", "foo"],
    ]


def test_merged_keys_point_to_where_they_are_written(tmp_path: Path) -> None:
    more = "sft: &shared\n  seed: -1\nalign:\n  <<: *shared\n  samples: 2\n"
    assert [line.split(": ")[:2] for line in refused(tmp_path, SMALLEST + more)] == [
        [":7", "align.seed"],
        [":7", "sft.seed"],
    ]


@pytest.mark.parametrize("cron", ["0 3 * * 1", "*/15 0-6 1,15 jan-mar mon-fri", "0 0 31 12 7", "5/10 * * * *"])
def test_cron_lines_that_are_right(tmp_path: Path, cron: str) -> None:
    assert loaded(tmp_path, f'schedule: {{cron: "{cron}"}}\n').spec.schedule.cron == cron


@pytest.mark.parametrize("field", ["60", "*/0", "5-3", "x", "1-", "-1", "*-5", "٣"])
def test_cron_fields_that_are_wrong(tmp_path: Path, field: str) -> None:
    (line,) = refused(tmp_path, SMALLEST + f'schedule: {{cron: "{field} * * * *"}}\n')
    assert f"found '{field}' as minute" in line


def test_a_gate_may_be_relative(tmp_path: Path) -> None:
    gate = Gate(metric="perplexity", not_worse_than="baseline", margin=0.1, relative=True)
    assert gate.relative
    assert not Gate(metric="slot_f1", at_least=0.5).relative
