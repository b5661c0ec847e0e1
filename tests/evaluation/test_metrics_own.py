"""A metric of the user's own: found by its name, run, counted, gated, and measured anew when its file changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from posttrain.artifacts import ModelRef, Workspace
from posttrain.errors import DataError, SpecError
from posttrain.evaluation.custom_metric import load_metrics
from posttrain.evaluation.measure import measure
from posttrain.evaluation.metrics import METRICS
from posttrain.evaluation.scoring import Scoring, confusion_table, scoring_of
from posttrain.gates import compare
from posttrain.spec import load

FILE = '''
from posttrain.evaluation.custom_metric import metric

@metric("share of answers longer than the known one", higher_is_better=False)
def verbose(prompts, completions, expected, *, domain, **columns):
    assert domain == ["a", "b", "c"][:len(prompts)], domain
    return [len(said) > len(known) for said, known in zip(completions, expected)]

@metric(name="characters")
def count_them(prompts, completions, expected, **columns):
    """Characters an answer."""
    return [float(len(said)) for said in completions]
'''
SPEC = """\
name: own
task: {kind: text}
data: {train: train.jsonl, test: test.jsonl}
evaluate: {metrics: [mine.py]}
strategy: {targets: {verbose: 0.1}}
gates: {release: [{metric: characters, at_least: 5}]}
"""
ROWS = [
    {"id": str(at), "prompt": "p", "completion": "four", "system": "", "domain": domain}
    for at, domain in enumerate("abc")
]


@pytest.fixture(autouse=True)
def _own_metrics_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("verbose", "characters"):
        monkeypatch.setitem(METRICS, name, METRICS["perplexity"])  # so that the entry made in a test goes with it


def spec_of(folder: Path, metrics: str = FILE, spec: str = SPEC) -> Any:
    (folder / "mine.py").write_text(metrics, encoding="utf-8")
    (folder / "spec.yaml").write_text(spec, encoding="utf-8")
    return load(folder / "spec.yaml", folder).spec


def test_rows_are_counted_and_the_metric_is_known_by_its_name(tmp_path: Path) -> None:
    """Longer than four characters: one of three. Characters: 4 + 5 + 0."""
    scoring = Scoring.model_validate_json(scoring_of(spec_of(tmp_path), tmp_path).model_dump_json())
    assert scoring.metrics()[-2:] == ("verbose", "characters")
    table = scoring.scored(ROWS, ["four", "fiver", ""])
    assert [row["verbose"] for row in table] == [0, 1, 0]
    assert [row["characters"] for row in table] == [4, 5, 0]
    assert METRICS["verbose"].value([(row["verbose"],) for row in table]) == pytest.approx(1 / 3)
    assert not METRICS["verbose"].higher_is_better
    assert METRICS["characters"].meaning == "Characters an answer."


@pytest.mark.parametrize(
    ("metrics", "spec", "expected"),
    [
        (FILE, SPEC.replace("verbose", "verbos"), ":5: strategy.targets.verbos: found metric 'verbos', which is not"),
        (FILE, SPEC.replace("characters", "chars"), "gates.release[0].metric: found metric 'chars', which is not meas"),
        (FILE, SPEC.replace("mine.py", "yours.py"), ":4: evaluate.metrics[0]: yours.py cannot be read"),
        (FILE, SPEC.replace("mine.py", "../mine.py"), ":4: evaluate.metrics[0]: found '../mine.py', which goes up"),
        ("def x(:\n", SPEC, ":4: evaluate.metrics[0]: mine.py:1: invalid syntax"),
        ("x = 1\n", SPEC, ":4: evaluate.metrics[0]: mine.py declares no metric; put @metric"),
        (FILE.replace("verbose", "token_f1"), SPEC, "mine.py declares token_f1, which Posttrain measures itself"),
    ],
)
def test_names_are_checked_against_the_files_before_any_work(
    tmp_path: Path, metrics: str, spec: str, expected: str
) -> None:
    with pytest.raises(SpecError) as refused:
        spec_of(tmp_path, metrics, spec)
    assert expected in str(refused.value)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return [1.0]", "mine.py: f returned 1 values for 3 rows"),
        ("return [None] * 3", "mine.py: f returned None for row 0, expected a finite number"),
        ("return [float('nan')] * 3", "returned nan for row 0"),
        ("return 1 / 0", "mine.py:4: f raised ZeroDivisionError"),
    ],
)
def test_a_function_that_fails_is_named_with_its_line(tmp_path: Path, body: str, expected: str) -> None:
    head = "from posttrain.evaluation.custom_metric import metric\n@metric()\n"
    (tmp_path / "mine.py").write_text(f"{head}def f(prompts, completions, expected, **columns):\n    {body}\n")
    (metric,) = load_metrics("mine.py", tmp_path)
    with pytest.raises(DataError) as error:
        metric.values(ROWS, ["", "", ""])
    assert expected in str(error.value)


def test_taken_names_are_refused(tmp_path: Path) -> None:
    text = "from posttrain.evaluation.custom_metric import metric\n@metric(name='output')\ndef f(**columns): ...\n"
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(DataError, match="declares the metric 'output', which Posttrain uses itself"):
        load_metrics("mine.py", tmp_path)
    (tmp_path / "yours.py").write_text(FILE)
    spec = spec_of(tmp_path, FILE, SPEC.replace("[mine.py]", "[mine.py, yours.py]"))
    with pytest.raises(SpecError, match=r"mine\.py and yours\.py both declare verbose"):
        scoring_of(spec, tmp_path)


def test_costly_metrics_and_schemas_are_measured_when_the_spec_asks(tmp_path: Path) -> None:
    plain = "name: a\ndata: {train: a.jsonl, test: b.jsonl}\ntask: "
    text = spec_of(tmp_path, spec=plain + "{kind: text}\n")
    asked = spec_of(tmp_path, spec=plain + "{kind: text}\nstrategy: {targets: {semantic_similarity: 0.5}}\n")
    assert "semantic_similarity" not in scoring_of(text, tmp_path).metrics()
    assert "semantic_similarity" in scoring_of(asked, tmp_path).metrics()
    extraction = plain + "{kind: extraction, json_schema: {type: object}}\n"
    target = "strategy: {targets: {schema_valid: 0.9}}\n"
    scoring = scoring_of(spec_of(tmp_path, spec=extraction + target), tmp_path)
    assert "schema_valid" in scoring.metrics()
    assert [row["schema_valid"] for row in scoring.scored(ROWS[:2], ["{}", "[]"])] == [1, 0]
    with pytest.raises(SpecError, match=r"schema_valid needs a JSON Schema; add task\.json_schema or use valid_json"):
        spec_of(tmp_path, spec=plain + "{kind: extraction}\n" + target)


def test_a_stage_measures_them_and_a_changed_file_measures_anew(tiny: ModelRef, tmp_path: Path) -> None:
    import pyarrow as arrow
    from pyarrow import parquet

    from posttrain.artifacts import DatasetRef, file_digest

    path = tmp_path / "rows.parquet"
    parquet.write_table(arrow.Table.from_pylist([{**row, "source": "x:1"} for row in ROWS]), path)
    rows = DatasetRef(uri=str(path), fingerprint=file_digest(path), rows=3)

    def measured(metrics: str = FILE) -> Any:
        spec = spec_of(tmp_path, metrics)
        evaluate = spec.evaluate.model_copy(update={"max_new_tokens": 4, "resamples": 20})
        return measure(
            tiny,
            rows,
            split="test",
            prompting="zero-shot",
            task=spec.task,
            spec=evaluate,
            scoring=scoring_of(spec, tmp_path),
            workspace=Workspace(tmp_path / "work"),
        )

    done = measured()
    outputs = [row["output"] for row in parquet.read_table(done.result.outputs.uri).to_pylist()]
    assert done.result.metrics["characters"].value == pytest.approx(sum(map(len, outputs)) / 3)
    gain = compare(done.result, done.result, "verbose", 20)
    assert gain is not None
    assert gain.value == 0
    assert confusion_table(done.result) == {}
    assert measured().reused
    assert not measured(FILE + "# changed\n").reused
